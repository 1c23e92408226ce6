"""The chapter's concise GRU in TensorFlow: which axis is time, what that costs, and what is left to learn."""

from __future__ import annotations

import pytest

from shared_spec import language_model


@pytest.mark.erratum("time-axis")
def test_time_first_data_recurs_over_the_examples(record):
    assert {(held.what, held.cell, held.verdict) for held in record.held} == {
        ("transposed", "gru_reset_after", "equal"),
        ("time-first", "gru_reset_after", "different"),
        ("swapped", "gru_reset_after", "equal"),
    }
    recipe, measurement = language_model.recipe("gru_reset_after"), record.measured
    assert (measurement.T, measurement.n) == (recipe.num_steps, recipe.batch_size)
    assert (measurement.steps_right, measurement.steps_wrong) == (recipe.num_steps, recipe.batch_size)
    assert min(measurement.seconds_right, measurement.seconds_wrong) > 0
    # What recurs over time learns from more than the current character; what does not, cannot.
    assert measurement.perplexity_right < measurement.perplexity_of_character < measurement.perplexity_wrong
