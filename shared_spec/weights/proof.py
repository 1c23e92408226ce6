"""How a layout is proven: which cases its layer runs, from which layout their weights come, and where the results lie.

reports/results/rosetta/<layout>.<case>.<dtype>.safetensors    a result
reports/results/rosetta/<layout>.<case>.<dtype>.failed.json    a failure, with its last words
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from shared_spec import cases
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.files.interchange import Case
from shared_spec.files.whole import write_whole
from shared_spec.readings.arithmetic import Array
from shared_spec.weights import convert, layouts
from shared_spec.weights.layouts import Layout
from shared_spec.weights.packing import pack

ENTRIES = ("ordinary", "zero_start", "long", "large_weights", "one_step", "one_unit", "saturated", "no_inner_bias")
FAILURE_FORMAT = "isogru-rosetta-failure/1"


def case_names(layout: Layout) -> list[str]:
    """The cases of the catalogue that a layout is proven on."""
    known = cases.cell_case_names()
    return [name for name in (f"{layout.cell}-{entry}" for entry in ENTRIES) if name in known]


def case_of(layout: Layout, name: str) -> Case:
    """A case as this layer can hold it: states alone, without gradients, and zero where the layer has no parameter.

    Its digest is its own; the name stays that of the catalogue.
    """
    case = cases.build(name)
    assert isinstance(case, Case)
    arrays = {key: array for key, array in case.arrays.items() if key != "dH"}
    arrays |= {key: np.zeros_like(arrays[key]) for key in layout.without}
    return Case(case.name, case.cell, arrays)


def source_of(layout: Layout) -> Layout:
    """The layout that a case's weights are first packed in: of all layers of the cell the one with the most second
    biases, and where there is a choice not the layout itself.
    """
    same = [other for other in layouts.layouts().values() if other.cell == layout.cell]
    return max(same, key=lambda other: (len(other.second), other.name != layout.name))


def weights(layout: Layout, case: Case, *, dtype: str) -> Mapping[str, Array]:
    """The layer's tensors for a case: its parameters split over two biases, packed in the layout of another layer, and
    converted from there. Raises UserError where that is not exact.
    """
    source = source_of(layout)
    parameters = {name: array.astype(dtype) for name, array in case.parameters.items()}
    for second, first in source.second.items():
        # By Sterbenz's lemma the difference is exact, so that the two sum to the parameter again; and they differ, so
        # that a layer that took one of them twice would be seen.
        whole = parameters[first]
        parameters[first] = whole * whole.dtype.type(0.75)
        parameters[second] = whole - parameters[first]
    converted = convert.plan(source, pack(source, parameters), layout)
    if converted.verdict == convert.IMPOSSIBLE or any(fold.rounding for fold in converted.folded):
        raise UserError(f"case {case.name} in {layout.name}: {converted.sentence}")
    return converted.tensors


def result_file(layout: str, case: str, dtype: str) -> Path:
    """Where a result lies."""
    return store.folder() / "rosetta" / f"{layout}.{case}.{dtype}.safetensors"


def failure_file(layout: str, case: str, dtype: str) -> Path:
    """Where the record of a failure lies."""
    return result_file(layout, case, dtype).with_suffix(".failed.json")


def save_failure(layout: str, case: str, dtype: str, last_words: str) -> None:
    """Keep a failure; an older result no longer counts."""
    record = {"format": FAILURE_FORMAT, "layout": layout, "case": case, "dtype": dtype, "last_words": last_words}
    write_whole(failure_file(layout, case, dtype), json.dumps(record, indent=1).encode())
    result_file(layout, case, dtype).unlink(missing_ok=True)
