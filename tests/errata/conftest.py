"""Each test here asserts what one erratum has found, run for it alone: its record is out of the way of the user's."""

from __future__ import annotations

import pytest

import frameworks
from frameworks.harness.errata import hands, run
from isogru.judge.comparison import DIFFERENT, EQUAL
from shared_spec.errata import records, texts
from shared_spec.errata.records import NUMPY, Record
from shared_spec.errors import UserError


def pytest_addoption(parser):
    parser.addoption("--erratum", action="append", help="only this one, as the command has it; may be repeated")
    parser.addoption(
        "--written", action="store_true", help="assert what the command has written, and run nothing again"
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "erratum(name): the erratum of errata.toml that a test is about")


def pytest_collection_modifyitems(config, items):
    """An erratum is run where errata.toml says that it is one; without --framework, as equations in NumPy."""
    name = config.getoption("--framework") or NUMPY
    try:
        if name != NUMPY:
            frameworks.check_installed(name)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    chosen = config.getoption("--erratum")
    there = [of for of in run.names(name) if not chosen or of in chosen]
    elsewhere = [item for item in items if (of := _name(item)) and of not in there]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


def _name(item):
    mark = item.get_closest_marker("erratum")
    return mark and mark.args[0]


@pytest.fixture(autouse=True)
def _own_results(request):
    """Records made by these tests stay out of the user's; those that are there already are only read."""
    if not request.config.getoption("--written") or "record" not in request.fixturenames:
        request.getfixturevalue("results")


@pytest.fixture(scope="session")
def hand(request):
    """What runs the wirings."""
    return hands.hand(request.config.getoption("--framework") or NUMPY, request.config.getoption("--device"))


@pytest.fixture
def record(request, hand, text):
    """The record of the test's erratum: kept as it was returned, with verdicts of both kinds, all as claimed."""
    name = _name(request.node)
    written = request.config.getoption("--written")
    record = records.read(name, hand.name) if written else run.run(name, hand, text)
    assert isinstance(record, Record), record
    assert records.read(name, hand.name) == record
    assert record.framework == hand.name
    for held in record.held:
        assert held.verdict == held.expected, f"{held.what}: {held.verdict}, {held.sentence}"
    assert {held.expected for held in record.held} == {EQUAL, DIFFERENT}
    assert {held.what for held in record.held} <= set(texts.entries()[name].held)
    assert record.unmet == []
    assert record.is_proven
    return record
