"""What somebody computed, as they saved it: states, the last state, gradients, in any file of arrays; and a case of
one's own.

A result file says what it is of. Other files do not, so that the case tells: an array is what its shape says, and what
is not there is not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isogru import answer_parts, array_files, formats, judge, layer_gradients, order
from isogru.answer_parts import axes, put
from isogru.explain import Explanation
from isogru.judge.comparison import EQUAL
from isogru.judge.verdict import ResultVerdict
from isogru.runners.verdict import Evidence
from shared_spec.cells import Cell
from shared_spec.errors import InterchangeError, UserError
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
from shared_spec.files.sources import Source
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array
from shared_spec.readings.floats import HALVES

TIME_FIRST, BATCH_FIRST = "first", "second"
BATCH_TOLD = "the batch comes first in it, as its values tell: with time first it would be different"


@dataclass(frozen=True)
class Answer:
    """A result as it is judged, and what was done to read it so."""

    result: Result
    notes: tuple[str, ...]
    plain: bool
    """Whether it is no result file, which says what it is of and what it was computed in."""
    coarse: str = ""
    """The coarsest format of which all values are numbers, as they are in the file: see `formats.coarser`."""
    others: tuple[tuple[Result, str], ...] = ()
    """The same in another order, where neither shapes nor the case tell which it has; each with what is to be said if
    that alone is equal.
    """
    seconds: Mapping[str, Array] = field(default_factory=dict)
    """Gradients of second biases, which are those of the sums that they are in: {"grad.b_hz": ...}."""


def read(path: Path, case: AnyCase, *, time: str = "") -> Answer:
    """An answer to a case. `time` says which axis of the states it is, "first" or "second"; where it is empty, shapes
    and values tell. Raises InterchangeError, with the file, for what cannot be one.
    """
    contents = array_files.read(path, _shape(case), "H")
    if contents.metadata.get("format", "").startswith("isogru-result/"):
        return _turned(Answer(read_result(path), (), False), case, time)
    if not isinstance(case, Case):
        raise InterchangeError(f"{path}: no result file ({RESULT_FORMAT}), and of a training nothing else is judged")
    contents, seconds, told = layer_gradients.unpacked(contents, case)
    parts = answer_parts.parts(contents, case)
    dtypes = {contents.tensors[part.name].dtype for part in parts.values()}
    known = (*DTYPES, *HALVES)
    if len(dtypes) > 1 or not dtypes <= set(known):
        raise InterchangeError(f"{path}: {' and '.join(sorted(dtypes))}; save all of them in one of {', '.join(known)}")
    (dtype,) = dtypes
    loaded = {quantity: put(contents.tensors[part.name].load(), part) for quantity, part in parts.items()}
    notes = [f"judged in {dtype}, as the file has it: how it was computed was not measured"]
    notes += [f"{part.name} is taken as {q}, as its shape tells" for q, part in parts.items() if part.by_shape] + told
    result = Result(origin(case, path.name, dtype), loaded)
    # Before they are put in order: what stands past an end then is the case's, in its numbers.
    answer = Answer(result, tuple(notes), True, formats.coarser(result), seconds=seconds)
    return _ordered(path, _turned(answer, case, time), case)


def _shape(case: AnyCase) -> str:
    """Of all states, as numbers."""
    if not isinstance(case, Case):
        return "-1"
    return ", ".join(map(str, (*case.arrays["X"].shape[:2], case.arrays["H0"].shape[1])))


def origin(case: Case, name: str, dtype: str) -> Origin:
    return Origin(
        case=case.name,
        case_digest=case.digest,
        cell=case.cell.name,
        spec_digest=case.cell.digest,
        framework="file",
        implementation=name,
        lane="answer",
        dtype=dtype,
        device="not said",
        unit_roundoff=UNIT_ROUNDOFF[dtype],
    )


def _ordered(path: Path, answer: Answer, case: Case) -> Answer:
    """The answer in the order of the case, where a layer goes through its input in another."""
    if not case.reverse and case.lengths is None:
        return answer
    case = case.held_in(answer.result.origin.dtype)
    computed = case.source is not None and case.source.computed
    others: list[tuple[Result, str]] = []
    told: tuple[str, ...] = ()
    for result, note in ((answer.result, ""), *answer.others):
        check_result(path, result, case, partial=True)
        arrays, told = order.of_case(case, dict(result.arrays), computed=computed)
        others.append((Result(result.origin, arrays), note))
        if computed and "H" in arrays:
            turned, _ = order.of_case(case, dict(result.arrays))
            others.append((Result(result.origin, turned), "; ".join(filter(None, (note, order.TURNED)))))
    (first, _), *rest = others
    return replace(answer, result=first, others=tuple(rest), notes=(*answer.notes, *told))


def _turned(answer: Answer, case: AnyCase, time: str) -> Answer:
    """The answer with time first."""
    if not isinstance(case, Case):
        return answer
    T, n, _ = case.arrays["X"].shape
    over_time = {q: a for q, a in answer.result.arrays.items() if q in order.OVER_TIME and a.ndim == 3}
    if time == BATCH_FIRST or (not time and n != T):
        second = [q for q, array in over_time.items() if time or array.shape[:2] == (n, T)]
        if not second:
            return answer
        told = "as was said" if time else f"as its shape {over_time[second[0]].shape} tells"
        note = f"the batch comes first in it, {told}"
        return replace(answer, result=_exchanged(answer.result, second), notes=(*answer.notes, note))
    if time or n != T or not over_time:
        return answer
    return replace(answer, others=((_exchanged(answer.result, over_time), BATCH_TOLD),))


def _exchanged(result: Result, names: Iterable[str]) -> Result:
    """With time and batch exchanged in some arrays."""
    arrays: dict[str, Array] = dict(result.arrays)
    arrays |= {name: np.ascontiguousarray(arrays[name].swapaxes(0, 1)) for name in names}
    return Result(result.origin, arrays)


class Judged(NamedTuple):
    """The verdict on an answer."""

    verdict: ResultVerdict
    notes: tuple[str, ...]
    """What is to be said of it."""
    result: Result
    """As which it was judged."""
    cause: Explanation | None = None
    """Of one that is not equal and would be with products in a coarser format: that."""


def judged(
    case: AnyCase,
    answer: Answer,
    *,
    claim: Cell | None = None,
    products: str = "",
    name: str = "",
    case_name: str = "",
) -> Judged:
    """The verdict on an answer. Where shapes leave open whether the batch comes first, it is taken so if that alone
    makes the states equal; where it is not equal in the dtype of its file and all its values are numbers of a coarser
    format, which NumPy may not have, it is judged in that. `products` says what its products were computed in, where
    that is coarser than its states; where it is not said and would make it equal, the notes say it.

    Raises UserError for products that are no coarser, or that are said of a training.
    """

    def on(result: Result) -> ResultVerdict:
        return judge.on(case, result, claim=claim, name=name, case_name=case_name, partial=isinstance(case, Case))

    answer = _with_products(answer, case, products) if products else answer
    verdict, result = on(answer.result), answer.result
    notes = answer.notes
    coarse = answer.coarse if verdict.verdict != EQUAL else ""
    if coarse and isinstance(case, Case):
        dtype, result = result.origin.dtype, _in(result, case, coarse)
        verdict = on(result)
        told = (
            f"judged in {coarse}: the file is of {dtype}, and all its values are numbers of {coarse}, or print as such"
        )
        notes = (told, *notes[1:])
    tried = [(result, verdict)]
    for other, told in answer.others:
        if verdict.verdict == EQUAL:
            break
        assert isinstance(case, Case)
        other = _in(other, case, coarse) if coarse else other
        tried.append((other, on(other)))
        if (turned := tried[-1][1]).verdict == EQUAL:
            verdict, result, notes = turned, other, (*notes, told)
    cause = None
    if verdict.verdict != EQUAL and not products and isinstance(case, Case):
        hints = (formats.narrower([Evidence(case, each, of)], claim) for each, of in tried)
        hint, cause = next(filter(any, hints), ("", None))
        notes = (*notes, hint) if hint else notes
    if answer.plain and verdict.verdict != EQUAL and (digits := formats.decimals(result)):
        notes = (
            *notes,
            f"every value has at most {digits} decimals, as printed numbers do: save them with every digit",
        )
    if seconds := layer_gradients.of_seconds(answer.seconds, result, on):
        verdict = replace(verdict, findings=(*verdict.findings, *seconds))
    return Judged(verdict, (*notes, *_covers(case, result)), result, cause)


def _with_products(answer: Answer, case: AnyCase, products: str) -> Answer:
    """The answer as one whose products were in a coarser format than its states, as was said."""
    if not isinstance(case, Case):
        raise UserError(f"case {case.name}: a training is judged in its dtype; leave --products out")
    result = formats.with_products(answer.result, products)
    others = tuple((formats.with_products(other, products), told) for other, told in answer.others)
    notes = (formats.told(result.origin.dtype, products), *(answer.notes[1:] if answer.plain else answer.notes))
    return replace(answer, result=result, notes=notes, coarse="", others=others)


def _in(result: Result, case: Case, dtype: str) -> Result:
    """A result as one of a coarser format: float32, with the unit roundoff of that."""
    arrays = {name: array.astype(np.float32) for name, array in result.arrays.items()}
    narrow = origin(case, result.origin.implementation, "float32")
    return Result(replace(narrow, unit_roundoff=UNIT_ROUNDOFF[dtype]), arrays)


def _covers(case: AnyCase, result: Result) -> tuple[str, ...]:
    """What an answer leaves out that the case asks for."""
    if not isinstance(case, Case):
        return ()
    absent = [name for name in ("H", "final") if name not in result.arrays]
    if "dH" in case.arrays:
        gradients = [f"grad.{name}" for name in ("X", "H0", *case.cell.parameters)]
        left = [name for name in gradients if name not in result.arrays]
        absent += left if len(left) < len(gradients) else ["the gradients"]
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
    source: Source | None = None,
) -> tuple[Case, tuple[str, ...]]:
    """A case of one's own, and what is to be said of its numbers. X (T, n, d), H0 (n, h) or zero, dH (T, n, h) or none,
    all in the order of the input, which a layer may go through in `reverse`; and
    `lengths` (n,), or a mask (n, T), where sequences end early; `source` is where the weights come from. Raises
    InterchangeError for what does not fit.
    """
    h = parameters["b_h"].shape[0]
    d = parameters["W_xh"].shape[0]
    # Of one sequence alone many leave the batch away.
    X = X[:, None] if X.ndim == 2 else X
    if X.ndim != 3 or X.shape[2] != d:
        raise InterchangeError(f"the input has shape {X.shape}, should be (T, n, d) with d = {d}")
    if not X.size:
        raise InterchangeError(f"the input has shape {X.shape}; a case has at least one step of one sequence")
    T, n, _ = X.shape
    H0 = np.zeros((n, h)) if H0 is None else axes(H0, (n, h))
    given = {"X": X, "H0": H0, **({} if dH is None else {"dH": axes(dH, (T, n, h))}), **parameters}
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
    for key, array in given.items():
        if not np.isfinite(array).all():
            raise InterchangeError(f"{key} holds what is no finite number; a case holds finite numbers")
    case = Case(name, cell, {key: a.astype(np.float64) for key, a in given.items()}, reverse, ends, source)
    told = (
        f"in float64, since float32 does not hold the numbers of {', '.join(case.wide)}; what is computed in float32 "
        "is judged on them rounded to it"
    )
    return case, (told,) if case.wide else ()
