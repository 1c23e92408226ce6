"""What runs a wiring: the equations themselves in NumPy, or a framework, each in float32 as the book's code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from frameworks import Framework
from frameworks.harness.run import run, run_cell
from frameworks.harness.subject import Subject
from frameworks.protocol import Forward, find
from reports.exercises.erratum import NUMPY
from shared_spec import oracle
from shared_spec.cells import Cell
from shared_spec.files.interchange import Case, Result, TrainingCase
from shared_spec.language_model import training
from tests import made
from tests.errata import faults

DTYPE = "float32"
UPDATE_GATE = ("W_xz", "W_hz", "b_z")


class Equations:
    """A wiring is a cell of a TOML file."""

    name = NUMPY

    def versions(self) -> Mapping[str, str]:
        return {"numpy": np.__version__}

    def right(self, case: Case) -> Result:
        """The case's cell."""
        return self._run(case, case.cell)

    def fault(self, name: str, case: Case, *, negated: bool = False) -> Result:
        """A wrong cell on a case of the one that it stands beside, perhaps with its update gate negated."""
        if not negated:
            return self._run(case, faults.cell(name))
        turned = replace(case, arrays={k: -a if k in UPDATE_GATE else a for k, a in case.arrays.items()})
        result = self._run(turned, faults.cell(name))
        # By the chain rule the gradient of -W is that of W, negated.
        back = {k: -a if k.removeprefix("grad.") in UPDATE_GATE else a for k, a in result.arrays.items()}
        return replace(result, arrays=back)

    def train(self, case: TrainingCase) -> Result:
        """The whole recipe."""
        return Result(self._origin(case), training.train(case.problem, dtype=DTYPE))

    def _run(self, case: Case, wiring: Cell) -> Result:
        return Result(self._origin(case), oracle.run(wiring, case.arrays, dtype=DTYPE))

    def _origin(self, case: Case | TrainingCase) -> Any:
        job = made.job(NUMPY, case.name, DTYPE, "equations")
        corpus = f"{case.problem.corpus_source} {case.problem.corpus_sha1}" if isinstance(case, TrainingCase) else ""
        return made.origin(job, case, versions=self.versions(), corpus=corpus)


class InFramework:
    """A wiring is a step by hand, or a whole forward."""

    def __init__(self, framework: Framework, device: str) -> None:
        self.framework, self.device, self.name = framework, device, framework.name
        self.faults = faults.of(framework.name)

    def versions(self) -> Mapping[str, str]:
        return {name: str(version) for name, version in self.framework.runtime.versions().items()}

    def right(self, case: Case, implementation: str = "scratch") -> Result:
        """An implementation of the case's cell."""
        return self.forward(case, None, implementation)

    def forward(self, case: Case, wiring: Forward | None, implementation: str = "scratch") -> Result:
        """A forward of its own in the place of an implementation, whose precision is the one that counts."""
        found = find(self.framework, implementation, case.cell.name, DTYPE)
        subject = Subject(self.framework, found, dtype=DTYPE, device=self.device)
        origin = subject.origin(case)
        if wiring is not None:
            other = replace(found, build=lambda: wiring)
            subject = Subject(self.framework, other, dtype=DTYPE, device=self.device)
        return Result(origin, run_cell(subject, case))

    def fault(self, name: str, case: Case, *, negated: bool = False) -> Result:
        """A wrong step on a case of the cell that it stands beside, perhaps with its update gate negated."""
        right, wrong = self.faults.FAULTS[name]
        assert right is self.framework.cells.CELLS[case.cell.name]
        return self.forward(case, self.framework.cells.unroll(_negated(wrong) if negated else wrong))

    def train(self, case: TrainingCase) -> Result:
        """The whole recipe."""
        found = find(self.framework, "scratch", case.cell.name, DTYPE)
        return run(self.framework, found, case, dtype=DTYPE, device=self.device)


@functools.cache
def _negated(step: Callable[..., Any]) -> Callable[..., Any]:
    def turned(X, H, **parameters):
        return step(X, H, **{name: -p if name in UPDATE_GATE else p for name, p in parameters.items()})

    return turned


def seen_as(case: Case, result: Result, cell: Cell) -> tuple[Case, Result]:
    """Case and result as another cell's, of which they hold all parameters; what it does not have is left out."""
    known = {*oracle.SEQUENCE_SHAPES, *cell.parameters}
    asked = {"H", "final", *(f"grad.{name}" for name in ("X", "H0", *cell.parameters))}
    of_cell = Case(case.name, cell, {k: a for k, a in case.arrays.items() if k in known})
    return of_cell, replace(result, arrays={k: a for k, a in result.arrays.items() if k in asked})


def perplexity_of_character(rows: np.ndarray, num_tokens: int) -> float:
    """exp of the entropy of the next character given the current one, counted in windows (rows, steps + 1): no
    prediction from the current character alone has less on them (Gibbs' inequality).
    """
    counts = np.zeros((num_tokens, num_tokens))
    np.add.at(counts, (rows[:, :-1].ravel(), rows[:, 1:].ravel()), 1)
    of_next = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    seen = counts > 0
    return float(np.exp(-np.sum(counts[seen] * np.log(of_next[seen])) / counts.sum()))
