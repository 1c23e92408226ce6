"""What all tests share: which framework is under test, where results go, and the text."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from shared_spec import language_model
from shared_spec.language_model import corpus
from shared_spec.language_model.corpus import Corpus

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--framework",
        help="the framework under test, wherever a test needs one",
    )
    parser.addoption("--package", help="the package whose layouts are under test in tests/rosetta")
    parser.addoption(
        "--every-dtype",
        action="store_true",
        help="run every lane and cell on each case in each dtype, compiled as they are raced",
    )
    parser.addoption("--device", default="cpu", help="the device to run it on")


@pytest.fixture(scope="session")
def framework_name(request: pytest.FixtureRequest) -> str:
    name = request.config.getoption("--framework")
    if name is None:
        raise pytest.UsageError("no --framework given; run tox -e test-torch or another")
    return str(name)


@pytest.fixture(scope="session")
def text() -> Corpus:
    """The text given with ISOGRU_CORPUS, else the built-in one: tests never fetch."""
    settings = language_model.specification().corpus
    if path := os.environ.get("ISOGRU_CORPUS"):
        return corpus.find(settings, path=Path(path))
    return corpus.built_in(settings, "tests never fetch")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results of the test's own; references are shared, since they depend on nothing but the problem."""
    monkeypatch.setenv(
        "ISOGRU_REFERENCE", os.environ.get("ISOGRU_REFERENCE") or str(ROOT / "reports/results/reference")
    )
    monkeypatch.setenv("ISOGRU_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def heed_ctrl_c() -> None:
    """For a process about to be started: a shell that runs the tests in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def process() -> Command:
    """Runs `python -m ...` from the root of the project, as a user does."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def _ended(capsys: pytest.CaptureFixture[str], app: Callable[..., object], name: str, words: list[str]) -> Done:
    """How a command ends that is run in this process, which has imported all that it needs."""
    from shared_spec import command as command_line

    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        command_line.main(lambda: app(words, prog_name=name))
    printed = capsys.readouterr()
    return Done(int(ended.value.code or 0), printed.out, printed.err)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a package's command in this process, from the root of the project: hundreds of processes would import the
    same. That one of its own does the same: tests/spec/test_command_lines.py.
    """

    def run(package: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        app = importlib.import_module(f"{package}.__main__").app
        with monkeypatch.context() as patch:
            patch.chdir(ROOT)
            for name, value in environment.items():
                patch.setenv(name, value)
            done = _ended(capsys, app, f"python -m {package}", [*arguments])
        return subprocess.CompletedProcess(["python", "-m", package, *arguments], done.status, done.out, done.err)

    return run


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def isogru(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs the command isogru in this process. What it refuses is one line, and no traceback."""
    from isogru.__main__ import app
    from shared_spec.command import WRONG

    def run(*arguments: object) -> Done:
        done = _ended(capsys, app, "isogru", [str(each) for each in arguments])
        if done.status == WRONG:
            assert (done.err.count("\n"), done.err[:8]) == (1, "isogru: "), done
        return done

    return run
