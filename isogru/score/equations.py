"""Mutants of the equations themselves, in NumPy: what plants faults where no framework is."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from isogru import gradient_paths, training_faults
from isogru.conventions import GRADIENT, TRAINING, Convention
from isogru.edits import Edit, edited, unedited
from isogru.judge import precision
from isogru.score.faults import CHANGES_STATES
from shared_spec import oracle
from shared_spec.cells import Cell, cell
from shared_spec.files.interchange import AnyCase, Origin, Result, TrainingCase
from shared_spec.language_model import training
from shared_spec.readings.arithmetic import Array

NUMPY = "numpy"


class Equations:
    """A mutant is a cell with edited equations, weights or steps; gradients are the oracle's, with a way cut."""

    name = NUMPY

    def versions(self) -> Mapping[str, str]:
        return {"numpy": np.__version__}

    def right(self, case: AnyCase, dtype: str) -> Result:
        """What is right, made as mutants are."""
        if isinstance(case, TrainingCase):
            return Result(origin(case, dtype), training.train(case.problem, dtype=dtype))
        return Result(origin(case, dtype), oracle.run(case.cell, case.arrays, dtype=dtype))

    def wrong(self, case: AnyCase, dtype: str, conventions: Sequence[Convention]) -> Result | None:
        """What a mutant gives; None where the case has nothing that it changes."""
        if isinstance(case, TrainingCase):
            (convention,) = conventions
            return Result(origin(case, dtype), self._trained(case, dtype, convention))
        of_states = [each for each in conventions if each.kind in CHANGES_STATES]
        edit = edited(unedited(case), of_states)
        if edit is None:
            return None
        arrays = {name: array.astype(dtype) for name, array in case.arrays.items()}
        values = {}
        if of_states:
            H = edit.states(arrays["X"], arrays["H0"])
            if H is None:
                return None
            values = {"H": H, "final": H[-1]}
        for each in conventions:
            if each.kind == GRADIENT:
                cut = gradient_paths.without(replace(case, arrays=arrays), gradient_paths.path(each))
                values |= {f"grad.{name}": array for name, array in cut}
        coarse = edit if any(each.precision for each in of_states) else None
        return Result(origin(case, dtype, coarse), values)

    def _trained(self, case: TrainingCase, dtype: str, convention: Convention) -> dict[str, Array]:
        setting = convention.training
        assert convention.kind == TRAINING
        assert setting is not None
        return training.train(
            training_faults.of_problem(case.problem, setting),
            dtype=dtype,
            update=training_faults.Update(setting, training.updated, case.problem.recipe),
            gradients_of=training_faults.dropped(training.loss_and_gradients, setting),
        )


def origin(case: AnyCase, dtype: str, coarse: Edit | None = None) -> Origin:
    """Of what is right, or of an edit that computes more coarsely."""
    roundoff = _roundoff(case.cell.name, dtype) if coarse is None else _measured(coarse, case.cell, dtype)
    return Origin(
        case=case.name,
        case_digest=case.digest,
        cell=case.cell.name,
        spec_digest=case.cell.digest,
        framework=NUMPY,
        implementation="equations",
        lane="equations",
        dtype=dtype,
        device="cpu",
        unit_roundoff=precision.unit_roundoff(roundoff, dtype),
        roundoff=roundoff,
    )


@functools.cache
def _roundoff(name: str, dtype: str) -> Mapping[str, float]:
    of = cell(name)
    return precision.measure(lambda X, H0, p: oracle.states(of, X, H0, p), of, dtype=dtype)


def _measured(edit: Edit, of: Cell, dtype: str) -> Mapping[str, float]:
    """The unit roundoff that an edited cell delivers."""

    def states(X: Array, H0: Array, parameters: Mapping[str, Array]) -> Array:
        with np.errstate(all="ignore"):
            H = replace(edit, weights=parameters, sequences=()).states(X, H0)
        assert H is not None
        return H

    return precision.measure(states, of, dtype=dtype)
