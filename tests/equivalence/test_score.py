"""Mutants planted in this framework's own step, loop, weights and training, one of each kind: all are killed, and what
is right is there again.
"""

from __future__ import annotations

import pytest

from frameworks.harness.score.hand import InFramework
from isogru.judge import reference
from isogru.score import faults, problems, run
from shared_spec import language_model
from shared_spec.files.interchange import TrainingCase

OF = {each.id: each for each in faults.fixed()}
OF_CELLS = (
    "reset_after",
    "gates_hard_sigmoid",
    "order_rz: W_x",
    "start_ignored",
    "path_through: Z",
    "path_start",
    "state_in_bfloat16",
)


def two_steps(text):
    """A training of two steps: a framework that compiles takes a second for each."""
    recipe = language_model.recipe("rnn", **{**problems.RECIPE, "num_train": 14, "epochs": 1})
    return TrainingCase("two-steps-rnn", language_model.problem(recipe, text))


@pytest.mark.parametrize(
    ("name", "mutants"), [("gru-one_step", OF_CELLS), ("two-steps-rnn", ("loss_summed", "dropout_left_on"))]
)
def test_one_mutant_of_each_kind_is_killed(framework, text, name, mutants):
    case = two_steps(text) if name.startswith("two") else problems.build(name)
    known, hand = reference.get(case, "float32"), InFramework(framework)
    before = [dict(vars(module)) for module in (framework.cells, framework.language_model)]
    assert run.control(hand, case, "float32", known).verdict == "equal"
    for mutant in mutants:
        trial = run.trial(hand, case, "float32", OF[mutant], known)
        assert trial.outcome == "killed", trial
        if OF[mutant].kind == "gradient":
            assert trial.quantity.startswith("grad."), trial
    assert [dict(vars(module)) for module in (framework.cells, framework.language_model)] == before
