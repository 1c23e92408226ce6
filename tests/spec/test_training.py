"""The oracle's language model, on problems small enough to be checked otherwise."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from shared_spec import language_model
from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.language_model import recipe, training

SMALL = {"num_hiddens": 4, "num_steps": 5, "num_train": 24, "num_val": 12, "batch_size": 10, "epochs": 2}


def small(name, text, **changes):
    return language_model.problem(recipe(name, **{"start": "uniform", **SMALL, **changes}), text)


def test_the_order_of_the_weights_changes_nothing(text):
    """A file has them in one of its own."""
    problem = small("gru", text)
    turned = replace(problem, parameters=dict(reversed(problem.parameters.items())))
    one, two = (training.twin(each, dtype="float32", seed=1) for each in (problem, turned))
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name], err_msg=name)


def test_the_chapters_recipe():
    chapter = recipe("gru")
    assert (chapter.lr, chapter.clip_norm, chapter.epochs, chapter.batch_size) == (4.0, 1.0, 50, 1024)
    assert (chapter.num_hiddens, chapter.num_steps, chapter.num_train, chapter.num_val) == (32, 32, 10_000, 5_000)
    assert chapter.steps_per_epoch == 10


def test_refused_settings():
    with pytest.raises(UserError, match="no start 'zeros'; the starts are gaussian, uniform"):
        recipe("gru", start="zeros")
    with pytest.raises(UserError, match="no setting 'momentum'; the settings are"):
        recipe("gru", momentum=0.9)
    with pytest.raises(UserError, match="no cell 'lstm'"):
        recipe("lstm")


def test_starts():
    gaussian = language_model.start(recipe("gru"), num_tokens=28)
    uniform = language_model.start(recipe("gru", start="uniform"), num_tokens=28)
    assert all(not array.any() for name, array in gaussian.items() if name.startswith("b"))
    assert np.std(gaussian["W_hh"]) == pytest.approx(0.01, rel=0.1)
    edge = 1 / math.sqrt(32)
    for array in uniform.values():
        assert np.abs(array).max() <= edge
        assert array.any()
    assert {name: a.shape for name, a in uniform.items()}["W_xz"] == (28, 32)
    assert uniform["b_q"].shape == (28,)


@pytest.mark.parametrize("name", ["gru", "gru_reset_after", "gru_reset_only", "gru_update_only", "rnn"])
def test_gradients_are_central_differences_of_the_loss(name, text):
    problem = small(name, text)
    the_cell = cell(name)
    inputs, targets = next(problem.training_batches(0))
    value, gradients = training.loss_and_gradients(the_cell, problem.parameters, inputs, targets)
    assert value == pytest.approx(training.loss(the_cell, problem.parameters, inputs, targets), rel=1e-14)
    random = np.random.RandomState(1)
    for key, array in problem.parameters.items():
        direction = random.standard_normal(array.shape)
        ends = [
            training.loss(the_cell, {**problem.parameters, key: array + s * 1e-5 * direction}, inputs, targets)
            for s in (1, -1)
        ]
        assert np.sum(gradients[key] * direction) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-9), key


def test_loss_of_a_model_that_knows_nothing(text):
    problem = small("rnn", text)
    nothing = {name: np.zeros_like(array) for name, array in problem.parameters.items()}
    inputs, targets = next(problem.training_batches(0))
    assert training.loss(cell("rnn"), nothing, inputs, targets) == pytest.approx(math.log(len(problem.vocabulary)))


def test_clipping_acts_on_the_joint_norm():
    parameters = {"a": np.array([1.0, 1.0]), "b": np.array([1.0])}
    gradients = {"a": np.array([3.0, 0.0]), "b": np.array([4.0])}
    assert training.norm(gradients) == 5
    clipped = training.sgd(parameters, gradients, lr=0.5, clip_norm=1.0)
    assert clipped["a"].tolist() == [pytest.approx(0.7), 1.0]
    assert clipped["b"].tolist() == [pytest.approx(0.6)]
    free = training.sgd(parameters, gradients, lr=0.5, clip_norm=5.0)
    assert free["b"].tolist() == [-1.0]


def test_a_training_that_clips(text):
    result = training.train(small("rnn", text, clip_norm=0.1))
    assert (result["norm"] > 0.1).any()
    assert np.isfinite(result["loss"]).all()


def test_perplexity_is_over_tokens_not_batches(text):
    problem = small("gru", text)
    result = training.train(problem)
    sizes = [targets.size for _, targets in problem.training_batches(0)]
    assert sizes == [50, 50, 20]
    of_epoch = math.exp(np.dot(result["loss"][:3], sizes) / sum(sizes))
    assert result["perplexity.train"][0] == pytest.approx(of_epoch, rel=1e-14)
    assert len(result["perplexity.val"]) == 2


def test_prediction_feeds_the_prefix_first_and_takes_the_lowest_of_equals(text):
    problem = small("gru", text)
    nothing = {name: np.zeros_like(array) for name, array in problem.parameters.items()}
    assert training.predict(cell("gru"), nothing, problem.prefix(), 4).tolist() == [0, 0, 0, 0]
    nothing["b_q"][3] = nothing["b_q"][7] = 1.0
    assert training.predict(cell("gru"), nothing, problem.prefix(), 2).tolist() == [3, 3]
    prefix = problem.prefix()
    first = training.predict(cell("gru"), problem.parameters, prefix, 3)
    longer = training.predict(cell("gru"), problem.parameters, np.append(prefix, first[:1]), 2)
    assert first[1:].tolist() == longer.tolist()


def test_the_prefix_is_cleaned(text):
    assert small("gru", text, prefix="It HAS...").prefix().tolist()[:-1] == small("gru", text).prefix().tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_twins_train_alike(dtype, text):
    problem = small("gru_reset_after", text)
    truth, twin = training.train(problem), training.twin(problem, dtype=dtype, seed=2)
    for key, array in truth.items():
        assert twin[key].shape == array.shape
        if key != "text":
            difference = float(np.abs(twin[key] - array).max())
            assert difference < (1e-3 if dtype == "float32" else 1e-12), key
    assert twin["text"].tolist() == truth["text"].tolist()


def test_recipes_survive_json():
    one = recipe("rnn", lr=0.5)
    assert language_model.recipe_from_json(language_model.recipe_to_json(one)) == one
    with pytest.raises(UserError, match="not a recipe"):
        language_model.recipe_from_json('{"cell": "gru"}')
    for wrong, said in (
        ({"epochs": 0}, "epochs is 0"),
        ({"lr": "x"}, "lr is 'x', should be float"),
        ({"cell": []}, "cell"),
    ):
        text = json.dumps({**json.loads(language_model.recipe_to_json(one)), **wrong})
        with pytest.raises(UserError, match=f"not a recipe: {said}"):
            language_model.recipe_from_json(text)
