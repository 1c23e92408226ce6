"""The framework's own layer, as section 10.2 makes it, is not the GRU that the section makes from scratch."""

from __future__ import annotations

from frameworks.harness.errata.hands import InFramework
from frameworks.harness.errata.notes import Notes
from isogru.judge import verdict
from isogru.judge.comparison import DIFFERENT
from shared_spec import cases
from shared_spec.cells import cell
from shared_spec.errata.records import Record
from shared_spec.files.interchange import Case
from shared_spec.language_model.corpus import Corpus


def reset_placement(notes: Notes, text: Corpus) -> Record:
    """The concise GRU is another function than the one from scratch."""
    hand = notes.hand
    assert isinstance(hand, InFramework)  # Equations have no layers, and errata.toml does not have them run it.
    # Its inner bias is zero, so that the same numbers are a case of both cells.
    case = cases.build("gru_reset_after-no_inner_bias")
    assert isinstance(case, Case)
    concise = hand.forward(case, hand.faults.concise(), "native")
    notes.hold("concise-after", case, concise)
    as_gru = verdict.claim(case, concise, cell("gru"))
    notes.claim_far(notes.hold("concise", *as_gru, DIFFERENT, shown="H"), "H")
    notes.hold("scratch", as_gru[0], hand.right(as_gru[0]))
    measured = {"layer": hand.faults.CONCISE}
    if hand.name == "tensorflow":
        # Alone of the four it has the other one too.
        notes.hold("reset-before", as_gru[0], hand.right(as_gru[0], "native"))
        measured["reset_after"] = str(hand.faults.reset_after())
    candidate = {name: cell(name).equations[2].text for name in ("gru", "gru_reset_after")}
    return notes.record(right=[candidate["gru"]], wrong=[candidate["gru_reset_after"]], **measured)
