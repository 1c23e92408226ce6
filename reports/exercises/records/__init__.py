"""The page of exercises as types: what exercises.json holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from reports.diff.records import Cell
from reports.exercises.records.errata import Errata
from reports.exercises.records.gates import Gates
from reports.exercises.records.studies import Study
from reports.exercises.records.sweeps import Sweeps
from reports.pages.parts import Part

Format = Literal["isogru-exercises/1"]
FORMAT: Format = get_args(Format)[0]


class Exercises(Part, frozen=True):
    """The chapter's exercises, answered by what has been run."""

    format: Format
    machine: Mapping[str, str]
    cells: Sequence[Cell]
    gates: Gates
    sweeps: Sweeps
    compare: Study
    halves: Study
    errata: Errata
