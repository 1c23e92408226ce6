"""With which precision what is not equal would be: tried, and said only where it is equal then."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from isogru.judge import delivered, states
from isogru.judge.comparison import DIFFERENT, EQUAL, SUSPECT, UNDETERMINED
from isogru.runners.verdict import FAILED, Evidence, Verdict
from shared_spec.errors import UserError
from shared_spec.files.interchange import DTYPES, Result
from shared_spec.files.origins import LIE, coarser
from shared_spec.readings import floats, value
from shared_spec.readings.arithmetic import Unlike
from shared_spec.readings.floats import HALVES

Again = Callable[[str, str, bool], Verdict]
"""(dtype, products, gradients) -> the verdict with these said."""

_OTHER = re.compile(r"\bH is (\w+), should be ")


def no_products(products: str, dtype: str) -> str:
    """Why products cannot be in a format that was asked for."""
    there = coarser(dtype)
    return (
        f"products is {products!r}, should be coarser than {dtype}: {', '.join(there) or 'nothing is, but for float8'}"
    )


def hinted(verdict: Verdict, again: Again, *, products: str = "", gradients: bool) -> Verdict:
    """A verdict, and with which precision it would be equal, if it is not as it is, and nothing of that was said."""
    if verdict.verdict == UNDETERMINED and gradients and again("", verdict.products, False).verdict == EQUAL:
        return replace(verdict, hint="its states are equal, which gradients=False judges alone")
    if products or verdict.verdict in (EQUAL, UNDETERMINED):
        return verdict
    for dtype, of_products in _others(verdict):
        # Gradients that a coarse format cannot hold are not told, and the states are all the same.
        for pulled in dict.fromkeys((gradients, False)):
            try:
                other = again(dtype, of_products, pulled)
            except UserError:  # It cannot be judged so.
                break
            if other.verdict == EQUAL:
                return replace(verdict, hint=_told(verdict.dtype, dtype, of_products, gradients and not pulled))
    return verdict


def _others(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """Dtypes of states, and of products, that its sentence or its states leave open."""
    if verdict.verdict == FAILED:
        given = _OTHER.search(verdict.worst_case.sentence)
        if given and given[1] in (*DTYPES, *HALVES):
            yield given[1], ""
        elif LIE in verdict.worst_case.sentence:
            yield from (("", name) for name in coarser(verdict.dtype))
    elif verdict.verdict in (SUSPECT, DIFFERENT):
        formats = [name for name in coarser(verdict.dtype) if _holds_states(verdict, name)]
        if len(formats) > 1:
            evidence = verdict.worst_case.evidence
            assert evidence is not None
            formats.sort(key=lambda name: _unlikeness(evidence, name))
        yield from (("", name) for name in formats)


def _unlikeness(evidence: Evidence, products: str) -> float:
    """How far the steps of a result are from the size that errors have in a format, in powers of two."""
    case, H = evidence.case, evidence.result.arrays["H"].astype(np.float64)
    before = np.concatenate([case.arrays["H0"][None], H[:-1]])
    narrow = {name: floats.rounded(array, products) for name, array in {"X": case.arrays["X"], "H": before}.items()}
    parameters = {name: floats.rounded(array, products) for name, array in case.parameters.items()}
    with np.errstate(all="ignore"):
        exact = value.step(case.cell, case.arrays["X"], before, case.parameters)["H"]
        erring = value.step(
            case.cell, narrow["X"], narrow["H"], parameters, arithmetic=Unlike(products, 0, faintest=np.inf)
        )["H"]
        own, usual = (float(np.sqrt(np.mean(np.square(array - exact)))) for array in (H, erring))
    return abs(np.log2(own / usual)) if own > 0 < usual else np.inf


def _holds_states(verdict: Verdict, products: str) -> bool:
    """Whether every state is within the bound of a step with products in that format: else nothing has to be run."""
    for evidence in (each.evidence for each in verdict.cases):
        if evidence is None or "H" not in evidence.result.arrays:
            return False
        result = Result(replace(evidence.result.origin, products=products), evidence.result.arrays)
        given = delivered.of(result)
        with np.errstate(all="ignore"):
            if states.by_step(evidence.case.held_in(given.dtype), result, given).held.is_outside:
                return False
    return True


def _told(before: str, dtype: str, products: str, without_gradients: bool) -> str:
    key, value = ("products", products) if products else ("dtype", dtype)
    how = f"in {before} with products in {products}" if products else f"in {dtype}"
    said = f'equal {how}, where that is meant: say {key}="{value}"'
    return f"{said} and gradients=False" if without_gradients else f"{said} (isogru check --{key} {value})"
