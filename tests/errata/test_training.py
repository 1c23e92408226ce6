"""Trainings that are not the recipe's, and a perplexity that is not the epoch's."""

from __future__ import annotations

import numpy as np
import pytest

from frameworks.harness.errata.notes import title_of
from frameworks.harness.errata.training import acts_first


@pytest.mark.erratum("clipping")
def test_a_training_without_clipping_is_not_the_recipe(record, text):
    held = {each.what: each for each in record.held}
    assert {what: (each.cell, each.verdict) for what, each in held.items()} == {
        "right": ("rnn", "equal"),
        "wrong": ("rnn", "different"),
    }
    assert held["wrong"].quantity == "loss"
    measurement = record.measured
    assert measurement.corpus == title_of(text)
    assert measurement.clip_norm == 1
    # There is a step after the one at which clipping acts: on it the two are no longer one training.
    first = acts_first(np.array(measurement.norms_of_rnn), measurement.clip_norm)
    assert first is not None
    assert first < len(measurement.norms_of_rnn) - 1


@pytest.mark.erratum("perplexity")
def test_the_plotted_perplexity_is_another_number(record, text):
    held = {each.what: each for each in record.held}
    assert {what: (each.cell, each.verdict) for what, each in held.items()} == {
        "right": ("gru", "equal"),
        "wrong": ("gru", "different"),
    }
    assert held["wrong"].quantity == "perplexity.train"
    assert record.measured.corpus == title_of(text)
    assert len(record.measured.exact) == len(record.measured.plotted) == 2
    assert record.measured.exact != record.measured.plotted


def test_when_clipping_acts():
    assert acts_first(np.array([0.5, 1.0, 1.5, 2.0]), 1.0) == 2
    assert acts_first(np.array([0.5, 1.0]), 1.0) is None
