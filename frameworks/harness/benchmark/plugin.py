"""The plugin of pytest that sets a framework up and plans its rows; loaded by `python -m frameworks NAME bench`."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from frameworks.harness.benchmark.session import Session, add_options
from shared_spec import machine
from shared_spec.command import WRONG
from shared_spec.errors import UserError
from shared_spec.race import rows

SESSION = pytest.StashKey[Session]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--framework", help="the framework under test")
    parser.addoption("--device", default="cpu", help="the device to run it on")
    add_options(parser)


def pytest_sessionstart(session: pytest.Session) -> None:
    """A request that is wrong is one line, before anything is collected."""
    config = session.config
    try:
        if not config.getoption("--framework"):
            raise UserError("these benchmarks need --framework; run tox -e bench-torch or another")
        config.stash[SESSION] = Session(config)
    except UserError as error:
        pytest.exit(f"isogru: {error}", returncode=WRONG)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    ours = metafunc.config.stash[SESSION]
    metafunc.parametrize("timed", ours.plan, ids=[each.row.id for each in ours.plan])


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Session:
    return request.config.stash[SESSION]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The limits come last, in the same minutes; a session that was broken off is not done."""
    ours = session.config.stash.get(SESSION, None)
    if ours and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not session.shouldstop:
        ours.limits()
        ours.writer.write(rows.Done())


def pytest_benchmark_generate_machine_info() -> dict[str, Any]:
    """Its own asks the processor for its flags by starting processes, which takes longer than all else at the end."""
    names = ("node", "processor", "machine", "release", "system", "python_version", "python_implementation")
    return {**{name: getattr(platform, name)() for name in names}, "cpu": {}, "isogru": machine.describe()}


@pytest.fixture(autouse=True)
def with_a_clock(request: pytest.FixtureRequest) -> None:
    """--benchmark-disable would leave rows without times."""
    if request.config.getoption("--benchmark-disable"):
        raise pytest.UsageError("--benchmark-disable leaves nothing to time")
