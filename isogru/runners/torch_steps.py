"""Cells of PyTorch, one step at a time; and whether a module around one goes through the steps itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from isogru.runners.arrays import loaded
from shared_spec.readings.arithmetic import Array

STEPS, ROWS = 3, 2
"""Of what a module is given to see which it is."""


def stepped(module: Any, X: Any, H0: Any) -> list[Any]:
    """The states of a cell from X (T, n, d) and H0 (n, h), step by step."""
    states, H = [], H0
    for x in X:
        given = module(x, H)
        H = given[0] if isinstance(given, (tuple, list)) else given
        states.append(H)
    return states


def is_loop(
    module: Any, give: Callable[[Array], Any], sizes: Mapping[str, int], *, starts: bool, batch_first: bool
) -> bool:
    """Whether a module takes all steps, X (T, n, d), where one step, (n, d), is none of its: it loops over a cell.

    `give` makes what it takes of an array, `starts` says whether it takes H0 (n, h).
    """
    first = (ROWS, STEPS) if batch_first else (STEPS, ROWS)
    X, H0 = (give(np.zeros(shape)) for shape in ((*first, sizes["d"]), (ROWS, sizes["h"])))
    with loaded("torch").no_grad():
        if _shape(module, X[:, 0] if batch_first else X[0], H0) == tuple(H0.shape):
            return False
        return _shape(module, X, *([H0] if starts else [])) == (*first, sizes["h"])


def _shape(module: Any, *given: Any) -> tuple[int, ...]:
    """Of the states that a module gives; empty where it raises, or gives none."""
    try:
        made = module(*given)
    except Exception:  # Whatever a module of somebody else's raises on what it does not take.
        return ()
    return tuple(getattr(made[0] if isinstance(made, (tuple, list)) else made, "shape", ()))
