"""Cells that are wired wrongly: as equations, and by hand in each framework."""

from __future__ import annotations

import numpy as np
import pytest

from isogru.judge.comparison import DIFFERENT
from shared_spec import cases
from shared_spec.cells import cell, cells
from shared_spec.errors import SpecificationError
from tests.errata import faults
from tests.errata.runs import UPDATE_GATE, Equations, seen_as


def lines(of) -> list[str]:
    return [equation.text for equation in of.equations]


def held(notes, hand, right, wrong):
    """The right cell is equal; the wrong one is not, and is what cells.toml says that it is."""
    case, fault = cases.build(f"{right}-ordinary"), faults.cell(wrong)
    notes.hold("right", case, hand.right(case))
    result = hand.fault(wrong, case)
    found = notes.hold("wrong", case, result, DIFFERENT, shown="H")
    assert {f.quantity: f.ratio for f in found.findings}["H"] > 100
    notes.hold("own", *seen_as(case, result, fault))
    return case, result


@pytest.mark.erratum("reset-only")
def test_a_reset_gate_alone_does_not_blend(notes, hand):
    held(notes, hand, "gru_reset_only", wrong := "gru_reset_only_blending")
    measured = {}
    if isinstance(hand, Equations):
        with pytest.raises(SpecificationError, match="Z is not defined here") as refused:
            cells(faults.UNDEFINED)
        measured["refused"] = str(refused.value)
    notes.keep(right=lines(cell("gru_reset_only")), wrong=lines(faults.cell(wrong)), **measured)


@pytest.mark.erratum("update-only")
def test_an_update_gate_that_is_overwritten_is_none(notes, hand):
    case, result = held(notes, hand, "gru_update_only", wrong := "gru_update_only_overwriting")
    # Without the gate it is the plain cell, of the same states and of the same gradients.
    notes.hold("as-rnn", *seen_as(case, result, cell("rnn")))

    def largest(arrays):
        return max(float(np.abs(arrays[f"grad.{name}"]).max()) for name in UPDATE_GATE)

    right, idle = largest(hand.right(case).arrays), largest(result.arrays)
    assert idle == 0 < right
    wirings = {"right": lines(case.cell), "wrong": lines(faults.cell(wrong))}
    notes.keep(**wirings, gradient_right=right, gradient_wrong=idle)


@pytest.mark.erratum("turned-gate")
def test_an_update_gate_turned_round_is_another(notes, hand):
    case, _ = held(notes, hand, "gru", wrong := "gru_turned")
    notes.hold("negated", case, hand.fault(wrong, case, negated=True))
    notes.keep(right=lines(cell("gru")), wrong=lines(faults.cell(wrong)))
