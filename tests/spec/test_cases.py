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
        assert len({entry.T, entry.n, entry.d, entry.h}) == 4 or entry.h == 32 or entry.name == "square", entry.name
    for name in cells():
        of_cell = {n.partition("-")[2] for n in cases.cell_case_names() if n.startswith(f"{name}-")}
        assert {"ordinary", "zero_start", "long", "large_weights"} <= of_cell
    assert any(cases.is_compiled(name) for name in cases.cell_case_names())


DIGESTS = {
    "gru-ordinary": "364e5103465a8472",
    "gru_reset_after-zero_start": "54ee38ef86605f40",
    "gru_reset_only-long": "cfa4d19590281fe2",
    "gru_update_only-large_weights": "3cae4420b5d71ba0",
    "rnn-one_step": "a883950ceb3ffec7",
    "gru-one_sequence": "728bda55b972dbb2",
    "rnn-one_unit": "92bab4d980cdc975",
    "rnn-wide": "eeb37254d50f786f",
    "gru-saturated": "4e9caacccd2ea488",
    "gru_reset_after-saturated": "57ac55180835bdba",
    "rnn-saturated": "a51b0090ad029220",
    "gru-tiny_weights": "5f147912f72b748e",
    "gru-chapter": "e7ac5d134f5d9d68",
    "gru_reset_after-no_inner_bias": "dde37002637a525a",
    "gru-square": "1e50114c23729b4d",
    "gru_update_only-float64_values": "594f458500c1def0",
    "gru_reset_only-gates": "69d82988fea1c0fa",
}


def test_values_are_the_same_on_every_machine():
    """Frozen: the digest of a case is what results of several environments are matched by. One of every line."""
    assert {cases.entry_of(name)[0].name for name in DIGESTS} == {entry.name for entry in cases.CATALOGUE}
    assert {name: cases.build(name).digest for name in DIGESTS} == DIGESTS


def test_which_cells_run_what():
    """Frozen too: every name, since pages and commands have them."""
    of = {entry.name: entry.cells for entry in cases.CATALOGUE}
    everywhere = {"ordinary", "zero_start", "long", "large_weights", "square", "float64_values"}
    assert {name for name in of if of[name] == tuple(cells())} == everywhere
    assert of["gates"] == ("gru", "gru_reset_after", "gru_reset_only", "gru_update_only")
    assert of["chapter"] == ("gru", "gru_reset_after")
    assert of["no_inner_bias"] == ("gru_reset_after",)
    native = {"one_step", "one_sequence", "one_unit", "wide", "saturated", "tiny_weights"}
    assert {name for name in of if of[name] == ("gru", "gru_reset_after", "rnn")} == native
    assert len(cases.cell_case_names()) == 6 * 5 + 6 * 3 + 4 + 2 + 1
    compiled = [name for name in cases.training_case_names() if cases.is_compiled(name)]
    assert compiled == ["short-training-gru", "short-training-gru_reset_after"]


@pytest.mark.parametrize("name", cases.cell_case_names())
def test_values_fit_float32_unless_they_should_not_and_are_what_the_name_says(name):
    case = cases.build(name)
    entry = cases.entry_of(name)[0]
    for key, array in case.arrays.items():
        assert array.dtype == np.float64
        assert (array.astype(np.float32) != array).all() if entry.wide else (array.astype(np.float32) == array).all(), (
            key
        )
    assert case.wide == (tuple(case.arrays) if entry.wide else ())
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
    starts = [cases.build(name, text).problem.recipe.start for name in cases.training_case_names()]
    assert starts == ["gaussian", "uniform", "gaussian", "uniform", "gaussian"]
    assert cases.build("full-training-gru", text).problem.recipe.epochs == 50
