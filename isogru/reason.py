"""Why a result is not equal: its states tell, and where each of their steps is right, its gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from isogru import each_sequence, gradient_paths, judge, order
from isogru.conventions import conventions
from isogru.edits import edited, unedited
from isogru.explain import AMBIGUOUS, EXPLAINED, UNEXPLAINED, Cause, Explanation, explain
from isogru.judge import comparison, delivered
from isogru.judge.comparison import Finding
from isogru.judge.verdict import ResultVerdict, claiming
from shared_spec import oracle
from shared_spec.cells import Cell
from shared_spec.files.interchange import AnyCase, Case, Result
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import carrier
from shared_spec.weights.layouts import SECOND_BIASES


def why(
    case: AnyCase, result: Result, verdict: ResultVerdict, claim: Cell | None = None, *, pairs: bool = True
) -> Explanation:
    """What a result that is not equal would be equal under, as `explain` searches it; where only gradients are off,
    the path that they do not take.
    """
    if not isinstance(case, Case):
        return Explanation(UNEXPLAINED, note="of a training nothing is searched")
    if verdict.verdict == comparison.UNDETERMINED:
        return Explanation(UNEXPLAINED, note="nothing is known to be wrong, the verdict is undetermined")
    H = result.arrays.get("H")
    if H is None:
        return _of_last(case, result, verdict, claim)
    made = explain(case if claim is None else claiming(case, claim), H, given=delivered.of(result), pairs=pairs)
    if made.verdict != comparison.EQUAL or verdict.verdict == comparison.EQUAL:
        return made
    off = [f for f in verdict.all_findings if f.verdict != comparison.EQUAL]
    if claim is None and all(_is_searched(each.quantity, off, result) for each in off):
        return _of_gradients(case, result, off)
    names = ", ".join(each.quantity for each in off)
    return Explanation(UNEXPLAINED, made.ratio, note=f"every step of H is right by itself, and {names} is not searched")


def _is_searched(quantity: str, off: Sequence[Finding], result: Result) -> bool:
    """Whether what is off is a gradient that the search looks at. That of a second bias is none, but where the bias
    that it is added to is off too the same path is missing in both.
    """
    parameter = quantity.removeprefix("grad.")
    one = f"grad.{SECOND_BIASES.get(parameter, parameter)}"
    return quantity.startswith("grad.") and (
        quantity in result.arrays or (one in result.arrays and any(each.quantity == one for each in off))
    )


def _of_last(case: Case, result: Result, verdict: ResultVerdict, claim: Cell | None) -> Explanation:
    """Where the last states alone are there."""
    nothing = Explanation(UNEXPLAINED, note="it does not hold the states H, which the search goes by")
    off = [each for each in verdict.all_findings if each.verdict != comparison.EQUAL]
    if claim is not None or not off or any(each.quantity != "final" for each in off):
        return nothing
    dtype = delivered.of(result).dtype

    def ratio(case: Case, final: Array) -> float:
        arrays = {"final": final} if case.lengths is None else order.of_case(case.held_in(dtype), {"final": final})[0]
        on = judge.on(case, replace(result, arrays=arrays), partial=True, kept=False)
        return max(each.ratio for each in on.all_findings) if on.verdict == comparison.EQUAL else np.inf

    right = oracle.run(case.cell, case.held_in(dtype).arrays)["H"]
    told = each_sequence.of_last(case, result.arrays["final"], right, ratio)
    if told is None:
        return nothing
    return Explanation(EXPLAINED, off[0].ratio, (Cause((), told.sentence, told.remedy, told.ratio),))


def _of_gradients(case: Case, result: Result, off: Sequence[Finding]) -> Explanation:
    """Which path of the gradient is missing, where every state is right."""
    largest = max(each.ratio for each in off)
    culprits, tried = gradient_paths.missing(case, result)
    causes = tuple(Cause((path.name,), path.sentence, path.remedy, ratio) for path, ratio in culprits)
    if causes:
        verdict = EXPLAINED if len(causes) == 1 else AMBIGUOUS
        return Explanation(verdict, largest, causes, tried, note="every step of H is right by itself")
    names = [each.quantity for each in off]
    nothing = [name for name in names if name in result.arrays and not result.arrays[name].any()]
    told = f"; zero throughout: {', '.join(nothing)}" if nothing else ""
    note = f"every step of H is right by itself, and none of {tried} missing paths makes {', '.join(names)} right{told}"
    return Explanation(UNEXPLAINED, largest, tried=tried, note=note)


def holds(case: Case, result: Result, names: Sequence[str]) -> bool:
    """Whether a result is equal under conventions that were found on another one."""
    given, H = delivered.of(result), result.arrays["H"]
    case = case.held_in(given.dtype)
    edit = edited(unedited(case), [conventions()[name] for name in names])
    run = (
        None
        if edit is None
        else edit.run(case.arrays["X"], case.arrays["H0"], H.astype(carrier(given.dtype)), case.lengths)
    )
    if edit is None or run is None or not np.isfinite(H).all():
        return False
    return any(edit.ratio(run, replace(given, sums=(sums,))) <= 1 for sums in given.sums)


def lines(made: Explanation) -> Iterator[str]:
    """What there is to say, line by line."""
    yield f"why: {made.sentence}"
    if made.remedy:
        yield f"remedy: {made.remedy}"


def of_products(products: str, before: float, after: float, remedy: str, *, gradients: bool) -> Explanation:
    """Of a result that is equal with products in a coarser format: largest ratios to the bound, without that and with
    it. Where its gradients are not, they are left out.
    """
    sentence = f"its products are in {products}" + ("" if gradients else ", and gradients are left out")
    return Explanation(EXPLAINED, before, (Cause((), sentence, remedy, after),))
