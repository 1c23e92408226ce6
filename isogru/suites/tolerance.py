"""How closely a suite compares: absolute and relative tolerances, units in the last place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared_spec.errors import SpecificationError
from shared_spec.readings.arithmetic import Array

FORMS = ({"atol", "rtol"}, {"ulp"}, {"relative", "absolute"})


@dataclass(frozen=True)
class Tolerance:
    """One of FORMS."""

    numbers: Mapping[str, float]

    @property
    def told(self) -> str:
        """Such as "atol 1e-05, rtol 1e-05"."""
        return ", ".join(f"{name} {value:g}" for name, value in self.numbers.items())

    def accepts(self, value: Array, expected: Array) -> bool:
        """Whether every element of a float32 array is near enough to what is expected. NaN and infinity are not."""
        if value.shape != expected.shape:
            return False
        if "ulp" in self.numbers:
            return bool((ulps(value, expected) <= self.numbers["ulp"]).all())
        a, b = value.astype(np.float64), expected.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            if "rtol" in self.numbers:
                return bool((np.abs(a - b) <= self.numbers["atol"] + self.numbers["rtol"] * np.abs(b)).all())
            allowed = np.maximum(self.numbers["relative"] * np.abs(a + b), self.numbers["absolute"])
            return bool((np.abs(a - b) < allowed).all())


def tolerance(table: Any, where: str) -> Tolerance:
    """A tolerance of suites.toml. Raises SpecificationError for what is none."""
    if not isinstance(table, dict) or set(table) not in FORMS or not all(v >= 0 for v in table.values()):
        raise SpecificationError(f"{where} a tolerance has atol and rtol, or ulp, or relative and absolute")
    return Tolerance({name: float(value) for name, value in table.items()})


def needed(value: Array, expected: Array) -> float:
    """The smallest t with which |a - b| <= t + t |b| holds for all elements; infinite for what is no number."""
    a, b = value.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        t = np.abs(a - b) / (1 + np.abs(b))
    return float(np.where(np.isnan(t), np.inf, t).max())


def ulps(value: Array, expected: Array) -> Array:
    """How many float32 numbers lie between two, one of them counted; many for what is no number."""
    one, other = (_ordered(array.astype(np.float32)) for array in (value, expected))
    apart: Array = np.abs(one - other)
    return np.where(np.isfinite(value) & np.isfinite(expected), apart, np.iinfo(np.int64).max)


def _ordered(array: Array) -> Array:
    """The float32 numbers counted from zero."""
    bits = np.ascontiguousarray(array).view(np.int32).astype(np.int64)
    ordered: Array = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    return ordered
