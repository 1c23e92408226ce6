"""In what precision a result is judged: what was measured, and what its own values show where nothing was.

That a state was kept in float16 or bfloat16 shows in it: all its values are numbers of that format. A result that says
so, in its dtype or by its unit roundoff, and whose values do not bear it out, has no wider twins for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared_spec.files.interchange import Origin, Result
from shared_spec.readings import floats
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array


@dataclass(frozen=True)
class Delivered:
    """The precision that a result is judged in."""

    dtype: str
    """Of the twins, and what its values are numbers of: float32, float64, float16 or bfloat16."""
    u: float
    """The unit roundoff of what is stored."""
    sums: tuple[float, ...]
    """What it may have summed up in, the finest first; the first that the states fit counts."""
    said: str = ""
    """Where no measurement tells, what it is judged in, and why."""

    @property
    def stored(self) -> str:
        """float16 or bfloat16 where inputs, states and parameters may be rounded to it; else empty."""
        return self.dtype if self.dtype in floats.HALVES else ""

    def explained(self, sums: float) -> str:
        """What is said, with what was summed up in."""
        if not self.said or not self.stored:
            return self.said
        finer = next((name for name in ("float64", "float32") if sums <= UNIT_ROUNDOFF[name]), self.dtype)
        return f"{self.said}, with sums in {finer}"


def of(result: Result) -> Delivered:
    """The precision of a result."""
    origin, half = result.origin, result.origin.dtype in floats.HALVES
    u = max(origin.unit_roundoff, UNIT_ROUNDOFF[origin.dtype]) if half else origin.unit_roundoff
    if origin.products:
        return _of_products(origin)
    # Some say half of what it is: the digit in front counts too.
    coarser = [name for name in ("bfloat16", "float16") if UNIT_ROUNDOFF[name] <= 2 * u and not origin.roundoff]
    claimed = [origin.dtype] if half else coarser if origin.dtype == "float32" else []
    kept = next((dtype for dtype in claimed if _is_kept_in(result, dtype)), "")
    if not kept:
        if not half:
            return Delivered(origin.dtype, u, (u,))
        said = f"judged by the scale of float32: its states are no {origin.dtype} numbers"
        return Delivered("float32", u, (u,), said)
    u = max(u, UNIT_ROUNDOFF[kept])
    if "sum" in origin.roundoff:
        return Delivered(kept, u, (origin.roundoff["sum"],))
    why = "as the file has it" if half else "as its values are"
    return Delivered(kept, u, (UNIT_ROUNDOFF["float32"], u), f"judged in {kept}, {why}")


def _of_products(origin: Origin) -> Delivered:
    """Of states that are kept in a finer format than that of the products and functions which they come from."""
    u = UNIT_ROUNDOFF[origin.products]
    sums = (UNIT_ROUNDOFF["float32"], u) if origin.products in floats.HALVES else (u,)
    return Delivered(origin.products, u, sums, f"judged with products in {origin.products}")


def _is_kept_in(result: Result, dtype: str) -> bool:
    """Whether all states are numbers of the format; of a result without states, all there is."""
    states: list[Array] = [result.arrays[name] for name in ("H", "final") if name in result.arrays]
    return all(
        np.array_equal(floats.rounded(array, dtype), array.astype(floats.carrier(dtype)), equal_nan=True)
        for array in states or result.arrays.values()
    )
