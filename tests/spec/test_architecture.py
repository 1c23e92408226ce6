"""docs/architecture.md names the modules that there are: a new one has a place in the tree, and no place is empty."""

from __future__ import annotations

import re

import pytest

from tests.project_copy import FOLDERS, ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text()
TREE = TEXT.partition("## The tree\n")[2].partition("\n## ")[0]
TABLE = TEXT.partition("## Where to look\n")[2]
ROOMS = (
    "isogru", "isogru/judge", "shared_spec", "shared_spec/files", "shared_spec/readings", "shared_spec/race",
    "reports/race", "frameworks/harness",
)  # fmt: skip
"""The folders whose every module the tree names; of the others it says what is in them."""


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_has_its_place_in_the_tree(room):
    modules = {file.stem for file in (ROOT / room).glob("*.py") if not file.stem.startswith("__")}
    assert modules
    assert modules <= set(re.findall(r"\w+", TREE))


def test_every_file_of_the_tree_and_of_the_answers_is_there():
    there = [f"/{file.relative_to(ROOT)}" for folder in (*FOLDERS, "tests") for file in (ROOT / folder).rglob("*")]
    named = set(re.findall(r"\w[\w/]*\.(?:py|toml)\b", TREE + TABLE)) - {"isogru/runners/NAME_modules.py"}
    assert len(named) > 80
    assert [name for name in sorted(named) if not any(path.endswith(f"/{name}") for path in there)] == []
