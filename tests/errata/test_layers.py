"""The framework's own layer, as section 10.2 makes it, is not the GRU that the section makes from scratch."""

from __future__ import annotations

import pytest


@pytest.mark.erratum("reset-placement")
def test_the_concise_gru_is_another_function(record, hand):
    held = {each.what: each for each in record.held}
    assert {what: (each.cell, each.verdict) for what, each in held.items() if what != "reset-before"} == {
        "concise-after": ("gru_reset_after", "equal"),
        "concise": ("gru", "different"),
        "scratch": ("gru", "equal"),
    }
    assert held["concise"].quantity == "H"
    assert held["concise"].ratio > 100
    assert record.measured.layer == hand.faults.CONCISE
    # Alone of the four it has the other one too.
    in_keras = record.framework == "tensorflow"
    assert ("reset-before" in held) == in_keras
    assert record.measured.reset_after == ("True" if in_keras else "")
