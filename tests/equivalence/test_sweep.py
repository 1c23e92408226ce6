"""A trial of a sweep is a training like any other: equal to the oracle's, and to what it gives by itself."""

from __future__ import annotations

import numpy as np
import pytest

from frameworks.harness.run import run
from frameworks.protocol import find, implementations
from frameworks.sweep import worker
from frameworks.sweep.command import choose
from isogru.judge import reference, verdict
from isogru.judge.comparison import EQUAL
from shared_spec import frameworks, language_model
from shared_spec.files.interchange import Result, TrainingCase
from shared_spec.sweeps.trials import DIVERGED, FINISHED, Trial

# Trials go two at a time everywhere here: where they are one program, three are another, which is compiled for seconds.
SMALL = {"num_hiddens": 5, "num_steps": 6, "num_train": 12, "num_val": 6, "batch_size": 4, "epochs": 2}


@pytest.fixture(autouse=True)
def _own_results(results):
    """References go where those of other tests are."""


def trial(framework, name, dtype, device, **changes):
    recipe = language_model.recipe("gru", start="uniform", **{**SMALL, **changes})
    return Trial(framework.name, name, dtype, device, "text", recipe)


@pytest.fixture
def in_this_process(framework, monkeypatch):
    """The framework is set up already, and some can be only once."""
    monkeypatch.setattr(worker, "_framework", lambda name, device, threads: framework)


def outcomes(chosen, text):
    *_, last = worker.run(chosen, text, 1)
    return last


def test_how_much_is_done_is_told_on_the_way(framework, device, text, in_this_process, monkeypatch):
    monkeypatch.setattr(worker, "TELL_SECONDS", -1.0)
    chosen = [trial(framework, "scratch", "float64", device, lr=lr) for lr in (0.5, 4.0)]
    *shares, outcomes = worker.run(chosen, text, 1)
    assert len(outcomes) == 2
    assert shares == sorted(shares)
    assert shares[0] == 1 / len(shares)
    assert shares[-1] == 1.0
    # No more than one a second is sent to whoever has asked for them.
    monkeypatch.setattr(worker, "TELL_SECONDS", 3600.0)
    assert len(list(worker.run(chosen, text, 1))) == 1


@pytest.mark.parametrize(("name", "dtype"), [("scratch", "float64"), ("tuned", "float32")])
def test_trials_are_equal_to_the_oracle_and_to_a_training_by_itself(
    framework, device, text, name, dtype, in_this_process
):
    chosen = [trial(framework, name, dtype, device, lr=lr, start_seed=seed) for lr, seed in ((0.5, 3), (4.0, 4))]
    for outcome in outcomes(chosen, text):
        assert outcome.status == FINISHED
        problem = language_model.problem(outcome.trial.recipe, text)
        case = TrainingCase("a trial", problem)
        by_itself = run(framework, find(framework, name, "gru", dtype), case, dtype=dtype, device=device)
        together = {**by_itself.arrays, **outcome.arrays, "text": problem.vocabulary.encode(outcome.text)}
        for arrays in (by_itself.arrays, together):
            result_verdict = verdict.judge(case, Result(by_itself.origin, arrays), reference.get(case, dtype))
            assert result_verdict.verdict == EQUAL, result_verdict.worst_finding


def test_models_go_through_a_program_at_once_as_they_do_in_turn(framework, device, text, in_this_process, monkeypatch):
    """JAX does the one on a GPU and the other on a CPU; elsewhere it is the same twice."""
    chosen = [trial(framework, "scratch", "float64", device, lr=lr) for lr in (0.5, 4.0)]
    in_turn = outcomes(chosen, text)
    monkeypatch.setattr(framework.language_model, "_on_cpu", lambda: False, raising=framework.name == "jax")
    for name in ("training_step_of_many", "validation_loss_of_many"):
        made = getattr(framework.language_model, name)
        monkeypatch.setattr(framework.language_model, name, getattr(made, "__wrapped__", made))
    for one, other in zip(outcomes(chosen, text), in_turn, strict=True):
        assert one.arrays.keys() == other.arrays.keys()
        for name, array in one.arrays.items():
            np.testing.assert_allclose(array, other.arrays[name], rtol=1e-9, atol=1e-12)


def test_trials_go_together_where_there_is_a_program_for_them(framework):
    """TensorFlow has one and runs trials alone all the same: it does them in turn, in the same time."""
    forward = find(framework, "scratch", "gru", "float32").build()
    step = framework.language_model.training_step_of_many(forward, clip_norm=1.0)
    assert step is not None or frameworks.framework(framework.name).together == 1


def test_a_trial_that_is_wrong_would_be_seen(framework, device, text, in_this_process):
    one, neighbour = outcomes([trial(framework, "scratch", "float64", device, lr=lr) for lr in (0.5, 4.0)], text)
    case = TrainingCase("a trial", language_model.problem(one.trial.recipe, text))
    right = run(framework, find(framework, "scratch", "gru", "float64"), case, dtype="float64", device=device)
    known = reference.get(case, "float64")
    assert verdict.judge(case, right, known).verdict == EQUAL
    # Had those in the same program been mixed up.
    mixed = {**right.arrays, "loss": neighbour.arrays["loss"]}
    assert verdict.judge(case, Result(right.origin, mixed), known).verdict != EQUAL


def test_one_that_diverges_is_a_result_and_leaves_the_others_alone(framework, device, text, in_this_process):
    name = choose(framework.name, implementations(framework), "rnn", "float32", None)
    recipes = [language_model.recipe("rnn", start="uniform", **SMALL, lr=lr, clip_norm=1e30) for lr in (1.0, 1e30)]
    tame, wild = (Trial(framework.name, name, "float32", device, "text", recipe) for recipe in recipes)
    good, bad = outcomes([tame, wild], text)
    assert (good.status, bad.status, bad.why) == (FINISHED, DIVERGED, "diverged at epoch 1")
    alone, _ = outcomes([tame, tame], text)
    np.testing.assert_allclose(good.arrays["loss"], alone.arrays["loss"], rtol=1e-5)
    assert len(good.arrays["perplexity.val"]) == SMALL["epochs"]


@pytest.mark.parametrize("cell", ["gru", "gru_reset_only", "gru_update_only", "rnn"])
def test_every_cell_has_an_implementation_for_sweeps(framework, cell):
    assert choose(framework.name, implementations(framework), cell, "float32", None)
