"""What runs a wiring: the equations themselves in NumPy, or a framework, each in float32 as the book's code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

import frameworks
from frameworks import Framework
from frameworks.folder import Forward
from frameworks.harness import supervisor
from frameworks.harness.errata import faults
from frameworks.harness.run import run, run_cell
from frameworks.harness.subject import Subject
from frameworks.protocol import find
from isogru.score import equations
from shared_spec import oracle
from shared_spec.cells import Cell
from shared_spec.errata.records import NUMPY
from shared_spec.files.interchange import AnyCase, Case, Origin, Result, TrainingCase
from shared_spec.language_model import training

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

    def _origin(self, case: AnyCase) -> Origin:
        source = f"{case.problem.corpus_source} {case.problem.corpus_sha1}" if isinstance(case, TrainingCase) else ""
        return replace(equations.origin(case, DTYPE), versions=self.versions(), corpus=source)


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
        match = find(self.framework, implementation, case.cell.name, DTYPE)
        subject = Subject(self.framework, match, dtype=DTYPE, device=self.device)
        origin = subject.origin(case)
        if wiring is not None:
            other = replace(match, build=lambda: wiring)
            subject = Subject(self.framework, other, dtype=DTYPE, device=self.device)
        return Result(origin, run_cell(subject, case))

    def fault(self, name: str, case: Case, *, negated: bool = False) -> Result:
        """A wrong step on a case of the cell that it stands beside, perhaps with its update gate negated."""
        right, wrong = self.faults.FAULTS[name]
        assert right is self.framework.cells.CELLS[case.cell.name]
        return self.forward(case, self.framework.cells.unroll(_negated(wrong) if negated else wrong))

    def train(self, case: TrainingCase) -> Result:
        """The whole recipe."""
        implementation = find(self.framework, "scratch", case.cell.name, DTYPE)
        return run(self.framework, implementation, case, dtype=DTYPE, device=self.device)


Hand = Equations | InFramework


def hand(name: str, device: str = "cpu") -> Hand:
    """What runs wirings: the equations, or a framework by its name. Raises UserError where it is not there, or has no
    such device.
    """
    if name == NUMPY:
        return Equations()
    loaded = frameworks.load(name)
    loaded.runtime.setup(device=device, threads=supervisor.threads_of_environment())
    return InFramework(loaded, device)


@functools.cache
def _negated(step: Callable[..., Any]) -> Callable[..., Any]:
    def turned(X: Any, H: Any, **parameters: Any) -> Any:
        return step(X, H, **{name: -p if name in UPDATE_GATE else p for name, p in parameters.items()})

    return turned
