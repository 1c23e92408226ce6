"""The kill matrix as a file: which mutant died on which case, by what, and how surely.

reports/results/score/<framework>-<dtype>.json    one framework in one precision; "numpy" is the equations themselves
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from shared_spec.errors import InterchangeError
from shared_spec.files import door, store
from shared_spec.files.whole import write_whole

FORMAT = "isogru-score/1"
KILLED, EQUIVALENT, ALIVE, NOT_APPLICABLE = OUTCOMES = ("killed", "equivalent", "alive", "not applicable")
"""Killed: the verdict is not equal. Equivalent: it is the same function, which the proof shows. Alive: the verdict is
equal, and nothing proves that it should be. Not applicable: the case has nothing that the mutant changes.
"""


class TriedMutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault that was planted, tried on cases: one convention, or several after each other."""

    id: str
    """Names of conventions, such as "reset_after" or "order_rz: W_x + start_ignored"; of a drawn one what was drawn."""
    kind: str
    """equations, weights, sequence, gradient, training or precision; of two kinds "weights + sequence"."""
    sentence: str
    """What is done otherwise."""
    drawn: bool = False
    """Whether it was drawn by the seed; the others are those of conventions.toml."""


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One mutant on one case."""

    mutant: str
    """Its id."""
    kind: str
    cell: str
    case: str
    outcome: str
    """One of OUTCOMES."""
    quantity: str = ""
    """Of what was judged, what is furthest out: H, grad.W_hh, loss."""
    ratio: float | None = 0.0
    """Of its difference to what is allowed; None where that is infinite."""
    proof: str = ""
    """Of what is equivalent, why; of what is not applicable, what there is not."""


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is right on a case, run as mutants are: it must be equal, or the matrix says nothing."""

    case: str
    verdict: str
    quantity: str
    ratio: float | None


class Matrix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All trials of one framework in one precision."""

    framework: str
    dtype: str
    seed: int
    """Of the mutants that were drawn."""
    command: str
    """What makes it again."""
    judge: str
    """The digest of the code that judged."""
    versions: Mapping[str, str]
    mutants: list[TriedMutant]
    controls: list[Control]
    trials: list[Trial]
    first_kill: bool = False
    """Whether a mutant was tried on no further case once one had killed it."""
    format: str = FORMAT


def folder() -> Path:
    """Where the files lie."""
    return store.folder() / "score"


def file_of(framework: str, dtype: str) -> Path:
    """The file of a framework in a precision."""
    return folder() / f"{framework}-{dtype}.json"


def write(matrix: Matrix) -> Path:
    """Keep a matrix, whole or not at all, in place of the one before. Returns its file."""
    file = file_of(matrix.framework, matrix.dtype)
    write_whole(file, msgspec.json.format(msgspec.json.encode(matrix)))
    return file


def read(file: Path) -> Matrix:
    """A matrix. Raises InterchangeError, with the place and the remedy, for a file that is damaged or of another
    version.
    """
    remedy = "run isogru score again, or delete it"
    matrix = door.json(file, Matrix, remedy)
    if matrix.format != FORMAT:
        raise InterchangeError(f"{file}: its format is {matrix.format!r}, this isogru reads {FORMAT}; {remedy}")
    if unknown := sorted({trial.outcome for trial in matrix.trials} - set(OUTCOMES)):
        raise InterchangeError(f"{file}: damaged: an outcome is {unknown[0]!r}, of {', '.join(OUTCOMES)}; {remedy}")
    if unknown := sorted({trial.mutant for trial in matrix.trials} - {mutant.id for mutant in matrix.mutants}):
        raise InterchangeError(f"{file}: damaged: {unknown[0]!r} was tried and is none of its mutants; {remedy}")
    return matrix


def read_all(where: Path | None = None) -> list[Matrix]:
    """Every matrix that is there, by name."""
    return [read(file) for file in sorted((where or folder()).glob("*.json"))]


def outcome(trials: Iterable[Trial]) -> str:
    """What became of a mutant of a cell, from its trials: killed by any case, or else equivalent, or else alive."""
    there = {trial.outcome for trial in trials}
    return next((each for each in OUTCOMES if each in there), NOT_APPLICABLE)
