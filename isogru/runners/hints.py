"""With which precision what is not equal would be: tried, and said only where it is equal then."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isogru.explain import Explanation
from isogru.judge import delivered, states
from isogru.judge.comparison import DIFFERENT, EQUAL, SUSPECT, UNDETERMINED
from isogru.reason import of_products
from isogru.runners.verdict import FAILED, Evidence, Verdict, of_evidence
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
LIKENESS = 0.35
"""The least cosine of the errors of states and of those that rounding makes. Of cells under autocast, with what comes
out of products kept narrow or widened, it was 0.41 to 1; errors of another origin have one near 0.
"""
DEVIATIONS = 3
"""Standard deviations of the cosine of what has nothing to do with each other, 1 / sqrt(n) of n numbers."""

_OTHER = re.compile(r"\bH is (\w+), should be ")


def no_products(products: str, dtype: str) -> str:
    """Why products cannot be in a format that was asked for."""
    there = ", ".join(coarser(dtype)) or "nothing that is judged is; leave products out"
    return f"products is {products!r}, should be coarser than {dtype}: {there}"


@dataclass(frozen=True)
class _Precision:
    """One in which what is not equal would be."""

    dtype: str
    """Of its states, where that is another one."""
    products: str
    gradients: bool
    """Whether they are equal too; else the states alone are."""
    verdict: Verdict

    def told(self, kept: str, said: str) -> str:
        """How it is equal, and what to say for that."""
        how = f"in {kept} with products in {self.products}" if self.products else f"in {self.dtype}"
        return f"equal {how}, where that is meant: say {said}"

    def cause(self, verdict: Verdict, said: str) -> Explanation | None:
        """Of products, what makes equal what has a verdict now."""
        before, after = verdict.worst, self.verdict.worst
        if not self.products or before is None or after is None:
            return None
        remedy = f"say {said}, where that is meant, or compute products in {verdict.dtype}"
        return of_products(self.products, before.ratio, after.ratio, remedy, gradients=self.gradients)


def hinted(verdict: Verdict, again: Again, *, products: str = "", gradients: bool) -> Verdict:
    """A verdict, and with which precision it would be equal, if it is not as it is, and nothing of that was said."""
    if verdict.verdict == UNDETERMINED and gradients and again("", verdict.products, False).verdict == EQUAL:
        return replace(
            verdict, hint="its states are equal, which gradients=False (isogru check --gradients no) judges alone"
        )
    if products or (other := _precision(verdict, again, gradients=gradients)) is None:
        return verdict
    key, value = ("products", other.products) if other.products else ("dtype", other.dtype)
    said, options = f'{key}="{value}"', f"--{key} {value}"
    if gradients and not other.gradients:
        said, options = f"{said} and gradients=False", f"{options} --gradients no"
    said = f"{said} (isogru check {options})"
    return replace(verdict, hint=other.told(verdict.dtype, said), cause=other.cause(verdict, said))


def of_results(
    judged: Sequence[Evidence], again: Callable[[str, bool], Sequence[Evidence]]
) -> tuple[str, Explanation | None]:
    """With which products results that are not equal would be, in words and as the cause; empty where with none.
    `again` judges them with products in a format, with gradients or without.
    """
    verdict = of_evidence(judged)
    gradients = any(name.startswith("grad.") for each in judged for name in each.result.arrays)
    other = _precision(verdict, lambda _, of, pulled: of_evidence(again(of, pulled)), gradients=gradients)
    if other is None:
        return "", None
    said = f"--products {other.products}"
    states = "" if other.gradients or not gradients else "its states are "
    return f"{states}{other.told(verdict.dtype, said)}", other.cause(verdict, said)


def _precision(verdict: Verdict, again: Again, *, gradients: bool) -> _Precision | None:
    """In which one a verdict would be equal; None where it is, where nothing can be said, and where in none."""
    if verdict.verdict in (EQUAL, UNDETERMINED):
        return None
    for dtype, products in _others(verdict):
        # Gradients that a coarse format cannot hold are not told, and the states are all the same.
        for pulled in dict.fromkeys((gradients, False)):
            try:
                other = again(dtype, products, pulled)
            except UserError:  # It cannot be judged so.
                break
            if other.verdict == EQUAL and (dtype or is_like(other, products)):
                return _Precision(dtype, products, pulled or not gradients, other)
            if other.verdict == UNDETERMINED and not pulled:  # A coarser one would allow it, and say no more.
                return None
    return None


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
            if _holds_states(verdict, name) and is_like(verdict, name):
                yield "", name


class _Rounding(Plain):
    """What autocast makes of a step: products of factors that are rounded to a format, and if that is said functions of
    what is rounded to it, rounded to it; exact otherwise.
    """

    def __init__(self, products: str, *, functions: bool) -> None:
        self._products, self._functions = products, functions

    def _rounded(self, array: Array) -> Array:
        return floats.rounded(array, self._products).astype(np.float64)

    def product(self, a: Array, b: Array) -> Array:
        return super().product(self._rounded(a), self._rounded(b))

    def function(self, name: str, x: Array) -> Array:
        if not self._functions:
            return super().function(name, x)
        return self._rounded(super().function(name, self._rounded(x)))


def is_like(verdict: Verdict, products: str) -> bool:
    """Whether the errors of all steps are what products in a format make: about as large, and in good part what
    rounding the factors of these very products makes, or that and rounding around functions. The bound of a coarse
    format holds much else.
    """
    there = [each.evidence for each in verdict.cases if each.evidence is not None]
    if not there:
        return False
    # What comes out of a product is in the format too where nothing widens it, and goes into a function so.
    kinds = [_Rounding(products, functions=functions) for functions in (False, True)]
    sizes, own, narrow = list[float](), list[Array](), [list[Array]() for _ in kinds]
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
            for made, kind in zip(narrow, kinds, strict=True):
                made.append(steps.errors(steps.computed(kind)).ravel() / size)
    if not own or not abs(np.median(sizes)) <= WITHIN:
        return False
    # Of float32 it is the order of sums that makes most of the errors, which is not known.
    if products not in HALVES:
        return True
    all_own = np.concatenate(own)
    least = max(LIKENESS, DEVIATIONS / np.sqrt(len(all_own)))
    return any(_cosine(all_own, np.concatenate(made)) >= least for made in narrow)


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
