"""Cells of PyTorch, one step at a time; and whether a module around one goes through the steps itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from isogru.runners.arrays import loaded
from shared_spec.readings.arithmetic import Array

STEP, LOOP, WHOLE = "step", "loop", "whole"
"""What a module around a cell takes: one step; all of them, with H0 (n, h); all of them as nn.GRU has it, with H0
(1, n, h).
"""


def stepped(module: Any, X: Any, H0: Any) -> list[Any]:
    """The states of a cell from X (T, n, d) and H0 (n, h), step by step."""
    states, H = [], H0
    for x in X:
        given = module(x, H)
        H = given[0] if isinstance(given, (tuple, list)) else given
        states.append(H)
    return states


def form(
    module: Any, give: Callable[[Array], Any], sizes: Mapping[str, int], *, starts: bool, batch_first: bool
) -> str:
    """Which of them a module takes, as the shapes of what it gives tell.

    `give` makes what it takes of an array, `starts` says whether it takes a start state.
    """
    # No two axes are of one length.
    rows, steps = [size for size in range(2, 6) if size not in sizes.values()][:2]
    time_axis, H = (1 if batch_first else 0), (rows, sizes["h"])
    sequence = (rows, steps) if batch_first else (steps, rows)
    X, H0 = give(np.zeros((*sequence, sizes["d"]))), give(np.zeros(H))
    x, states = X.select(time_axis, 0), (*sequence, sizes["h"])
    with loaded("torch").no_grad():
        if not starts:
            return WHOLE if _shape(module, X) == states else STEP
        # A loop that takes H0[0] goes through the rows of one step, too. A step whose arithmetic takes any axes takes
        # sequences, too, but keeps the first axis of H0 of one step, where a loop has one for each row.
        if _shape(module, X, H0[None]) == states and _shape(module, x, H0[None]) != (1, *H):
            return WHOLE
        if _shape(module, x, H0) == H:
            return STEP
        return LOOP if _shape(module, X, H0) == states else STEP


def _shape(module: Any, *given: Any) -> tuple[int, ...]:
    """Of the states that a module gives; empty where it raises, or gives none."""
    try:
        made = module(*given)
    except Exception:  # Whatever a module of somebody else's raises on what it does not take.
        return ()
    return tuple(getattr(made[0] if isinstance(made, (tuple, list)) else made, "shape", ()))
