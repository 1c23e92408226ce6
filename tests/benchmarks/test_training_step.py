"""How long the chapter's training step takes (n=1024, T=32, h=32, float32), in every lane of the framework under test.

tox -e bench-torch, or any of the others.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

import frameworks
import reports.reference
from frameworks.protocol import implementations
from frameworks.run import run
from reports import verdict
from shared_spec import cases, language_model
from shared_spec.interchange import TrainingCase

CELLS = cases.NATIVE_CELLS
ROUNDS = 15


@pytest.fixture(scope="session")
def framework(framework_name, request):
    loaded = frameworks.load(framework_name)
    loaded.runtime.setup(device=request.config.getoption("--device"))
    return loaded


def training_step(framework, implementation, problem, device):
    """A function that takes one step and waits until its weights are there: weights and loss, as NumPy's arrays."""
    runtime, recipe = framework.runtime, problem.recipe
    parameters = {
        name: runtime.tensor(array, dtype="float32", device=device) for name, array in problem.parameters.items()
    }
    inputs, targets = (
        runtime.tensor(tokens, dtype="int32", device=device) for tokens in next(problem.training_batches(0))
    )
    step = framework.language_model.training_step(
        implementation.build(), lr=recipe.lr, clip_norm=recipe.clip_norm, compiled=implementation.compiled
    )

    def once():
        after, loss, _ = step(parameters, inputs, targets)
        return {name: runtime.to_numpy(array) for name, array in after.items()}, runtime.to_numpy(loss)

    return once


@pytest.mark.parametrize("cell", CELLS)
def test_training_step(framework, request, benchmark, text, results, cell):
    """The lanes take turns, so that a machine that is busy is so for all of them; the medians are printed."""
    device = request.config.getoption("--device")
    # One epoch: ten steps of the chapter's.
    case = TrainingCase(f"training-step-{cell}", language_model.problem(language_model.recipe(cell, epochs=1), text))
    reference = reports.reference.get(case, "float32")
    lanes = {}
    for implementation in implementations(framework):
        if implementation.cell == cell and not implementation.reason and "float32" in implementation.dtypes:
            # Nothing is timed that is not proven equal on this very work.
            found = verdict.judge(case, run(framework, implementation, case, dtype="float32", device=device), reference)
            assert found.verdict == "equal", found.worst_finding.sentence(found.origin)
            lanes[implementation.name] = training_step(framework, implementation, case.problem, device)
    seconds = {name: [] for name in lanes}

    def turn():
        for name, step in lanes.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)

    benchmark.pedantic(turn, rounds=ROUNDS, warmup_rounds=1)
    milliseconds = {name: round(1e3 * float(np.median(taken[1:])), 1) for name, taken in seconds.items()}
    benchmark.extra_info |= milliseconds
    print(f"\n{framework.name} {cell}, ms a step:", milliseconds)
