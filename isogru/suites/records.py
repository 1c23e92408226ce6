"""What other suites accept, as a file: reports/results/suites.json, of which the page Referee is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from isogru.judge.comparison import four
from isogru.suites.matrix import Row
from isogru.suites.mutants import mutants
from isogru.suites.own import Curve, Measured
from shared_spec.cells import cell
from shared_spec.errors import InterchangeError
from shared_spec.files import door, store
from shared_spec.files.whole import write_whole

FORMAT = "isogru-suites-result/1"
COMMAND = "isogru suites"


class ListedMutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mutant of a cell, by what it does otherwise."""

    name: str
    kind: str
    sentence: str


class Judged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A suite on the mutants of one cell."""

    suite: str
    title: str
    cell: str
    tolerance: str
    problems: int
    killed: dict[str, str]
    """Of each mutant that is killed the problem that does it first."""
    alive: list[str]
    right: int
    """How many right results were given to it."""
    rejected: int
    """How many of them it does not accept."""
    sources: list[str]
    left_out: str


class Off(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a mutant, or a right result, is off at most on the final states of a case."""

    name: str
    largest: float | None
    """The tolerance t, of |a - b| <= t + t |b|, that just accepts it on all cases; None for one that does not run."""
    by_case: list[float | None]
    caught: bool
    """Whether the derived bounds say that it is not equal, by the final states alone."""


class Tolerances(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one tolerance for all final states makes of the mutants of a cell, and of right results."""

    cell: str
    cases: list[str]
    mutants: list[Off]
    right: list[Off]
    bounds: list[tuple[float, float]]
    """Of each case the smallest and the largest derived bound of a final state, in the same measure."""


class Suites(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All suites, on the mutants of each cell that one of them tests."""

    mutants: dict[str, list[ListedMutant]]
    """By cell."""
    rows: list[Judged]
    curves: list[Tolerances]
    command: str = COMMAND
    format: str = FORMAT


def made(rows: Sequence[Row], curves: Sequence[Curve]) -> Suites:
    """The record."""
    names = dict.fromkeys(row.cell for row in rows)
    of_cells = {
        name: [ListedMutant(each.name, each.kind, each.sentence) for each in mutants(cell(name))] for name in names
    }
    return Suites(of_cells, [_judged(row) for row in rows], [_tolerances(curve) for curve in curves])


def _judged(row: Row) -> Judged:
    return Judged(
        suite=row.suite,
        title=row.title,
        cell=row.cell,
        tolerance=row.tolerance,
        problems=row.problems,
        killed=dict(row.killed),
        alive=list(row.alive),
        right=row.right,
        rejected=row.rejected,
        sources=list(row.sources),
        left_out=row.left_out,
    )


def _tolerances(curve: Curve) -> Tolerances:
    cases = list(curve.bounds)
    return Tolerances(
        curve.cell,
        cases,
        [_off(each, cases) for each in curve.mutants],
        [_off(each, cases) for each in curve.right],
        [(four(least), four(most)) for least, most in curve.bounds.values()],
    )


def _off(each: Measured, cases: Sequence[str]) -> Off:
    by_case: Mapping[str, float] = each.by_case
    return Off(each.name, _finite(each.largest), [_finite(by_case[name]) for name in cases], each.caught)


def _finite(value: float) -> float | None:
    return four(value) if value < float("inf") else None


def file() -> Path:
    """Where the record lies."""
    return store.folder() / "suites.json"


def write(record: Suites) -> Path:
    """Keep the record, whole or not at all. Returns its file."""
    write_whole(file(), msgspec.json.format(msgspec.json.encode(record), indent=1))
    return file()


def read(path: Path) -> Suites:
    """A record. Raises InterchangeError, with place and remedy, for one that is damaged or of another version."""
    remedy = f"run {COMMAND} again, or delete it"
    record = door.json(path, Suites, remedy)
    if record.format != FORMAT:
        raise InterchangeError(f"{path}: its format is {record.format!r}, this isogru reads {FORMAT}; {remedy}")
    return record
