"""In which format a result was computed, where its dtype does not tell: its values show it, or somebody says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from isogru import judge
from isogru.explain import Explanation
from isogru.judge.verdict import ResultVerdict
from isogru.judge.verdict import claim as claimed
from isogru.runners.hints import no_products, of_results
from isogru.runners.verdict import Evidence
from shared_spec.cells import Cell
from shared_spec.errors import UserError
from shared_spec.files import origins
from shared_spec.files.interchange import Case, Result
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array
from shared_spec.readings.floats import HALVES, rounded

FEW = 8
"""Fewer different values than that tell no format."""


def coarser(result: Result) -> str:
    """The coarsest format, coarser than its dtype, of which all values of a result are numbers; empty where there is
    none, or so few values are there that they may be such by chance: 0, 1 and 0.5 are numbers of every format.
    """
    values = np.unique(np.concatenate([array.ravel() for array in result.arrays.values()]))
    if len(values) < FEW or not np.isfinite(values).all():
        return ""
    formats = ("bfloat16", "float16", "float32")
    own = result.origin.dtype
    narrower = () if own in HALVES else formats[: formats.index(own)] if own in formats else formats
    coarsest = next((name for name in narrower if np.array_equal(rounded(values, name), values)), "")
    return coarsest or ("float32" if own == "float64" and _is_printed(values) else "")


def _is_printed(values: Array) -> bool:
    """Whether float64 values are what numbers of float32 print as, by the fewest digits that tell them apart or by
    nine: read as float64 these are no numbers of float32.
    """
    return all(map(_is_print, values))


def _is_print(value: float) -> bool:
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return value in (float(str(single)), float(f"{single:.9g}"))


def decimals(result: Result) -> int:
    """How many decimals all values of a result have at most, where that is few for its dtype; else 0."""
    values = np.unique(np.concatenate([array.ravel() for array in result.arrays.values()]))
    if len(values) < FEW or not np.isfinite(values).all():
        return 0
    return next(
        (k for k in range(1, 7) if np.array_equal(np.round(values.astype(float), k).astype(values.dtype), values)), 0
    )


def with_products(result: Result, products: str) -> Result:
    """A result whose products were in a coarser format than its states. Raises UserError where that is none."""
    dtype = result.origin.dtype
    if products not in origins.coarser(dtype):
        raise UserError(no_products(products, dtype))
    return Result(replace(result.origin, products=products, unit_roundoff=UNIT_ROUNDOFF[dtype]), result.arrays)


def told(dtype: str, products: str) -> str:
    """That a result is judged so."""
    return f"judged in {dtype} with products in {products}, as was said"


def states(result: Result) -> Result:
    """A result without its gradients."""
    return Result(result.origin, {name: result.arrays[name] for name in ("H", "final") if name in result.arrays})


def narrower(judged: Sequence[Evidence], claim: Cell | None = None) -> tuple[str, Explanation | None]:
    """With products in which coarser format results of one case or several would all be equal, in words and as the
    cause; empty where with none. `claim` is the cell that they were judged as, where that is another than their cases'.
    """

    def again(products: str, gradients: bool) -> list[Evidence]:
        others = [with_products(each.result if gradients else states(each.result), products) for each in judged]
        return [
            shown(each.case, other, judge.on(each.case, other, claim=claim, partial=True))
            for each, other in zip(judged, others, strict=True)
        ]

    def shown(case: Case, result: Result, verdict: ResultVerdict) -> Evidence:
        return Evidence(*((case, result) if claim is None else claimed(case, result, claim)), verdict)

    return of_results([shown(each.case, each.result, each.verdict) for each in judged], again)
