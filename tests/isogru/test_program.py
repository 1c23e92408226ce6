"""isogru judge on programs that fail in every way: a row with the last words each, and nothing left running."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from isogru.program_check import ProgramCheck
from isogru.runners import program as runner
from isogru.runners.program import Limits, Program
from shared_spec import cases as catalogue
from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.files import whole

ROOT = Path(__file__).parents[2]
ORDINARY = "gru-ordinary"
# What the rows below begin with: H is right.
RIGHT = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT / "examples/numpy")!r})
import numpy as np
from gru import forward
case_file, result_file = sys.argv[1:]
p = dict(np.load(case_file))
X, H0 = p.pop("X"), p.pop("H0")
H, _ = forward(X, H0, p)
"""
SAVED = RIGHT + "np.savez(result_file, H=H)\n"
WITHOUT_NAMESPACES = """
import sys
sys.path.insert(0, {folder!r})
import launcher
launcher._isolate = lambda request: False
launcher.main()
"""


@pytest.fixture
def script(tmp_path):
    """A program of Python, as a command."""

    def written(text):
        file = tmp_path / "program.py"
        file.write_text(text)
        return [sys.executable, "-S" if "numpy" not in text else "-B", str(file), "{case}", "{result}"]

    return written


def without_namespaces(monkeypatch, folder):
    """As on a system that allows none."""
    file = folder / "without_namespaces.py"
    file.write_text(WITHOUT_NAMESPACES.format(folder=str(runner.LAUNCHER.parent)))
    monkeypatch.setattr(runner, "LAUNCHER", file)


@pytest.fixture(params=["namespaces", "none"])
def launcher(request, tmp_path, monkeypatch):
    """With the namespaces that this system allows, and without any."""
    if request.param == "none":
        without_namespaces(monkeypatch, tmp_path)


def judged(command, *, names=(ORDINARY,), seconds=20.0, memory=2**29, gradients=False):
    check = ProgramCheck(Program(command, Limits(seconds, memory)), cell("gru"), "float32", "npz", gradients)
    rows = []
    ruling = check.judged([catalogue.build(name) for name in names], jobs=2, tell=rows.append)
    assert tuple(rows) == ruling.verdict.cases
    return ruling


def is_running(marker):
    """Whether a process other than this has these bytes among its arguments."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # It may have ended meanwhile.
            if marker.encode() in file.read_bytes() and int(file.parent.name) != os.getpid():
                return True
    return False


def until(what, seconds=30.0):
    """Whether it became so."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    return what()


FAULTS = {
    "sleeps": (
        "import time; print('so far'); sys.stdout.flush(); time.sleep(1000)",
        "ended after its time, 0.5 s: so far",
    ),
    "heeds no signal": (
        "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); time.sleep(1000)",
        "ended after its time, 0.5 s: it printed nothing",
    ),
    "prints a gigabyte": ("while True: print('x' * 99)", "ended since it printed more than 1 MiB: xxx"),
    "takes memory": ("b = bytearray(2**30)", " | MemoryError"),
    "writes too much": (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "f = open(sys.argv[2], 'wb'); f.seek(2**32); f.write(b'x'); f.flush()",
        "ended by SIGXFSZ, since it wrote too large a file",
    ),
    "exits": ("print('no GPU', file=sys.stderr); sys.exit(3)", "ended with exit status 3: no GPU"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL: it printed nothing"),
    "aborts": ("import os; os.abort()", "ended by SIGABRT: it printed nothing"),
    "writes nothing": ("print('done')", "no result was written: done"),
    "writes elsewhere": (
        "import os; open(os.path.join(os.path.dirname(__file__), 'result.npz'), 'w').write('H')",
        "no result was written: it printed nothing",
    ),
    "writes a link": ("import os; os.symlink('/dev/zero', sys.argv[2])", "result.npz is no regular file"),
    "writes a pipe": ("import os; os.mkfifo(sys.argv[2])", "result.npz is no regular file"),
    "writes an empty file": ("open(sys.argv[2], 'w')", "result.npz is empty"),
    "writes text": ("open(sys.argv[2], 'w').write('H = 1')", "result.npz is no file of that format"),
    "writes half": ("open(sys.argv[2], 'wb').write(b'\\x93NUMPY\\x01\\x00')", "result.npz: damaged or truncated"),
    "removes its folder": ("import os, shutil; shutil.rmtree(os.getcwd())", "no result was written"),
    "leaves a deep folder": (
        "import os\nfor _ in range(1200): os.mkdir('deeper'); os.chdir('deeper')\nos._exit(1)",
        "ended with exit status 1",
    ),
    "speaks to the terminal": ("print('\\x1b[2J'); sys.exit(1)", "ended with exit status 1: \\x1b[2J"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_program_that_fails_is_a_row_with_its_last_words(script, fault, tmp_path, monkeypatch):
    folders = tmp_path / "folders"
    folders.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folders))
    text, words = FAULTS[fault]
    ruling = judged(script(f"import sys\n{text}"), seconds=0.5 if "time.sleep" in text else 20.0)
    (row,) = ruling.verdict.cases
    assert row.verdict == "failed"
    assert words in row.sentence
    assert ("\n" in row.sentence, len(row.sentence) < 1000) == (False, True)
    assert not list(folders.iterdir()), "nothing is left of its folders"


WRONG = {
    "another shape": (
        "np.savez(result_file, H=H[:, :2])",
        "failed",
        "result.npz: H has shape (7, 2, 4), should be (T, n, h) = (7, 3, 4)",
    ),
    "another dtype": ("np.savez(result_file, H=H.astype(float))", "failed", "H is float64, should be float32"),
    "objects": ("np.savez(result_file, H=np.array([H, None], object))", "failed", "no pickle is read"),
    "something more": (
        "np.savez(result_file, H=H, Y=H)",
        "failed",
        "Y is no part of a result; there should be H, final",
    ),
    "something less": ("np.savez(result_file, final=H[-1])", "failed", "H is missing; there should be H, final"),
    "damaged": (
        "np.savez_compressed(result_file, H=H); b = bytearray(open(result_file, 'rb').read()); "
        "b[100:200] = bytes(100); open(result_file, 'wb').write(b)",
        "failed",
        "result",
    ),
    "NaN": ("np.savez(result_file, H=np.nan * H)", "different", "H[0,0,0] = nan, should be "),
    "another number": ("H[3, 2, 1] += 0.01; np.savez(result_file, H=H)", "different", "H[3,2,1] = "),
    "huge numbers": ("np.savez(result_file, H=np.full_like(H, 3e38))", "different", "= 3e+38, should be "),
    "infinity": ("np.savez(result_file, H=np.inf - H)", "different", "= inf, should be "),
    "its input": ("np.savez(result_file, H=np.stack([H0] * len(X)))", "different", "should be "),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_result_is_a_row(script, wrong):
    text, verdict, words = WRONG[wrong]
    (row,) = judged(script(RIGHT + text)).verdict.cases
    assert row.verdict == verdict
    assert words in row.sentence
    assert whole.mark() not in row.sentence, "the folder is gone"


def test_what_is_right_is_equal_and_its_precision_is_measured(script):
    ruling = judged(script(SAVED), names=(ORDINARY, "gru-one_unit"))
    assert ruling.verdict.verdict == "equal", ruling.verdict.sentence
    assert ruling.verdict.roundoff["product"] == 2.0**-24


def test_one_case_fails_and_the_others_go_on(script):
    ruling = judged(script(SAVED.replace("H, _", "X[8]; H, _")), names=(ORDINARY, "gru-one_sequence", "gru-one_unit"))
    assert [row.verdict for row in ruling.verdict.cases] == ["failed", "equal", "failed"]
    assert "IndexError: index 8 is out of bounds" in ruling.verdict.cases[0].sentence


def test_a_program_that_takes_few_rows_is_judged_without_the_probe(script):
    ruling = judged(script(SAVED.replace("H, _", "assert len(H0) < 9; H, _")))
    assert (ruling.verdict.verdict, ruling.verdict.roundoff) == ("equal", {})
    assert ruling.verdict.sentence.endswith("; its precision could not be measured")


@pytest.mark.parametrize("how", ["os.setsid(); ", "os.setsid(); os.fork() and os._exit(0); ", ""])
def test_what_it_started_ends_with_it(script, launcher, how):
    """In a session of its own too, and where its parent is gone."""
    marker = f"left-running-{os.getpid()}"
    left = f"import os, time; {how}print('up', flush=True); time.sleep(1000)"
    start = (
        f"import subprocess\nchild = subprocess.Popen([sys.executable, '-S', '-c', {left!r}, {marker!r}], "
        "stdout=subprocess.PIPE)\nchild.stdout.readline()\n"
    )
    ruling = judged(script(RIGHT + start + "np.savez(result_file, H=H)"))
    assert ruling.verdict.verdict == "equal", ruling.verdict.sentence
    assert not is_running(marker)


@pytest.mark.parametrize("fault", ["heeds no signal", "prints a gigabyte", "is killed", "writes nothing"])
def test_the_same_without_namespaces(script, fault, monkeypatch, tmp_path):
    without_namespaces(monkeypatch, tmp_path)
    text, words = FAULTS[fault]
    ruling = judged(script(f"import sys\n{text}"), seconds=0.5 if "time.sleep" in text else 20.0)
    assert not ruling.isolated
    assert words in ruling.verdict.sentence


@pytest.mark.parametrize("others", [[], ["somebody else's"]], ids=["new", "not new"])
def test_it_ends_with_the_judge(tmp_path, script, launcher, others):
    """However that ends, even by a signal that nothing can heed. A folder that held anything else is left."""
    marker = f"outlives-{os.getpid()}"
    command = [*script("import time\nprint(time.sleep(1000))"), marker]
    folder = tmp_path / "its own"
    folder.mkdir()
    for name in ["case", *others]:
        (folder / name).touch()
    source = (
        f"from pathlib import Path as P; import isogru.runners.program as r; r.LAUNCHER = P({str(runner.LAUNCHER)!r})"
    )
    source += f"\np = r.Program({command!r}); f = P({str(folder)!r})\np.call(f, f / 'case', f / 'result', largest=1)"
    process = subprocess.Popen([sys.executable, "-c", source], cwd=ROOT)
    marked = f"{folder}/result\0{marker}"  # As the program has it, and the launcher has not.
    try:
        assert until(lambda: is_running(marked)), "it was never started"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert until(lambda: not is_running(marked))
    assert until(lambda: not is_running(str(folder)) and folder.exists() == bool(others))
    assert all((folder / name).exists() for name in others)


def test_ctrl_c_ends_all_calls(script, monkeypatch):
    """What comes while programs run, such as KeyboardInterrupt, ends them all, and does not wait for their time."""
    marker = f"interrupted-{os.getpid()}"

    def interrupted(*arguments):
        assert until(lambda: is_running(f"result.npz\0{marker}")), "it was never started"
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgramCheck, "_judged", interrupted)
    with pytest.raises(KeyboardInterrupt):
        judged([*script("import time\ntime.sleep(1000)"), marker], seconds=1000.0)
    assert not is_running(marker)


def test_the_answer_is_nowhere(tmp_path, script, monkeypatch):
    """Not in its folder, nor in its environment; and where there are namespaces, references of earlier verdicts are out
    of sight, and there is no network.
    """
    monkeypatch.setenv("ISOGRU_REFERENCE", str(tmp_path / "reference"))
    judged(script(SAVED))
    assert list((tmp_path / "reference").iterdir()), "an earlier verdict has left something"
    seen = (
        f"import json, os\nprint(json.dumps([os.listdir({str(tmp_path / 'reference')!r}), "
        "os.listdir(os.path.dirname(sys.argv[1])), os.listdir('.'), sorted(k for k in os.environ if 'ISOGRU' in k), "
        "len(open('/proc/net/dev').read().splitlines()) - 2]))"
    )
    ruling = judged(script(f"import sys\n{seen}"))
    kept, beside, here, named, devices = json.loads(ruling.verdict.cases[0].sentence.partition(": ")[2])
    assert (beside, here, named) == (["case.npz"], ["case.npz"], ["ISOGRU_CASE", "ISOGRU_RESULT"])
    assert (kept == []) == ruling.isolated
    assert devices == 1 or not ruling.isolated


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], "no program to judge; write it last, after --"),
        ([str(ROOT)], "a folder, no program"),
        ([str(ROOT / "README.md")], "README.md: not executable"),
    ],
)
def test_no_program(command, words):
    with pytest.raises(UserError, match=words):
        Program(command)


def test_what_cannot_be_executed_is_a_row(tmp_path):
    file = tmp_path / "program"
    file.write_text("no program")
    file.chmod(0o755)
    assert judged([str(file)]).verdict.sentence.startswith(
        f"failed: {ORDINARY}: could not be started: Exec format error"
    )
