"""Two reports, one after the other: what changed verdict, what grew by more than its bound, what appeared or went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isogru.judge.comparison import EQUAL, ORDER
from reports.diff.records import Report
from reports.diff.verdicts import Deviation
from reports.pages.parts import Part
from reports.pages.schema import size

NOT_RUN = ("missing", "unproven")
"""Of a layout; not every report is made where all of them are proven."""


class Verdict(Part, frozen=True):
    """A result, or a layout, whose status is another."""

    id: str
    old: str
    new: str
    why: str


class Growth(Part, frozen=True):
    """A quantity whose error grew by more than its bound."""

    id: str
    quantity: str
    old: float | None
    new: float | None
    bound: float | None


class Version(Part, frozen=True):
    """Of what results were made with; empty where there was none."""

    framework: str
    name: str
    old: str
    new: str


class Equations(Part, frozen=True):
    """A cell that went, is new or has other equations."""

    cell: str
    change: str


class Changes(Part, frozen=True):
    """From one report to a later one."""

    is_worse: bool
    changed: Sequence[Verdict]
    grew: Sequence[Growth]
    appeared: Sequence[str]
    went: Sequence[str]
    versions: Sequence[Version]
    specification: Sequence[Equations]


@dataclass(frozen=True)
class _Item:
    """A result or a layout, as far as it is compared."""

    id: str
    status: str
    reason: str
    deviations: Sequence[Deviation] = ()


def compare(old: Report, new: Report) -> Changes:
    """The changes from one report to a later one. "is_worse" says whether any of them is for the worse: a verdict, an
    error that grew by more than its bound, or a result that went.
    """
    before, after = _rows(old), _rows(new)
    both = [name for name in before if name in after]
    changed = [
        Verdict(id=name, old=before[name].status, new=after[name].status, why=_why(after[name]))
        for name in both
        if before[name].status != after[name].status
    ]
    grew = [growth for name in both for growth in _growth(before[name], after[name])]
    went = [name for name in before if name not in after]
    return Changes(
        is_worse=bool(_worse(changed) or grew or went),
        changed=changed,
        grew=grew,
        appeared=[name for name in after if name not in before],
        went=went,
        versions=list(_versions(old, new)),
        specification=list(_specification(old, new)),
    )


def _worse(changed: Sequence[Verdict]) -> list[Verdict]:
    return [one for one in changed if _rank(one.new) > _rank(one.old)]


def lines(changes: Changes) -> Iterator[str]:
    """The changes as a person reads them."""
    for of in changes.versions:
        yield f"{of.framework}: {of.name} {of.old or 'none'} -> {of.new or 'none'}"
    for cell in changes.specification:
        yield f"cell {cell.cell}: {cell.change}"
    for one in changes.changed:
        yield f"{one.id}: {one.old} -> {one.new}{': ' if one.why else ''}{one.why}"
    for growth in changes.grew:
        yield (
            f"{growth.id}: {growth.quantity} grew from {_number(growth.old)} to {_number(growth.new)} off, "
            f"its bound is {_number(growth.bound)}"
        )
    for way, names in (("appeared", changes.appeared), ("went", changes.went)):
        for name in names:
            yield f"{name}: {way}"
    counts = (
        f"{len(changes.changed)} changed verdict, {len(changes.grew)} grew by more than its bound, "
        f"{len(changes.appeared)} appeared, {len(changes.went)} went"
    )
    worse = [
        f"{len(those)} {what}"
        for those, what in ((_worse(changes.changed), "verdicts"), (changes.grew, "errors"), (changes.went, "gone"))
        if those
    ]
    yield f"worse, by {', '.join(worse)}: {counts}" if changes.is_worse else f"no worse: {counts}"


def _rank(status: str) -> int:
    """What has no verdict is as bad as a different one."""
    return ORDER.index(status) if status in ORDER else len(ORDER) - 1


def _why(row: _Item) -> str:
    return "" if row.status == EQUAL else row.reason


def _growth(before: _Item, after: _Item) -> Iterator[Growth]:
    known = {finding.quantity: finding for finding in before.deviations}
    for finding in after.deviations:
        old = known.get(finding.quantity)
        if old is not None and size(finding.difference) > size(old.difference) + size(finding.bound):
            yield Growth(
                id=after.id,
                quantity=finding.quantity,
                old=old.difference,
                new=finding.difference,
                bound=finding.bound,
            )


def _rows(report: Report) -> dict[str, _Item]:
    """Results and layouts, by what they are called."""
    rows = {}
    for row in report.results:
        # What has a bound; a text has none, and is the verdict's to judge.
        deviations = [finding for finding in row.deviations if finding.basis != "text"]
        rows[row.id] = _Item(row.id, row.status, row.reason, deviations)
    for layout in report.rosetta:
        if layout.status not in NOT_RUN:
            name = f"layout {layout.name}"
            rows[name] = _Item(name, layout.status, layout.why or layout.worst)
    return rows


def _versions(old: Report, new: Report) -> Iterator[Version]:
    before, after = _made_with(old), _made_with(new)
    for framework in (name for name in before if name in after):
        for name in sorted(before[framework].keys() | after[framework].keys()):
            was, now = before[framework].get(name, ""), after[framework].get(name, "")
            if was != now:
                yield Version(framework=framework, name=name, old=was, new=now)


def _made_with(report: Report) -> dict[str, dict[str, str]]:
    """For each framework the versions that its results were made with; of several, all."""
    versions: dict[str, dict[str, list[str]]] = {}
    for setup in report.setups:
        of_framework = versions.setdefault(setup.framework, {})
        for name, version in setup.versions.items():
            if version not in of_framework.setdefault(name, []):
                of_framework[name].append(version)
    return {framework: {name: " and ".join(v) for name, v in names.items()} for framework, names in versions.items()}


def _specification(old: Report, new: Report) -> Iterator[Equations]:
    before, after = ({cell.name: cell.digest for cell in report.cells} for report in (old, new))
    for name in before | after:
        if before.get(name) != after.get(name):
            change = "went" if name not in after else "is new" if name not in before else "has other equations"
            yield Equations(cell=name, change=change)


def _number(value: float | None) -> str:
    return "∞" if value is None else f"{value:.1e}"
