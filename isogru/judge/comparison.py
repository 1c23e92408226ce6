"""A comparison of an array with what it should be, element by element, and the finding: its worst element."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from shared_spec.files.interchange import Origin
from shared_spec.readings import floats
from shared_spec.readings.arithmetic import Array

EQUAL, UNDETERMINED, SUSPECT, DIFFERENT = "equal", "undetermined", "suspect", "different"
ORDER = (EQUAL, UNDETERMINED, SUSPECT, DIFFERENT)
"""From what passes to what is certainly wrong. Undetermined is what the precision cannot hold: it counts for nobody and
against nobody.
"""

TWIN_MULTIPLE = 10.0
"""An implementation must lie within so many times the deviation of its twins. Twins share NumPy's exp and tanh, which
err less than a unit in the last place; the frameworks' own err by several, and a maximum over four twins is itself
uncertain.
"""
WORST_CASE = 100.0
"""Rounding errors add up like a random walk, to about sqrt(k) units; the worst that k of them can do is k. With the
1e4 roundings of a long sum that is 100 times more: beyond this times what is allowed, rounding explains nothing.
"""


@dataclass(frozen=True)
class Finding:
    """What was found of one quantity: its worst element, and the largest differences from the float64 oracle rounded to
    the result's own dtype, the best that it could have given.
    """

    quantity: str
    verdict: str
    index: tuple[int, ...]
    value: float
    should_be: float
    difference: float
    ulp: float
    """The difference in units in the last place of what it should be, in the result's own dtype."""
    bound: float
    ratio: float
    """difference / bound at the worst element; up to 1 is equal."""
    basis: str
    """"step" for the one-step bound, "equation" for that of one equation, "twins" for what twins stray, "text" for a
    prediction.
    """
    outside: int
    """How many elements have a ratio above 1."""
    first_outside: int | None
    """The first of them along the first axis, which is time, the training step or the epoch where there is one."""
    last_outside: int | None
    max_absolute: float = 0.0
    max_relative: float = 0.0
    max_ulp: float = 0.0
    undetermined: int = 0
    """Of how many elements nothing can be said in this precision; the others are judged all the same."""
    first_undetermined: tuple[int, ...] | None = None
    vacuous: str = ""
    """Why nothing is said there, where what is allowed is a finite number."""
    judged: str = ""
    """In what precision, where that was not measured, and on which numbers, where float32 does not hold the case's."""

    def sentence(self, origin: Origin) -> str:
        """Such as ``H[3,7,2] = 0.4121, should be 0.4127 (6.0e-4 off, bound 1.1e-6) [gru · jax/scratch · ...]``."""
        where = _place(self.quantity, self.index)
        if self.verdict == UNDETERMINED:
            first = _place(self.quantity, self.first_undetermined or ())
            more = f" and {self.undetermined - 1} more elements" if self.undetermined > 1 else ""
            why = self.vacuous or "numbers on the way there overflow, and nothing limits what rounding can do"
            judged = f"; {self.judged}" if self.judged else ""
            # Its dtype may be wider than what it is judged in.
            is_wider = self.judged and origin.dtype not in floats.HALVES
            holder = origin.products or ("its precision" if is_wider else origin.dtype)
            return f"{holder} cannot hold {first}{more}: {why}{judged} [{origin.label}]"
        judged = f", {self.judged}" if self.judged else ""
        return (
            f"{where} = {self.value:.7g}, should be {self.should_be:.7g} "
            f"({self.difference:.1e} off, bound {self.bound:.1e}{judged}) [{origin.label}]"
        )


def _place(quantity: str, index: tuple[int, ...]) -> str:
    """Such as H[3,7,2]."""
    return f"{quantity}[{','.join(map(str, index))}]" if index else quantity


def significant(value: float, digits: int) -> float:
    """A number with so many significant digits."""
    return float(f"{value:.{digits - 1}e}")


def four(value: float) -> float:
    """Four significant digits: what a difference is worth."""
    return significant(value, 4)


def worst(verdicts: Iterable[str]) -> str:
    """The worst of several verdicts."""
    return max(verdicts, key=ORDER.index)


@dataclass(frozen=True)
class Comparison:
    """An array in the result's own dtype held against what it should be, element by element."""

    value: Array
    should_be: Array
    allowed: Array
    difference: Array
    ratio: Array
    """difference / allowed; 0 where nothing can be said."""
    is_undetermined: Array
    """Where nothing can be said: what is allowed is no finite number, or lies in part beyond the dtype; or it is
    vacuous, and the value within it.
    """
    dtype: str
    vacuous: str = ""
    """Why what is allowed says nothing where it is vacuous; empty where it nowhere is."""

    @property
    def is_outside(self) -> bool:
        return bool((self.ratio > 1).any())

    @property
    def by_step(self) -> Array:
        """The largest ratio at each place of the first axis."""
        largest: Array = self.ratio.reshape(len(self.ratio), -1).max(axis=1)
        return largest

    def finding(self, quantity: str, *, basis: str, worst_case: float = 1.0) -> Finding:
        """Its worst element; beyond `worst_case` times what is allowed it is different."""
        at = np.unravel_index(int(np.argmax(self.ratio)), self.ratio.shape)
        top = float(self.ratio[at])
        along_first = np.flatnonzero(self.by_step > 1) if self.ratio.ndim else np.zeros(0)
        ulp = floats.spacing(float(self.should_be[at]), self.dtype)
        unsaid = np.argwhere(self.is_undetermined)
        inside = UNDETERMINED if len(unsaid) else EQUAL
        return Finding(
            quantity=quantity,
            verdict=inside if top <= 1 else SUSPECT if top <= worst_case else DIFFERENT,
            index=tuple(int(i) for i in at),
            value=float(self.value[at]),
            should_be=float(self.should_be[at]),
            difference=float(self.difference[at]),
            ulp=float(self.difference[at]) / ulp,
            bound=float(self.allowed[at]),
            ratio=top,
            basis=basis,
            outside=int(np.count_nonzero(self.ratio > 1)),
            first_outside=int(along_first[0]) if len(along_first) else None,
            last_outside=int(along_first[-1]) if len(along_first) else None,
            undetermined=len(unsaid),
            first_undetermined=tuple(int(i) for i in unsaid[0]) if len(unsaid) else None,
            vacuous=self.vacuous,
        )

    def without(self, unsaid: Array | np.bool_, vacuous: str, *, outside: bool = False) -> Comparison:
        """The same where nothing can be said of some more elements: those that are not outside, or these too."""
        here = np.broadcast_to(unsaid, self.ratio.shape) & ~self.is_undetermined & (outside | (self.ratio <= 1))
        if not here.any():
            return self
        ratio = np.where(here, 0.0, self.ratio)
        return replace(self, ratio=ratio, is_undetermined=self.is_undetermined | here, vacuous=self.vacuous or vacuous)


def compare(value: Array, should_be: Array, allowed: Array, *, dtype: str = "") -> Comparison:
    """Differences, and their ratios to what is allowed, which is broadcast to the value's shape; both float64. `dtype`
    is that of the value, where NumPy's own does not tell.

    A value that is no number, or overflowed, is as wrong as can be, unless it overflows as it must: all that is allowed
    is beyond its dtype. Where a part of that is, nothing is said of it; nor where what is allowed is no finite number.
    """
    allowed, dtype = np.broadcast_to(allowed, value.shape), dtype or value.dtype.name
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        least, most = (floats.rounded(should_be + sign * allowed, dtype) for sign in (-1, 1))
        may_overflow = (least != most) & ~(np.isfinite(least) & np.isfinite(most))
        is_undetermined = ~np.isfinite(allowed) | (may_overflow & ~np.isfinite(value))
        difference = np.abs(value.astype(np.float64) - should_be)
        # Infinite in both is right; so is what must overflow.
        difference = np.where(
            np.isfinite(difference), difference, np.where((value == least) & (value == most), 0.0, np.inf)
        )
        ratio = np.where((difference == 0) | is_undetermined, 0.0, difference / allowed)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    return Comparison(value, should_be, allowed, difference, ratio, is_undetermined, dtype)
