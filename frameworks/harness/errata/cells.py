"""Cells that are wired wrongly: as equations, and by hand in each framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from frameworks.harness.errata import faults
from frameworks.harness.errata.hands import UPDATE_GATE
from frameworks.harness.errata.notes import Notes
from isogru.judge.comparison import DIFFERENT
from shared_spec import cases, oracle
from shared_spec.cells import Cell, cell, cells
from shared_spec.errata.records import NUMPY, Record
from shared_spec.errors import SpecificationError
from shared_spec.files.interchange import Case, Result
from shared_spec.language_model.corpus import Corpus


def reset_only(notes: Notes, text: Corpus) -> Record:
    """A reset gate alone does not blend."""
    _hold(notes, "gru_reset_only", wrong := "gru_reset_only_blending")
    refused = ""
    if notes.hand.name == NUMPY:
        refused = refusal()
        notes.claim(
            "Z is not defined here" in refused,
            "the specification should refuse the equations as they are written, since Z is not defined there; it says "
            f"{refused or 'nothing'}",
        )
    return notes.record(right=_lines(cell("gru_reset_only")), wrong=_lines(faults.cell(wrong)), refused=refused)


def update_only(notes: Notes, text: Corpus) -> Record:
    """An update gate that is overwritten is none."""
    case, result = _hold(notes, "gru_update_only", wrong := "gru_update_only_overwriting")
    # Without the gate it is the plain cell, of the same states and of the same gradients.
    notes.hold("as-rnn", *seen_as(case, result, cell("rnn")))

    def largest(arrays: Mapping[str, np.ndarray]) -> float:
        return max(float(np.abs(arrays[f"grad.{name}"]).max()) for name in UPDATE_GATE)

    right, idle = largest(notes.hand.right(case).arrays), largest(result.arrays)
    notes.claim(
        idle == 0 < right,
        f"the largest gradient of {', '.join(UPDATE_GATE)} is {right:g} in the right one, should be above 0, and "
        f"{idle:g} in the wrong one, should be 0",
    )
    wirings = {"right": _lines(case.cell), "wrong": _lines(faults.cell(wrong))}
    return notes.record(**wirings, gradient_right=right, gradient_wrong=idle)


def turned_gate(notes: Notes, text: Corpus) -> Record:
    """An update gate turned round is another one; negated too, it is the same."""
    case, _ = _hold(notes, "gru", wrong := "gru_turned")
    notes.hold("negated", case, notes.hand.fault(wrong, case, negated=True))
    return notes.record(right=_lines(cell("gru")), wrong=_lines(faults.cell(wrong)))


def refusal() -> str:
    """What the specification says to a blend by a gate that is not there; empty where it takes it."""
    try:
        cells(faults.UNDEFINED)
    except SpecificationError as error:
        return str(error)
    return ""


def seen_as(case: Case, result: Result, other: Cell) -> tuple[Case, Result]:
    """Case and result as another cell's, of which they hold all parameters; what it does not have is left out."""
    known = {*oracle.SEQUENCE_SHAPES, *other.parameters}
    asked = {"H", "final", *(f"grad.{name}" for name in ("X", "H0", *other.parameters))}
    of_cell = Case(case.name, other, {k: a for k, a in case.arrays.items() if k in known})
    return of_cell, replace(result, arrays={k: a for k, a in result.arrays.items() if k in asked})


def _hold(notes: Notes, right: str, wrong: str) -> tuple[Case, Result]:
    """The right cell is equal; the wrong one is not, and is what faults/cells.toml says that it is."""
    case = cases.build(f"{right}-ordinary")
    assert isinstance(case, Case)
    notes.hold("right", case, notes.hand.right(case))
    result = notes.hand.fault(wrong, case)
    notes.claim_far(notes.hold("wrong", case, result, DIFFERENT, shown="H"), "H")
    notes.hold("own", *seen_as(case, result, faults.cell(wrong)))
    return case, result


def _lines(of: Cell) -> list[str]:
    return [equation.text for equation in of.equations]
