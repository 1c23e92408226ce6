"""exercises.json: what each part of the page of exercises has found, as plain data."""

from __future__ import annotations

from collections.abc import Callable

from isogru.wording import finite
from reports.diff.build import cell_record
from reports.exercises import compared, errata, gates, sweeps
from reports.pages.schema import Record
from shared_spec import cells, machine

FORMAT = "isogru-exercises/1"
PARTS: dict[str, Callable[[], Record]] = {
    "gates": gates.build,
    "sweeps": sweeps.build,
    "compare": compared.compare,
    "halves": compared.halves,
    "errata": errata.build,
}
"""By the name that a part has in exercises.json: a function that builds it from what is there."""


def build() -> Record:
    """All parts, and what they rest on; infinities as null."""
    of_cells = [cell_record(cell) for cell in cells.cells().values()]
    report = {"format": FORMAT, "machine": machine.describe(), "cells": of_cells}
    plain: Record = finite(report | {name: part() for name, part in PARTS.items()})
    return plain
