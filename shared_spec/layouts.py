"""The layouts of `layouts.toml`: how each native layer packs the parameters of the cell that it claims."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_spec.cells import cell, read_tables
from shared_spec.errors import SpecificationError, UserError

FORMAT = "isogru-layouts/1"
FILE = Path(__file__).with_name("layouts.toml")
ZERO = "0"


@dataclass(frozen=True)
class Tensor:
    """One tensor of a layer: rows of parts. One row stays as it is; several are stacked along a new first axis."""

    rows: tuple[tuple[str, ...], ...]
    axis: int
    transpose: bool


@dataclass(frozen=True)
class Layout:
    name: str
    layer: str
    cell: str
    time_first: bool
    tensors: Mapping[str, Tensor]


@functools.cache
def layouts() -> Mapping[str, Layout]:
    """All layouts, by name. Raises SpecificationError where one leaves out or repeats a parameter of its cell."""
    tables = read_tables(FILE, FILE.read_text(encoding="utf-8"), FORMAT)
    return {name: _layout(name, table) for name, table in tables.items()}


def layout(name: str) -> Layout:
    """The layout of that name. Raises UserError, with the names there are, for any other."""
    if name not in layouts():
        raise UserError(f"no layout {name!r}; the layouts are {', '.join(layouts())}")
    return layouts()[name]


def _layout(name: str, table: dict[str, Any]) -> Layout:
    tensors = {}
    for key, entry in table["tensors"].items():
        rows = tuple(tuple(row) for row in entry.get("rows", [entry.get("parts", [])]))
        tensors[key] = Tensor(rows, entry.get("axis", 0), entry.get("transpose", False))
    packed = [part for tensor in tensors.values() for row in tensor.rows for part in row if part != ZERO]
    parameters = cell(table["cell"]).parameters
    if sorted(packed) != sorted(parameters):
        raise SpecificationError(f"{FILE.name}: [{name}] packs {sorted(packed)}, the cell has {sorted(parameters)}")
    return Layout(name, table["layer"], table["cell"], table["time"] == "first", tensors)
