"""What is timed: the catalogue, and the problems that are drawn for it."""

from __future__ import annotations

import numpy as np
import pytest

from shared_spec import oracle
from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.frameworks import native_cells
from shared_spec.language_model import specification, training
from shared_spec.race import workloads
from shared_spec.race.workloads import SERIES, Workload
from shared_spec.readings import cost
from shared_spec.readings.value import evaluate

CELLS = native_cells()


def test_names_are_unique_and_lead_back():
    names = [w.name for w in workloads.catalogue()]
    assert len(set(names)) == len(names)
    for workload in workloads.catalogue():
        assert workloads.choose([workload.name]) == [workload]
        # A row is a workload and an implementation: no name may begin like another.
        assert not any(other.startswith(f"{workload.name}-") for other in names)


def test_the_chapters_training_step_comes_first():
    assert workloads.catalogue()[0].name == "training-step-chapter-gru-float32"
    assert [w.name for w in workloads.choose(["chapter"])] == [f"training-step-chapter-{c}-float32" for c in CELLS]
    size = workloads.chapter()
    assert (size.n, size.T, size.h, size.d) == (1024, 32, 32, 28)


def test_choosing():
    assert set(workloads.choose(["everything"])) == set(workloads.catalogue())
    assert {w.kind for w in workloads.choose(["gradient", "step"])} == {"gradient", "step"}
    assert workloads.choose(["epoch", "epoch"]) == workloads.choose(["epoch"])
    with pytest.raises(
        UserError, match="no workload 'nothing'; there are everything, chapter, the kinds step, forward"
    ):
        workloads.choose(["nothing"])


def test_workloads_of_a_cell():
    assert [w.name for w in workloads.choose(["chapter", "epoch"], ["rnn"])] == ["training-step-chapter-rnn-float32"]
    why = "no epoch of rnn is timed: choose gru or gru_reset_after, or for rnn training-step or gradient"
    with pytest.raises(UserError, match=f"^{why}$"):
        workloads.choose(["epoch"], ["rnn"])
    with pytest.raises(UserError, match="no benchmark of a cell 'lem'; the cells are gru, gru_reset_after, rnn"):
        workloads.choose(["epoch"], ["gru", "lem"])


@pytest.mark.parametrize("symbol", SERIES)
def test_a_series_varies_one_size(symbol):
    points = [w for w in workloads.catalogue() if symbol in w.in_series and w.cell == "gru"]
    assert sorted(getattr(w.size, symbol) for w in points) == list(SERIES[symbol])
    for other in set("Tndh") - {symbol}:
        assert {getattr(w.size, other) for w in points} == {getattr(workloads.chapter(), other)}


def test_inputs_change_with_the_seed_and_weights_do_not():
    workload = Workload("gradient", workloads.Size("small", T=4, n=3, d=5, h=2), "gru_reset_after")
    first, second = (workloads.case(workload, seed) for seed in (0, 1))
    for name in first.arrays:
        same = np.array_equal(first.arrays[name], second.arrays[name])
        assert same == (name in first.parameters), name
        assert np.array_equal(first.arrays[name], first.arrays[name].astype(np.float32))
    assert "dH" not in workloads.case(Workload("forward", workload.size, "gru"), 0).arrays


@pytest.mark.parametrize("name", CELLS)
def test_dependent_products_are_those_of_the_equations(name):
    """The products that are measured one after another are as many, and as large, as the cost reading says."""
    workload = Workload("forward", workloads.chapter(), name)
    size = workload.size
    step_cost = cost.step(cell(name), {"n": size.n, "d": size.d, "h": size.h})
    products = workload.products()
    assert len(products) == step_cost.dependent_products
    assert sum(2 * n * h * k for n, h, k in products) == step_cost.recurrent_flops
    assert step_cost.product_flops - step_cost.recurrent_flops == step_cost.recurrent_flops * size.d // size.h


@pytest.mark.parametrize("name", CELLS)
def test_a_prediction_depends_on_what_comes_before(name, text):
    """And no two characters are so near one another that rounding decides."""
    workload = Workload("prediction", workloads.chapter(), name)
    case = workloads.training_case(workload, text, epochs=1)
    weights = workloads.weights(case.problem)
    texts = set()
    for begin in (0, 97):
        prefix = case.problem.tokens[begin : begin + workloads.PREFIX]
        predicted = training.predict(case.cell, weights, prefix, workloads.PREDICTED)
        texts.add(tuple(predicted))
        inputs = np.concatenate([prefix, predicted[:-1]])[None]
        X = training.one_hot(inputs, len(weights["b_q"]), np.dtype(np.float64))
        H = oracle.states(case.cell, X, np.zeros((1, len(weights["W_hq"]))), weights)
        logits = evaluate(specification().output.expression, {**weights, "H": H}, np.dtype(np.float64))
        best, second = np.sort(logits[workloads.PREFIX - 1 :, 0], axis=1)[:, :-3:-1].T
        assert np.min(best - second) > 1e-4
        only_the_last = training.predict(case.cell, weights, prefix[-1:], workloads.PREDICTED)
        assert not np.array_equal(only_the_last, predicted)
    assert len(texts) == 2


def test_tiny_work_is_the_same_work():
    for workload in workloads.catalogue():
        tiny = workloads.tiny(workload)
        assert (tiny.kind, tiny.cell, tiny.dtype, tiny.size.T) == (
            workload.kind,
            workload.cell,
            workload.dtype,
            workload.size.T,
        )
        assert tiny.size.n * tiny.size.h <= 4


def test_the_chapters_recipe_is_the_chapters(text):
    (epoch,) = [w for w in workloads.choose(["epoch"]) if w.cell == "gru"]
    recipe = workloads.recipe(epoch, epochs=2)
    assert (recipe.batch_size, recipe.num_train, recipe.num_val, recipe.lr) == (1024, 10000, 5000, 4.0)
    tiny = workloads.training_case(workloads.tiny(epoch), text, epochs=1).problem
    assert len(list(tiny.training_batches(0))) == len(list(tiny.training_batches(1))) == 10


def test_where_steps_are_timed_there_is_one_shape_of_a_batch(text):
    for workload in workloads.choose(["training-step"]):
        problem = workloads.training_case(workload, text, epochs=2).problem
        assert (problem.recipe.batch_size, problem.recipe.lr) == (1024, 4.0)
        batches = [*problem.training_batches(0), *problem.training_batches(1)]
        assert {inputs.shape for inputs, _ in batches} == {(1024, 32)}
        assert len(batches) == 2 * workloads.STEPS
        assert [inputs.shape for inputs, _ in problem.validation_batches()] == [(1024, 32)]
