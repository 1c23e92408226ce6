"""A finding: one quantity held against what it should be, within what is allowed; and how far two arrays are apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared_spec.interchange import Origin
from shared_spec.readings.arithmetic import Array

EQUAL, SUSPECT, DIFFERENT = "equal", "suspect", "different"
ORDER = (EQUAL, SUSPECT, DIFFERENT)

TWIN_MULTIPLE = 10.0
"""How many times as far as its twins an implementation may stray. Twins share NumPy's exp and tanh, which err less than
a unit in the last place; the frameworks' own err by several, and a maximum over four twins is itself uncertain.
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

    def sentence(self, origin: Origin) -> str:
        """Such as ``H[3,7,2] = 0.4121, should be 0.4127 (6.0e-4 off, bound 1.1e-6) [gru · jax/scratch · ...]``."""
        where = f"{self.quantity}[{','.join(map(str, self.index))}]" if self.index else self.quantity
        return (
            f"{where} = {self.value:.7g}, should be {self.should_be:.7g} "
            f"({self.difference:.1e} off, bound {self.bound:.1e}) [{origin.label}]"
        )


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
class Held:
    """An array in the result's own dtype held against what it should be, element by element."""

    value: Array
    should_be: Array
    allowed: Array
    difference: Array
    ratio: Array
    """difference / allowed."""

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
        in_dtype = np.abs(self.should_be[at]).astype(self.value.dtype)
        return Finding(
            quantity=quantity,
            verdict=EQUAL if top <= 1 else SUSPECT if top <= worst_case else DIFFERENT,
            index=tuple(int(i) for i in at),
            value=float(self.value[at]),
            should_be=float(self.should_be[at]),
            difference=float(self.difference[at]),
            ulp=float(self.difference[at]) / float(np.spacing(in_dtype)),
            bound=float(self.allowed[at]),
            ratio=top,
            basis=basis,
            outside=int(np.count_nonzero(self.ratio > 1)),
            first_outside=int(along_first[0]) if len(along_first) else None,
            last_outside=int(along_first[-1]) if len(along_first) else None,
        )


def hold(value: Array, should_be: Array, allowed: Array) -> Held:
    """Differences, and their ratios to what is allowed, which is broadcast to the value's shape; both float64.

    A value that is no number, or overflowed, is as wrong as can be, unless it should overflow too.
    """
    allowed = np.broadcast_to(allowed, value.shape)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        difference = np.abs(value.astype(np.float64) - should_be)
        difference = np.where(np.isfinite(difference), difference, np.where(value == should_be, 0.0, np.inf))
        ratio = np.where(difference == 0, 0.0, difference / allowed)
    return Held(value, should_be, allowed, difference, np.where(np.isnan(ratio), np.inf, ratio))


@dataclass(frozen=True)
class Apart:
    """How far two arrays are apart: the largest absolute and relative differences, and the largest in units in the last
    place of the coarser one.
    """

    absolute: float
    relative: float
    ulp: float


def apart(a: Array, b: Array) -> Apart:
    """The differences of two arrays of one shape. NaN is as far away as can be, even from NaN."""
    (found,) = apart_in_parts(a, b, [0])
    return found


def apart_in_parts(a: Array, b: Array, starts: Sequence[int]) -> list[Apart]:
    """The same of arrays that hold several one after the other, each from one of `starts` to the next: many small ones
    one by one would take most of the time.
    """
    dtype: type[np.floating[Any]] = np.float32 if np.float32 in (a.dtype, b.dtype) else np.float64
    x, y = a.astype(dtype, copy=False).ravel(), b.astype(dtype, copy=False).ravel()
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        absolute = np.abs(x - y)
        finite = bool(np.isfinite(absolute).all())
        if not finite:
            absolute = np.where(x == y, 0, np.where(np.isnan(absolute), np.inf, absolute)).astype(dtype)
        size = np.maximum(np.maximum(np.abs(x), np.abs(y)), np.finfo(dtype).tiny)
        # Where both are 0 nothing is divided: 0 / tiny.
        distances = [absolute, absolute / size, absolute / _power_of_two(size) / np.finfo(dtype).eps]
    if not finite:
        # The same infinity in both is no distance; what is infinitely far is so by every measure.
        distances = [np.where(np.isinf(absolute), np.inf, np.where(absolute == 0, 0, d)) for d in distances]
    parts = [np.maximum.reduceat(d, starts) for d in distances]
    return [Apart(float(p), float(q), float(r)) for p, q, r in zip(*parts, strict=True)]


def _power_of_two(size: Array) -> Array:
    """The largest power of two up to each value: its exponent alone. np.spacing says the same ten times as slowly."""
    bits, mask = (np.uint32, 0x7F80_0000) if size.dtype == np.float32 else (np.uint64, 0x7FF0_0000_0000_0000)
    value: Array = np.bitwise_and(size.view(bits), np.array(mask, bits)).view(size.dtype)
    return value
