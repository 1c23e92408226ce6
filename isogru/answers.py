"""What somebody computed, as they saved it: states, the last state, gradients, in any file of arrays; and a case of
one's own.

A result file says what it is of. Other files do not, so that the case tells: an array is what its shape says, and what
is not there is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from isogru import judge, order, weight_files
from isogru.judge.comparison import EQUAL
from isogru.judge.verdict import ResultVerdict
from isogru.weight_files.contents import Contents
from shared_spec.cells import Cell
from shared_spec.errors import InterchangeError
from shared_spec.files.interchange import (
    DTYPES,
    RESULT_FORMAT,
    AnyCase,
    Case,
    Origin,
    Result,
    check_result,
    read_result,
)
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array
from shared_spec.readings.floats import HALVES

STATES = ("h", "states", "output", "outputs", "y", "hidden_states")
FINAL = ("final", "h_n", "hn", "last", "last_state", "y_h")
"""What people call all states, and the last one; in any case of letters."""
TIME_FIRST, BATCH_FIRST = "first", "second"


@dataclass(frozen=True)
class Answer:
    """A result as it is judged, and what was done to read it so."""

    result: Result
    notes: tuple[str, ...]
    whole: bool
    """Whether it is a result file, which holds all that its case asks for."""
    other: Result | None = None
    """The same with time and batch exchanged, where shapes do not tell which comes first."""


def read(path: Path, case: AnyCase, *, time: str = "") -> Answer:
    """An answer to a case. `time` says which axis of the states it is, "first" or "second"; where it is empty, shapes
    and values tell. Raises InterchangeError, with the file, for what cannot be one.
    """
    contents = weight_files.read(path)
    if contents.metadata.get("format", "").startswith("isogru-result/"):
        return _turned(path, Answer(read_result(path), (), True), case, time)
    if not isinstance(case, Case):
        raise InterchangeError(f"{path}: no result file ({RESULT_FORMAT}), and of a training nothing else is judged")
    arrays = _named(contents, case)
    dtypes = {contents.tensors[name].dtype for name in arrays.values()}
    known = (*DTYPES, *HALVES)
    if len(dtypes) > 1 or not dtypes <= set(known):
        raise InterchangeError(f"{path}: {' and '.join(sorted(dtypes))}; save all of them in one of {', '.join(known)}")
    (dtype,) = dtypes
    origin = Origin(
        case=case.name,
        case_digest=case.digest,
        cell=case.cell.name,
        spec_digest=case.cell.digest,
        framework="file",
        implementation=path.name,
        lane="answer",
        dtype=dtype,
        device="not said",
        unit_roundoff=UNIT_ROUNDOFF[dtype],
    )
    loaded = {quantity: contents.tensors[name].load() for quantity, name in arrays.items()}
    note = f"judged in {dtype}, as the file has it: how it was computed was not measured"
    return _ordered(path, _turned(path, Answer(Result(origin, loaded), (note,), False), case, time), case)


def _ordered(path: Path, answer: Answer, case: Case) -> Answer:
    """The answer in the order of the case, where a layer goes through its input in another."""
    if not case.reverse and case.lengths is None:
        return answer
    results: list[Result] = []
    told: tuple[str, ...] = ()
    for result in (answer.result, answer.other):
        if result is not None:
            check_result(path, result, case, partial=True)
            arrays, told = order.of_case(case, dict(result.arrays))
            results.append(Result(result.origin, arrays))
    return replace(answer, result=results[0], other=(*results, None)[1], notes=(*answer.notes, *told))


def _named(contents: Contents, case: Case) -> dict[str, str]:
    """Quantities of a result -> the names that they have in a file."""
    tensors = contents.tensors
    if len(tensors) == 1:
        (name,) = tensors
        return {_by_shape(contents, name, case): name}
    found: dict[str, str] = {}
    for name in tensors:
        last = name.rsplit(".", 1)[-1].lower() if not name.startswith("grad.") else ""
        quantity = "H" if last in STATES else "final" if last in FINAL else name if name.startswith("grad.") else ""
        if not quantity or quantity in found:
            raise InterchangeError(
                f"{contents.path}: {name} is no part of a result; name all states H, the last one final, and gradients "
                f"grad.X, grad.H0, grad.{next(iter(case.cell.parameters))} and so on"
            )
        found[quantity] = name
    if not found:
        raise InterchangeError(f"{contents.path}: holds no array")
    return found


def _by_shape(contents: Contents, name: str, case: Case) -> str:
    T, n, _ = case.arrays["X"].shape
    h = case.arrays["H0"].shape[1]
    shape = contents.tensors[name].shape
    if name.startswith("grad."):
        return name
    if shape == (n, h):
        return "final"
    if shape in ((T, n, h), (n, T, h)):
        return "H"
    raise InterchangeError(
        f"{contents.path}: {name} has shape {shape}; all states are (T, n, h) = {(T, n, h)}, or (n, T, h) = "
        f"{(n, T, h)}, the last one (n, h) = {(n, h)}"
    )


def _turned(path: Path, answer: Answer, case: AnyCase, time: str) -> Answer:
    """The answer with time first."""
    H = answer.result.arrays.get("H")
    if not isinstance(case, Case) or H is None or H.ndim != 3:
        return answer
    T, n, _ = case.arrays["X"].shape
    batch_first = _exchanged(answer.result)
    if time == BATCH_FIRST or (not time and n != T and H.shape[:2] == (n, T)):
        told = "as was said" if time else f"as its shape {H.shape} tells"
        return replace(answer, result=batch_first, notes=(*answer.notes, f"the batch comes first in it, {told}"))
    if time or n != T:
        return answer
    return replace(answer, other=batch_first)


def _exchanged(result: Result) -> Result:
    """With time and batch exchanged in the states."""
    arrays: dict[str, Array] = dict(result.arrays)
    arrays["H"] = np.ascontiguousarray(arrays["H"].swapaxes(0, 1))
    return Result(result.origin, arrays)


def judged(
    case: AnyCase, answer: Answer, *, claim: Cell | None = None, name: str = "", case_name: str = ""
) -> tuple[ResultVerdict, tuple[str, ...]]:
    """The verdict on an answer, and what is to be said of it. Where shapes leave open whether the batch comes first, it
    is taken so if that alone makes the states equal.
    """

    def on(result: Result) -> ResultVerdict:
        return judge.on(case, result, claim=claim, name=name, case_name=case_name, partial=not answer.whole)

    found = on(answer.result)
    notes = answer.notes
    if answer.other is not None and found.verdict != EQUAL and (turned := on(answer.other)).verdict == EQUAL:
        found = turned
        notes = (*notes, "the batch comes first in it, as its values tell: with time first it would be different")
    return found, (*notes, *_covers(case, answer))


def _covers(case: AnyCase, answer: Answer) -> tuple[str, ...]:
    """What an answer leaves out that the case asks for."""
    if answer.whole or not isinstance(case, Case):
        return ()
    asked = ["H", "final"]
    if "dH" in case.arrays:
        asked += ["grad.X", "grad.H0", *(f"grad.{name}" for name in case.cell.parameters)]
    absent = [name for name in asked if name not in answer.result.arrays]
    return (f"not there, and not judged: {', '.join(absent)}",) if absent else ()


def problem(
    name: str,
    cell: Cell,
    parameters: Mapping[str, Array],
    X: Array,
    H0: Array | None,
    dH: Array | None,
    *,
    reverse: bool = False,
    lengths: Array | None = None,
) -> tuple[Case, tuple[str, ...]]:
    """A case of one's own, as a file holds it (float32), and what rounding to float32 changed. X (T, n, d), H0 (n, h)
    or zero, dH (T, n, h) or none, all in the order of the input, which a layer may go through in `reverse`; and
    `lengths` (n,), or a mask (n, T), where sequences end early. Raises InterchangeError for what does not fit.
    """
    h = parameters["b_h"].shape[0]
    d = parameters["W_xh"].shape[0]
    if X.ndim != 3 or X.shape[2] != d:
        raise InterchangeError(f"the input has shape {X.shape}, should be (T, n, d) with d = {d}")
    T, n, _ = X.shape
    given = {"X": X, "H0": np.zeros((n, h)) if H0 is None else H0, **({} if dH is None else {"dH": dH}), **parameters}
    for key, shape in {"H0": (n, h), "dH": (T, n, h)}.items():
        if key in given and given[key].shape != shape:
            symbols = "(n, h)" if key == "H0" else "(T, n, h)"
            raise InterchangeError(f"{key} has shape {given[key].shape}, should be {symbols} = {shape}")
    ends = None if lengths is None else order.lengths_of(lengths, T, n)
    for key in ("X", "dH"):
        if key in given and ends is not None:
            given[key] = order.ended(given[key], ends)
        if key in given and reverse:
            given[key] = order.turned(given[key], ends)
    notes = []
    with np.errstate(over="ignore"):
        narrow = {key: array.astype(np.float32) for key, array in given.items()}
    for key, array in given.items():
        if not np.isfinite(narrow[key]).all():
            raise InterchangeError(f"{key} holds what is no finite float32; a case holds finite numbers")
        if not np.array_equal(narrow[key], array):
            notes.append(key)
    told = (f"{', '.join(notes)} rounded to float32, which a case holds: compute with the case's own",) if notes else ()
    return Case(name, cell, {key: array.astype(np.float64) for key, array in narrow.items()}, reverse, ends), told
