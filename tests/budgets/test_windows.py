"""How long the chapter's windows take: 15,000 of 32 and of 128 steps."""

from __future__ import annotations

import numpy as np
import pytest

from shared_spec import language_model
from shared_spec.language_model import corpus


@pytest.mark.parametrize("num_steps", [32, 128])
def test_from_text_to_windows(benchmark, text, num_steps):
    recipe = language_model.recipe("gru", num_steps=num_steps)
    problem = language_model.problem(recipe, text)
    windows = corpus.windows(problem.tokens, num_steps=num_steps, count=15_000)
    assert np.shares_memory(windows, problem.tokens)
    assert windows.shape == (15_000, num_steps + 1)
    benchmark(language_model.problem, recipe, text)
