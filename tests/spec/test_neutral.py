"""Neutral code imports no framework, and the four folders hold the same names."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import frameworks
from shared_spec import frameworks as known

ROOT = Path(__file__).parents[2]
FRAMEWORK_PACKAGES = tuple(module for each in known.frameworks().values() for module in each.imports)
ROSETTA_PACKAGES = ("onnx", "onnxruntime", "equinox", "haiku", "mlx")
NEUTRAL = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for folder in ("shared_spec", "reports", "docs")
    for file in sorted((ROOT / folder).rglob("*.py"))
] + [
    *("frameworks", "frameworks.__main__", "frameworks.prove", "frameworks.run", "frameworks.probe", "frameworks.work"),
    *("frameworks.sweep.cluster", "frameworks.sweep.command", "frameworks.sweep.run", "frameworks.sweep.studies"),
    *("frameworks.sweep.worker", "frameworks.subject", "frameworks.training", "frameworks.timed", "frameworks.memory"),
    *("frameworks.rosetta", "frameworks.rosetta.__main__", "frameworks.rosetta.prove"),
]
FILES = ("runtime", "cells", "layers", "tuned", "language_model", "limit")


def imported(*modules, path=()):
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
        [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(ROOT), *map(str, path)]!r}\n{probe}", *modules],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_neutral_code_imports_no_framework():
    assert len(NEUTRAL) > 20
    assert imported(*NEUTRAL) == []


def test_the_probe_sees_a_framework(tmp_path):
    (tmp_path / "guilty.py").write_text("import keras.layers\n")
    assert imported("guilty", path=[tmp_path]) == ["keras"]


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
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("framework", [name for name in frameworks.NAMES if name != "torch"])
def test_the_four_folders_have_the_same_functions(framework, file):
    model, other = functions("torch", file), functions(framework, file)
    more = MORE.get((framework, file), set())
    assert set(other) - more == set(model)
    assert {name: other[name] for name in model} == model


@pytest.mark.parametrize("framework", frameworks.NAMES)
def test_a_framework_folder_imports_no_other(framework):
    own = set(known.framework(framework).imports)
    for file in FILES:
        for node in ast.walk(tree(framework, file)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                top, _, rest = name.partition(".")
                assert top not in set(FRAMEWORK_PACKAGES) - own, f"{framework}/{file}.py imports {name}"
                assert top != "frameworks" or rest.partition(".")[0] in ("", framework), (
                    f"{framework}/{file}.py: {name}"
                )


@pytest.mark.parametrize(
    "file", sorted(p for f in ("shared_spec", "frameworks", "reports", "docs") for p in (ROOT / f).rglob("*.py"))
)
def test_modules_are_short(file):
    assert len(file.read_text().splitlines()) <= 300
