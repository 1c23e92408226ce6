"""How long the chapter's training step takes (n=1024, T=32, h=32, float32), in every lane of the framework under test.

tox exec -e torch -- python -m pytest tests/benchmarks/test_training_step.py --framework torch
"""

from __future__ import annotations

import time

import numpy as np
import pytest

import frameworks
from frameworks.protocol import implementations
from shared_spec import cases

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
def test_training_step(framework, request, benchmark, text, cell):
    """The lanes take turns, so that a machine that is busy is so for all of them; the medians are printed."""
    device = request.config.getoption("--device")
    problem = cases.build(f"full-training-{cell}", text).problem
    lanes = {
        implementation.name: training_step(framework, implementation, problem, device)
        for implementation in implementations(framework)
        if implementation.cell == cell and not implementation.reason and "float32" in implementation.dtypes
    }
    # The first step compiles, and has to be right before anything is timed. How equal the lanes are is for
    # tests/equivalence; here a lane that does other work must not get a time.
    should_be, loss = lanes["scratch"]()
    for name, step in lanes.items():
        found, of_lane = step()
        assert abs(of_lane - loss) < 1e-4, name
        for parameter, array in found.items():
            assert np.abs(array - should_be[parameter]).max() < 1e-4, (name, parameter)
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
