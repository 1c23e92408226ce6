"""The catalogue: names, sizes, and that it is the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from shared_spec import cases
from shared_spec.cells import cells
from shared_spec.errors import UserError


def test_enough_cases_of_every_cell_with_distinct_sizes():
    assert len(cases.cell_case_names()) >= 20
    for entry in cases.CATALOGUE:
        assert len({entry.T, entry.n, entry.d, entry.h}) == 4 or entry.h == 32, entry.name
    for name in cases.ALL_CELLS:
        of_cell = {n.partition("-")[2] for n in cases.cell_case_names() if n.startswith(f"{name}-")}
        assert {"ordinary", "zero_start", "long", "large_weights"} <= of_cell
    assert any(cases.is_compiled(name) for name in cases.cell_case_names())


def test_every_cell_of_the_specification_has_cases():
    assert tuple(cells()) == cases.ALL_CELLS


def test_values_are_the_same_on_every_machine():
    """Frozen: the digest of a case is what results of several environments are matched by."""
    assert cases.build("gru-ordinary").digest == "364e5103465a8472"
    assert cases.build("rnn-wide").digest == "eeb37254d50f786f"


@pytest.mark.parametrize("name", cases.cell_case_names())
def test_values_fit_float32_and_are_what_the_name_says(name):
    case = cases.build(name)
    for key, array in case.arrays.items():
        assert array.dtype == np.float64
        assert (array.astype(np.float32) == array).all(), key
    entry = cases.entry_of(name)[0]
    assert [key for key in case.arrays if not case.arrays[key].any()] == [
        key for key in entry.zero if key in case.arrays
    ]
    assert case.arrays["X"].shape == (entry.T, entry.n, entry.d)


@pytest.mark.parametrize("name", ["gru", "gru-", "lstm-ordinary", "gru-no_inner_bias", "short-training-lstm", ""])
def test_unknown_names(name):
    with pytest.raises(UserError, match=r"no case .*; python -m shared_spec cases lists them"):
        cases.build(name)


def test_a_language_model_needs_a_text():
    with pytest.raises(UserError, match="needs a corpus"):
        cases.build("short-training-gru")


def test_short_trainings_have_both_starts_between_them(text):
    starts = {cases.build(name, text).problem.recipe.start for name in cases.training_case_names()}
    assert starts == {"gaussian", "uniform"}
    assert cases.build("full-training-gru", text).problem.recipe.epochs == 50
