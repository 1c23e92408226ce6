"""The command that runs errata: what it writes and says of one that is proven, one that is not, and one that breaks
off.
"""

from __future__ import annotations

import pytest

from frameworks.harness.errata import hands
from frameworks.harness.errata.command import carry_out
from frameworks.harness.errata.run import ERRATA, names
from shared_spec.errata import records, texts
from shared_spec.errata.records import NUMPY
from shared_spec.errors import CorpusError, UserError
from shared_spec.language_model.corpus import Corpus


class Honest(hands.Equations):
    """Wires right what should be wrong: no erratum can be proven with it."""

    def fault(self, name, case, *, negated=False):
        return self.right(case)


class Broken(hands.Equations):
    def fault(self, name, case, *, negated=False):
        raise ValueError(f"no {name}\nhere")


@pytest.fixture
def asked(request):
    """The command's words in the environment that these tests run in."""
    name = request.config.getoption("--framework") or NUMPY
    words = ("frameworks.harness.errata",) if name == NUMPY else ("frameworks", name, "errata")
    return name, words


def test_the_command_keeps_a_record_and_says_so(asked, command):
    name, words = asked
    done = command(*words, "--erratum", "turned-gate")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"proven: turned-gate in {name}: 4 verdicts are as claimed"
    assert records.read("turned-gate", name).is_proven
    assert records.read("reset-only", name) is None


def test_a_wrong_request_is_refused_in_one_line(asked, command, results):
    name, words = asked
    done = command(*words, "--erratum", "turned")
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert name in said
    assert "'turned'" in said
    assert ", ".join(names(name)) in said
    assert not (results / "errata").exists()


def test_the_errata_of_each():
    assert set(ERRATA) == set(texts.entries())
    assert names("tensorflow") == list(texts.entries())
    assert names("jax", ["perplexity", "reset-only"]) == ["reset-only", "perplexity"]
    with pytest.raises(
        UserError, match="numpy has no erratum 'time-axis'; it has reset-only, update-only, turned-gate, "
    ):
        names(NUMPY, ["time-axis"])


def test_one_that_does_not_hold_is_written_and_said(text, capsys):
    assert carry_out(["turned-gate"], Honest(), text) == 1
    kept = records.read("turned-gate", NUMPY)
    assert not kept.is_proven
    assert {held.what: held.verdict for held in kept.held if held.verdict != held.expected} == {
        "wrong": "equal",
        "own": "different",
    }
    assert len(kept.unmet) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("not proven: turned-gate in numpy: wrong is equal, should be different: H[")
    assert "; own is different, should be equal: " in line
    assert "; H of the wrong one is 0." in line
    assert line.endswith(" times what is allowed, should be over 100 times")


def test_a_claim_beside_the_verdicts_counts(text, monkeypatch):
    monkeypatch.setattr("frameworks.harness.errata.cells.refusal", lambda: "")
    assert carry_out(["reset-only"], hands.Equations(), text) == 1
    (said,) = records.read("reset-only", NUMPY).shortfalls
    assert said.endswith("since Z is not defined there; it says nothing")


def test_a_training_that_clips_all_the_same_proves_nothing(text, monkeypatch):
    monkeypatch.setattr("frameworks.harness.errata.faults.training.never_clipping", lambda case: case)
    assert carry_out(["clipping"], hands.Equations(), text) == 1
    said = records.read("clipping", NUMPY).shortfalls
    assert said[0].startswith("wrong is equal, should be different: loss[")
    assert said[1].startswith("the losses are no longer equal from step None on, should be from step ")
    assert said[2] == "end.W_hh is equal, should be different"


def test_one_that_breaks_off_is_a_record_and_the_others_go_on(text, capsys):
    assert carry_out(["turned-gate"], hands.Equations(), text) == 0
    capsys.readouterr()
    assert carry_out(["turned-gate", "perplexity"], Broken(), text) == 1
    assert capsys.readouterr().out.splitlines() == [
        "failed: turned-gate in numpy: ValueError: no gru_turned here",
        "proven: perplexity in numpy: 2 verdicts are as claimed",
    ]
    assert records.read("turned-gate", NUMPY) is None
    assert records.read_failure("turned-gate", NUMPY) == "ValueError: no gru_turned here"
    # A run that comes to its end is all that counts then.
    assert carry_out(["turned-gate"], hands.Equations(), text) == 0
    assert records.read_failure("turned-gate", NUMPY) is None


def test_a_process_that_dies_leaves_nothing(text, monkeypatch):
    assert carry_out(["turned-gate"], hands.Equations(), text) == 0

    def killed(notes, text):
        raise KeyboardInterrupt

    monkeypatch.setitem(ERRATA, "turned-gate", killed)
    with pytest.raises(KeyboardInterrupt):
        carry_out(["turned-gate"], hands.Equations(), text)
    assert records.read("turned-gate", NUMPY) is None
    assert records.read_failure("turned-gate", NUMPY) is None


def test_a_text_that_is_too_short_is_the_users():
    short = Corpus("the time traveller", "0" * 40, "given", "")
    with pytest.raises(CorpusError):
        carry_out(["clipping"], hands.Equations(), short)


def test_records_that_cannot_be_written(text, results):
    results.parent.mkdir(exist_ok=True)
    results.write_text("a file")
    with pytest.raises(UserError, match=r"turned-gate\.numpy\.json: cannot be "):
        carry_out(["turned-gate"], hands.Equations(), text)
