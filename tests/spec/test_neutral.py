"""Neutral code imports no framework, and the four folders hold the same names."""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import frameworks
from frameworks import adapters
from frameworks.adapters import third_party
from shared_spec import frameworks as known
from tests import project_copy
from tests.project_copy import FOLDERS

ROOT = Path(__file__).parents[2]
FRAMEWORK_PACKAGES = tuple(module for each in known.frameworks().values() for module in each.imports)
# ONNX Runtime runs models that the package onnx makes.
ROSETTA_PACKAGES = ("onnx", "brainstate", "iree", "paddle", "sonnet", "tract", *adapters.PACKAGES)
NOT_NEUTRAL = {
    *(f"frameworks/{name}" for name in frameworks.NAMES),
    *(f"frameworks/harness/errata/faults/{name}.py" for name in frameworks.NAMES),
    *(f"frameworks/harness/score/operations/{name}.py" for name in frameworks.NAMES),
    *(f"frameworks/adapters/{name}.py" for name in adapters.PACKAGES),
    *(f"{package.module.replace('.', '/')}.py" for package in third_party.PACKAGES.values()),
}
FILES = ("runtime", "cells", "layers", "tuned", "parallel", "chapter", "language_model", "peak")


def python_files(root):
    """Every file of Python that is not a test."""
    return sorted(file.relative_to(root) for folder in FOLDERS for file in (root / folder).rglob("*.py"))


def is_neutral(file):
    """Whether a file may import no framework: all but those in the folders of frameworks and those of packages."""
    return not {str(file), *map(str, file.parents)} & NOT_NEUTRAL


def neutral(root):
    """The modules below a root that may import no framework."""
    return [".".join(file.with_suffix("").parts) for file in python_files(root) if is_neutral(file)]


def imported(*modules, root=ROOT, path=()):
    """The framework packages that are asked for when these modules are imported, installed or not."""
    probe = (
        "import builtins, json, sys\n"
        "asked, real = set(), builtins.__import__\n"
        "def spy(name, globals=None, locals=None, fromlist=(), level=0):\n"
        "    if level == 0: asked.add(name.partition('.')[0])\n"
        "    return real(name, globals, locals, fromlist, level)\n"
        "builtins.__import__ = spy\n"
        "for module in sys.argv[1:]:\n"
        "    try: __import__(module)\n"
        "    except ModuleNotFoundError: pass\n"
        f"print(json.dumps(sorted(asked & set({FRAMEWORK_PACKAGES + ROSETTA_PACKAGES!r}))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(root), *map(str, path)]!r}\n{probe}", *modules],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_neutral_code_imports_no_framework():
    modules = neutral(ROOT)
    assert len(modules) > 80
    known = {"frameworks.harness.peak", "frameworks.harness.errata.faults.training", "frameworks.adapters.prove"}
    assert known | {"isogru.judge.verdict"} <= set(modules)
    assert imported(*modules) == []


def test_the_probe_sees_a_framework(tmp_path):
    (tmp_path / "guilty.py").write_text("import keras.layers\n")
    assert imported("guilty", path=[tmp_path]) == ["keras"]


GUILTY = {
    "frameworks/harness/peak.py": "torch",
    "frameworks/harness/errata/faults/new.py": "tensorflow",
    "frameworks/new/deep.py": "keras",
    "isogru/judge/verdict.py": "jax",
    "docs/new.py": "mxnet",
}


def test_a_framework_is_seen_wherever_it_is_imported(tmp_path):
    """Each of these imports another one, and goes on where it is not installed: one process sees them all."""
    root = project_copy.project(tmp_path)
    for guilty, package in GUILTY.items():
        file = root / guilty
        file.parent.mkdir(exist_ok=True)
        known = file.read_text() if file.exists() else ""
        file.write_text(f"{known}\ntry:\n    import {package}\nexcept ModuleNotFoundError:\n    pass\n")
    assert imported(*neutral(root), root=root) == sorted(GUILTY.values())


# Which rooms a room may import; docs/architecture.md draws them.
BELOW = {
    "shared_spec": set(),
    "isogru": {"shared_spec"},
    "frameworks": {"isogru", "shared_spec"},
    "reports": {"isogru", "shared_spec"},
}


# Run as a program, shared_spec has two commands of the referee under the names that they had there first.
AS_A_PROGRAM = Path("shared_spec/__main__.py")


def rooms_imported(file):
    """The rooms of this project that a file imports. What it does where it is run as a program is left out for
    AS_A_PROGRAM alone.
    """
    text = file.read_text()
    if file == ROOT / AS_A_PROGRAM:
        text, program, block = text.partition('\nif __name__ == "__main__":\n')
        assert program
        assert all(line.startswith("    ") for line in block.splitlines() if line)
    return {name.partition(".")[0] for name in imports(text)} & {*BELOW, "docs", "tests"}


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_only_those_below_it(room):
    for file in sorted((ROOT / room).rglob("*.py")):
        above = rooms_imported(file) - BELOW[room] - {room}
        assert not above, f"{file.relative_to(ROOT)} imports {', '.join(above)}"


def test_an_import_against_the_direction_is_seen(tmp_path):
    guilty = tmp_path / "guilty.py"
    guilty.write_text("def f():\n    from reports.pages import render\n    import frameworks.harness.run\n")
    assert rooms_imported(guilty) == {"reports", "frameworks"}


def test_mypy_checks_everything_neutral_and_nothing_else():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["files"] == list(FOLDERS)
    for file in python_files(ROOT):
        assert is_neutral(file) != any(re.search(each, str(file)) for each in settings["exclude"]), file


def tree(framework, file):
    return ast.parse((ROOT / "frameworks" / framework / f"{file}.py").read_text())


def functions(framework, file):
    """Public top-level functions and the names of their arguments."""
    return {
        node.name: [argument.arg for argument in [*node.args.args, *node.args.kwonlyargs]]
        for node in tree(framework, file).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


# What one framework has more than the others, by design.
MORE = {
    ("tensorflow", "cells"): {"compiled_xla", "through_xla", "with_its_forward"},
    ("tensorflow", "layers"): {"gru_reset_after"},
    ("jax", "parallel"): {"solver"},
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("framework", [name for name in frameworks.NAMES if name != "torch"])
def test_the_four_folders_have_the_same_functions(framework, file):
    model, other = functions("torch", file), functions(framework, file)
    more = MORE.get((framework, file), set())
    assert set(other) - more == set(model)
    assert {name: other[name] for name in model} == model


@functools.cache
def imports(text):
    """The modules that a text of Python names in its imports."""
    names = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


@pytest.mark.parametrize("framework", frameworks.NAMES)
def test_a_framework_folder_imports_no_other(framework):
    own = set(known.framework(framework).imports)
    files = [f"frameworks/{framework}/{file}.py" for file in FILES]
    of_harness = [f"frameworks/harness/{folder}/{framework}.py" for folder in ("errata/faults", "score/operations")]
    for file in [*files, *of_harness]:
        for name in imports((ROOT / file).read_text()):
            top, _, rest = name.partition(".")
            assert top not in set(FRAMEWORK_PACKAGES) - own, f"{file} imports {name}"
            assert top != "frameworks" or rest.partition(".")[0] in ("", framework), f"{file}: {name}"


def test_product_code_imports_no_test():
    for file in python_files(ROOT):
        assert "tests" not in {name.partition(".")[0] for name in imports((ROOT / file).read_text())}, file


def test_modules_are_short():
    for file in python_files(ROOT):
        assert (ROOT / file).read_text().count("\n") <= 300, file
