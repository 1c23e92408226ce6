"""The referee alone, as pip installs it into an empty environment: what the README's five lines of Python say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder outside the checkout with a virtual environment in which isogru is installed, and nothing else is."""
    folder = tmp_path_factory.mktemp("elsewhere")
    # The pip of these tests installs into it: one of its own would take as long as all that it installs.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    source = tmp_path_factory.mktemp("source") / "isogru"
    # pip builds in the folder that it is given: a copy of what git knows.
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if name.startswith(("isogru/", "shared_spec/", "reports/__init__", "frameworks/__init__")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    # What is imported is compiled then, and little is.
    done = pip(folder, "install", "-q", "--disable-pip-version-check", "--no-compile", str(source))
    assert done.returncode == 0, done.stderr
    return folder


def pip(folder, *words):
    into = [sys.executable, "-m", "pip", "--python", str(folder / "venv/bin/python")]
    return subprocess.run([*into, *words], capture_output=True, text=True, check=False)


def run(installed, *command, status=0):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ISOGRU", "PYTHON"))}
    done = subprocess.run(
        [str(installed / "venv/bin" / command[0]), *command[1:]],
        cwd=installed,
        env={**environment, "ISOGRU_CACHE": str(installed / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def test_the_wheel_holds_isogru_and_shared_spec_and_nothing_else(installed):
    files = pip(installed, "show", "-f", "isogru").stdout.partition("Files:")[2].split()
    tops = {name.partition("/")[0] for name in files if not name.startswith("..")}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"isogru", "shared_spec"}
    assert {"shared_spec/cells.toml", "shared_spec/story.txt", "shared_spec/layouts.toml"} <= set(files)


def test_the_lines_of_the_readme_judge_a_right_and_a_wrong_gru(installed):
    """To the letter: the file is in the README, and so are the lines that judge it."""
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.S)
    (mine,) = [block for block in blocks if "def my_gru" in block]
    (judging,) = [block for block in blocks if "isogru.check" in block]
    (installed / "my_gru.py").write_text(mine)
    done = run(installed, "python", "-c", judging)
    assert done.stdout.startswith("equal to gru in float32: states of 14 cases")
    wrong = mine.replace("(1 - Z) * C", "Z * C", 1)
    assert wrong != mine
    (installed / "my_gru.py").write_text(wrong)
    assert run(installed, "python", "-c", judging).stdout.startswith("different: gru-")
    run(installed, "isogru", "check", "my_gru.py:my_gru", "--cell", "gru", "--case", "gru-ordinary", status=1)


def test_the_command(installed):
    assert "verdict" in run(installed, "isogru", "--help").stdout
    run(installed, "isogru", "case", "gru-one_unit", "-o", "case.safetensors")
    run(installed, "python", "-m", "shared_spec", "run", "case.safetensors", "-o", "result.safetensors")
    assert run(installed, "isogru", "verdict", "case.safetensors", "result.safetensors").stdout.startswith("✓ equal: ")
    refused = run(installed, "isogru", "same", "--from", "torch", "none", "--to", "keras", "none", status=2)
    assert refused.stderr.count("\n") == 1
    # Results and references lie in the cache that was named, not among the packages.
    assert (installed / "cache" / "results" / "reference").is_dir()


def test_the_plugin_of_pytest_is_known(installed):
    script = "from importlib.metadata import entry_points; print([e.value for e in entry_points(group='pytest11')])"
    assert run(installed, "python", "-c", script).stdout == "['isogru.pytest_plugin']\n"


def test_nothing_heavy_is_loaded(installed):
    tops = "sorted({name.partition('.')[0] for name in sys.modules})"
    script = f"import isogru, sys, json; isogru.check; print(json.dumps({tops}))"
    loaded = set(json.loads(run(installed, "python", "-c", script).stdout))
    assert "numpy" in loaded
    assert not loaded & {"torch", "tensorflow", "jax", "mxnet", "sqlalchemy", "duckdb", "jinja2", "typer", "reports"}
