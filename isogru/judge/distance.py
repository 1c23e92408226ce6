"""How far two arrays of one shape are apart: absolute, relative, and in units in the last place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared_spec.readings.arithmetic import Array


@dataclass(frozen=True)
class Distance:
    """How far two arrays are apart: the largest absolute and relative differences, and the largest in units in the last
    place of the coarser one.
    """

    absolute: float
    relative: float
    ulp: float


def distance(a: Array, b: Array) -> Distance:
    """The differences of two arrays of one shape. NaN is as far away as can be, even from NaN."""
    (only,) = distances(a, b, [0])
    return only


def distances(a: Array, b: Array, starts: Sequence[int]) -> list[Distance]:
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
        measures = [absolute, absolute / size, absolute / _power_of_two(size) / np.finfo(dtype).eps]
    if not finite:
        # The same infinity in both is no distance; what is infinitely far is so by every measure.
        measures = [np.where(np.isinf(absolute), np.inf, np.where(absolute == 0, 0, d)) for d in measures]
    parts = [np.maximum.reduceat(d, starts) for d in measures]
    return [Distance(float(p), float(q), float(r)) for p, q, r in zip(*parts, strict=True)]


def _power_of_two(size: Array) -> Array:
    """The largest power of two up to each value: its exponent alone. np.spacing says the same ten times as slowly."""
    bits, mask = (np.uint32, 0x7F80_0000) if size.dtype == np.float32 else (np.uint64, 0x7FF0_0000_0000_0000)
    value: Array = np.bitwise_and(size.view(bits), np.array(mask, bits)).view(size.dtype)
    return value
