"""The errata of `errata.toml`: what is printed, what is so, where each is run, and what its record may hold."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import msgspec

from shared_spec.cells import read_tables
from shared_spec.errors import SpecificationError
from shared_spec.files import door

FORMAT = "isogru-errata/1"
FILE = Path(__file__).with_name("errata.toml")


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One erratum as errata.toml has it."""

    title: str
    claim: str
    right: str
    wrong: str
    frameworks: tuple[str, ...]
    held: dict[str, str]


@functools.cache
def entries(file: Path = FILE) -> Mapping[str, Entry]:
    """The errata of a file by name, in its order. Raises SpecificationError for a file that is wrong."""
    tables = read_tables(file, door.text(file), FORMAT)
    try:
        return msgspec.convert(tables, dict[str, Entry])
    except msgspec.ValidationError as error:
        raise SpecificationError(f"{file.name}: {error}") from None
