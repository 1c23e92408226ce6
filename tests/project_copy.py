"""A copy of the project, to add something to and see what else has to change: nothing but what is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUB = "numpys"
FRAMEWORK = f"""
[{STUB}]
title = "NumPy"
imports = ["numpy"]
native = []
quick = ["scratch"]
together = 1
spins = false
colour = "five"
"""
FOLDERS = ("shared_spec", "isogru", "reports", "docs", "frameworks")


def project(to: Path) -> Path:
    """All folders of the project but the tests, without what is published or was run, which is much and no code. What
    Python has compiled comes along, but for files that are just being written.
    """
    for folder in FOLDERS:
        left = shutil.ignore_patterns("published", "results", "site", "*.pyc.*")
        shutil.copytree(ROOT / folder, to / folder, ignore=left)
    return to


def add(file: Path, text: str, *, before: str = "") -> None:
    """Add a text to a file: at its end, or before the only place where it says something."""
    known = file.read_text()
    if before:
        assert known.count(before) == 1, f"{file}: {known.count(before)} times {before!r}"
    at = known.index(before) if before else len(known)
    file.write_text(known[:at] + text + known[at:])


def add_stub(root: Path) -> Path:
    """Add the framework that is made of NumPy alone: its folder, and its table."""
    shutil.copytree(ROOT / "tests/stub", root / "frameworks" / STUB, ignore=shutil.ignore_patterns("__pycache__"))
    add(root / "shared_spec/frameworks.toml", FRAMEWORK)
    return root


# Commands of the copy, in one process that imports it once.
IN_TURN = """
import contextlib, importlib, io, json, sys
from shared_spec.command import main

ended = []
for package, *words in json.loads(sys.argv[1]):
    app, out, err = importlib.import_module(package + ".__main__").app, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(lambda: app(words, prog_name="python -m " + package))
        except SystemExit as end:
            status = end.code or 0
    ended.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(ended))
"""


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m ...` in the copy; results and references are its own."""
    return _python(root, "-m", *arguments)


def in_turn(root: Path, *commands: Sequence[str]) -> list[subprocess.CompletedProcess[str]]:
    """The same for several commands, one after the other in one process: none of them changes the copy."""
    ran = _python(root, "-c", IN_TURN, json.dumps(commands))
    assert ran.returncode == 0, ran.stderr
    return [
        subprocess.CompletedProcess([*command], status, out, err)
        for command, (status, out, err) in zip(commands, json.loads(ran.stdout), strict=True)
    ]


def _python(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {"ISOGRU_RESULTS": str(root / "results"), "ISOGRU_REFERENCE": str(root / "results/reference")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
