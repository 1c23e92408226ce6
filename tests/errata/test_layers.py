"""The framework's own layer, as section 10.2 makes it, is not the GRU that the section makes from scratch."""

from __future__ import annotations

import pytest

from isogru.judge import verdict
from isogru.judge.comparison import DIFFERENT
from shared_spec import cases
from shared_spec.cells import cell


@pytest.mark.erratum("reset-placement")
def test_the_concise_gru_is_another_function(notes, hand):
    # Its inner bias is zero, so that the same numbers are a case of both cells.
    case = cases.build("gru_reset_after-no_inner_bias")
    concise = hand.forward(case, hand.faults.concise(), "native")
    notes.hold("concise-after", case, concise)
    as_gru = verdict.claim(case, concise, cell("gru"))
    found = notes.hold("concise", *as_gru, DIFFERENT, shown="H")
    assert {f.quantity: f.ratio for f in found.findings}["H"] > 100
    notes.hold("scratch", as_gru[0], hand.right(as_gru[0]))
    measured = {"layer": hand.faults.CONCISE}
    if hand.name == "tensorflow":
        # Alone of the four it has the other one too.
        notes.hold("reset-before", as_gru[0], hand.right(as_gru[0], "native"))
        measured["reset_after"] = str(hand.faults.reset_after())
    candidate = {name: cell(name).equations[2].text for name in ("gru", "gru_reset_after")}
    notes.keep(right=[candidate["gru"]], wrong=[candidate["gru_reset_after"]], **measured)
