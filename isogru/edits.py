"""A cell with its weights, edited by conventions: what it computes, and how far a result is from that, step by step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from isogru.conventions import Convention, Held
from isogru.judge.comparison import Comparison, compare
from isogru.judge.delivered import Delivered
from isogru.sequences import Inputs, Run, Sequence
from shared_spec.cells import Cell
from shared_spec.files.interchange import Case
from shared_spec.files.passage import Lengths
from shared_spec.readings import bound, span, value
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.functions import ByName
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
        parameters = {name: self.weights[name] for name in self.cell.parameters}
        for second, first in SECOND_BIASES.items():
            if second in self.weights and second not in parameters and self.weights[second].any():
                parameters[first] = parameters[first] + self.weights[second]
        return parameters

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

    def run(self, X: Array, H0: Array, H: Array, lengths: Lengths = None) -> Run | None:
        """A result H (T, n, h) as such an implementation would have come to it; None where none could. Where sequences
        end early, `lengths` (n,) says after how many steps.
        """
        there = None if lengths is None else np.arange(len(X))[:, None] < np.array(lengths)
        run: Run | None = Run(Inputs(X, H0, there=there), H)
        for sequence in reversed(self.sequences):
            run = None if run is None else run.through(sequence)
        return run

    def ratio(self, run: Run, given: Delivered, *, few: bool = False) -> float:
        """The largest ratio of any state to the one-step bound, in the precision that was delivered and the finest sums
        that it may have; up to 1 it is what the edit gives. Infinite where nothing can be said: the bound is none, or
        allows all that the state can be. Of a few rows alone, to reject it, if that is said.
        """
        X, before, H = run.few if few else run.rows
        parts = [slice(start, start + ROWS) for start in range(0, len(X), ROWS)]
        with np.errstate(all="ignore"):
            compared = [
                compare(state, should.astype(np.float64), given.u * np.abs(should), dtype=given.stored)
                for state, should in run.given
            ]
            compared += [self._held(X[part], before[part], H[part], given, proof=not few) for part in parts]
        return max(np.inf if each.is_undetermined.any() else float(each.ratio.max()) for each in compared)

    def by_row(self, run: Run, given: Delivered) -> Array:
        """The largest ratio of each row of a run, every step of every sequence; infinite where nothing can be said."""
        X, before, H = run.rows
        parts = [slice(start, start + ROWS) for start in range(0, len(X), ROWS)]
        with np.errstate(all="ignore"):
            compared = [self._held(X[part], before[part], H[part], given, proof=False) for part in parts]
        return np.concatenate([np.where(each.is_undetermined, np.inf, each.ratio).max(-1) for each in compared])

    def _held(self, X: Array, before: Array, H: Array, given: Delivered, *, proof: bool) -> Comparison:
        should_be, allowed = self._step(X, before, given)
        held = compare(H, should_be, allowed, dtype=given.stored)
        if not proof or held.is_outside:
            return held
        least, most = span.state(self.cell, before)
        return held.without((should_be - allowed <= least) & (should_be + allowed >= most), "vacuous")

    def _step(self, X: Array, before: Array, given: Delivered) -> tuple[Array, Array]:
        return bound.step(self.cell, X, before, self.parameters, u=given.u, sums=given.sums[0], stored=given.stored)

    def allowed(self, run: Run, given: Delivered) -> float:
        """The largest bound of a few rows; infinite where there is none."""
        X, before, _ = run.few
        with np.errstate(all="ignore"):
            largest = float(self._step(X, before, given)[1].max())
        return largest if np.isfinite(largest) else np.inf

    def apart(self, run: Run) -> float:
        """How far a few rows are at most from what the edit gives, in a fraction of the time that a bound takes."""
        X, before, H = run.few
        with np.errstate(all="ignore"):
            off = np.abs(value.step(self.cell, X, before, self.parameters, arithmetic=BY_NAME)["H"] - H).max()
        return float(off) if np.isfinite(off) else np.inf


def unedited(case: Case) -> Edit:
    """A case's cell with its weights as they are."""
    parameters = case.parameters
    seconds = {two: np.zeros_like(parameters[one]) for two, one in SECOND_BIASES.items() if one in parameters}
    return Edit(case.cell, {**seconds, **parameters})


def edited(edit: Edit, conventions: Iterable[Convention]) -> Edit | None:
    """Several conventions one after the other; None where one cannot be applied."""
    composite: Edit | None = edit
    for convention in conventions:
        composite = None if composite is None else composite.then(convention)
    return composite
