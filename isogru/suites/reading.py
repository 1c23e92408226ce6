"""Suites and their problems: `suites.toml`, read and checked, and the numbers of each problem."""

from __future__ import annotations

import functools
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from isogru.conventions import Convention
from isogru.edits import Edit
from isogru.suites.tolerance import Tolerance, tolerance
from shared_spec import cells
from shared_spec.cells import read_tables
from shared_spec.errors import SpecificationError
from shared_spec.expression import Shape
from shared_spec.files import door
from shared_spec.files.interchange import Case
from shared_spec.readings.arithmetic import Array
from shared_spec.weights.layouts import SECOND_BIASES

FORMAT = "isogru-suites/1"
FILE = Path(__file__).with_name("suites.toml")
COMPARED = ("H", "final", "gradients")
OF_SUITE = {"title", "sources", "cell", "compares", "tolerance", "left_out", "problems"}
OF_PROBLEM = {"name", "sizes", "X", "H0", "reverse", "functions", "decimals", "published"}
OTHERS = {"compares", "cell", "tolerance"}
KINDS = ("W_x", "W_h", "first", "second")
MOST = 2**22
"""Numbers of an array."""
MALFORMED = (KeyError, ValueError, TypeError, AttributeError, OverflowError)
"""What a table raises whose parts are of other types than they should be."""
DRAWN = re.compile(r"(normal|uniform)\((\d+(?:\.\d+)?)(?:/sqrt\(([dh])\))?\)")


@dataclass(frozen=True)
class Problem:
    """One problem of a suite, with its numbers, which float32 holds."""

    name: str
    right: Edit
    """What is computed: the cell, with the functions that it has there, and its weights."""
    X: Array
    """(T, n, d), in the order in which the layer meets it."""
    H0: Array
    compares: tuple[str, ...]
    tolerance: Tolerance
    decimals: int | None
    published: Array | None
    """Final states (n, h), where the source gives some."""

    @property
    def case(self) -> Case:
        """The same as a case with random cotangents."""
        random = np.random.RandomState(_seed(f"{self.name} cotangents"))
        dH = random.standard_normal((*self.X.shape[:2], self.H0.shape[1])).astype(np.float32).astype(np.float64)
        return Case(self.name, self.right.cell, {"X": self.X, "H0": self.H0, "dH": dH, **self.right.parameters})


@dataclass(frozen=True)
class Suite:
    """What some project's tests of one cell compare."""

    name: str
    title: str
    sources: tuple[str, ...]
    left_out: str
    cell: str
    problems: tuple[Problem, ...]

    @property
    def told(self) -> str:
        """Its tolerances in words."""
        return "; ".join(dict.fromkeys(problem.tolerance.told for problem in self.problems))


@functools.cache
def suites(file: Path = FILE) -> tuple[Suite, ...]:
    """All suites of a file, one for each cell that one tests. Raises SpecificationError for a wrong one."""
    tables = read_tables(file, door.text(file), FORMAT)
    read: dict[str, list[tuple[str, Problem, bool]]] = {}
    every_suite: list[Suite] = []
    for name, table in tables.items():
        where = f"{file.name}: [{name}]"
        if not isinstance(table, dict) or not set(table) - {"includes"} == OF_SUITE:
            raise SpecificationError(
                f"{where} a suite has {', '.join(sorted(OF_SUITE))}, may have includes, and nothing else"
            )
        try:
            every_suite += _suites(name, table, where, read)
        except MALFORMED as error:
            raise SpecificationError(f"{where} {type(error).__name__}: {error}") from None
    return tuple(every_suite)


def _suites(
    name: str, table: Mapping[str, Any], where: str, read: dict[str, list[tuple[str, Problem, bool]]]
) -> Iterator[Suite]:
    """Those of one table, by cell; its own problems are added to those that were read before it."""
    own = _problems(name, table, where)
    included = table.get("includes")
    if included is not None and included not in read:
        raise SpecificationError(f"{where} includes {included!r}, which is no suite before it")
    read[name] = own
    of_suite = tolerance(table["tolerance"], where)
    others = (
        []
        if included is None
        else [
            (cell, problem if is_own else replace(problem, tolerance=of_suite), is_own)
            for cell, problem, is_own in read[included]
        ]
    )
    every = [*others, *own]
    for cell in dict.fromkeys(cell for cell, _, _ in every):
        problems = tuple(problem for of, problem, _ in every if of == cell)
        yield Suite(name, table["title"], tuple(table["sources"]), table["left_out"], cell, problems)


def _problems(suite: str, table: Mapping[str, Any], where: str) -> list[tuple[str, Problem, bool]]:
    """Each with its cell, and whether it has a tolerance of its own."""
    problems = []
    for entry in table["problems"]:
        here = f"{where} problem {entry.get('name', '')!r}:"
        try:
            problem = _problem(suite, {**{key: table[key] for key in OTHERS}, **entry}, here)
        except MALFORMED as error:
            raise SpecificationError(f"{here} {type(error).__name__}: {error}") from None
        problems.append((entry.get("cell", table["cell"]), problem, "tolerance" in entry))
    return problems


def _problem(suite: str, entry: Mapping[str, Any], here: str) -> Problem:
    the_cell = cells.cell(entry["cell"])
    shapes: dict[str, Shape] = {"X": ("T", "n", "d"), "H0": ("n", "h"), **the_cell.parameters}
    shapes |= dict.fromkeys(SECOND_BIASES, ("h",))
    known = OF_PROBLEM | OTHERS | {*KINDS, *shapes}
    if unknown := sorted(set(entry) - known):
        raise SpecificationError(f"{here} {unknown[0]} is none of {', '.join(sorted(known))}")
    if unknown := sorted(set(entry["compares"]) - set(COMPARED)):
        raise SpecificationError(f"{here} compares {unknown[0]!r}, should be of {', '.join(COMPARED)}")
    T, n, d, h = (int(size) for size in entry["sizes"])
    if min(T, n, d, h) < 1 or max(T * n * d, T * n * h, d * h, h * h) > MOST:
        raise SpecificationError(f"{here} sizes are {entry['sizes']}, should be at least 1, and no array above {MOST}")
    sizes = {"T": T, "n": n, "d": d, "h": h}
    arrays = {
        name: _array(
            entry.get(name, entry.get(_kind(name), 0 if name[0] not in "XW" else None)),
            tuple(sizes[s] for s in shape),
            sizes,
            gate="zrh".find(name[-1]),
            seed=_seed(f"{suite} {entry['name']} {name}"),
        )
        for name, shape in shapes.items()
    }
    X, H0 = arrays.pop("X"), arrays.pop("H0")
    right = Edit(the_cell, arrays)
    if functions := entry.get("functions"):
        edited = right.then(Convention("functions", "", "", functions=functions))
        if edited is None:
            raise ValueError(f"functions {functions!r} change nothing")
        right = Edit(edited.cell, arrays)
    published = entry.get("published")
    return Problem(
        f"{suite} {entry['name']}",
        right,
        X[::-1] if entry.get("reverse") else X,
        H0,
        tuple(entry["compares"]),
        tolerance(entry["tolerance"], here),
        entry.get("decimals"),
        None if published is None else np.array(published, float),
    )


def _kind(name: str) -> str:
    if name in SECOND_BIASES:
        return "second"
    return "first" if name.startswith("b_") else name[:3]


def _array(value: Any, shape: tuple[int, ...], sizes: Mapping[str, int], *, gate: int, seed: int) -> Array:
    """The numbers that are meant, as float32 has them."""
    random = np.random.RandomState(seed)
    match value:
        case int() | float():
            numbers = np.full(shape, float(value))
        case list():
            numbers = np.array(value, float)
            if numbers.shape != shape:
                raise ValueError(f"a list has the shape {numbers.shape}, should have {shape}")
        case "count":
            numbers = np.arange(math.prod(shape), dtype=float).reshape(shape)
        case "count by sequence":
            T, n, d = shape
            numbers = np.arange(math.prod(shape), dtype=float).reshape(n, T, d).swapaxes(0, 1)
        case "block" if shape == (3 * sizes["h"], sizes["h"]):
            numbers = np.eye(3 * sizes["h"])[:, gate * sizes["h"] : (gate + 1) * sizes["h"]]
        case str() if match := DRAWN.fullmatch(value):
            scale = float(match[2]) / (math.sqrt(sizes[match[3]]) if match[3] else 1.0)
            numbers = random.standard_normal(shape) if match[1] == "normal" else random.uniform(-1, 1, shape)
            numbers = numbers * scale
        case _:
            raise ValueError(f"{value!r} is no number, no list, and none of the words that suites.toml explains")
    narrow: Array = numbers.astype(np.float32).astype(np.float64)
    return narrow


def _seed(text: str) -> int:
    return zlib.crc32(text.encode())
