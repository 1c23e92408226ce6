"""Floats narrower than float32, widened: exactly, since each of them is a float32. And the unit roundoff of each."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from shared_spec.readings.arithmetic import Array

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
    found: Array = wide.reshape(shape)
    return found


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
