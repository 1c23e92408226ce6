"""The catalogue of isogru itself in the same matrix, judged by verdicts; and what a tolerance would make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from isogru.conventions import GRADIENT
from isogru.edits import unedited
from isogru.judge import delivered, reference, states, verdict
from isogru.judge.comparison import EQUAL, UNDETERMINED
from isogru.suites.matrix import TWINS, Row
from isogru.suites.mutants import FLOAT32, NumpyMutant, mutants
from isogru.suites.tolerance import needed
from shared_spec import cases as catalogue
from shared_spec import cells, oracle
from shared_spec.files.interchange import Case, Origin, Result
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array

FIRST_SEED = 100
"""Of the right results that are judged: the twins that verdicts are made with have the seeds before it."""


@dataclass
class Measured:
    """How far a mutant, or a right result, is off on the final states: the tolerance that just accepts it."""

    name: str
    by_case: dict[str, float] = field(default_factory=dict)
    caught: bool = False
    """Whether the derived bounds tell it from what is right, by the final states alone."""

    @property
    def largest(self) -> float:
        return max(self.by_case.values(), default=0.0)


@dataclass(frozen=True)
class Curve:
    """What one tolerance for all final states makes of the mutants of a cell, and of right results."""

    cell: str
    mutants: tuple[Measured, ...]
    """Those that change states."""
    right: tuple[Measured, ...]
    bounds: Mapping[str, tuple[float, float]]
    """Of each case the smallest and the largest derived bound of a final state, in the same measure."""


def row(cell: str, names: Sequence[str] | None = None) -> Row:
    """The verdicts on every mutant of a cell on the catalogue's cases, or on those of these names, smallest first."""
    asked = [_Judged(case) for case in _cases(cell, names)]
    every = mutants(cells.cell(cell))
    killed: dict[str, str] = {}
    for mutant in every:
        by = next((each for each in asked if each.kills(mutant)), None)
        if by is not None:
            killed[mutant.name] = by.case.name.removeprefix(f"{cell}-")
    right = [each.accepts(result) for each in asked for result in each.right()]
    alive = tuple(mutant.name for mutant in every if mutant.name not in killed)
    return Row(
        "isogru",
        "isogru's catalogue",
        cell,
        "derived",
        len(asked),
        killed,
        alive,
        len(right),
        right.count(False),
        ("shared_spec/cases.py",),
        "",
    )


def curve(cell: str, names: Sequence[str] | None = None) -> Curve:
    """Every mutant of states, and right results, on all cases: how far the final states are off, and the bounds."""
    every = [mutant for mutant in mutants(cells.cell(cell)) if mutant.kind != GRADIENT]
    wrong = {mutant.name: Measured(mutant.name) for mutant in every}
    right = {seed: Measured(f"twin {seed}") for seed in range(FIRST_SEED, FIRST_SEED + TWINS)}
    numpys = Measured("NumPy")
    bounds = {}
    for case in _cases(cell, names):
        judged = _Judged(replace(case, arrays={name: a for name, a in case.arrays.items() if name != "dH"}))
        truth = judged.reference.oracle["final"]
        for mutant in every:
            H = _of(mutant, case)
            off = np.inf if H is None else needed(H[-1], truth)
            wrong[mutant.name].by_case[case.name] = off
            if off > 0 and not wrong[mutant.name].caught:
                wrong[mutant.name].caught = H is None or not judged.accepts({"final": H[-1]})
        for seed, result in zip(right, judged.twins(), strict=True):
            right[seed].by_case[case.name] = needed(result["final"], truth)
            right[seed].caught |= not judged.accepts({"final": result["final"]})
        H = unedited(case).states(case.arrays["X"].astype(FLOAT32), case.arrays["H0"].astype(FLOAT32))
        assert H is not None
        numpys.by_case[case.name] = needed(H[-1], truth)
        bounds[case.name] = judged.bounds()
    return Curve(cell, tuple(wrong.values()), (numpys, *right.values()), bounds)


def _cases(cell: str, names: Sequence[str] | None) -> list[Case]:
    every = [name for name in catalogue.cell_case_names() if catalogue.cell_name_of(name) == cell]
    built = [catalogue.build(name) for name in names or every]
    chosen = [case.held_in(FLOAT32) for case in built if isinstance(case, Case)]
    return sorted(chosen, key=lambda case: case.arrays["X"].size * case.arrays["H0"].shape[1])


def _of(mutant: NumpyMutant, case: Case) -> Array | None:
    """Its states, which are the right ones where it changes nothing; None where it does not run."""
    right = unedited(case)
    if mutant.cannot_run(right):
        return None
    X, H0 = case.arrays["X"], case.arrays["H0"]
    H = mutant.states(right, X, H0)
    return right.states(X.astype(FLOAT32), H0.astype(FLOAT32)) if H is None else H


class _Judged:
    """A case with its reference in float32."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.reference = reference.get(case, FLOAT32)

    def accepts(self, arrays: Mapping[str, Array]) -> bool:
        """Whether what there is of a result is equal, or the case says nothing of it."""
        judged = verdict.judge(self.case, self._result(arrays), self.reference)
        return judged.verdict in (EQUAL, UNDETERMINED)

    def kills(self, mutant: NumpyMutant) -> bool:
        if mutant.kind == GRADIENT:
            return not self.accepts({f"grad.{name}": array for name, array in mutant.gradients(self.case).items()})
        H = _of(mutant, self.case)
        return H is None or not self.accepts({"H": H, "final": H[-1]})

    def right(self) -> list[dict[str, Array]]:
        """NumPy's own, and the twins that no verdict is made with."""
        return [oracle.run(self.case.cell, self.case.arrays, dtype=FLOAT32), *self.twins()]

    def twins(self) -> list[dict[str, Array]]:
        seeds = range(FIRST_SEED, FIRST_SEED + TWINS)
        return [oracle.twin(self.case.cell, self.case.arrays, dtype=FLOAT32, seed=seed) for seed in seeds]

    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest bound of a final state from the state before it, in the measure of `needed`."""
        result = self._result(oracle.run(self.case.cell, self.case.arrays, dtype=FLOAT32))
        held = states.by_step(self.case, result, delivered.of(result)).held
        measured = held.allowed[-1] / (1 + np.abs(held.should_be[-1]))
        return float(measured.min()), float(measured.max())

    def _result(self, arrays: Mapping[str, Array]) -> Result:
        case, u = self.case, UNIT_ROUNDOFF[FLOAT32]
        origin = Origin(
            case=case.name,
            case_digest=case.digest,
            cell=case.cell.name,
            spec_digest=case.cell.digest,
            framework="numpy",
            implementation="mutant",
            lane="callable",
            dtype=FLOAT32,
            device="cpu",
            unit_roundoff=u,
        )
        return Result(origin, arrays)
