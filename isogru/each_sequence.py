"""What became of the sequences of a batch, where every step that was computed is right: they ended early, steps were
passed over, or they stand in another order. Where the first step alone is off, that is said too.

conventions.toml has none of these, since what was done is in the result's own numbers: so many steps, in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isogru.edits import Edit
from isogru.judge.delivered import Delivered
from shared_spec.files.interchange import Case
from shared_spec.readings.arithmetic import Array

MOST = 1024
"""How many sequences are held against each other; the square of it is kept."""
FEW = 8
"""How many of them a sentence tells."""
ZEROS = "past their ends it gives zeros, as packed sequences and ONNX do"
HELD = "past their ends it holds the last state, as a mask of Keras does"
HELD_REVERSE = "past their ends it holds the start state, as a mask of Keras does"
BOTH = "past their ends some are zero, others hold {} state"


@dataclass(frozen=True)
class Told:
    """What was done, what to do about it, and the largest ratio of a step to its bound that is left then."""

    sentence: str
    remedy: str
    ratio: float
    is_cause: bool = True
    """Whether the result is equal if that was done; else it says where the fault is, and there is no remedy."""


def told(case: Case, H: Array, edit: Edit, given: Delivered, right: Array) -> Told | None:
    """Of states H (T, n, h) that are not equal to those of an edit, which are `right`; None where none of it was done.

    The proof is that of an edit: each step that was computed is within its bound.
    """
    run = edit.run(case.arrays["X"], case.arrays["H0"], H)
    if case.lengths is not None or run is None:
        return None
    ratios = edit.by_row(run, given).reshape(H.shape[:2])
    return (
        _passed_over(case, H, ratios)
        or _first_alone(case, ratios)
        or _reshaped(case, H, edit, given)
        or _exchanged(case, H, edit, given, right)
    )


def _first_alone(case: Case, ratios: Array) -> Told | None:
    """Whether the first step alone is off: from another start state, or by any fault of that step."""
    if len(ratios) < 2 or (ratios[1:] > 1).any():
        return None
    rows = np.flatnonzero(ratios[0] > 1)
    of = "" if len(rows) == ratios.shape[1] else f" in {_some(rows)} of the sequences, counted from 0"
    first = "the first step that it computes, of the input the last," if case.reverse else "the first step"
    told = f"{first} alone is off{of}; every step after it is right by itself, as from another start state"
    return Told(told, "", float(ratios[1:].max()), is_cause=False)


def _passed_over(case: Case, H: Array, ratios: Array) -> Told | None:
    """Whether each step that is off was not computed: the state is kept, or it is zero from there to the end."""
    off, nothing = ratios > 1, (H == 0).all(-1)
    # Of a layer that runs backwards what lies past an end comes first.
    zero = np.logical_and.accumulate(nothing) if case.reverse else np.logical_and.accumulate(nothing[::-1])[::-1]
    before = np.concatenate([case.arrays["H0"][None].astype(H.dtype), H[:-1]])
    held = (before == H).all(-1)
    if not (zero | held)[off].all() or not (~off & ~zero & ~held).any(0).all():
        return None
    ratio = float(ratios[~off].max())
    in_time = off[::-1] if case.reverse else off
    lengths = np.where(in_time.any(0), in_time.argmax(0), len(H))
    past = np.arange(len(H))[:, None] >= lengths
    past = past[::-1] if case.reverse else past
    if (zero | held)[past].all() and (past | ~off).all():
        holds = HELD_REVERSE if case.reverse else HELD
        both = BOTH.format("the start" if case.reverse else "the last")
        how = ZEROS if zero[past].all() else holds if held[past].all() else both
        return Told(*early(f"sequences end early, and {how}", lengths.tolist(), own=_is_own(case)), ratio)
    row = int(off.any(0).argmax())
    steps = np.flatnonzero(in_time[:, row])
    return Told(
        f"steps are passed over and the state is kept, as a mask does: {len(steps)} of sequence {row}, counted from 0, "
        f"the first of them step {steps[0]}",
        "leave these steps out of the input: a case has sequences that end early, and no gaps"
        if _is_own(case)
        else "compute these steps too: the case has no mask",
        ratio,
    )


def _reshaped(case: Case, H: Array, edit: Edit, given: Delivered) -> Told | None:
    """Whether batch and time were exchanged in the states, by a reshape where the shape shows it otherwise."""
    T, n, h = H.shape
    # A layer that runs backwards gives its states in the order of its input, or in that in which it computes them.
    for turn in (-1, 1) if case.reverse else (1,):
        own = H[::turn]
        for first, second, states in (
            ("time", "batch", own.swapaxes(0, 1).reshape(T, n, h)),
            ("batch", "time", own.reshape(n, T, h).swapaxes(0, 1)),
        ):
            run = edit.run(case.arrays["X"], case.arrays["H0"], states[::turn])
            if run is None or edit.ratio(run, given, few=True) > 1 or (ratio := edit.ratio(run, given)) > 1:
                continue
            if n == T:
                return Told("the batch comes first in its states", "exchange the first two axes of the states", ratio)
            sentence = f"its numbers lie {first} first, under a shape with the {second} first: they were reshaped"
            return Told(sentence, "transpose the first two axes of the states instead of reshaping", ratio)
    return None


def _exchanged(case: Case, H: Array, edit: Edit, given: Delivered, right: Array) -> Told | None:
    """Whether the sequences stand in another order."""
    order = another_order(H, right)
    if order is None:
        return None
    run = edit.run(case.arrays["X"][:, order], case.arrays["H0"][order], H)
    ratio = np.inf if run is None else edit.ratio(run, given)
    return Told(*in_order(order), ratio) if ratio <= 1 else None


def another_order(H: Array, right: Array) -> list[int] | None:
    """Which sequence of `right` (T, n, h) each one of H is nearest to, where each is to another one; None where that is
    its own, or there are too many.
    """
    n = H.shape[1]
    if not 1 < n <= MOST or not np.isfinite(H).all() or not np.isfinite(right).all():
        return None
    ours, theirs = (a.swapaxes(0, 1).reshape(n, -1).astype(np.float64) for a in (H, right))
    apart = (ours**2).sum(1)[:, None] + (theirs**2).sum(1) - 2 * ours @ theirs.T
    order = []
    for row in apart:
        order.append(int(row.argmin()))
        apart[:, order[-1]] = np.inf
    return None if order == list(range(n)) else order


def in_order(order: Sequence[int], of: str = "H[:, {}]") -> tuple[str, str]:
    """A sentence on sequences of which number i is number order[i] of the case, and what to do about it: to take them
    in another order `of` an array.
    """
    (first, its), *moved = [(i, j) for i, j in enumerate(order) if i != j]
    more = "".join(f", {i} is {j}" for i, j in moved[: FEW - 1]) + (", ..." if len(moved) >= FEW else "")
    back = ", ".join(str(order.index(i)) for i in range(len(order)))
    take = f": {of.format(f'[{back}]')}, with time first" if len(order) <= FEW else ""
    return (
        f"the sequences stand in another order: number {first} of the result is number {its} of the case{more}",
        f"put them back in order, as the unsorted_indices of a packed sequence do{take}",
    )


def of_last(case: Case, final: Array, right: Array, ratio: Callable[[Case, Array], float]) -> Told | None:
    """The same of last states (n, h) alone: `right` are all states (T, n, h), and `ratio` gives the largest ratio of
    last states of a case, infinite where they are not equal. None where nothing of it was done.
    """
    if case.lengths is not None or case.reverse or not np.isfinite(right).all():
        return None
    order = another_order(final[None], right[-1:])
    if order is not None:
        left = ratio(case, final[[order.index(i) for i in range(len(order))]])
        if left <= 1:
            return Told(*in_order(order, "final[{}]"), left)
    nearest = np.abs(right - final).max(-1).argmin(0)
    lengths = tuple(int(t) + 1 for t in nearest)
    if min(lengths) < len(right) and (left := ratio(replace(case, lengths=lengths), final)) <= 1:
        own = _is_own(case)
        if len(set(lengths)) == 1:
            told = f"it is the state after {lengths[0]} of {len(right)} steps"
            otherwise = f", or write the case with the first {lengths[0]} steps alone" if own else ""
            return Told(told, f"give the last state{otherwise}", left)
        return Told(*early("sequences end early", lengths, own=own), left)
    return None


def _is_own(case: Case) -> bool:
    """Whether somebody made the case of weights and an input of their own, and can write it anew."""
    return case.source is not None


def early(told: str, lengths: Sequence[int], *, own: bool) -> tuple[str, str]:
    """A sentence on sequences that end after so many steps, and what to do about it; `own` as _is_own has it."""
    told = f"{told}: their lengths are {_some(lengths)}"
    if not own:
        return told, "compute every sequence to its last step: the case has no lengths"
    code = f": numpy.save('lengths.npy', {list(lengths)})" if len(lengths) <= FEW else ""
    return told, f"write the case with --lengths lengths.npy, these{code}"


def _some(numbers: Array | Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:FEW])) + (", ..." if len(numbers) > FEW else "")
