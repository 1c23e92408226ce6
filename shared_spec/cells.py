"""The cells of `cells.toml`, read and checked: a wrong equation never reaches an array."""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_spec.errors import SpecificationError, UserError
from shared_spec.expression import Equation, Place, Shape, names, parse, shape

FORMAT = "isogru-cells/1"
FILE = Path(__file__).with_name("cells.toml")
INPUT_SHAPES: Mapping[str, Shape] = {"X": ("n", "d"), "H": ("n", "h")}
DIMENSIONS = ("T", "n", "d", "h", "v")


@dataclass(frozen=True)
class Cell:
    """One cell: its equations in order and the shapes of its parameters, in symbols."""

    name: str
    title: str
    parameters: Mapping[str, Shape]
    equations: tuple[Equation, ...]

    @property
    def digest(self) -> str:
        """Identifies the equations and the shapes: results of another digest are stale."""
        text = "\n".join(
            [self.name, *(e.text for e in self.equations), *(f"{k} {v}" for k, v in self.parameters.items())]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def cells(file: Path = FILE) -> Mapping[str, Cell]:
    """All cells of a file, by name. Raises SpecificationError, with the place, for a wrong one."""
    raw = file.read_text(encoding="utf-8")
    tables = read_tables(file, raw, FORMAT)
    return {name: _cell(name, table, raw, file) for name, table in tables.items()}


def cell(name: str) -> Cell:
    """The cell of that name. Raises UserError, with the names there are, for any other."""
    known = cells()
    if name not in known:
        raise UserError(f"no cell {name!r}; the cells are {', '.join(known)}")
    return known[name]


def read_tables(file: Path, raw: str, format: str) -> dict[str, Any]:
    """The tables of a TOML file of the specification, its format checked and taken off."""
    try:
        tables = tomllib.loads(raw)
    except tomllib.TOMLDecodeError as error:
        raise SpecificationError(f"{file.name}: not TOML: {error}") from None
    found = tables.pop("format", None)
    if found != format:
        raise SpecificationError(f"{file.name}: format is {found!r}, this isogru reads {format!r}; update isogru")
    return tables


def place_of(text: str, table: str, raw: str, file: Path) -> Place:
    """Where the equation `text` of a table stands in the file: TOML readers do not say."""
    lines = raw.splitlines()
    header = next((i for i, line in enumerate(lines) if line.strip() == f"[{table}]"), 0)
    for number, line in enumerate(lines[header:], start=header + 1):
        if (column := line.find(text)) >= 0:
            return Place(file.name, number, column + 1, table)
    return Place(file.name, header + 1, 1, table)


def _cell(name: str, table: Any, raw: str, file: Path) -> Cell:
    here = place_of("", name, raw, file)
    if not isinstance(table, dict) or set(table) != {"title", "equations", "parameters"}:
        raise here.error(0, "a cell has title, equations and parameters, and nothing else")
    lists = [table["equations"], *(table["parameters"].values() if isinstance(table["parameters"], dict) else [None])]
    if not all(isinstance(each, list) and all(isinstance(word, str) for word in each) for each in lists):
        raise here.error(0, "equations are a list of texts, parameters a table of lists of dimensions")
    parameters: dict[str, Shape] = {}
    for parameter, dimensions in table["parameters"].items():
        if parameter in INPUT_SHAPES or not set(dimensions) <= set(DIMENSIONS):
            raise here.error(
                0, f"parameter {parameter} of shape {dimensions}: shapes are made of {', '.join(DIMENSIONS)}"
            )
        parameters[parameter] = tuple(dimensions)

    equations = []
    shapes: dict[str, Shape] = {**INPUT_SHAPES, **parameters}
    for text in table["equations"]:
        place = place_of(text, name, raw, file)
        equation = parse(text, place)
        if equation.target in parameters or equation.target == "X":
            raise place.error(0, f"{equation.target} is given; an equation cannot assign it")
        found = shape(equation.expression, shapes, place)
        if equation.target in shapes and shapes[equation.target] != found:
            raise place.error(0, f"{equation.target} has shape {shapes[equation.target]}, its right side {found}")
        shapes[equation.target] = found
        equations.append(equation)
    if not equations or equations[-1].target != "H":
        raise here.error(0, "the last equation of a cell assigns H, the next state")
    used = {n for equation in equations for n in names(equation.expression)}
    if unused := [p for p in parameters if p not in used]:
        raise here.error(0, f"no equation uses the parameter {unused[0]}")
    return Cell(name, table["title"], parameters, tuple(equations))
