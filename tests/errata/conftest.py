"""Each test here is an erratum that is run: it holds wirings against cells and keeps the verdicts for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import frameworks
from isogru.judge import reference, verdict
from isogru.judge.comparison import DIFFERENT, EQUAL
from reports.exercises import errata, erratum
from reports.exercises.erratum import MEASURED, NUMPY, Record, Wirings
from shared_spec import cases, language_model, machine
from shared_spec.errors import UserError
from shared_spec.files.interchange import AnyCase, Result, check_result
from tests.errata.runs import DTYPE, Equations, InFramework

HERE = Path(__file__).parent


def pytest_configure(config):
    config.addinivalue_line("markers", "erratum(name): the erratum of errata.toml that a test runs")


def pytest_collection_modifyitems(config, items):
    """An erratum is run where errata.toml says that it is one; without --framework, as equations in NumPy."""
    name = config.getoption("--framework") or NUMPY
    try:
        if name != NUMPY:
            frameworks.check_installed(name)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    own = [item for item in items if HERE in item.path.parents]
    elsewhere = [item for item in own if name not in errata.entries()[_name(item)].frameworks]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


def _name(item):
    return item.get_closest_marker("erratum").args[0]


@pytest.fixture(scope="session")
def hand(request):
    """What runs the wirings."""
    name, device = request.config.getoption("--framework") or NUMPY, request.config.getoption("--device")
    if name == NUMPY:
        return Equations()
    loaded = frameworks.load(name)
    loaded.runtime.setup(device=device)
    return InFramework(loaded, device)


class Notes:
    """What is found of one erratum, and kept at the end."""

    def __init__(self, name: str, hand: Equations | InFramework) -> None:
        self.name, self._hand = name, hand
        self._held: list[erratum.Held] = []
        self._cases: dict[str, str] = {}
        self.is_kept = False

    def hold(
        self, what: str, case: AnyCase, result: Result, expected: str = EQUAL, *, shown: str | None = None
    ) -> verdict.ResultVerdict:
        """Hold a result against a case, whatever it was made as; the page shows the worst element, or that of one
        quantity.
        """
        assert what in errata.entries()[self.name].held
        origin = replace(result.origin, cell=case.cell.name, spec_digest=case.cell.digest, case_digest=case.digest)
        claimed = Result(origin, result.arrays)
        check_result(Path(case.name), claimed, case)
        found = verdict.judge(case, claimed, reference.get(case, DTYPE))
        self._held.append(erratum.held(what, expected, found, shown))
        if cases.entry_of(case.name):
            self._cases[case.name] = cases.build(case.name).digest
        return found

    def keep(self, *, right: Sequence[str], wrong: Sequence[str], **measured: object) -> None:
        """Write the record, then insist that every verdict is the one claimed, and that there are some of both."""
        record = Record(
            name=self.name,
            framework=self._hand.name,
            dtype=DTYPE,
            versions=dict(self._hand.versions()),
            machine=machine.describe(),
            cases=self._cases,
            wirings=Wirings(wrong=list(wrong), right=list(right)),
            held=self._held,
            measured=MEASURED[self.name](**measured),
        )
        erratum.write(record)
        self.is_kept = True
        assert erratum.read(self.name, self._hand.name) == record
        for held in self._held:
            assert held.verdict == held.expected, f"{held.what}: {held.verdict}, {held.sentence}"
        assert {held.expected for held in self._held} == {EQUAL, DIFFERENT}


@pytest.fixture
def notes(request, hand):
    name = _name(request.node)
    erratum.forget(name, hand.name)
    found = Notes(name, hand)
    yield found
    assert found.is_kept or request.session.testsfailed


@pytest.fixture(scope="session")
def source(text) -> Mapping[str, str]:
    """Which text it is, as the page says it."""
    known = language_model.specification().corpus
    named = {known["sha1"]: known["title"]}.get(text.sha1, f"{text.source}, sha1 {text.sha1}")
    return {"corpus": named}
