"""The layouts of `layouts.toml`, read and checked: how each native layer packs the parameters of a cell."""

from __future__ import annotations

import difflib
import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shared_spec.cells import Cell, cell, cells, place_of, read_tables
from shared_spec.errors import UserError
from shared_spec.expression import Expression, Function, Operation, Place, names
from shared_spec.files import door
from shared_spec.weights import entries
from shared_spec.weights.parts import Part, Size, Tensor, show

# What a layout is made of is to be had from here too.
__all__ = ["Layout", "Part", "Size", "Tensor", "facts", "layout", "layouts", "own", "renews", "reset_of", "show"]

FORMAT = "isogru-layouts/1"
FILE = Path(__file__).parents[1] / "layouts.toml"
SECOND_BIASES: Mapping[str, str] = {"b_hz": "b_z", "b_hr": "b_r", "b_hh": "b_h"}
TIMES: Mapping[str, str] = {"first": "time first", "second": "batch first", "step": "one step"}


@dataclass(frozen=True)
class Layout:
    """How one layer packs the parameters of `cell`."""

    name: str
    layer: str
    package: str
    cell: str
    time: str
    without: frozenset[str]
    """Parameters of the cell that the layer takes for zero."""
    second: Mapping[str, str]
    """Second biases that the layer has, each with the parameter it is added to: {"b_hz": "b_z", ...}."""
    tensors: Mapping[str, Tensor]
    dtypes: tuple[str, ...] = ("float32", "float64")
    """In which the layer runs, and is proven."""
    proven: str = ""
    """The tox environment that runs the layer on converted weights; empty where none does."""
    unproven: str = ""
    source: str = ""
    saved: tuple[str, ...] = ("*",)
    """How files name the tensors, as patterns; isogru/models/naming.py reads them. The first is that of `tensors`."""
    in_order: bool = False
    """Whether `tensors` stand in the order in which the package lists a layer's weights, in files without names."""
    biased: bool = False
    """Whether the layer is never without its biases."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What the layer must be set to where its weights do not tell, by what it is about ("gate", "candidate", "reset"),
    in the package's words: {"gate": 'recurrent_activation="sigmoid"', ...}.
    """
    known: Mapping[str, int] = field(default_factory=dict)
    """Sizes of one certain layer that its shapes do not tell: {"h": 5}, see `of_units`."""

    @property
    def holds(self) -> tuple[str, ...]:
        """Every parameter and second bias that the layer has, in the order of its cell."""
        return (*(p for p in cell(self.cell).parameters if p not in self.without), *self.second)

    def of_units(self, units: int) -> Layout:
        """The layout of layers with so many units: one vector that holds everything does not tell how many they are."""
        return replace(self, known={"h": units})


@functools.cache
def layouts() -> Mapping[str, Layout]:
    """The layouts of native layers, by name. Raises SpecificationError, with the place, for a wrong one."""
    raw = door.text(FILE)
    return {name: _layout(name, table, raw) for name, table in read_tables(FILE, raw, FORMAT).items()}


def own() -> Mapping[str, Layout]:
    """The specification's own names, for every cell that some layer computes: each parameter is a tensor."""
    claimed = {layout.cell for layout in layouts().values()}
    return {name: _own(the_cell) for name, the_cell in cells().items() if name in claimed}


def layout(name: str) -> Layout:
    """The layout of that name, a layer's or the specification's own. Raises UserError, with the names there are."""
    known = {**layouts(), **own()}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        meant = f"do you mean {near[0]}? " if near else ""
        raise UserError(f"no layout {name!r}; {meant}the layouts are {', '.join(known)}")
    return known[name]


def facts(layout: Layout) -> dict[str, Any]:
    """What a user of the layer asks, as a plain record for a table."""
    the_cell = cell(layout.cell)
    kernels = [tensor for tensor in layout.tensors.values() if any(p.name.startswith("W_x") for p in tensor.parts)]
    orders = [" ".join(p.name[-1] for p in tensor.parts if p.name.startswith("W_x")) for tensor in kernels]
    reset = reset_of(the_cell)
    update = f"Z {'renews' if renews(layout) else 'keeps'} the state" if "W_xz" in the_cell.parameters else "none"
    return {
        "name": layout.name,
        "layer": layout.layer,
        "package": layout.package,
        "cell": layout.cell,
        "gates": "apart" if len(orders) > 1 and all(len(order) == 1 for order in orders) else ", ".join(orders),
        "tensors": {name: show(tensor.shape) for name, tensor in layout.tensors.items()},
        "transposed": any(tensor.transpose or tensor.turned for tensor in kernels),
        "biases": 2 if layout.second else 1,
        "folded": [f"{second} into {first}" for second, first in layout.second.items()],
        "inner_bias": "b_hh" in the_cell.parameters and "b_hh" not in layout.without,
        "reset": reset,
        "update": update,
        "time": TIMES[layout.time],
        "proven": layout.proven,
        "unproven": layout.unproven,
        "source": layout.source,
    }


def renews(layout: Layout) -> bool:
    """Whether the layer's update gate is turned round: where it is 1, the state is new."""
    return any(part.name == "W_xz" and part.negated for tensor in layout.tensors.values() for part in tensor.parts)


def reset_of(the_cell: Cell) -> str:
    """Where the reset gate R acts: "before" or "after" the product with W_hh, or "none"; read off the equations."""
    used = [equation.expression for equation in the_cell.equations if "R" in names(equation.expression)]
    if not used:
        return "none"
    return "before" if any("R" in names(left) for each in used for left in _factors(each)) else "after"


def _factors(expression: Expression) -> Iterator[Expression]:
    """The left operand of every matrix product."""
    match expression:
        case Function(_, argument):
            yield from _factors(argument)
        case Operation(symbol, left, right):
            if symbol == "@":
                yield left
            yield from _factors(left)
            yield from _factors(right)


def _own(the_cell: Cell) -> Layout:
    tensors = {
        name: Tensor(((Part(name),),), tuple((symbol,) for symbol in symbols))
        for name, symbols in the_cell.parameters.items()
    }
    layer = f"the specification's {the_cell.name}"
    return Layout(the_cell.name, layer, "isogru", the_cell.name, "first", frozenset(), {}, tensors)


TEXTS = ("layer", "package", "cell", "time", "source")
OPTIONAL = ("without", "dtypes", "proven", "unproven", "saved", "in_order", "biased", "settings")


def _layout(name: str, table: Any, raw: str) -> Layout:
    here = place_of("", name, raw, FILE)
    if not isinstance(table, dict) or not isinstance(table.get("tensors"), dict):
        raise here.error(0, "a layout has a table of tensors")
    if unknown := sorted(set(table) - {*TEXTS, *OPTIONAL, "tensors"}):
        raise here.error(0, f"a layout has no {unknown[0]!r}")
    if wrong := [key for key in TEXTS if not isinstance(table.get(key), str)]:
        raise here.error(0, f"a layout says its {wrong[0]}")
    if sum(isinstance(table.get(key), str) for key in ("proven", "unproven")) != 1:
        raise here.error(0, "a layout is either proven, by a tox environment, or unproven, for a reason")
    if table["time"] not in TIMES:
        raise here.error(0, f"time is {table['time']!r}, should be one of {', '.join(TIMES)}")
    if table["cell"] not in cells():
        raise here.error(0, f"no cell {table['cell']!r}; the cells are {', '.join(cells())}")
    parameters = cell(table["cell"]).parameters
    without = table.get("without", [])
    if not isinstance(without, list) or not set(without) <= set(parameters):
        raise here.error(0, f"without is {without!r}, should be a list of parameters of {table['cell']}")
    dtypes = tuple(table.get("dtypes", Layout.dtypes))
    if not dtypes or not set(dtypes) <= set(Layout.dtypes):
        raise here.error(0, f"dtypes is {table['dtypes']!r}, should be some of {', '.join(Layout.dtypes)}")
    seconds = {s: f for s, f in SECOND_BIASES.items() if f in parameters and s not in parameters}
    # A second bias has the shape of the first.
    known = {p: shape for p, shape in parameters.items() if p not in without}
    shapes = {**known, **{second: parameters[first] for second, first in seconds.items()}}

    tensors = {}
    for key, entry in table["tensors"].items():
        place = place_of(f"{key} =" if key.replace("_", "").isalnum() else f'"{key}" =', name, raw, FILE)
        tensors[key] = entries.tensor(key, entry, shapes, place)
    packed = Counter(part.name for tensor in tensors.values() for part in tensor.parts)
    if missing := [p for p in known if not packed[p]]:
        raise here.error(0, f"{missing[0]} is in no tensor; list it in `without` if the layer takes it for zero")
    if repeated := [p for p, n in packed.items() if n > 1]:
        raise here.error(0, f"{repeated[0]} is packed {packed[repeated[0]]} times")
    return Layout(
        name=name,
        **{key: table[key] for key in TEXTS},
        without=frozenset(without),
        second={s: f for s, f in seconds.items() if packed[s]},
        tensors=tensors,
        dtypes=dtypes,
        proven=table.get("proven", ""),
        unproven=table.get("unproven", ""),
        saved=tuple(_texts(table, "saved", ["*"], list, here)),
        in_order=table.get("in_order", False) is True,
        biased=table.get("biased", False) is True,
        settings=dict(_texts(table, "settings", {}, dict, here)),
    )


def _texts(table: Any, key: str, default: Any, kind: type, here: Place) -> Any:
    """A list of texts, or a table of them."""
    texts = table.get(key, default)
    values = texts.values() if isinstance(texts, dict) else texts
    if not isinstance(texts, kind) or not all(isinstance(value, str) for value in values):
        raise here.error(0, f"{key} is {texts!r}, should be a {'table' if kind is dict else 'list'} of texts")
    return texts
