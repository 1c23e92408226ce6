"""The conventions of gradients, trainings and precision: each is planted from the table, and changes what it should."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from isogru import training_faults
from isogru.conventions import every
from isogru.edits import edited, unedited
from shared_spec import language_model
from shared_spec.errors import SpecificationError
from shared_spec.language_model import training
from tests.isogru.planted import SIZES, drawn

SMALL = {
    "num_hiddens": 5,
    "num_steps": 6,
    "num_train": 60,
    "num_val": 12,
    "batch_size": 6,
    "epochs": 3,
}
TRAININGS = {name: each.training for name, each in every().items() if each.training}
PRECISIONS = {name: each for name, each in every().items() if each.precision}


@pytest.mark.parametrize("convention", every().values(), ids=str)
def test_each_is_told_in_plain_words(convention):
    for text in (convention.sentence, convention.remedy):
        assert text
        assert text[-1] not in ".;"
        assert "{" not in text


@pytest.mark.parametrize("name", TRAININGS)
def test_a_fault_of_training_changes_the_losses_or_the_weights(text, name):
    # Where every step is clipped, a gradient of any size does the same; where none is, how it is clipped.
    clip_norm = 0.1 if name.startswith("clip") else 1.0
    problem = language_model.problem(language_model.recipe("gru", start="uniform", clip_norm=clip_norm, **SMALL), text)
    sgd = functools.partial(training_faults.Update, sgd=training.updated, recipe=problem.recipe)
    right = training.train(problem)
    wrong = training.train(
        training_faults.of_problem(problem, TRAININGS[name]),
        update=sgd(TRAININGS[name]),
        gradients_of=training_faults.dropped(training.loss_and_gradients, TRAININGS[name]),
    )
    # Far more than float64 rounds.
    assert np.abs(wrong["end.W_hh"] - right["end.W_hh"]).max() > 1e6 * 2.0**-53


@pytest.mark.parametrize("name", PRECISIONS)
def test_less_precision_is_within_its_bits_of_what_is_right(name):
    case = drawn("gru_reset_after", SIZES[0], 1)
    X, H0 = case.arrays["X"], case.arrays["H0"]
    off = np.abs(edited(unedited(case), [PRECISIONS[name]]).states(X, H0) - unedited(case).states(X, H0)).max()
    u = 2.0 ** -PRECISIONS[name].precision.bits
    # A few roundings of numbers of the size of 1 to 10, over seven steps.
    assert u / 100 < off < 100 * u


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ('gradient = ["sideways"]', "no cut 'sideways' of a gradient; there are through, time"),
        ("training = { luck = 1 }", "a training has one setting, of labels_shifted"),
        ('precision = { digits = 3, values = ["H"] }', "a precision has bits, and values"),
    ],
)
def test_a_wrong_one_is_refused_with_its_place(tmp_path, edit, words):
    file = tmp_path / "conventions.toml"
    file.write_text(f'format = "isogru-conventions/1"\n[a]\nsentence = "s"\nremedy = "r"\n{edit}\n')
    with pytest.raises(SpecificationError, match=r"conventions\.toml:2:\d+: \[a\] ") as refused:
        every(file)
    assert words in str(refused.value)
