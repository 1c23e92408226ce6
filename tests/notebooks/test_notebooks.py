"""The walk, run in short form in the framework under test: it does what it says, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from docs import notebooks
from isogru.judge import reference
from shared_spec import cases
from tests import less_optimized

ROOT = Path(__file__).parents[2]
EPOCHS = cases.SHORT_EPOCHS
VERDICTS = {
    "is-it-right-2": ["equal"] * 6,
    "is-it-right-4": ["different"],
    "training-2": ["equal"],
    "are-the-two-the-same-function-2": ["different", "equal"],
    "half-a-gru-3": ["equal"],
}
TRAININGS = {
    "training-4": "gru",
    "are-the-two-the-same-function-6": "gru_reset_after",
    "half-a-gru-3": "gru_update_only",
}
# It prints how many epochs there are.
OF_SETTINGS = "the-text-and-the-parameters-2"
# Keras brings the layer both ways.
MORE = {"tensorflow": {"are-the-two-the-same-function-2": ["equal", "different"]}}


@pytest.fixture(scope="module")
def ran(framework_name, text, tmp_path_factory):
    """The code cells of the notebook by their ids, made as a user makes it, in two epochs."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "text.txt").write_bytes(text.text.encode())
    # The notebook runs in another folder than the command.
    given = os.path.relpath(folder / "text.txt", ROOT)
    command = [sys.executable, "-m", "docs", framework_name, "--epochs", str(EPOCHS), "-o", str(folder / "made.ipynb")]
    command += ["--corpus", given, "--corpus-sha1", text.sha1]
    # Under pytest a kernel does not look at what libraries print past Python.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    # Half of what the walk takes in JAX is compiling, and what lanes compute as they are raced is not judged here.
    environment |= less_optimized.environment() if framework_name == "jax" else {}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote {folder / 'made.ipynb'}\n"
    made = json.loads((folder / "made.ipynb").read_text(encoding="utf-8"))
    return {cell["id"]: cell for cell in made["cells"] if cell["cell_type"] == "code"}


def printed(cell):
    return "".join(line for output in cell["outputs"] for line in output.get("text", []))


def words(cell):
    """What a cell printed, without the digits of its numbers."""
    return re.sub(r"-?\d+\.\d+(e[+-]\d+)?", "number", printed(cell))


def verdicts(cells):
    """The verdicts that each cell printed."""
    verdicts = {name: re.findall(r"^(equal|suspect|different) ", printed(cell), re.M) for name, cell in cells.items()}
    return {name: each for name, each in verdicts.items() if each}


def expected(framework_name):
    more = MORE.get(framework_name, {})
    return {name: each + more.get(name, []) for name, each in VERDICTS.items()}


def test_the_verdicts(ran, framework_name):
    assert verdicts(ran) == expected(framework_name)


def test_a_different_verdict_says_where_and_by_how_much(ran):
    said = printed(ran["is-it-right-4"]).splitlines()[1]
    off, bound = re.fullmatch(r" +\S+\[[\d,]+\] = \S+, should be \S+ \((\S+) off, bound (\S+)\)", said).groups()
    assert float(off) > 1000 * float(bound)


def test_the_training_is_that_of_the_specification(ran, text):
    said = re.match(
        rf"gru, {EPOCHS} epochs: perplexity (\S+) trained on, (\S+) kept back\n", printed(ran["training-4"])
    )
    right = reference.get(cases.build("short-training-gru", text), "float32").oracle
    for part, digits in zip(("train", "val"), said.groups(), strict=True):
        # Two decimals are printed.
        assert abs(float(digits) - right[f"perplexity.{part}"][-1]) < 0.006


def test_every_training_says_how_it_ended(ran):
    ended = {name: re.findall(r"^(\w+), (\d+) epochs: perplexity ", printed(cell), re.M) for name, cell in ran.items()}
    assert {name: each for name, each in ended.items() if each} == {
        name: [(cell, str(EPOCHS))] for name, cell in TRAININGS.items()
    }


def test_what_is_kept_was_found_so_too(ran, framework_name):
    """The notebook that is kept has the same outputs, each of the same kind, and the same verdicts; and where no
    training is long the same words, but for digits that are a framework's own.
    """
    file = notebooks.notebook_file(framework_name)
    kept = {cell["id"]: cell for cell in json.loads(file.read_text())["cells"] if cell["cell_type"] == "code"}

    def kinds(cells):
        return {
            name: [list(output.get("data", [output.get("name")])) for output in cell["outputs"]]
            for name, cell in cells.items()
        }

    assert kinds(kept) == kinds(ran)
    assert verdicts(kept) == verdicts(ran)
    brief = [name for name in ran if name not in (*TRAININGS, OF_SETTINGS)]
    assert {name: words(kept[name]) for name in brief} == {name: words(ran[name]) for name in brief}


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def cell(source):
    return {"id": "a", "cell_type": "code", "metadata": {}, "source": source, "execution_count": None, "outputs": []}


TELL = "import os, sys\nprint(os.getpid(), os.getcwd(), sys.executable, os.environ['ASKED'])"


def test_the_kernel_is_this_python_and_ends_with_the_run(framework_name):
    (made,) = json.loads(notebooks.run([cell(TELL)], ASKED="for"))["cells"]
    pid, *rest = printed(made).split()
    assert rest == [str(notebooks.FOLDER), sys.executable, "for"]
    assert not is_running(int(pid))


def test_a_cell_that_fails_ends_the_run(framework_name, tmp_path):
    file = tmp_path / "pid"
    source = f"{TELL}\nfrom pathlib import Path\nPath({str(file)!r}).write_text(str(os.getpid()))\n1 / 0"
    with pytest.raises(Exception, match="ZeroDivisionError"):
        notebooks.run([cell(source)], ASKED="for")
    assert not is_running(int(file.read_text()))


def test_ctrl_c_ends_the_kernel(framework_name, tmp_path):
    file = tmp_path / "pid"
    source = f"import os, pathlib, time\npathlib.Path({str(file)!r}).write_text(str(os.getpid()))\ntime.sleep(600)"

    def press():
        while not (file.exists() and file.read_text()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    pressed = threading.Thread(target=press)
    pressed.start()
    with pytest.raises(KeyboardInterrupt):
        notebooks.run([cell(source)])
    pressed.join()
    assert not is_running(int(file.read_text()))


def test_a_text_that_is_not_there_is_refused_before_anything_runs(command, framework_name, tmp_path):
    done = command("docs", framework_name, "--corpus", "nowhere.txt", "-o", str(tmp_path / "out.ipynb"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("isogru: corpus nowhere.txt: ")
    assert "give the path" in done.stderr
    assert not any(tmp_path.iterdir())
