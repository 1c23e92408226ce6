"""referee.json from what is there: the kill matrix of each framework, the suites of others, the pack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from isogru.pack.files import FORMAT as PACK_FORMAT
from isogru.pack.files import INDEX, Index
from isogru.score import records as score
from isogru.score import tally
from isogru.score.records import ALIVE, EQUIVALENT, KILLED, NOT_APPLICABLE, Matrix, Trial
from isogru.suites import records as suites
from isogru.suites.records import Off, Tolerances
from reports.referee import records
from shared_spec.cells import cells
from shared_spec.errors import InterchangeError
from shared_spec.files import door
from shared_spec.files.folders import CHECKOUT
from shared_spec.files.interchange import DTYPES
from shared_spec.frameworks import frameworks

NUMPY = "numpy"
"""The equations themselves, edited."""
PACK = CHECKOUT / "examples" / "pack" / "golden"
TOLERANCES = np.logspace(-12, 0, 121)


def build() -> records.Referee:
    """All that is there, and the command for what is not. Raises InterchangeError for a file that is damaged or of
    another version.
    """
    matrices = score.read_all()
    there = suites.read(suites.file()) if suites.file().is_file() else None
    pack = _pack()
    missing = [*_missing(matrices)]
    if there is None:
        missing.append(records.Missing("the suites of other projects and the curve", suites.COMMAND))
    if pack is None:
        missing.append(records.Missing("the golden pack", f"isogru pack -o {PACK.relative_to(CHECKOUT)}"))
    return records.Referee(
        columns=[_column(matrix) for matrix in matrices],
        cells=[of for name in cells() if (of := _of_cell(name, matrices)).rows],
        survivors=[one for matrix in matrices for one in _survivors(matrix)],
        curves=[_curve(of) for of in there.curves] if there else [],
        suites=there,
        pack=pack,
        missing=missing,
    )


def _missing(matrices: Sequence[Matrix]) -> Iterator[records.Missing]:
    there = {(matrix.framework, matrix.dtype) for matrix in matrices}
    for name in (NUMPY, *frameworks()):
        command = "tox -e score" if name == NUMPY else f"tox -e score-{name}"
        if absent := [dtype for dtype in DTYPES if (name, dtype) not in there]:
            yield records.Missing(f"the mutants in {name} in {' and '.join(absent)}", command)


def _pack() -> Index | None:
    file = PACK / INDEX
    if not file.is_file():
        return None
    remedy = f"write it anew with isogru pack -o {PACK}"
    index = door.json(file, Index, remedy)
    if index.format != PACK_FORMAT:
        raise InterchangeError(f"{file}: its format is {index.format!r}, this isogru reads {PACK_FORMAT}; {remedy}")
    return index


def _survivors(matrix: Matrix) -> Iterator[records.Survivor]:
    drawn = {mutant.id for mutant in matrix.mutants if mutant.drawn}
    for mutant, cell in tally.alive(matrix):
        if mutant in drawn:
            yield records.Survivor(mutant, cell, matrix.framework, matrix.dtype)


def _by_mutant(matrix: Matrix) -> dict[tuple[str, str], list[Trial]]:
    """The trials of each mutant of each cell, but for those that were drawn."""
    wanted = {mutant.id for mutant in matrix.mutants if not mutant.drawn}
    grouped: dict[tuple[str, str], list[Trial]] = {}
    for trial in matrix.trials:
        if trial.mutant in wanted:
            grouped.setdefault((trial.mutant, trial.cell), []).append(trial)
    return grouped


def _column(matrix: Matrix) -> records.Column:
    written, drawn = tally.tally(matrix, drawn=False), tally.tally(matrix, drawn=True)
    return records.Column(
        matrix.framework,
        matrix.dtype,
        matrix.command,
        len(matrix.controls),
        written.killed,
        written.equivalent,
        written.alive,
        {KILLED: drawn.killed, EQUIVALENT: drawn.equivalent, ALIVE: drawn.alive},
        matrix.seed,
    )


def _of_cell(cell: str, matrices: Sequence[Matrix]) -> records.OfCell:
    by_matrix = [_by_mutant(matrix) for matrix in matrices]
    known = {mutant.id: mutant for matrix in matrices for mutant in matrix.mutants if not mutant.drawn}
    rows = []
    for id, mutant in known.items():
        fields = [_field(of.get((id, cell), [])) for of in by_matrix]
        if any(field.outcome not in ("", NOT_APPLICABLE) for field in fields):
            rows.append(records.Row(id, mutant.kind, mutant.sentence, fields))
    alive = [row.mutant for row in rows if any(field.outcome == ALIVE for field in row.fields)]
    proofs = {row.mutant: field.proof for row in rows for field in row.fields if field.outcome == EQUIVALENT}
    return records.OfCell(cell, rows, alive, proofs)


def _field(trials: Sequence[Trial]) -> records.Field:
    if not trials:
        return records.Field("", 0, 0)
    tried = [trial for trial in trials if trial.outcome != NOT_APPLICABLE]
    furthest = max(tried, key=lambda trial: np.inf if trial.ratio is None else trial.ratio, default=trials[0])
    return records.Field(
        score.outcome(trials),
        sum(trial.outcome == KILLED for trial in trials),
        len(tried),
        furthest.quantity,
        furthest.ratio,
        furthest.case,
        next((trial.proof for trial in trials if trial.proof), ""),
    )


def _curve(of: Tolerances) -> records.Curve:
    mutants, right = _measured(of.mutants), _measured(of.right)
    largest, worst = mutants.max(axis=1), float(right.max())
    smallest = float(largest.min())
    points = [
        records.Point(
            float(f"{t:.4g}"),
            float((largest > t).mean()),
            float((mutants > t).mean()),
            float((right > t).mean()),
        )
        for t in TOLERANCES
    ]
    return records.Curve(
        of.cell,
        points,
        len(of.mutants),
        sum(each.caught for each in of.mutants),
        len(of.right),
        sum(each.caught for each in of.right),
        (min(least for least, _ in of.bounds), max(most for _, most in of.bounds)),
        (worst, smallest) if worst < smallest else None,
    )


def _measured(those: Sequence[Off]) -> np.ndarray:
    """(mutants, cases): the tolerance that just accepts each; infinite for one that does not run."""
    return np.array([[np.inf if value is None else value for value in each.by_case] for each in those])
