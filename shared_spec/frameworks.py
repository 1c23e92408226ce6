"""The frameworks of `frameworks.toml`, read and checked: what is known of each without importing it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from shared_spec.cells import cells, place_of, read_tables
from shared_spec.errors import UserError
from shared_spec.files import door

FORMAT = "isogru-frameworks/1"
FILE = Path(__file__).with_name("frameworks.toml")
LANES = ("scratch", "compiled", "native", "tuned", "parallel", "chapter")


@dataclass(frozen=True, kw_only=True)
class Framework:
    """One framework, as far as neutral code has to know it; `frameworks.toml` says what each of these means."""

    name: str
    title: str
    imports: tuple[str, ...]
    native: tuple[str, ...]
    quick: tuple[str, ...]
    together: int
    spins: bool
    colour: str


@functools.cache
def frameworks(file: Path = FILE) -> Mapping[str, Framework]:
    """All frameworks of a file by name, in its order. Raises SpecificationError, with the place, for a wrong one."""
    raw = door.text(file)
    return {name: _framework(name, table, raw, file) for name, table in read_tables(file, raw, FORMAT).items()}


def framework(name: str) -> Framework:
    """The framework of that name. Raises UserError, with the names there are, for any other."""
    known = frameworks()
    if name not in known:
        raise UserError(f"no framework {name!r}; the frameworks are {', '.join(known)}")
    return known[name]


@functools.cache
def native_cells() -> tuple[str, ...]:
    """The cells that a native layer of some framework computes, in the order of cells.toml."""
    native = {name for each in frameworks().values() for name in each.native}
    return tuple(name for name in cells() if name in native)


def gated_cells() -> tuple[str, ...]:
    """Those of them that have a gate."""
    return tuple(name for name in native_cells() if cells()[name].gated)


def _framework(name: str, table: Any, raw: str, file: Path) -> Framework:
    here = place_of("", name, raw, file)
    settings = [field for field in Framework.__dataclass_fields__ if field != "name"]
    if not isinstance(table, dict) or set(table) != set(settings):
        raise here.error(0, f"a framework has {', '.join(settings)}, and nothing else")
    try:
        framework = msgspec.convert({**table, "name": name}, Framework)
    except msgspec.ValidationError as error:
        raise here.error(0, str(error)) from None

    def check(setting: str, right: bool, wanted: str) -> None:
        if not right:
            place = place_of(f"{setting} =", name, raw, file)
            raise place.error(0, f"{setting} is {table[setting]!r}, should be {wanted}")

    check("imports", bool(framework.imports) and all(map(str.isidentifier, framework.imports)), "a list of modules")
    check("native", set(framework.native) <= set(cells()), f"a list of cells: {', '.join(cells())}")
    check("quick", bool(framework.quick) and set(framework.quick) <= set(LANES), f"a list of lanes: {', '.join(LANES)}")
    check("together", framework.together >= 1, "1 or more")
    return framework
