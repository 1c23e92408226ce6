"""Which mutants a suite accepts: all its problems computed by each, held against what is right as the suite does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isogru.conventions import GRADIENT
from isogru.suites.mutants import FLOAT32, NumpyMutant, mutants
from isogru.suites.reading import Problem, Suite
from shared_spec import cells, oracle
from shared_spec.readings.arithmetic import Array

TWINS = 8
"""Right results of each problem: those of the oracle's twins, which sum up in other orders and round otherwise."""


@dataclass(frozen=True)
class Row:
    """What a suite does to the mutants of one cell."""

    suite: str
    title: str
    cell: str
    tolerance: str
    problems: int
    killed: Mapping[str, str]
    """Of each mutant that is killed the problem that does it first."""
    alive: tuple[str, ...]
    right: int
    """How many right results were given to it."""
    rejected: int
    """How many of them it does not accept."""
    sources: tuple[str, ...] = ()
    left_out: str = ""


def row(suite: Suite) -> Row:
    """The verdicts of a suite on every mutant of its cell, and on right results."""
    asked = [_Asked(problem) for problem in suite.problems]
    killed: dict[str, str] = {}
    for mutant in mutants(cells.cell(suite.cell)):
        by = next((each for each in asked if each.kills(mutant)), None)
        if by is not None:
            killed[mutant.name] = by.problem.name.removeprefix(f"{suite.name} ")
    given = [accepted for each in asked for accepted in each.right()]
    return Row(
        suite.name,
        suite.title,
        suite.cell,
        suite.told,
        len(suite.problems),
        killed,
        tuple(mutant.name for mutant in mutants(cells.cell(suite.cell)) if mutant.name not in killed),
        len(given),
        given.count(False),
        suite.sources,
        suite.left_out,
    )


class _Asked:
    """A problem, and what it expects."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        H = problem.right.states(problem.X, problem.H0)
        assert H is not None
        self._expected = {"H": H, "final": H[-1]}
        if "gradients" in problem.compares:
            self._expected |= self._gradients(oracle.run(problem.right.cell, problem.case.arrays))
        self._expected = {name: _as_published(array, problem.decimals) for name, array in self._expected.items()}

    def _gradients(self, given: Mapping[str, Array]) -> dict[str, Array]:
        # That of the start state is compared by none.
        return {name: array for name, array in given.items() if name.startswith("grad.") and name != "grad.H0"}

    def accepts(self, given: Mapping[str, Array]) -> bool:
        """Whether it takes these quantities for right."""
        wanted = [name for name in self._expected if name in self.problem.compares or name.startswith("grad.")]
        return all(
            self.problem.tolerance.accepts(given[name], self._expected[name]) for name in wanted if name in given
        )

    def kills(self, mutant: NumpyMutant) -> bool:
        """Whether a mutant fails it. A gradient is asked for alone: the states of those mutants are right."""
        if mutant.kind == GRADIENT:
            if "gradients" not in self.problem.compares:
                return False
            return not self.accepts({f"grad.{k}": array for k, array in mutant.gradients(self.problem.case).items()})
        if mutant.cannot_run(self.problem.right):
            return True
        H = mutant.states(self.problem.right, self.problem.X, self.problem.H0)
        return H is not None and not self.accepts({"H": H, "final": H[-1]})

    def right(self) -> list[bool]:
        """Whether it takes right results for right: NumPy's, and the twins' where the functions are the usual ones."""
        problem = self.problem
        H = problem.right.states(problem.X.astype(FLOAT32), problem.H0.astype(FLOAT32))
        assert H is not None
        accepted = [self.accepts({"H": H, "final": H[-1]})]
        cell, case = problem.right.cell, problem.case
        if cell == cells.cell(cell.name):
            arrays = dict(case.arrays)
            if "gradients" not in problem.compares:
                del arrays["dH"]
            accepted += [self.accepts(oracle.twin(cell, arrays, dtype=FLOAT32, seed=seed)) for seed in range(TWINS)]
        return accepted


def _as_published(array: Array, decimals: int | None) -> Array:
    return (array if decimals is None else np.round(array, decimals)).astype(FLOAT32)
