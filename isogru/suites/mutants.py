"""Mutants in NumPy: each convention planted into what a problem asks for, in float32."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isogru import gradient_paths
from isogru.conventions import GRADIENT, OF_STATES, PRECISION, Convention, every
from isogru.edits import Edit, unedited
from shared_spec.cells import Cell, cell
from shared_spec.files.interchange import Case
from shared_spec.readings.arithmetic import Array

SIZES = ((7, 3, 5, 4), (5, 4, 4, 4), (6, 6, 3, 5))
"""T, n, d, h of problems on which every mutant of a cell changes something: all of them different, inputs as many as
units, steps as many as sequences.
"""
FLOAT32 = "float32"


@dataclass(frozen=True)
class NumpyMutant:
    """A convention that changes what a cell gives in some precision, planted in the equations, in NumPy."""

    name: str
    kind: str
    sentence: str
    convention: Convention

    def cannot_run(self, right: Edit) -> bool:
        """Whether it would multiply matrices that do not fit: it transposes one that is not square."""
        there = [name for name in self.convention.transposes if name in right.weights]
        return any(len(set(right.weights[name].shape)) > 1 for name in there)

    def states(self, right: Edit, X: Array, H0: Array, *, dtype: str = FLOAT32) -> Array | None:
        """The states (T, n, h) that it gives in a precision; None where it is what is right there."""
        edited = right.then(self.convention)
        return None if edited is None else edited.states(X.astype(dtype), H0.astype(dtype))

    def gradients(self, case: Case, *, dtype: str = FLOAT32) -> dict[str, Array]:
        """The gradients that it gives, by "X", "H0" and every parameter: one way of them is cut."""
        path = _paths(case.cell)[self.name]
        return {name: array.astype(dtype) for name, array in gradient_paths.without(case, path)}


@functools.cache
def mutants(of: Cell, *, dtype: str = FLOAT32) -> tuple[NumpyMutant, ...]:
    """Those of a cell in a precision: of its states, its gradients and that. Trainings have mutants of their own."""
    return tuple(
        NumpyMutant(name, convention.kind, convention.sentence, convention)
        for name, convention in every().items()
        if _is_one(of, name, convention, dtype)
    )


def _is_one(of: Cell, name: str, convention: Convention, dtype: str) -> bool:
    if convention.kind == GRADIENT:
        return name in _paths(of)
    if convention.kind not in (*OF_STATES, PRECISION):
        return False
    return any(_changes(convention, case, dtype) for case in _drawn(of.name))


def _changes(convention: Convention, case: Case, dtype: str) -> bool:
    X, H0 = (case.arrays[name].astype(dtype) for name in ("X", "H0"))
    right = unedited(case)
    edited = right.then(convention)
    H, unchanged = None if edited is None else edited.states(X, H0), right.states(X, H0)
    return H is not None and unchanged is not None and not np.array_equal(H, unchanged)


@functools.cache
def _drawn(name: str) -> tuple[Case, ...]:
    """Small random problems of a cell: nothing in them is zero."""
    the_cell, random = cell(name), np.random.RandomState(1)
    problems = []
    for sizes in SIZES:
        numbers = dict(zip("Tndh", sizes, strict=True))
        shapes = {"X": "Tnd", "H0": "nh", **the_cell.parameters}
        arrays = {key: random.standard_normal([numbers[s] for s in symbols]) for key, symbols in shapes.items()}
        problems.append(Case(name, the_cell, {key: a.astype(FLOAT32).astype(np.float64) for key, a in arrays.items()}))
    return tuple(problems)


@functools.cache
def _paths(of: Cell) -> Mapping[str, gradient_paths.Path]:
    return {path.name: path for path in gradient_paths.paths(of)}
