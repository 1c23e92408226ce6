"""The unit roundoff that an implementation delivers, measured through it: a dtype's label can lie.

A cell's gates are shut (Z = 0) and its candidate state fed numbers so small that tanh(x) = x in every precision, so
its output is a product and a sum of what goes in. With k bits, 1 + 2^-k is told apart from 1 in a format that keeps
p bits as long as k < p; u = 2^-p. Asked both ways: 1 + 2^-k as one input (a format that cuts its factors, such as
TF32, loses it) and as a sum of two (the accumulator's format).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from frameworks import Framework
from frameworks.protocol import Forward
from shared_spec.cells import Cell
from shared_spec.errors import UserError
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF

SMALL = 2.0**-30
MOST_BITS = 60
COARSEST = 2.0**-8
WIDTH = 64
"""Wide enough for the kernels that real products use."""


def measure(framework: Framework, forward: Forward, cell: Cell, *, dtype: str, device: str) -> float:
    """The unit roundoff that this forward delivers. Raises UserError where it is coarser than "float64" may be.

    A forward that does not even pass on eight bits of its input is not this cell at all; that is for the verdict to
    say, and the label's own unit roundoff is returned.
    """
    X, parameters = problem(cell)
    arrays: dict[str, Any] = {
        name: framework.runtime.tensor(array, dtype=dtype, device=device) for name, array in parameters.items()
    }
    H0 = framework.runtime.tensor(np.zeros((X.shape[1], WIDTH)), dtype=dtype, device=device)
    H, _ = forward(framework.runtime.tensor(X, dtype=dtype, device=device), H0, arrays)
    found = delivered(framework.runtime.to_numpy(H))
    if found > COARSEST:
        return UNIT_ROUNDOFF[dtype]
    if dtype == "float64" and found > UNIT_ROUNDOFF["float64"]:
        raise UserError(
            f"asked for float64, computed with unit roundoff {found:.1e}: the label lies; no reference is made of it"
        )
    return found


def problem(cell: Cell) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """X (1, 2 MOST_BITS + 2, WIDTH) and parameters (WIDTH wide) that make the cell a product and a sum."""
    parameters = {name: np.zeros([WIDTH] * len(symbols)) for name, symbols in cell.parameters.items()}
    parameters["W_xh"][:2] = 1.0
    if "b_z" in parameters:
        parameters["b_z"][:] = -200.0
    ulps = SMALL * 2.0 ** -np.arange(1.0, MOST_BITS + 2)
    ulps[-1] = 0.0
    X = np.zeros((1, 2 * len(ulps), WIDTH))
    X[0, : len(ulps), 0] = SMALL + ulps
    X[0, len(ulps) :, 0] = SMALL
    X[0, len(ulps) :, 1] = ulps
    return X, parameters


def delivered(H: np.ndarray) -> float:
    """The unit roundoff, from the states (1, 2 MOST_BITS + 2, WIDTH) of `problem`."""
    product, total = np.split(np.asarray(H, np.float64)[0, :, 0], 2)
    bits = [int(np.sum(np.cumprod(rows[:-1] != rows[-1]))) for rows in (product, total)]
    return 2.0 ** -(min(bits) + 1)
