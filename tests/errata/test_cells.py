"""Cells that are wired wrongly: as equations, and by hand in each framework."""

from __future__ import annotations

import pytest

from shared_spec.cells import cell


def held_against(record):
    return {(held.what, held.cell, held.verdict) for held in record.held}


def ratio_of(record, what):
    held = next(held for held in record.held if held.what == what)
    assert held.quantity == "H"
    return held.ratio


def lines(name):
    return [equation.text for equation in cell(name).equations]


@pytest.mark.erratum("reset-only")
def test_a_reset_gate_alone_does_not_blend(record):
    assert held_against(record) == {
        ("right", "gru_reset_only", "equal"),
        ("wrong", "gru_reset_only", "different"),
        ("own", "gru_reset_only_blending", "equal"),
    }
    assert ratio_of(record, "wrong") > 100
    assert record.wirings.right == lines("gru_reset_only")
    assert record.wirings.wrong[-1] == "H = R * H + (1 - R) * C"
    # As it is published it is no cell at all, which only equations can say.
    assert ("Z is not defined here" in record.measured.refused) == (record.framework == "numpy")


@pytest.mark.erratum("update-only")
def test_an_update_gate_that_is_overwritten_is_none(record):
    assert held_against(record) == {
        ("right", "gru_update_only", "equal"),
        ("wrong", "gru_update_only", "different"),
        ("as-rnn", "rnn", "equal"),
        ("own", "gru_update_only_overwriting", "equal"),
    }
    assert ratio_of(record, "wrong") > 100
    assert record.wirings.right == lines("gru_update_only")
    assert record.wirings.wrong[-1] == "H = C"
    assert record.measured.gradient_wrong == 0 < record.measured.gradient_right


@pytest.mark.erratum("turned-gate")
def test_an_update_gate_turned_round_is_another(record):
    assert held_against(record) == {
        ("right", "gru", "equal"),
        ("wrong", "gru", "different"),
        ("negated", "gru", "equal"),
        ("own", "gru_turned", "equal"),
    }
    assert ratio_of(record, "wrong") > 100
    assert record.wirings.right == lines("gru")
    assert record.wirings.wrong[-1] == "H = (1 - Z) * H + Z * C"
