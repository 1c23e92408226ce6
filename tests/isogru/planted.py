"""Faults planted: a problem of a cell, and what somebody computes of it who follows other conventions."""

from __future__ import annotations

import numpy as np

from isogru.conventions import conventions
from isogru.edits import edited, unedited
from shared_spec.cells import cell
from shared_spec.files.interchange import Case

SIZES = ((7, 3, 5, 4), (5, 4, 4, 4), (6, 6, 3, 5))
"""T, n, d, h: all of them different, inputs as many as units, as many steps as sequences."""


def drawn(name, sizes, seed):
    """A small random problem of a cell: nothing in it is zero."""
    the_cell, random = cell(name), np.random.RandomState(seed)
    numbers = dict(zip("Tndh", sizes, strict=True))
    shapes = {"X": "Tnd", "H0": "nh", **the_cell.parameters}
    arrays = {key: random.standard_normal([numbers[s] for s in symbols]) for key, symbols in shapes.items()}
    for key in the_cell.parameters:
        arrays[key] *= 0.7
    arrays["H0"] = np.tanh(arrays["H0"])
    return Case(f"{name}-{seed}", the_cell, {k: a.astype(np.float32).astype(np.float64) for k, a in arrays.items()})


def planted(case, *names, dtype="float32"):
    """States (T, n, h) of a case by these conventions; None where they are none of it, or change nothing."""
    edit = edited(unedited(case), [conventions()[name] for name in names])
    if edit is None:
        return None
    given = [case.arrays[key].astype(dtype) for key in ("X", "H0")]
    H = edit.states(*given)
    return None if H is None or np.array_equal(H, unedited(case).states(*given)) else H
