"""The order in which a layer goes through its input: from the last step to the first, or each sequence to its own end.

A case holds the problem as a cell meets it, step after step: of a layer that runs backwards X is turned round, each
sequence within its own length, and what lies past an end is zero. What the layer itself gave is in the order of its
input; here it is put into that of the case.
"""

from __future__ import annotations

import numpy as np

from shared_spec.errors import InterchangeError
from shared_spec.files.interchange import Case
from shared_spec.readings import value
from shared_spec.readings.arithmetic import Array

COMPUTED = "Keras' go_backwards gives its states in the order in which they are computed"
TURNED = "these were turned round, as their values tell"
OVER_TIME = ("X", "dH", "H", "grad.X")
"""What has a time axis, the first."""


def turned(array: Array, lengths: tuple[int, ...] | None) -> Array:
    """An array (T, n, ...) with each sequence turned round within its length."""
    copy = array.copy()
    for row, length in enumerate(lengths or (len(array),) * array.shape[1]):
        copy[:length, row] = array[:length, row][::-1]
    return copy


def ended(array: Array, lengths: tuple[int, ...]) -> Array:
    """An array (T, n, ...) with zeros past the end of each sequence."""
    copy = array.copy()
    for row, length in enumerate(lengths):
        copy[length:, row] = 0
    return copy


def of_case(
    case: Case, arrays: dict[str, Array], *, computed: bool = False
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """What a layer gave for a case, as the case has it, and what is to be said of it. Where it gives its states in the
    order in which they are `computed`, those are as the case has them.

    Past the end of a sequence a layer computes nothing; there the case goes on from its last state, so that nothing of
    what it holds there is judged. The last state of a short sequence is likewise carried to the end.
    """
    outputs, told = dict(arrays), []
    if case.reverse:
        names = [name for name in OVER_TIME if name in outputs and not (computed and name == "H")]
        outputs |= {name: turned(outputs[name], case.lengths) for name in names}
        end = "T" if case.lengths is None else "its length"
        here = f"H[t] here is its own at {end} - 1 - t"
        told.append(f"it runs from the last step to the first: {COMPUTED if computed else here}")
    if case.lengths is None:
        return outputs, tuple(told)
    lengths = case.lengths
    short = sum(length < len(case.arrays["X"]) for length in lengths)
    told.append(
        f"{short} of {len(lengths)} sequences end early" + (_past_end(outputs["H"], lengths) if "H" in outputs else "")
    )
    at_end = outputs.get("final")
    if "H" in outputs:
        last = np.stack([outputs["H"][length - 1, row] for row, length in enumerate(lengths)])
        outputs["H"] = _carried(case, last, outputs["H"])
    if at_end is not None:
        like = np.zeros((len(case.arrays["X"]), *at_end.shape), at_end.dtype)
        # A sequence that is as long as all has no step to be carried over.
        whole = np.array(lengths)[:, None] == len(like)
        outputs["final"] = np.where(whole, at_end, _carried(case, at_end, like)[-1])
    return outputs, tuple(told)


def _carried(case: Case, last: Array, H: Array) -> Array:
    """H (T, n, h) with the steps after each end computed from `last` (n, h), the state there, rounded to its dtype."""
    states, state = H.copy(), last
    for t in range(min(case.lengths or ()), len(H)):
        over = np.array(case.lengths)[:, None] <= t
        before = np.where(np.array(case.lengths)[:, None] == t, last, state).astype(np.float64)
        with np.errstate(all="ignore"):
            after = value.step(case.cell, case.arrays["X"][t], before, case.parameters)["H"].astype(H.dtype)
        state = np.where(over, after, last)
        states[t] = np.where(over, state, H[t])
    return states


def _past_end(H: Array, lengths: tuple[int, ...]) -> str:
    """What a layer gave past the ends."""
    past = [(H[length:, row], H[length - 1, row]) for row, length in enumerate(lengths) if length < len(H)]
    if not past:
        return ""
    if all((after == 0).all() for after, _ in past):
        return "; past them it gives zeros, as packed sequences and ONNX do"
    if all((after == last).all() for after, last in past):
        return "; past them it holds the last state, as a mask of Keras does"
    return "; what it gives past them is not judged"


def lengths_of(array: Array, T: int, n: int) -> tuple[int, ...]:
    """Lengths (n,), whole numbers from 1 to T, or a mask (n, T) or (T, n) of zeros and ones whose ones come first.

    Raises InterchangeError for anything else.
    """
    if array.shape in ((n, T), (T, n)) and np.isin(array, (0, 1)).all():
        mask = (array if array.shape == (n, T) else array.T).astype(bool)
        array = mask.sum(1)
        if not all(row[:length].all() for row, length in zip(mask, array, strict=True)):
            raise InterchangeError("a mask has a zero before a one; a case has sequences that end early, and no gaps")
    should = f"they are {n} whole numbers from 1 to {T}, or a mask (n, T) = {(n, T)}"
    if array.shape != (n,):
        raise InterchangeError(f"lengths have shape {array.shape}; {should}")
    if (wrong := array[(array != np.floor(array)) | (array < 1) | (array > T)]).size:
        raise InterchangeError(f"one of the lengths is {wrong[0]:g}; {should}")
    return tuple(int(length) for length in array)
