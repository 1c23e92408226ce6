"""Precision: what was asked for, and what was delivered, operation by operation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping

from reports.diff.collect import Collection
from reports.diff.records import Precision
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF

FORMATS = {
    "float64": UNIT_ROUNDOFF["float64"],
    "float32": UNIT_ROUNDOFF["float32"],
    "TF32": UNIT_ROUNDOFF["float16"],
    "bfloat16": UNIT_ROUNDOFF["bfloat16"],
}
"""Formats by their unit roundoff u. TF32 has as many bits of precision as float16, which is not told apart from it."""
OPERATIONS = ("product", "sum", "tanh", "sigmoid", "cell")


def format_of(u: float) -> str:
    """The format whose unit roundoff is nearest, by order of magnitude."""
    return min(FORMATS, key=lambda name: abs(math.log2(FORMATS[name]) - math.log2(u)))


def records(collection: Collection) -> Iterator[Precision]:
    """One record for each implementation in a dtype on a device: the largest unit roundoff over all of its cells."""
    measured: dict[tuple[str, str, str, str], dict[str, float]] = defaultdict(dict)
    for row in collection.rows:
        if row.verdict is not None:
            of_row = measured[row.job.framework, row.job.implementation, row.job.dtype, row.job.device]
            for operation, u in (row.verdict.origin.roundoff or {"product": row.verdict.origin.unit_roundoff}).items():
                of_row[operation] = max(u, of_row.get(operation, 0.0))
    for (framework, implementation, dtype, device), roundoff in measured.items():
        formats = {operation: format_of(u) for operation, u in roundoff.items()}
        if "cell" in formats:
            # A sum of many rounded products errs less than one of them: the cell is no better than its arithmetic.
            formats["cell"] = max((formats.get(o, dtype) for o in ("product", "sum", "cell")), key=list(FORMATS).index)
        yield Precision(
            framework=framework,
            implementation=implementation,
            dtype=dtype,
            device=device,
            asked=UNIT_ROUNDOFF[dtype],
            roundoff={name: roundoff[name] for name in OPERATIONS if name in roundoff},
            formats=formats,
            consequence=_consequence(dtype, formats, roundoff),
        )


def _consequence(dtype: str, formats: Mapping[str, str], roundoff: Mapping[str, float]) -> str:
    """What follows from a label that lies; empty where it does not."""
    order = list(FORMATS)
    lower = {name: f for name, f in formats.items() if order.index(f) > order.index(dtype)}
    if not lower:
        return ""
    delivered = ", ".join(_delivered(name, f, roundoff[name]) for name, f in lower.items())
    said = f"Labelled {dtype}, computed {delivered}"
    arithmetic = [f for name, f in lower.items() if name in ("product", "sum")]
    if arithmetic and dtype == "float64":
        return f"{said}: its results count as failed, and no reference is made of them."
    if arithmetic:
        coarsest = max(arithmetic, key=order.index)
        wider = FORMATS[coarsest] / FORMATS[dtype]
        return (
            f"{said}: a step has the bound of {coarsest}, {wider:.0f} times as wide; all else is still held to "
            f"{dtype}, and will be outside."
        )
    return f"{said}: it is held to {dtype}, and will be outside where that matters."


def _delivered(operation: str, format: str, u: float) -> str:
    """An operation and the format that it was computed in; its unit roundoff where it is that of no format."""
    if FORMATS[format] / 2 <= u <= FORMATS[format] * 2:
        return f"{operation} in {format}"
    return f"{operation} with unit roundoff {u:.1e}"
