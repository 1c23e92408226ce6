"""exercises.json: what each part of the page of exercises has found."""

from __future__ import annotations

import msgspec

from reports.diff.build import cell_record
from reports.exercises import compared, errata, gates, sweeps
from reports.exercises.records import FORMAT, Exercises
from shared_spec import cells, machine
from shared_spec.sweeps.place import Tell


def build(tell: Tell | None = None) -> Exercises:
    """All parts, and what they rest on; read back, so that it is what its types say, with null for infinities. What is
    damaged of trials, trainings and records of errata is told by `tell` and left out; without that an error is raised.
    """
    report = Exercises(
        format=FORMAT,
        machine=machine.describe(),
        cells=[cell_record(cell) for cell in cells.cells().values()],
        gates=gates.build(tell),
        sweeps=sweeps.build(tell),
        compare=compared.compare(tell),
        halves=compared.halves(tell),
        errata=errata.build(tell),
    )
    return msgspec.json.decode(msgspec.json.encode(report), type=Exercises)
