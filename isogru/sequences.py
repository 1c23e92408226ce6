"""The edits of a sequence: what an implementation that goes through time otherwise takes, and what it gives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from shared_spec.readings.arithmetic import Array

FEW = 12
"""How many rows reject an edit before all are looked at."""


@dataclass(frozen=True)
class Inputs:
    """What a run takes: X (T, n, d) and H0 (n, h); and whether each step takes the state of the step before, or H0."""

    X: Array
    H0: Array
    carried: bool = True
    there: Array | None = None
    """Which steps each sequence has, (T, n), where some end early: from the first to its last."""


@dataclass(frozen=True)
class Sequence:
    """An edit: the inputs that the right function gets, what becomes of its states, and back from what was made of
    them. Right states are (T, n, h) of the edited inputs.
    """

    inputs: Callable[[Inputs], Inputs | None]
    """None where it cannot be applied."""
    outward: Callable[[Array, Inputs], Array] = lambda H, _: H
    """States of the edited inputs -> what the implementation gives of the inputs as they were."""
    inward: Callable[[Array, Inputs], Array] = lambda H, _: H
    """The inverse."""
    starts: bool = False
    """Whether the first state that the implementation gives is H0, which no step computes."""


@dataclass(frozen=True)
class Run:
    """A foreign result as that of a right function: its inputs and its states H (T, n, h)."""

    inputs: Inputs
    H: Array
    given: tuple[tuple[Array, Array], ...] = ()
    """What is there of the result beside steps, and what it should be."""

    @property
    def before(self) -> Array:
        """The state that each step starts from, (T, n, h), float64: the result's own."""
        H0 = self.inputs.H0.astype(np.float64)[None]
        if not self.inputs.carried:
            return np.broadcast_to(H0, self.H.shape)
        return np.concatenate([H0, self.H[:-1].astype(np.float64)])

    @functools.cached_property
    def rows(self) -> tuple[Array, Array, Array]:
        """Every step of every sequence as a row: X (T n, d), the state before (T n, h), the state after (T n, h)."""
        X, before, H = (a.reshape(-1, a.shape[-1]) for a in (self.inputs.X, self.before, self.H))
        if self.inputs.there is None:
            return X, before, H
        there = self.inputs.there.ravel()  # Past the end of a sequence nothing is computed.
        return X[there], before[there], H[there]

    @functools.cached_property
    def few(self) -> tuple[Array, Array, Array]:
        """A few of those rows, from the first to the last."""
        X, before, H = self.rows
        chosen = np.unique(np.linspace(0, len(X) - 1, FEW).astype(int))
        return X[chosen], before[chosen], H[chosen]

    def through(self, edit: Sequence) -> Run | None:
        """The same result, if the edit is what was done; None where the edit cannot be applied."""
        inputs = edit.inputs(self.inputs)
        if inputs is None:
            return None
        given = ((self.H[0], self.inputs.H0),) if edit.starts else ()
        return replace(self, inputs=inputs, H=edit.inward(self.H, self.inputs), given=self.given + given)


def _late(inputs: Inputs) -> Inputs | None:
    there = None if inputs.there is None else inputs.there[1:]
    return replace(inputs, X=inputs.X[:-1], there=there) if len(inputs.X) > 1 else None


def _turned(A: Array, inputs: Inputs) -> Array:
    """The last step first, of each sequence its own last one."""
    if inputs.there is None:
        return A[::-1]
    turned = A.copy()
    for row, length in enumerate(inputs.there.sum(0)):
        turned[:length, row] = A[:length, row][::-1]
    return turned


def _zero(X: Array) -> Array:
    return np.zeros_like(X[:1])


def _exchanged(inputs: Inputs) -> Inputs | None:
    """Each step is a sequence now: H0 has a row for each where there are as many, and counts as zero elsewhere."""
    if inputs.there is not None:
        return None
    T, n = inputs.X.shape[:2]
    H0 = inputs.H0 if n == T else np.zeros((T, *inputs.H0.shape[1:]), inputs.H0.dtype)
    return replace(inputs, X=inputs.X.swapaxes(0, 1), H0=H0)


def _reshaped(A: Array) -> Array:
    """(T, n, k) read as (n, T, k), and its axes put right."""
    T, n, k = A.shape
    return A.reshape(n, T, k).swapaxes(0, 1)


def _reshaped_back(A: Array) -> Array:
    return A.swapaxes(0, 1).reshape(A.shape)


SEQUENCES: Mapping[str, Sequence] = {
    "start_ignored": Sequence(lambda i: replace(i, H0=np.zeros_like(i.H0))),
    "not_carried": Sequence(lambda i: replace(i, carried=False) if i.carried else None),
    "time_reversed": Sequence(lambda i: replace(i, X=_turned(i.X, i)), _turned, _turned),
    "inputs_reversed": Sequence(lambda i: replace(i, X=_turned(i.X, i))),
    "states_reversed": Sequence(lambda i: i, _turned, _turned),
    "states_late": Sequence(
        _late, lambda H, i: np.concatenate([i.H0[None].astype(H.dtype), H]), lambda H, _: H[1:], starts=True
    ),
    "inputs_late": Sequence(lambda i: replace(i, X=np.concatenate([_zero(i.X), i.X[:-1]]))),
    "inputs_early": Sequence(lambda i: replace(i, X=np.concatenate([i.X[1:], _zero(i.X)]))),
    "batch_and_time_exchanged": Sequence(_exchanged, lambda H, _: H.swapaxes(0, 1), lambda H, _: H.swapaxes(0, 1)),
    "batch_and_time_reshaped": Sequence(
        lambda i: None if i.there is not None else replace(i, X=_reshaped(i.X)),
        lambda H, _: _reshaped_back(H),
        lambda H, _: _reshaped(H),
    ),
}
