"""How long explain takes where nothing explains a result: all single edits, and all pairs, in processor time."""

from __future__ import annotations

import statistics
import time

import numpy as np

from isogru.edits import unedited
from isogru.explain import UNEXPLAINED, explain
from tests.isogru.planted import drawn

SIZES = (32, 64, 64, 64)
"""T, n, d, h."""
ROUNDS = 3
SINGLES_SECONDS, PAIRS_SECONDS = 1.0, 20.0
SINGLES_TIMES, PAIRS_TIMES = 150.0, 3000.0
"""Of the layer itself in NumPy: the seconds are those of a quiet machine, and hold on any as multiples."""


def seconds(function, rounds=ROUNDS):
    taken = []
    for _ in range(rounds):
        before = time.process_time()
        function()
        taken.append(time.process_time() - before)
    return statistics.median(taken)


def test_a_result_that_nothing_explains():
    case = drawn("gru_reset_after", SIZES, 1)
    edit = unedited(case)
    H = edit.states(case.arrays["X"].astype(np.float32), case.arrays["H0"].astype(np.float32))
    H[16, 32, 32] += np.float32(1e-2)
    layer = seconds(lambda: edit.states(case.arrays["X"], case.arrays["H0"]))
    singles = seconds(lambda: explain(case, H, pairs=False))
    pairs = seconds(lambda: explain(case, H), rounds=1)
    told = f"layer {layer:.4f} s, single edits {singles:.3f} s, pairs {pairs:.2f} s"
    print(told)
    explanation = explain(case, H, pairs=False)
    assert (explanation.verdict, explanation.tried > 80) == (UNEXPLAINED, True)
    assert singles <= max(SINGLES_SECONDS, SINGLES_TIMES * layer), told
    assert pairs <= max(PAIRS_SECONDS, PAIRS_TIMES * layer), told
