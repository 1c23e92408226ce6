"""Grids, trials and what became of them; the copying task."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from shared_spec import cells, language_model
from shared_spec.errors import UserError
from shared_spec.language_model import tasks, training
from shared_spec.sweeps import trials
from shared_spec.sweeps.trials import DIVERGED, FINISHED, Trial

TRIAL = Trial("torch", "scratch", "float32", "cpu", "text", language_model.recipe("gru"))


def test_a_grid_has_every_combination_for_every_cell_and_seed():
    varied = trials.axes(["num_steps=8, 16", "lr=0.5,1"])
    assert varied == {"num_steps": [8, 16], "lr": [0.5, 1.0]}
    grid = trials.grid(varied, ["gru", "rnn"], seeds=range(3), epochs=7)
    assert len(grid) == len(set(grid)) == 2 * 2 * 2 * 3
    assert {(r.cell, r.num_steps, r.lr) for r in grid} == {
        (cell, steps, lr) for cell in ("gru", "rnn") for steps in (8, 16) for lr in (0.5, 1.0)
    }
    base = language_model.recipe("gru")
    assert {(r.start_seed - base.start_seed, r.order_seed - base.order_seed) for r in grid} == {(0, 0), (1, 1), (2, 2)}
    assert {r.epochs for r in grid} == {7}
    assert trials.grid({}, ["gru"]) == [base]


def test_random_draws_are_some_of_the_grid_and_always_the_same():
    varied = trials.axes(["num_hiddens=4,8,16,32", "lr=0.1,1,4"])
    everything = trials.grid(varied, ["gru"])
    recipes = trials.grid(varied, ["gru"], random=5)
    assert len(set(recipes)) == 5
    assert set(recipes) < set(everything)
    assert recipes == trials.grid(varied, ["gru"], random=5)
    with pytest.raises(UserError, match="13 random configurations are asked for; the grid has 12"):
        trials.grid(varied, ["gru"], random=13)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["lr"], "should be a setting and its values"),
        (["momentum=1"], "no setting 'momentum'; a grid may vary num_steps"),
        (["epochs=3"], "no setting 'epochs'"),
        (["lr="], "a value is empty"),
        (["lr=1,,2"], "a value is empty"),
        (["lr=fast"], "'fast' is not a number"),
        (["lr=nan"], "lr is nan, should be more than 0 and finite"),
        (["lr=inf"], "lr is inf"),
        (["lr=-1"], "lr is -1, should be more than 0"),
        (["num_steps=8.5"], "'8.5' is not a whole number"),
        (["num_hiddens=0"], "num_hiddens is 0, should be more than 0"),
        (["lr=1,2,1.0"], "1.0 stands there twice"),
        (["lr=1", "lr=2"], "lr is given twice"),
    ],
)
def test_refused_grids(given, words):
    with pytest.raises(UserError, match=words):
        trials.axes(given)


def test_a_key_tells_trials_apart():
    others = [
        replace(TRIAL, framework="jax"),
        replace(TRIAL, dtype="float64"),
        replace(TRIAL, task="copy-5"),
        replace(TRIAL, recipe=replace(TRIAL.recipe, lr=1.0)),
        replace(TRIAL, recipe=replace(TRIAL.recipe, cell="rnn")),
        replace(TRIAL, recipe=replace(TRIAL.recipe, start_seed=4)),
    ]
    keys = [trial.key("abc") for trial in (TRIAL, *others)] + [TRIAL.key("another text")]
    assert len(set(keys)) == len(keys)
    assert TRIAL.key("abc") == keys[0]
    copying = replace(TRIAL, task="copy-5")
    assert copying.key("abc") == copying.key("another text")


def test_another_equation_is_another_trial(monkeypatch):
    before = TRIAL.key("abc")
    turned = replace(cells.cell("gru"), equations=cells.cell("gru_reset_after").equations)
    monkeypatch.setattr(trials, "cell", lambda name: turned)
    assert TRIAL.key("abc") != before


def test_one_program_runs_what_differs_in_rate_and_seed_alone():
    def of(**changes):
        return replace(TRIAL, recipe=replace(TRIAL.recipe, **changes)).program

    assert of(lr=1.0) == of(start_seed=5) == of(order_seed=1) == TRIAL.program
    assert TRIAL.program not in (of(num_steps=8), of(num_hiddens=8), of(clip_norm=2.0), of(epochs=3), of(cell="rnn"))


def test_trials_come_back_from_json():
    assert trials.from_json(TRIAL.to_json()) == TRIAL
    whole = TRIAL.to_json()
    for text in ("{", "{}", whole.replace('"cpu"', "3"), whole.replace('"epochs": 50', '"epochs": 0')):
        with pytest.raises(UserError, match="not a "):
            trials.from_json(text)


@pytest.mark.parametrize(
    ("perplexity", "expected"),
    [
        ([20.0, 9.0, 7.0], (FINISHED, "")),
        ([20.0, 90.0, 7.0], (FINISHED, "")),
        ([20.0, 9.0, 90.0], (DIVERGED, "diverged at epoch 3")),
        ([20.0, 90.0, math.inf], (DIVERGED, "diverged at epoch 2")),
        ([math.nan], (DIVERGED, "diverged at epoch 1")),
        ([29.0, 29.0, 29.0], (DIVERGED, "diverged at epoch 1")),
    ],
)
def test_what_became_of_a_training(perplexity, expected):
    curve, well = np.array(perplexity), np.full(len(perplexity), 5.0)
    assert trials.status({"perplexity.train": curve, "perplexity.val": well}, 3, 28) == expected
    # What it makes of text that it has not seen counts as much.
    assert trials.status({"perplexity.train": well, "perplexity.val": curve}, 3, 28) == expected


def test_a_training_that_ends_early_for_no_reason_is_refused():
    with pytest.raises(UserError, match="a training of 3 epochs ended after 2"):
        trials.status(dict.fromkeys(("perplexity.train", "perplexity.val"), np.array([9.0, 8.0])), 3, 28)


@pytest.mark.parametrize(
    ("value", "word"), [(4.0, "4"), (0.1, "0.1"), (2_000_000, "2000000"), (0.12345678, "0.12345678")]
)
def test_a_value_is_worded_as_it_is_read(value, word):
    assert trials.worded(value) == word
    name = "num_train" if isinstance(value, int) else "lr"
    assert trials.axes([f"{name}={word}"]) == {name: [value]}


def test_a_trial_is_told_by_what_is_not_its_tasks_own():
    of = lambda task="text", **changes: trials.grid({}, ["gru"], task=task, **changes)[0]  # noqa: E731
    told = lambda recipe, task="text": replace(TRIAL, task=task, recipe=recipe).settings  # noqa: E731
    usual = {"num_steps": 32, "num_hiddens": 32, "lr": 4}
    assert told(of()) == usual
    assert told(of(batch_size=256)) == usual | {"batch_size": 256}
    assert told(of("copy-4"), "copy-4") == usual | {"num_steps": 10}
    assert told(of("copy-4", clip_norm=2.0), "copy-4") == usual | {"num_steps": 10, "clip_norm": 2.0}


def test_the_memory_that_is_needed_is_less_than_what_is_held(text):
    recipe = trials.grid({}, ["gru"])[0]
    problem = language_model.problem(recipe, text)
    weights = 4 * sum(p.size for p in problem.parameters.values())
    states = 4 * recipe.batch_size * recipe.num_steps * recipe.num_hiddens
    windows = 4 * (recipe.num_train + recipe.num_val) * (recipe.num_steps + 1)
    needed = replace(TRIAL, recipe=recipe).memory
    assert states + windows < needed < states + windows + 2 * weights


def test_rows_to_copy(text):
    recipe = trials.grid({}, ["gru"], task="copy-4")[0]
    problem = tasks.problem("copy-4", recipe, text)
    (inputs, targets), *_ = problem.training_batches(0)
    row = problem.vocabulary.decode(np.append(inputs[0], targets[0, -1]))
    symbols, blanks, mark, again = row[:3], row[3:7], row[7], row[8:]
    assert (blanks, mark, again) == ("____", ":", symbols)
    assert set(symbols) <= set(tasks.SYMBOLS)
    assert inputs.shape == targets.shape == (100, 2 * tasks.COUNT + 4)
    drawn = problem.tokens[:, : tasks.COUNT]
    assert sorted(np.unique(drawn)) == list(range(2, 10))
    held = problem.vocabulary.decode(problem.prefix())
    assert held.endswith("____:")
    assert problem.vocabulary.decode(next(problem.validation_batches())[0][0]).startswith(held)


def test_other_seeds_draw_other_rows(text):
    one, two = (tasks.problem("copy-4", r, text).tokens for r in trials.grid({}, ["gru"], seeds=(0, 1), task="copy-4"))
    assert not np.array_equal(one, two)


def test_copying_can_be_trained_on(text):
    recipe = replace(trials.grid({}, ["rnn"], task="copy-2")[0], epochs=2, num_train=200, num_val=100, num_hiddens=4)
    arrays = training.train(tasks.problem("copy-2", recipe, text))
    assert arrays["perplexity.val"][1] < arrays["perplexity.val"][0]
    assert len(arrays["text"]) == tasks.COUNT


@pytest.mark.parametrize("task", ["copy-", "copy-0", "copy-x", "copy-1.5", "copy-²", "copy-１", "add"])
def test_refused_tasks(task):
    with pytest.raises(UserError, match=f"no task '{task}'; the tasks are text and copy-N"):
        trials.grid({}, ["gru"], task=task)


def test_a_copying_task_has_its_own_number_of_steps(text):
    recipe = trials.grid({"num_steps": [8]}, ["gru"], task="copy-4")[0]
    with pytest.raises(UserError, match="copy-4 has rows of 10 steps, the recipe of 8"):
        tasks.problem("copy-4", recipe, text)
