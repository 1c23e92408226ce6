"""States held against one step of the equations each, from the result's own state before it, and its bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isogru.judge.comparison import Comparison, compare
from isogru.judge.delivered import Delivered
from shared_spec.files.interchange import Case, Result
from shared_spec.readings import bound, span
from shared_spec.readings.arithmetic import Array

IN_CACHE = 2**16
"""As many float64 as fit a processor's cache."""
VACUOUS = "the bound is vacuous{}, it allows all that the state can be"


@dataclass(frozen=True)
class ByStep:
    """All states of a result (T, n, h) held against one step each."""

    held: Comparison
    sums: float
    """The unit roundoff within sums that it allows."""
    overflows: Array
    """(T, n, h): whether something on the way to it, or to what it comes from, may be beyond the format."""


def by_step(case: Case, result: Result, delivered: Delivered) -> ByStep:
    """Of what it may have summed up in, with the finest that all states fit; with the coarsest where they fit none."""
    attempts = [_by_step(case, result.arrays["H"], delivered, delivered.sums[0])]
    for sums in delivered.sums[1:]:
        if not attempts[-1].held.is_outside:
            break
        attempts.append(_by_step(case, result.arrays["H"], delivered, sums))
    return attempts[-1]


def final(case: Case, states: ByStep, result: Result, delivered: Delivered) -> ByStep:
    """The final state (n, h) held against the last step, with the same sums as all states."""
    value, H = result.arrays["final"], result.arrays["H"]
    held = _held(case, case.arrays["X"][-1], _before(case, H)[-1], value, delivered, states.sums)
    return ByStep(held, states.sums, states.overflows[-1])


def within_span(case: Case, final: Comparison) -> Comparison:
    """A final state alone, without the states before it: nothing is said where all that it can be is allowed."""
    least, most = span.state(case.cell, case.arrays["H0"])
    least, most = span.state(case.cell, least)[0], span.state(case.cell, most)[1]
    vacuous = (final.should_be - final.allowed <= least) & (final.should_be + final.allowed >= most)
    return final.without(vacuous, VACUOUS.format(""))


def _by_step(case: Case, H: Array, delivered: Delivered, sums: float) -> ByStep:
    before = _before(case, H)
    held = _held(case, case.arrays["X"], before, H, delivered, sums)
    # From there on a row of the batch is not what the oracle's is.
    overflows = np.isnan(held.allowed)
    rows = np.logical_or.accumulate(overflows.any(axis=2, keepdims=True), axis=0)
    return ByStep(held, sums, np.broadcast_to(rows, H.shape))


def _before(case: Case, H: Array) -> Array:
    """The state that each step takes: as it was written, known exactly."""
    states: Array = np.concatenate([case.arrays["H0"][None], H[:-1].astype(np.float64)])
    return states


def _parts(case: Case, X: Array, before: Array, delivered: Delivered, sums: float) -> Iterator[tuple[Array, Array]]:
    """A few steps at a time: a bound holds a dozen arrays at once, and these stay in the cache."""
    block = max(1, IN_CACHE // before[0].size)
    for t in range(0, len(X), block):
        rows = slice(t, t + block)
        yield _step(case, X[rows], before[rows], delivered, sums)


def _step(case: Case, X: Array, before: Array, delivered: Delivered, sums: float) -> tuple[Array, Array]:
    return bound.step(case.cell, X, before, case.parameters, u=delivered.u, sums=sums, stored=delivered.stored)


def _held(case: Case, X: Array, before: Array, value: Array, delivered: Delivered, sums: float) -> Comparison:
    if before.ndim == 2:
        should_be, allowed = _step(case, X, before, delivered, sums)
    else:
        parts = list(_parts(case, X, before, delivered, sums))
        should_be, allowed = (np.concatenate(part) for part in zip(*parts, strict=True))
    held = compare(value, should_be, allowed, dtype=delivered.stored)
    least, most = span.state(case.cell, before)
    vacuous = (should_be - allowed <= least) & (should_be + allowed >= most)
    if not vacuous.any():
        return held
    where = f" from step {int(np.argwhere(vacuous)[0][0])} on" if vacuous.ndim == 3 else ""
    return held.without(vacuous, VACUOUS.format(where))
