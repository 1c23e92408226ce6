"""Arithmetic at the ends of a format: as a machine may compute there, and as a sum may go in the worst of its orders.

Below the smallest normal number a machine may take zero for a number that it is given, and make zero of one that it has
made: of a sum of k products that is at most 2 k of those numbers, all of them to one side. A sum whose terms together,
by their absolute values, are beyond the largest number may overflow on its way in one order and not in another: what
comes of it then is no number here, so that all that rests on it is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shared_spec.readings import floats
from shared_spec.readings.arithmetic import Array, Parts, Plain, Unlike


class _Ends:
    """Of one format."""

    def __init__(self, dtype: str) -> None:
        self._smallest = floats.smallest_normal(dtype)
        self._largest = floats.largest(dtype)
        self._u = floats.UNIT_ROUNDOFF[dtype]
        # What is narrower than float32 is summed up in float32 by nearly all, and flushed once, where it is stored.
        self._sums_flush = dtype not in floats.HALVES

    def given(self, a: Array) -> Array:
        """Zero for what is below the smallest normal number."""
        small = np.abs(a) < self._smallest
        return np.where(small, a.dtype.type(0), a) if small.any() else a

    def lost(self, a: Array, count: int = 1) -> Array:
        """Nearer to zero by as much as so many results may lose that are made zero, and no further than zero."""
        most = a.dtype.type(count * self._smallest)
        kept: Array = a - np.clip(a, -most, most)
        return kept

    def product(self, value: Array, a: Array, b: Array) -> Array:
        """A product of a and b as it is found, at these ends."""
        terms = a.shape[-1]
        # Of their largest first: most are far from the end, and another product takes as long as the first.
        most = terms * float(np.abs(a).max(initial=0.0)) * float(np.abs(b).max(initial=0.0))
        if most > self._reach(terms):
            value = self._held(value, np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64), terms)
        return self.lost(value, 2 * terms if self._sums_flush else 1)

    def total(self, value: Array, a: Array, axes: tuple[int, ...]) -> Array:
        """A sum over axes as it is found, at these ends."""
        terms = math.prod(a.shape[axis] for axis in axes)
        if terms * float(np.abs(a).max(initial=0.0)) > self._reach(terms):
            value = self._held(value, np.abs(a).astype(np.float64).sum(axis=axes), terms)
        return self.lost(value, terms if self._sums_flush else 1)

    def _reach(self, terms: int) -> float:
        """What a sum of so many terms may be, by their absolute values: each is rounded at most that often."""
        return self._largest * (1 - min(terms * self._u, 0.5))

    def _held(self, value: Array, size: Array, terms: int) -> Array:
        return np.where(size > self._reach(terms), value.dtype.type(np.nan), value)


class _BrittleParts(Parts):
    """Sums over the rows of one time step at the ends of a format."""

    def __init__(self, ends: _Ends) -> None:
        self._ends = ends

    def product(self, a: Array, b: Array) -> Array:
        b = self._ends.lost(b)
        return self._ends.product(super().product(a, b), a, b)

    def total(self, a: Array, axes: tuple[int, ...]) -> Array:
        return self._ends.total(super().total(a, axes), a, axes)


class Brittle(Unlike):
    """Unlike, that flushes to zero and overflows as early as may be."""

    def __init__(self, dtype: str, seed: int) -> None:
        super().__init__(dtype, seed)
        self._ends = _Ends(dtype)

    def given(self, a: Array) -> Array:
        return self._ends.given(a)

    def product(self, a: Array, b: Array) -> Array:
        # What is on the left was made just before, by products of single numbers.
        a = self._ends.lost(a)
        return self._ends.product(super().product(a, b), a, b)

    def total(self, a: Array, axes: tuple[int, ...]) -> Array:
        return self._ends.total(super().total(a, axes), a, axes)

    def accumulated(self, parts: Sequence[Array] | Array, rows: int) -> Array:
        stacked = parts if isinstance(parts, np.ndarray) else np.stack(parts)
        return self._ends.total(super().accumulated(parts, rows), stacked, (0,))

    def function(self, name: str, x: Array) -> Array:
        return self._ends.lost(super().function(name, x))

    def handed_on(self, a: Array) -> Array:
        return self._ends.lost(self._kept(a))

    @property
    def over_rows(self) -> Plain:
        return _BrittleParts(self._ends)


def of_twin(dtype: str, seed: int) -> Unlike:
    """The arithmetic of the twin of that seed: every second one is brittle."""
    return Brittle(dtype, seed) if is_brittle(seed) else Unlike(dtype, seed)


def is_brittle(seed: int) -> bool:
    """Whether the twin of that seed is."""
    return seed % 2 == 1
