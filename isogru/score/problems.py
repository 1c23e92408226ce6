"""What mutants are tried on: the cases of the catalogue, and a small training of each cell.

The catalogue's own trainings take seconds each, and their gradients are seldom long enough to be clipped. These take a
fraction of one; the norm of their gradients is above the limit at some steps and below it at others, and the last batch
of each epoch is not full.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from isogru import training_faults
from isogru.training_faults import Setting
from shared_spec import cases, language_model
from shared_spec.cells import cells
from shared_spec.errors import UserError
from shared_spec.files.interchange import AnyCase, TrainingCase
from shared_spec.language_model import corpus

SMALL = "small-training"
RECIPE: dict[str, Any] = {
    "start": "uniform",
    "num_hiddens": 5,
    "num_steps": 6,
    "num_train": 60,
    "num_val": 12,
    "batch_size": 7,
    "epochs": 3,
    "clip_norm": 0.3,
}


def names() -> list[str]:
    """All that are tried where nothing is asked for."""
    return [*cases.cell_case_names(), *(f"{SMALL}-{name}" for name in cells())]


def chosen(asked: Sequence[str]) -> list[str]:
    """Those asked for, or all. Raises UserError for a case that is not there."""
    there = names()
    if unknown := [name for name in asked if name not in there]:
        told = f"there are those of a cell that isogru cases lists, and {SMALL}-gru and the like"
        raise UserError(f"no case {unknown[0]!r} of mutants; {told}")
    return [name for name in there if not asked or name in asked]


def cell_of(name: str) -> str:
    """The name of a case's cell."""
    return name.removeprefix(f"{SMALL}-") if name.startswith(SMALL) else cases.cell_name_of(name)


def is_training(name: str) -> bool:
    """Whether a case is a training."""
    return name.startswith(SMALL)


@functools.cache
def build(name: str) -> AnyCase:
    """The case of that name."""
    if not is_training(name):
        return cases.build(name)
    text = corpus.built_in(language_model.specification().corpus, "small trainings are of the text that is built in")
    return TrainingCase(name, language_model.problem(language_model.recipe(cell_of(name), **RECIPE), text))


def same_batches(of: str, setting: Setting) -> str:
    """Why a training of a cell is the same with a fault of its batches; empty where it is another fault, or is not."""
    case = build(f"{SMALL}-{of}")
    assert isinstance(case, TrainingCase)
    faulty = training_faults.of_problem(case.problem, setting)
    if faulty is case.problem:
        return ""
    for epoch in range(case.problem.recipe.epochs):
        for right, wrong in zip(case.problem.training_batches(epoch), faulty.training_batches(epoch), strict=True):
            if not all(map(np.array_equal, right, wrong)):
                return ""
    return "every batch of every epoch is the same"
