"""The implementations that follow from what a framework's folder offers (frameworks/folder.py): a lane for each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from frameworks import Framework
from frameworks.folder import Cells, Forward
from shared_spec import cases
from shared_spec.errors import UserError
from shared_spec.files.interchange import DTYPES
from shared_spec.files.store import Listed
from shared_spec.frameworks import gated_cells, native_cells
from shared_spec.race.workloads import TRAININGS


@dataclass(frozen=True)
class Implementation:
    """One way of computing one cell in one framework."""

    name: str
    cell: str
    """The cell of the specification that it claims to equal."""
    lane: str
    dtypes: tuple[str, ...]
    build: Callable[[], Forward]
    build_with_gates: Callable[[], Forward] | None = None
    """The same with the gates kept, for lanes that have them: a forward of [X, E] and [H0, zeros], see with_gates."""
    reason: str = ""
    """Why it is not available here; empty where it is."""
    compiled: bool = False
    """Whether it is compiled: its whole training step then is, where the framework can."""
    brief: bool = False
    """Whether it runs fewer cases, since it is compiled for each shape anew."""
    kinds: tuple[str, ...] = ()
    """The kinds of case that it runs, such as "ordinary"; empty for all."""
    races: bool = True
    """Whether it is entered for races that do not name it, since some workload of theirs is what it is made for."""
    only_trains: bool = False
    """Whether it is a way to train: it runs no case of a cell, and races in trainings alone."""
    default_dtypes: tuple[str, ...] = DTYPES
    """The dtypes that it is proven in where none is named."""

    def runs(self, case: str, dtype: str) -> bool:
        """Whether it is run, in that dtype, on a case of the catalogue."""
        fits, entry = cases.cell_name_of(case) == self.cell and dtype in self.dtypes, cases.entry_of(case)
        if entry is None:
            of_its_kind = not self.kinds
        else:
            of_its_kind = not self.only_trains and (not self.kinds or entry[0].name in self.kinds)
        return fits and of_its_kind and (not self.brief or cases.is_compiled(case))

    def races_in(self, kind: str) -> bool:
        """Whether it can be raced in a kind of workload."""
        return not self.only_trains or kind in TRAININGS

    def listing(self) -> Listed:
        return {
            "name": self.name,
            "cell": self.cell,
            "lane": self.lane,
            "dtypes": list(self.dtypes),
            "available": not self.reason,
            "reason": self.reason,
        }


def implementations(framework: Framework) -> list[Implementation]:
    """Every implementation of a framework, available or not."""
    cells, layers, tuned, runtime = framework.cells, framework.layers, framework.tuned, framework.runtime
    parallel = framework.parallel
    implementations = []
    ways = [("scratch", "scratch", cells.unroll), *((name, "compiled", way) for name, way in cells.COMPILERS.items())]
    for way, lane, unroll in ways:
        reason = "" if lane == "scratch" else runtime.missing(way)
        for name, step in cells.CELLS.items():
            plain = functools.partial(unroll, step)
            kept = functools.partial(_with_gates, cells, unroll, step)
            compiled = lane == "compiled"
            implementations.append(Implementation(way, name, lane, DTYPES, plain, kept, reason, compiled, compiled))
    implementations += [
        Implementation("native", name, "native", dtypes, build, compiled=layers.COMPILED)
        for name, (build, dtypes) in layers.LAYERS.items()
    ]
    implementations += [
        Implementation("tuned", name, "tuned", dtypes, build, compiled=tuned.COMPILED, brief=tuned.COMPILED)
        for name, (build, dtypes) in tuned.TUNED.items()
    ]
    for name, (build, dtypes) in parallel.PARALLEL.items():
        # It takes seconds to compile for each shape, and hours for a training, which has many rows and few steps. So it
        # runs what is in few cases, and the long one with cells that have a gate.
        kinds = ("ordinary", "long") if name in gated_cells() else ("ordinary",)
        options: dict[str, Any] = {"compiled": parallel.COMPILED, "kinds": kinds, "races": False}
        implementations.append(Implementation("parallel", name, "parallel", dtypes, build, **options))
    ways_to_train = framework.chapter.CHAPTER
    for at, (way, of) in enumerate(ways_to_train.items()):
        for name, (build, dtypes) in of.items():
            # A training takes seconds, and JAX compiles it first. So where none is named each cell is trained once:
            # ways take turns from cell to cell, and dtypes in each way.
            turn, whose = divmod(native_cells().index(name), len(ways_to_train))
            default = (DTYPES[(turn + at) % len(DTYPES)],) if whose == at else ()
            options = {"races": False, "only_trains": True, "default_dtypes": default}
            implementations.append(Implementation(way, name, "chapter", dtypes, build, **options))
    return implementations


def _with_gates(cells: Cells, unroll: Callable[..., Forward], step: Callable[..., Any]) -> Forward:
    return unroll(cells.with_gates(step))


def check(framework: str, available: Iterable[Implementation], names: Iterable[str], *, or_lanes: bool = False) -> None:
    """Raises UserError for an implementation asked for, or a lane where those may be, that is not there or not here."""
    by_name: dict[str, list[Implementation]] = {}
    for each in available:
        for name in {each.name, each.lane} if or_lanes else {each.name}:
            by_name.setdefault(name, []).append(each)
    for name in names:
        if name not in by_name:
            there = ", ".join(dict.fromkeys(each.name for those in by_name.values() for each in those))
            raise UserError(f"{framework} has no implementation {'or lane ' * or_lanes}{name!r}; it has {there}")
        if all(each.reason for each in by_name[name]):
            raise UserError(f"{framework}/{name} is not available here: {by_name[name][0].reason}")


def find(framework: Framework, name: str, cell: str, dtype: str) -> Implementation:
    """The implementation of that name for a cell. Raises UserError where it is not there."""
    everything = implementations(framework)
    implementation = next((i for i in everything if (i.name, i.cell) == (name, cell)), None)
    if implementation is None:
        there = ", ".join(dict.fromkeys(i.name for i in everything if i.cell == cell))
        raise UserError(f"{framework.name} has no implementation {name!r} of {cell}; for this cell it has {there}")
    if dtype not in implementation.dtypes:
        there = ", ".join(implementation.dtypes)
        raise UserError(f"{framework.name}/{name} of {cell} does not run in {dtype!r}; it runs in {there}")
    if implementation.reason:
        raise UserError(f"{framework.name}/{name} of {cell} is not available here: {implementation.reason}")
    return implementation
