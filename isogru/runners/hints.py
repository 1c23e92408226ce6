"""With which precision what is not equal would be: tried, and said only where it is equal then."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from isogru.judge import delivered, states
from isogru.judge.comparison import DIFFERENT, EQUAL, SUSPECT, UNDETERMINED
from isogru.runners.verdict import FAILED, Evidence, Verdict
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files.interchange import DTYPES, Case, Result
from shared_spec.files.origins import LIE, coarser
from shared_spec.readings import floats, value
from shared_spec.readings.arithmetic import PLAIN, Array, Plain, Unlike
from shared_spec.readings.floats import HALVES

Again = Callable[[str, str, bool], Verdict]
"""(dtype, products, gradients) -> the verdict with these said."""

WITHIN = 2
"""Powers of two between the errors of states and those of products in a format, of which no two are closer than 3."""
LIKENESS = 0.5
"""The least cosine of the errors of states and of those that rounded factors make: where sums and functions are rounded
too, that is a quarter of their variance at least. Errors of another origin have one near 0.
"""

_OTHER = re.compile(r"\bH is (\w+), should be ")


def no_products(products: str, dtype: str) -> str:
    """Why products cannot be in a format that was asked for."""
    there = ", ".join(coarser(dtype)) or "nothing that is judged is; leave products out"
    return f"products is {products!r}, should be coarser than {dtype}: {there}"


def hinted(verdict: Verdict, again: Again, *, products: str = "", gradients: bool) -> Verdict:
    """A verdict, and with which precision it would be equal, if it is not as it is, and nothing of that was said."""
    if verdict.verdict == UNDETERMINED and gradients and again("", verdict.products, False).verdict == EQUAL:
        return replace(
            verdict, hint="its states are equal, which gradients=False (isogru check --gradients no) judges alone"
        )
    if products or verdict.verdict in (EQUAL, UNDETERMINED):
        return verdict
    for dtype, of_products in _others(verdict):
        # Gradients that a coarse format cannot hold are not told, and the states are all the same.
        for pulled in dict.fromkeys((gradients, False)):
            try:
                other = again(dtype, of_products, pulled)
            except UserError:  # It cannot be judged so.
                break
            if other.verdict == EQUAL and (dtype or _is_like(other, of_products)):
                return replace(verdict, hint=_told(verdict.dtype, dtype, of_products, gradients and not pulled))
            if other.verdict == UNDETERMINED and not pulled:  # A coarser one would allow it, and say no more.
                return verdict
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
        for name in coarser(verdict.products or verdict.dtype):
            if _holds_states(verdict, name) and _is_like(verdict, name):
                yield "", name


class _Rounding(Plain):
    """Products of factors that are rounded to a format, and exact otherwise."""

    def __init__(self, products: str) -> None:
        self._products = products

    def product(self, a: Array, b: Array) -> Array:
        factors = (floats.rounded(each, self._products).astype(np.float64) for each in (a, b))
        return super().product(*factors)


def _is_like(verdict: Verdict, products: str) -> bool:
    """Whether the errors of all steps are what products in a format make: about as large, and in a
    half what rounding the factors of these very products makes. The bound of a coarse format holds much else.
    """
    there = [each.evidence for each in verdict.cases if each.evidence is not None]
    if not there:
        return False
    sizes, own, narrow = [], [], []
    for evidence in there:
        try:
            steps = _Steps.of(evidence)
        except InterchangeError:  # Numbers beyond float32.
            return False
        H, usual = steps.errors(steps.H), steps.errors(steps.computed(Unlike(products, 0, faintest=np.inf), products))
        with np.errstate(all="ignore"):
            size = np.sqrt(np.mean(np.square(usual)))
            sizes.append(np.log2(np.sqrt(np.mean(np.square(H))) / size))
        if 0 < size < np.inf:
            own.append(H.ravel() / size)
            narrow.append(steps.errors(steps.computed(_Rounding(products))).ravel() / size)
    if not own or not abs(np.median(sizes)) <= WITHIN:
        return False
    # Of float32 it is the order of sums that makes most of the errors, which is not known.
    return products not in HALVES or _cosine(np.concatenate(own), np.concatenate(narrow)) >= LIKENESS


@dataclass(frozen=True)
class _Steps:
    """Every step of a result by itself, from its own state before."""

    case: Case
    H: Array
    before: Array

    @classmethod
    def of(cls, evidence: Evidence) -> _Steps:
        """Raises InterchangeError for numbers that its dtype does not hold."""
        case, H = evidence.case.held_in(evidence.result.origin.dtype), evidence.result.arrays["H"].astype(np.float64)
        return cls(case, H, np.concatenate([case.arrays["H0"][None], H[:-1]]))

    def computed(self, arithmetic: Plain = PLAIN, inputs: str = "") -> Array:
        """The next states (T, n, h), with inputs and parameters rounded to a format where one is said."""

        def given(array: Array) -> Array:
            return floats.rounded(array, inputs) if inputs else array

        parameters = {name: given(array) for name, array in self.case.parameters.items()}
        X, before = given(self.case.arrays["X"]), given(self.before)
        with np.errstate(all="ignore"):
            return value.step(self.case.cell, X, before, parameters, arithmetic=arithmetic)["H"]

    def errors(self, H: Array) -> Array:
        """How far states are from the exact ones."""
        with np.errstate(all="ignore"):
            return H - self.exact

    @functools.cached_property
    def exact(self) -> Array:
        """The next states (T, n, h), in float64."""
        return self.computed()


def _cosine(a: Array, b: Array) -> float:
    with np.errstate(all="ignore"):
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _holds_states(verdict: Verdict, products: str) -> bool:
    """Whether every state is within the bound of a step with products in that format: else nothing has to be run."""
    for evidence in (each.evidence for each in verdict.cases):
        if evidence is None or "H" not in evidence.result.arrays:
            return False
        result = Result(replace(evidence.result.origin, products=products), evidence.result.arrays)
        given = delivered.of(result)
        try:
            case = evidence.case.held_in(given.dtype)
        except InterchangeError:  # Numbers beyond float32.
            return False
        with np.errstate(all="ignore"):
            if states.by_step(case, result, given).held.is_outside:
                return False
    return True


def _told(before: str, dtype: str, products: str, without_gradients: bool) -> str:
    key, value = ("products", products) if products else ("dtype", dtype)
    how = f"in {before} with products in {products}" if products else f"in {dtype}"
    said, options = f'{key}="{value}"', f"--{key} {value}"
    if without_gradients:
        said, options = f"{said} and gradients=False", f"{options} --gradients no"
    return f"equal {how}, where that is meant: say {said} (isogru check {options})"
