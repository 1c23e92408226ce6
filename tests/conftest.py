"""What all tests share: which framework is under test, where results go, and the text."""

from __future__ import annotations

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
def command(tmp_path: Path) -> Command:
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


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def isogru(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs the command isogru in this process. What it refuses is one line, and no traceback."""
    from isogru.__main__ import app
    from shared_spec import command as command_line

    def run(*arguments: object) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            command_line.main(lambda: app([str(each) for each in arguments], prog_name="isogru"))
        printed = capsys.readouterr()
        done = Done(int(ended.value.code or 0), printed.out, printed.err)
        if done.status == command_line.WRONG:
            assert (done.err.count("\n"), done.err[:8]) == (1, "isogru: "), done
        return done

    return run
