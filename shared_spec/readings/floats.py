"""The formats of floating-point numbers: the unit roundoff of each, its ends, and arrays in it. NumPy has no bfloat16
and no float8: what is narrower than float32 is held as float32, exactly, since each such number is one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Digits after the leading one, and one for it: u = 2^-p rounds to nearest with a significand of p bits.
UNIT_ROUNDOFF: Mapping[str, float] = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "float8_e4m3fn": 2.0**-4,
    "float8_e5m2": 2.0**-3,
}
FLOATS = tuple(UNIT_ROUNDOFF)
HALVES = ("float16", "bfloat16")
"""What a state may be kept in beside float32 and float64."""


def carrier(dtype: str) -> np.dtype[Any]:
    """NumPy's dtype for arrays of a format: float32 for what is narrower."""
    return np.dtype("float64" if dtype == "float64" else "float32")


@functools.cache
def largest(dtype: str) -> float:
    """The largest finite number of float64, float32, float16 or bfloat16."""
    if dtype == "bfloat16":
        return float((2 - 2 * UNIT_ROUNDOFF[dtype]) * 2.0**127)
    return float(np.finfo(dtype).max)


@functools.cache
def smallest_normal(dtype: str) -> float:
    """Below this a number has fewer digits, and some machines make it zero. bfloat16 has float32's exponents."""
    return float(np.finfo("float32" if dtype == "bfloat16" else dtype).smallest_normal)


def spacing(size: float, dtype: str) -> float:
    """From a number of this size to the next one of the format."""
    if not np.isfinite(size):
        return float("nan")
    _, exponent = np.frexp(max(abs(size), smallest_normal(dtype)))
    return float(np.ldexp(2 * UNIT_ROUNDOFF[dtype], int(exponent) - 1))


def rounded(array: Array, dtype: str) -> Array:
    """Numbers rounded to nearest, to even in the middle, as float64, float32, float16 or bfloat16 has them: in the
    `carrier`. Infinite where they are beyond the format.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype != "bfloat16":
            return array.astype(dtype).astype(carrier(dtype), copy=False)
        if array.dtype != np.float32:
            array = _to_odd(array)
        bits = np.ascontiguousarray(array).view(np.uint32)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
        numbers: Array = np.where(np.isnan(array), array, bits.view(np.float32))
    return numbers


def _to_odd(array: Array) -> Array:
    """float64 as float32, with the last digit odd where digits were lost: rounded once more, to fewer, it is right."""
    single: Array = array.astype(np.float32)
    inexact = np.isfinite(single) & (single != array)
    # The neighbour on the other side of the number, where the one taken is even.
    other = np.nextafter(single, np.where(single < array, np.inf, -np.inf).astype(np.float32))
    even = (np.ascontiguousarray(single).view(np.uint32) & 1) == 0
    odd: Array = np.where(inexact & even, other, single)
    return odd


def widened(raw: bytes | memoryview, dtype: str, shape: tuple[int, ...]) -> Array:
    """Little-endian memory of that dtype as an array: float32, or float64 where it was; a view of it, for reading,
    where nothing has to be widened. Raises ValueError for a length that is not that of the shape.
    """
    if dtype in ("float64", "float32", "float16"):
        array = np.frombuffer(raw, np.dtype(dtype).newbyteorder("<"))
        wide = array.astype(np.float64 if dtype == "float64" else np.float32, copy=False)
    elif dtype == "bfloat16":
        # The upper half of a float32.
        wide = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        wide = _eighths(dtype)[np.frombuffer(raw, np.uint8)]
    values: Array = wide.reshape(shape)
    return values


@functools.cache
def _eighths(dtype: str) -> Array:
    """The 256 values of a float8, by its bits. OCP 8-bit Floating Point Specification, 1.0, tables 1 and 2."""
    exponent_bits = {"float8_e4m3fn": 4, "float8_e5m2": 5}[dtype]
    digits = 7 - exponent_bits
    bias = 2 ** (exponent_bits - 1) - 1
    values = np.empty(256, np.float32)
    for bits in range(256):
        exponent, digit = (bits >> digits) & (2**exponent_bits - 1), bits & (2**digits - 1)
        value = (
            2.0 ** (exponent - bias) * (1 + digit / 2**digits) if exponent else 2.0 ** (1 - bias) * digit / 2**digits
        )
        if dtype == "float8_e4m3fn" and bits & 0x7F == 0x7F:
            value = np.nan
        if dtype == "float8_e5m2" and exponent == 31:
            value = np.nan if digit else np.inf
        values[bits] = -value if bits & 0x80 else value
    return values
