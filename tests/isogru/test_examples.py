"""examples/: the programs in C and NumPy are the GRUs that they say, by the commands of their page, to the letter."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared_spec import cases

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "examples/README.md").read_text()
FEW = ("ordinary", "one_unit", "large_weights", "saturated")


def line(of, containing):
    """The command of the page with these words, word by word."""
    (command,) = [each for each in re.findall(r"^    (.*)$", PAGE, re.M) if of in each and containing in each]
    return shlex.split(command)


def told(done, cell, count, covers="states and gradients"):
    assert done.status == 0, done
    assert done.out.splitlines()[-1].startswith(f"equal to {cell} in float32: {covers} of {count} cases, "), done.out


@pytest.fixture
def compiled(tmp_path):
    """The C example, and any edit of its text, by the page's command and with every warning an error."""
    assert shutil.which("cc"), "examples/c takes a C compiler, cc; on Debian: apt-get install gcc libc6-dev"

    def made(edit=lambda text: text):
        (tmp_path / "gru.c").write_text(edit((ROOT / "examples/c/gru.c").read_text()))
        names = {"examples/c/gru": str(tmp_path / "gru"), "examples/c/gru.c": str(tmp_path / "gru.c")}
        command = [names.get(word, word) for word in line("cc ", "gru.c")]
        subprocess.run([*command, "-Wall", "-Wextra", "-Werror"], check=True)
        return [names.get(word, word) for word in line("isogru judge", "examples/c/gru")][1:]

    return made


def test_the_c_example_is_equal_on_every_case(isogru, compiled):
    every = [name for name in cases.cell_case_names() if cases.cell_name_of(name) == "gru"]
    told(isogru(*compiled()), "gru", len(every))


def test_a_fault_in_the_c_example_is_told_and_named(isogru, compiled):
    right, turned = "A[Z][i] * before[i] + (1 - A[Z][i]) * A[C][i]", "(1 - A[Z][i]) * before[i] + A[Z][i] * A[C][i]"
    words = compiled(lambda text: text.replace(right, turned))
    done = isogru(*words[: words.index("--")], "--case", "gru-ordinary", "--why", *words[words.index("--") :])
    assert done.status == 1
    assert "✗ different: gru-ordinary: H[" in done.out
    assert "why: equal if the update gate" in done.out


def test_the_numpy_example_is_equal(isogru, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = [{"python": sys.executable}.get(word, word) for word in line("isogru judge", "numpy/gru.py")][1:]
    some = [word for name in FEW for word in ("--case", f"gru-{name}")]
    told(isogru(*words[: words.index("--")], *some, *words[words.index("--") :]), "gru", len(FEW))
    wide = [*words[: words.index("--")], "--dtype", "float64", "--case", "gru-ordinary", *words[words.index("--") :]]
    done = isogru(*wide)
    assert (done.status, "precision" in done.out) == (0, False), done
    assert "equal to gru in float64: states and gradients of 1 case" in done.out


def test_a_c_example_that_is_cut_short_says_so(compiled, tmp_path):
    """What a program does with a case that is none is its own; this one stops, and writes nothing."""
    program = [word for word in compiled() if word.endswith("/gru")]
    (tmp_path / "case.raw").write_bytes(b'{"T": 7, "n": 3, "d": 5, "h": 4, "gradients": 0, "arrays": {}}\n' + bytes(99))
    done = subprocess.run(
        [*program, tmp_path / "case.raw", tmp_path / "result.raw"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "gru: the case is too short\n")
    assert not (tmp_path / "result.raw").exists()
