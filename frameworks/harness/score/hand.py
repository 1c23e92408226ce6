"""What plants mutants in a framework and runs them, as isogru/score/run.py asks for: in the lane from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from frameworks import Framework
from frameworks.harness.run import run_cell
from frameworks.harness.score import operations, steps
from frameworks.harness.score.planting import planted, trained
from frameworks.harness.subject import Arrays, Subject
from frameworks.harness.training import Training
from frameworks.protocol import Implementation, find
from isogru import training_faults
from isogru.conventions import Convention
from isogru.edits import edited, unedited
from isogru.judge import precision
from isogru.score.faults import CHANGES_STATES
from isogru.training_faults import OF_STATES
from shared_spec.files.interchange import AnyCase, Case, Origin, Result, TrainingCase

LANE = "scratch"


class InFramework:
    """A mutant is the framework's own step, loop, weights or training, changed in one place."""

    def __init__(self, framework: Framework, device: str = "cpu") -> None:
        self.framework, self.name = framework, framework.name
        self._device = device
        self._operations = operations.of(framework.name)
        self._right: dict[tuple[str, str], Implementation] = {}
        self._case = ""
        self._measured: dict[tuple[str, ...], Mapping[str, float]] = {}

    def versions(self) -> Mapping[str, str]:
        return {name: str(version) for name, version in self.framework.runtime.versions().items()}

    def right(self, case: AnyCase, dtype: str) -> Result:
        """What is right, its step read from its source and compiled anew as that of a mutant is."""
        self._on(case)
        step = self.framework.cells.CELLS[case.cell.name]
        again = steps.edited(step, case.cell, case.cell, self._operations)
        implementation = replace(self._found(case, dtype), build=lambda: self.framework.cells.unroll(again))
        subject = Subject(self.framework, implementation, dtype=dtype, device=self._device)
        return Result(self._origin(case, dtype), self._run(subject, case))

    def wrong(self, case: AnyCase, dtype: str, conventions: Sequence[Convention]) -> Result | None:
        """What a mutant gives; None where the case has nothing that it changes."""
        self._on(case)
        origin = self._origin(case, dtype)
        if isinstance(case, TrainingCase):
            return Result(origin, self._trained(case, dtype, conventions[0]))
        of_states = [each for each in conventions if each.kind in CHANGES_STATES]
        edit = edited(unedited(case), of_states)
        if edit is None:
            return None
        with planted(self.framework, case.cell, edit.cell, conventions, self._operations):
            subject = self._subject(case, dtype)
            arrays = run_cell(subject, replace(case, arrays={**case.arrays, **edit.parameters}))
            if any(each.precision for each in conventions):
                origin = self._as_measured(origin, subject, conventions)
        return Result(origin, arrays)

    def _as_measured(self, origin: Origin, subject: Subject, conventions: Sequence[Convention]) -> Origin:
        """The origin of a mutant of precision: with what is measured of it, as of any implementation."""
        key = (origin.cell, subject.dtype, *(each.name for each in conventions))
        if key not in self._measured:
            with np.errstate(all="ignore"):
                self._measured[key] = subject.roundoff
        roundoff = self._measured[key]
        return replace(origin, roundoff=roundoff, unit_roundoff=precision.unit_roundoff(roundoff, subject.dtype))

    def _trained(self, case: TrainingCase, dtype: str, convention: Convention) -> Arrays:
        setting, recipe = convention.training, case.problem.recipe
        assert setting is not None
        mask = training_faults.kept(setting, recipe.num_hiddens) if setting.name in OF_STATES else np.ones(1)
        held = self.framework.runtime.tensor(mask, dtype=dtype, device=self._device)
        with trained(self.framework, setting, recipe, held):
            faulty = replace(case, problem=training_faults.of_problem(case.problem, setting))
            return self._run(self._subject(case, dtype), faulty)

    def _run(self, subject: Subject, case: AnyCase) -> Arrays:
        if isinstance(case, Case):
            return run_cell(subject, case)
        training = Training(subject, case)
        training.first_gradients()
        for epoch in range(case.problem.recipe.epochs):
            training.epoch(epoch)
            training.validate()
        return training.result()

    def _subject(self, case: AnyCase, dtype: str) -> Subject:
        """The lane as it is now, with whatever is planted in it."""
        implementation = find(self.framework, LANE, case.cell.name, dtype)
        return Subject(self.framework, implementation, dtype=dtype, device=self._device)

    def _found(self, case: AnyCase, dtype: str) -> Implementation:
        key = (case.cell.name, dtype)
        if key not in self._right:
            self._right[key] = find(self.framework, LANE, *key)
        return self._right[key]

    def _origin(self, case: AnyCase, dtype: str) -> Origin:
        return Subject(self.framework, self._found(case, dtype), dtype=dtype, device=self._device).origin(case)

    def _on(self, case: AnyCase) -> None:
        """Each mutant compiles programs of its own: those of another case are forgotten."""
        if self._case != case.name:
            for function in (self.framework.cells.unroll, self.framework.cells.gradients):
                getattr(function, "cache_clear", lambda: None)()
            self._operations.forget()
        self._case = case.name
