"""A cell with its weights, edited by conventions: what it computes, and how far a result is from that, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from isogru.conventions import Convention, Held
from isogru.judge.comparison import compare
from isogru.models.functions import ByName, function, steepest
from isogru.sequences import Inputs, Run, Sequence
from shared_spec.cells import Cell
from shared_spec.expression import FUNCTIONS
from shared_spec.files.interchange import Case
from shared_spec.readings import bound, value
from shared_spec.readings.arithmetic import Array
from shared_spec.weights.layouts import SECOND_BIASES

BY_NAME = ByName()
ROWS = 2**10
"""How many rows a bound takes at a time: it holds a dozen arrays at once, and these stay in the cache."""


@dataclass(frozen=True)
class Edit:
    """What conventions make of a cell with its weights, applied one after the other: the last one acts on the inputs
    first.
    """

    cell: Cell
    weights: Held
    """With second biases, which are zero where the cell has one alone."""
    conventions: tuple[Convention, ...] = ()
    sequences: tuple[Sequence, ...] = ()

    def then(self, convention: Convention) -> Edit | None:
        """One more; None where it cannot be applied, or changes nothing."""
        conventions = (*self.conventions, convention)
        if convention.sequence:
            return replace(self, conventions=conventions, sequences=(*self.sequences, convention.sequence))
        if convention.weights:
            weights = convention.of_weights(self.weights)
            return None if weights is None else replace(self, conventions=conventions, weights=weights)
        cell = convention.of_cell(self.cell)
        return None if cell is None else replace(self, conventions=conventions, cell=cell)

    @property
    def parameters(self) -> dict[str, Array]:
        """What the cell sees: of two biases that are added to each other their sum."""
        found = {name: self.weights[name] for name in self.cell.parameters}
        for second, first in SECOND_BIASES.items():
            if second in self.weights and second not in found and self.weights[second].any():
                found[first] = found[first] + self.weights[second]
        return found

    @property
    def functions(self) -> Mapping[str, bound.Stretch]:
        """Those of the equations that are neither sigmoid nor tanh."""
        used = {each.name for _, each in self.cell.functions if each.name not in FUNCTIONS}
        found = {name: (made, steepest(name)) for name in used if (made := function(name)) is not None}
        return MappingProxyType({name: bound.Stretch(*each) for name, each in found.items()})

    def states(self, X: Array, H0: Array) -> Array | None:
        """What such an implementation gives, (T, n, h), from X (T, n, d) and H0 (n, h), in their precision; None where
        the sequence cannot be edited so.
        """
        met, inputs = [], Inputs(X, H0)
        for sequence in reversed(self.sequences):
            met.append(inputs)
            edited = sequence.inputs(inputs)
            if edited is None:
                return None
            inputs = edited
        parameters = {name: array.astype(X.dtype) for name, array in self.parameters.items()}
        H = np.empty((*inputs.X.shape[:2], H0.shape[1]), X.dtype)
        previous = inputs.H0
        with np.errstate(over="ignore", invalid="ignore"):
            for t, X_t in enumerate(inputs.X):
                H[t] = value.step(self.cell, X_t, previous, parameters, arithmetic=BY_NAME)["H"]
                previous = H[t] if inputs.carried else inputs.H0
        for sequence, given in zip(self.sequences, reversed(met), strict=True):
            H = sequence.outward(H, given)
        return H

    def run(self, X: Array, H0: Array, H: Array) -> Run | None:
        """A result H (T, n, h) as such an implementation would have come to it; None where none could."""
        run: Run | None = Run(Inputs(X, H0), H)
        for sequence in reversed(self.sequences):
            run = None if run is None else run.through(sequence)
        return run

    def ratio(self, run: Run, u: float, *, few: int = 0) -> float:
        """The largest ratio of any state to the one-step bound at unit roundoff u; up to 1 it is what the edit gives.
        With `few`, of so many rows alone. Infinite where nothing can be said.
        """
        X, before = _rows(run.inputs.X), _rows(run.before)
        H, parameters, functions = _rows(run.H), self.parameters, self.functions
        chosen = np.unique(np.linspace(0, len(X) - 1, few or 1).astype(int))
        parts = [chosen] if few else [np.arange(s, min(s + ROWS, len(X))) for s in range(0, len(X), ROWS)]
        with np.errstate(all="ignore"):
            compared = [compare(found, should.astype(np.float64), u * np.abs(should)) for found, should in run.given]
            compared += [
                compare(H[rows], *bound.step(self.cell, X[rows], before[rows], parameters, u=u, functions=functions))
                for rows in parts
            ]
        return max(np.inf if each.is_undetermined.any() else float(each.ratio.max()) for each in compared)


def unedited(case: Case) -> Edit:
    """A case's cell with its weights as they are."""
    parameters = case.parameters
    seconds = {two: np.zeros_like(parameters[one]) for two, one in SECOND_BIASES.items() if one in parameters}
    return Edit(case.cell, {**seconds, **parameters})


def edited(edit: Edit, conventions: Iterable[Convention]) -> Edit | None:
    """Several conventions one after the other; None where one cannot be applied."""
    found: Edit | None = edit
    for convention in conventions:
        found = None if found is None else found.then(convention)
    return found


def _rows(array: Array) -> Array:
    """(T, n, k) as (T n, k)."""
    return array.reshape(-1, array.shape[-1])
