"""referee.json: what the page Referee shows."""

from __future__ import annotations

import msgspec

from isogru.pack.files import Index
from isogru.suites.records import Suites

FORMAT = "isogru-referee/1"


class Missing(msgspec.Struct, frozen=True):
    """What is not there, and the command that makes it."""

    what: str
    command: str


class Column(msgspec.Struct, frozen=True):
    """One framework in one precision; each mutant counts once for each cell that has it."""

    framework: str
    dtype: str
    command: str
    controls: int
    """How many right results were equal, as they must be for the matrix to say anything."""
    killed: int
    equivalent: int
    alive: int
    drawn: dict[str, int]
    """Of the mutants that were drawn by the seed, by outcome."""
    seed: int


class Field(msgspec.Struct, frozen=True):
    """A mutant in a column."""

    outcome: str
    """Empty where it was not tried."""
    by: int
    """How many cases kill it."""
    tried: int
    quantity: str = ""
    """Where it is furthest out, of all cases."""
    ratio: float | None = 0.0
    case: str = ""
    proof: str = ""


class Row(msgspec.Struct, frozen=True):
    """A mutant, in each column."""

    mutant: str
    kind: str
    sentence: str
    fields: list[Field]


class OfCell(msgspec.Struct, frozen=True):
    """The mutants of a cell."""

    cell: str
    rows: list[Row]
    alive: list[str]
    """Those that some framework has alive."""
    proofs: dict[str, str]
    """Of each that is equivalent in every case, why."""


class Survivor(msgspec.Struct, frozen=True):
    """A mutant that was drawn and is alive."""

    mutant: str
    cell: str
    framework: str
    dtype: str


class Point(msgspec.Struct, frozen=True):
    """What one tolerance for all final states does."""

    tolerance: float
    killed: float
    """The share of mutants that it kills on all cases together."""
    killed_by_one: float
    """The same on a single case, on average."""
    rejected: float
    """The share of right results of a case that it rejects."""


class Curve(msgspec.Struct, frozen=True):
    """The points of a cell, and what the derived bounds do."""

    cell: str
    points: list[Point]
    mutants: int
    caught: int
    """By the derived bounds."""
    right: int
    """How many right implementations there are."""
    accused: int
    """Of how many of them some final state is outside its bound."""
    bounds: tuple[float, float]
    """The smallest and the largest derived bound of a final state, in the measure of the tolerance."""
    window: tuple[float, float] | None
    """Which tolerances kill all and reject nothing, if any do."""


class Referee(msgspec.Struct, frozen=True):
    """Everything on the page."""

    columns: list[Column]
    cells: list[OfCell]
    survivors: list[Survivor]
    curves: list[Curve]
    suites: Suites | None
    pack: Index | None
    missing: list[Missing]
    format: str = FORMAT
