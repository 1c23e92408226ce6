"""What a precision cannot hold, where twins show it: gradients that overflow, or that rounding can make anything.

What is allowed is ten times what twins stray. Where that is as much as the quantity itself, zeros would pass, and twice
the quantity: such a place is undetermined. One that is small beside others of the same quantity does not count, as
small elements do not: what is allowed at the largest place that is held to something would cover it too.
"""

from __future__ import annotations

import numpy as np

from isogru.judge.comparison import TWIN_MULTIPLE, Comparison, compare
from isogru.judge.reference import Reference
from shared_spec.readings import floats
from shared_spec.readings.arithmetic import Array

OVERFLOW = "on the way there numbers may go beyond {largest:.1e}, in one order of a sum if not in another"
CHAOTIC = (
    "the problem is chaotic in {dtype}: from step {step} on rounding moves its states by as much as they are large"
)
UNDERFLOW = "it is that near to zero, and below {smallest:.1e} a machine may make zero of a number"
LOST = "rounding alone moves it there by as much as it is large"


def judged(held: Comparison, quantity: str, reference: Reference) -> Comparison:
    """A quantity held against what its twins stray, without what the precision cannot hold."""
    return _without_vacuous(_without_chaos(_without_overflow(held, quantity, reference), reference), reference)


def can_hold(reference: Reference, dtype: str) -> bool:
    """Whether something can be said of every element of every gradient in that dtype."""
    for quantity, truth in reference.oracle.items():
        if quantity.startswith("grad."):
            best = compare(floats.rounded(truth, dtype), truth, TWIN_MULTIPLE * reference.stray[quantity], dtype=dtype)
            if judged(best, quantity, reference).is_undetermined.any():
                return False
    return True


def _without_overflow(held: Comparison, quantity: str, reference: Reference) -> Comparison:
    """The same, where nothing is said of what is no finite number and some order of a sum may have made that of it."""
    reach = reference.reach.get(quantity)
    if reach is None:
        return held
    may = reach & ~np.isfinite(held.value) & (held.ratio > 1)
    return held.without(may, overflow(held.dtype), outside=True)


def _without_chaos(held: Comparison, reference: Reference) -> Comparison:
    """The same, where nobody is accused whose states may be others from some step on: a gradient along other states can
    be larger by as many orders as there are steps, and four twins are no measure of that. What is no finite number is
    excused where one that is as far beyond what is allowed as that is beyond the value would overflow.
    """
    step = chaotic_from(reference)
    if step is None:
        return held
    with np.errstate(all="ignore"):
        spread = held.allowed / np.abs(held.should_be) * held.allowed
    excused = np.isfinite(held.value) | (spread > floats.largest(held.dtype)).any()
    return held.without(excused & (held.ratio > 1), CHAOTIC.format(dtype=held.dtype, step=step), outside=True)


def overflow(dtype: str) -> str:
    """What is said of a sum that may overflow."""
    return OVERFLOW.format(largest=floats.largest(dtype))


def _without_vacuous(held: Comparison, reference: Reference) -> Comparison:
    """The same, where nothing is said of places, steps or a whole tensor, of which zeros would pass: (T, n, ...) or any
    other shape.
    """
    size = np.abs(held.should_be)
    axes = (1, 2) if size.ndim == 3 else None
    unsaid = held.is_undetermined
    passes = np.asarray((unsaid | (size <= held.allowed)).all(axis=axes, keepdims=True))
    largest = np.asarray(np.where(unsaid, 0.0, size).max(axis=axes, keepdims=True))
    # Zero is right where the precision has no other number for it.
    vacuous = passes & (floats.rounded(largest, held.dtype) > 0)
    firm = np.where(vacuous, 0.0, largest)
    if not vacuous.any():
        return held
    if firm.any():
        top = np.broadcast_to(firm == firm.max(), size.shape) & ~unsaid
        vacuous = vacuous & (largest > held.allowed[top].max())
    return held.without(vacuous, _why(largest[vacuous], held.dtype, reference)) if vacuous.any() else held


def chaotic_from(reference: Reference) -> int | None:
    """The first step at which ten times what the twins' states stray is as much as the largest state is; None where
    there is none.
    """
    if "H" not in reference.oracle:
        return None
    H, stray = reference.oracle["H"], np.broadcast_to(reference.stray["H"], reference.oracle["H"].shape)
    apart = TWIN_MULTIPLE * np.where(np.isfinite(stray), stray, 0.0).max(axis=(1, 2))
    size = np.abs(H).max(axis=(1, 2))
    # Next to zero states part because they are made zero.
    steps = np.flatnonzero((apart >= size) & (size > TWIN_MULTIPLE * floats.smallest_normal("float32")))
    return int(steps[0]) if len(steps) else None


def after_chaos(quantity: str, reference: Reference) -> Array:
    """Of the states H, which steps (T, 1, 1) come at or after chaos; of the final state, whether it does, ().

    From there on twins are no measure of others, though they may come together again: the one-step bound is.
    """
    step, H = chaotic_from(reference), reference.oracle["H"]
    steps: Array = np.arange(len(H)) >= (len(H) if step is None else step)
    return steps[:, None, None] if quantity == "H" else steps[-1]


def _why(sizes: Array, dtype: str, reference: Reference) -> str:
    smallest = floats.smallest_normal(dtype)
    if (sizes <= TWIN_MULTIPLE * smallest).all():
        return UNDERFLOW.format(smallest=smallest)
    step = chaotic_from(reference)
    return LOST if step is None else CHAOTIC.format(dtype=dtype, step=step)
