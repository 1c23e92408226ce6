"""Quantities as data: what results hold, what verdicts say of them, and what reads it."""

from __future__ import annotations

import numpy as np
import pytest

from isogru.judge import reference, verdict
from reports.diff.quantities import PAIRED, column_of, group_of
from shared_spec import cases, language_model, quantities
from shared_spec.cells import cell, cells
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files.interchange import Result, TrainingCase, check_result, shapes_of_training
from shared_spec.language_model import training
from shared_spec.oracle import shapes_of_result
from shared_spec.quantities import quantity
from tests import sample_results


@pytest.fixture(autouse=True)
def _own_results(results):
    """References are shared, results are the test's own."""


@pytest.fixture(scope="module")
def small(text):
    """A training of a second, and what the oracle makes of it."""
    sizes = {"num_hiddens": 4, "num_steps": 5, "num_train": 20, "num_val": 10, "batch_size": 10, "epochs": 2}
    recipe = language_model.recipe("gru", num_predictions=3, **sizes)
    case = TrainingCase("short-training-gru", language_model.problem(recipe, text))
    return case, training.train(case.problem)


def result_of(case, arrays):
    return Result(sample_results.origin(sample_results.job("numpy", case.name, "float64"), case), arrays)


@pytest.mark.parametrize("name", cells())
def test_shapes_are_those_of_the_cell(name):
    for key, shape in shapes_of_result(cell(name)).items():
        entry = quantity(key, training=False)
        assert entry.shape in (None, shape), key


def test_what_a_cell_is_judged_by_is_what_is_said():
    case = cases.build("gru-ordinary")
    result = Result(sample_results.origin(sample_results.job("numpy", case.name), case), sample_results.run(case))
    result_verdict = verdict.judge(case, result, reference.get(case, "float32"))
    assert {f.quantity for f in result_verdict.all_findings} >= {
        "H",
        "final",
        "grad.W_xz",
        "trace.Z",
        "trace.dH",
        "trace.grad.X",
    }
    for finding in result_verdict.all_findings:
        assert finding.basis == quantity(finding.quantity, training=False).basis, finding.quantity


def test_what_a_training_is_judged_by_is_what_is_said(small):
    case, arrays = small
    check_result("oracle", result_of(case, arrays), case)
    result_verdict = verdict.judge(case, result_of(case, arrays), reference.get(case, "float64"))
    assert {f.quantity for f in result_verdict.all_findings} == set(shapes_of_training(case.cell))
    for finding in result_verdict.all_findings:
        assert finding.basis == quantity(finding.quantity, training=True).basis, finding.quantity


@pytest.mark.parametrize("name", ["loss", "norm", "perplexity.train", "perplexity.val", "text", "end.W_xz"])
def test_what_is_of_another_shape_or_type_is_refused(small, name):
    case, arrays = small
    with pytest.raises(InterchangeError, match=f"{name} has shape"):
        check_result("file", result_of(case, arrays | {name: arrays[name][:-1]}), case)
    with pytest.raises(InterchangeError, match=f"{name} is float16, should be"):
        check_result("file", result_of(case, arrays | {name: arrays[name].astype(np.float16)}), case)
    with pytest.raises(InterchangeError, match=f"tensor {name} is missing"):
        check_result("file", result_of(case, {key: a for key, a in arrays.items() if key != name}), case)


def test_where_pages_show_them():
    assert PAIRED == ("H", "final", "gradients", "loss", "weights", "norm", "perplexity", "text")
    assert {name: group_of(name) for name in ("grad.X", "step1.W_xz", "end.b_q", "perplexity.val", "H")} == {
        "grad.X": "gradients",
        "step1.W_xz": "weights",
        "end.b_q": "weights",
        "perplexity.val": "perplexity",
        "H": "H",
    }
    columns = {name: column_of(name, training=False) for name in ("H", "grad.X", "trace.Z", "trace.grad.X", "trace.dH")}
    assert list(columns.values()) == ["states", "gradients", "gates", "gradients", "gradients"]
    assert column_of("grad.W_xz", training=True) == column_of("text", training=True) == "training"


def test_which_have_a_past():
    trajectories = [each.name for each in quantities.OF_TRAINING if quantities.is_trajectory(each.name)]
    assert trajectories == ["loss", "norm", "perplexity.train", "perplexity.val"]


def test_what_no_result_holds():
    with pytest.raises(UserError, match=r"no quantity 'accuracy'; a result holds grad\., loss, "):
        quantity("accuracy", training=True)
