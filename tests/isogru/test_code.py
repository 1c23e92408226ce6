"""What kept references and verdicts rest on is told by digests of folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import isogru
from isogru.judge import code

JUDGE = Path(isogru.__file__).parent / "judge"


@pytest.fixture
def copy(tmp_path):
    """The folder of the judge, to be changed."""
    return shutil.copytree(JUDGE, tmp_path / "judge", ignore=shutil.ignore_patterns("__pycache__"))


def test_a_rule_in_a_new_file_changes_the_key(copy):
    before = code.digest(code.files(copy))
    text = (copy / "verdict.py").read_text()
    at = text.index("def _with_bound")
    (copy / "verdict.py").write_text("from isogru.judge.rule import _with_bound\n" + text[:at])
    (copy / "rule.py").write_text(text[at:])
    moved = code.digest(code.files(copy))
    assert moved != before
    # And so does a change of the rule where it is now.
    (copy / "rule.py").write_text(text[at:].replace("SUSPECT", "EQUAL"))
    assert code.digest(code.files(copy)) not in (before, moved)


def test_what_is_compiled_beside_the_code_changes_nothing(copy):
    before = code.digest(code.files(copy))
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "verdict.pyc").write_bytes(b"compiled")
    assert code.digest(code.files(copy)) == before


def test_two_files_that_trade_names_are_another_code(copy):
    before = code.digest(code.files(copy))
    one, other = copy / "verdict.py", copy / "profile.py"
    content = one.read_bytes(), other.read_bytes()
    one.write_bytes(content[1])
    other.write_bytes(content[0])
    assert code.digest(code.files(copy)) != before


def test_the_key_rests_on_judge_equations_readings_and_language_model(monkeypatch):
    read = []
    monkeypatch.setattr(code, "digest", lambda files: read.extend(files) or "digest")
    code.judge.__wrapped__()
    names = {f"{file.parent.name}/{file.name}" for file in read}
    assert {
        *("judge/verdict.py", "judge/admission.py", "shared_spec/cells.toml", "shared_spec/oracle.py"),
        *("readings/bound.py", "language_model/training.py", "shared_spec/language_model.toml"),
    } <= names
