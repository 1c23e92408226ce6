"""The cells of `cells.toml`, read and checked: a wrong equation never reaches an array."""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared_spec.errors import SpecificationError, UserError
from shared_spec.expression import (
    Equation,
    Expression,
    Function,
    Name,
    Place,
    Shape,
    functions,
    names,
    parse,
    put,
    shape,
    terms,
)
from shared_spec.files import door

FORMAT = "isogru-cells/1"
FILE = Path(__file__).with_name("cells.toml")
INPUT_SHAPES: Mapping[str, Shape] = {"X": ("n", "d"), "H": ("n", "h")}
DIMENSIONS = ("T", "n", "d", "h", "v")
KEYS, OPTIONAL = {"title", "equations", "parameters"}, {"short_start"}


@dataclass(frozen=True)
class Cell:
    """One cell: its equations in order and the shapes of its parameters, in symbols; and what else is known of it."""

    name: str
    title: str
    # Left out of the hash alone, since tables have none: equal cells have equal equations.
    parameters: Mapping[str, Shape] = field(hash=False)
    equations: tuple[Equation, ...]
    short_start: str | None = None
    """The start of its short trainings, one of language_model.toml's; None for the chapter's own."""

    @property
    def digest(self) -> str:
        """Identifies the equations and the shapes: results of another digest are stale. What else is known of a cell
        decides which problems it is given, and each of those has a digest of its own.
        """
        text = "\n".join(
            [self.name, *(e.text for e in self.equations), *(f"{k} {v}" for k, v in self.parameters.items())]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @functools.cached_property
    def functions(self) -> tuple[tuple[str, Function], ...]:
        """Every sigmoid and tanh of the equations in order, with the quantity whose equation it stands in; where a sum
        has a name of its own, as in ``A = X @ W + b`` and ``Z = sigmoid(A)``, it is put in.
        """
        sums: dict[str, Expression] = {}
        pairs = []
        for equation in self.equations:
            whole = put(equation.expression, sums)
            inside = list(functions(whole))
            pairs += [(equation.target, function) for function in inside]
            sums.pop(equation.target, None)
            if not inside:
                sums[equation.target] = whole
        return tuple(pairs)

    @property
    def gated(self) -> bool:
        """Whether it has a gate: a sigmoid."""
        return any(function.name == "sigmoid" for _, function in self.functions)

    @property
    def gate_biases(self) -> tuple[str, ...]:
        """The vectors that are added up in the sigmoids: each opens or shuts a gate, whatever comes in."""
        added = [t for _, function in self.functions if function.name == "sigmoid" for t in terms(function.argument)]
        names = (term.id for term in added if isinstance(term, Name))
        return tuple(dict.fromkeys(name for name in names if self.parameters.get(name) == ("h",)))


@functools.cache
def cells(file: Path = FILE) -> Mapping[str, Cell]:
    """All cells of a file, by name. Raises SpecificationError, with the place, for a wrong one."""
    raw = door.text(file)
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
    except (ValueError, RecursionError) as error:
        raise SpecificationError(f"{file.name}: not TOML: {door.words(error)}") from None
    file_format = tables.pop("format", None)
    if file_format != format:
        raise SpecificationError(f"{file.name}: format is {file_format!r}, this isogru reads {format!r}; update isogru")
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
    if not isinstance(table, dict) or not KEYS <= set(table) <= KEYS | OPTIONAL:
        raise here.error(0, "a cell has title, equations and parameters, may have short_start, and nothing else")
    short_start = table.get("short_start")
    if short_start is not None and short_start not in (starts := _starts()):
        place = place_of("short_start =", name, raw, file)
        raise place.error(0, f"short_start is {short_start!r}; language_model.toml has {', '.join(starts)}")
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
        its_shape = shape(equation.expression, shapes, place)
        if equation.target in shapes and shapes[equation.target] != its_shape:
            raise place.error(0, f"{equation.target} has shape {shapes[equation.target]}, its right side {its_shape}")
        shapes[equation.target] = its_shape
        equations.append(equation)
    if not equations or equations[-1].target != "H":
        raise here.error(0, "the last equation of a cell assigns H, the next state")
    used = {n for equation in equations for n in names(equation.expression)}
    if unused := [p for p in parameters if p not in used]:
        raise here.error(0, f"no equation uses the parameter {unused[0]}")
    return Cell(name, table["title"], parameters, tuple(equations), short_start)


def _starts() -> tuple[str, ...]:
    """The starts that trainings have. Read off the file, since the module that reads it rests on this one."""
    return tuple(tomllib.loads(door.text(FILE.with_name("language_model.toml")))["starts"])
