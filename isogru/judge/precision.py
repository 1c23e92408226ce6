"""The unit roundoff that an implementation delivers, measured through it: a dtype's label can lie.

Product and sum: a cell's update gate is shut (Z = 0) and its candidate state fed numbers so small that tanh(x) = x in
every precision, so its output is a product and a sum of what goes in. With k bits, 1 + 2^-k is told apart from 1 in a
format that keeps p bits as long as k < p; u = 2^-p. Asked both ways: 1 + 2^-k as one input (a format that cuts its
factors, such as TF32, loses it) and as a sum of two (the accumulator's format).

tanh and sigmoid: in the same run the candidate of one unit is tanh(x), and the output of another Z (or, in a cell
without an update gate, R) times a known state. The whole cell: one step on random numbers. There u is estimated from
the root mean square of the errors: rounding to nearest has relative errors of about u / 2 in that sense.

Product and sum come out through tanh: one that is coarser makes them look as coarse as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from shared_spec.cells import Cell
from shared_spec.readings import value
from shared_spec.readings.arithmetic import FUNCTIONS, UNIT_ROUNDOFF

SMALL = 2.0**-30
MOST_BITS = 60
COARSEST = 2.0**-8
WIDTH = 64
"""Wide enough for the kernels that real products use."""
POINTS = np.arange(13, 128) / 64
"""Where functions are asked: where neither is near its ends, so that its errors are those of its format; and exact in
eight bits, so that a product that cuts its factors hands them on as they are.
"""
LINEAR, GATE = 0, 1
"""The units that show product, sum and tanh, and the sigmoid."""


States = Callable[[np.ndarray, np.ndarray, Mapping[str, np.ndarray]], np.ndarray]
"""(X (T, n, d), H0 (n, h), parameters) -> H (T, n, h), NumPy arrays in one dtype."""


def measure(states: States, cell: Cell, *, dtype: str) -> dict[str, float]:
    """The unit roundoff that a function delivers, by operation: "product", "sum", "tanh", "sigmoid" where the cell has
    one, and "cell".

    A function that does not even pass on eight bits of its input is not this cell at all; that is for the verdict to
    say, and nothing is said of what was not measured.
    """

    def after_a_step(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        given = {name: array.astype(dtype) for name, array in arrays.items()}
        H = states(given["X"], given["H0"], {name: given[name] for name in cell.parameters})
        after: np.ndarray = np.asarray(H, np.float64)[0]
        return after

    asked = problem(cell)
    found = delivered(cell, after_a_step(asked))
    random = whole_cell(cell, asked)
    exact = value.step(cell, random["X"][0], random["H0"], random)["H"]
    single = {name: array.astype(np.float32) for name, array in random.items()}
    numpys = value.step(cell, single["X"][0], single["H0"], single)["H"]
    # In units of what NumPy's float32 errs on the same step.
    own = _size(after_a_step(random) - exact) / _size(numpys - exact)
    found["cell"] = max(own, 2.0**-29) * UNIT_ROUNDOFF["float32"]
    return {name: u for name, u in found.items() if u <= COARSEST}


def unit_roundoff(roundoff: Mapping[str, float], dtype: str) -> float:
    """The one that verdicts use: of products and sums; the label's own where neither could be measured."""
    return max((roundoff[name] for name in ("product", "sum") if name in roundoff), default=UNIT_ROUNDOFF[dtype])


def problem(cell: Cell) -> dict[str, np.ndarray]:
    """X (1, rows, WIDTH), H0 (rows, WIDTH) and parameters that make unit LINEAR a product and a sum, then tanh, and
    unit GATE a sigmoid.
    """
    parameters = {name: np.zeros([WIDTH] * len(symbols)) for name, symbols in cell.parameters.items()}
    parameters["W_xh"][:2, LINEAR] = 1.0
    ulps = SMALL * 2.0 ** -np.arange(1.0, MOST_BITS + 2)
    ulps[-1] = 0.0
    X = np.zeros((1, 2 * len(ulps) + len(POINTS), WIDTH))
    product, total, functions = np.split(X[0], [len(ulps), 2 * len(ulps)])
    product[:, 0] = SMALL + ulps
    total[:, 0], total[:, 1] = SMALL, ulps
    functions[:, 0] = functions[:, 2] = POINTS
    H0 = np.zeros(X.shape[1:])
    H0[:, GATE] = 1.0
    if "b_z" in parameters:
        parameters["b_z"][LINEAR] = -200.0
        # H = Z * 1 + (1 - Z) * 0
        parameters["W_xz"][2, GATE] = 1.0
    elif "b_r" in parameters:
        # H = tanh((R * 1) SMALL) = R SMALL
        parameters["W_xr"][2, GATE] = 1.0
        parameters["W_hh"][GATE, GATE] = SMALL
    return {"X": X, "H0": H0, **parameters}


def whole_cell(cell: Cell, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A step on random numbers, in the shapes of `problem`: compilers then have nothing more to compile."""
    random = np.random.RandomState(0)
    drawn = {name: random.standard_normal(array.shape) for name, array in like.items()}
    scaled = {name: array * (0.2 if name in cell.parameters else 1.0) for name, array in drawn.items()}
    return {name: array.astype(np.float32).astype(np.float64) for name, array in scaled.items()}


def delivered(cell: Cell, H: np.ndarray) -> dict[str, float]:
    """The unit roundoff by operation, from the state (rows, WIDTH) after the one step of `problem`."""
    product, total, functions = np.split(H, [MOST_BITS + 1, 2 * (MOST_BITS + 1)])
    found = {}
    for name, rows in (("product", product[:, LINEAR]), ("sum", total[:, LINEAR])):
        bits = int(np.sum(np.cumprod(rows[:-1] != rows[-1])))
        found[name] = 2.0 ** -(bits + 1)
    found["tanh"] = _estimate(functions[:, LINEAR], FUNCTIONS["tanh"](POINTS))
    scale = 1.0 if "b_z" in cell.parameters else SMALL if "b_r" in cell.parameters else 0.0
    if scale:
        found["sigmoid"] = _estimate(functions[:, GATE] / scale, FUNCTIONS["sigmoid"](POINTS))
    return found


def _estimate(value: np.ndarray, exact: np.ndarray) -> float:
    """u from relative errors; the oracle's own float64 is no better than another's, so that it is never 0."""
    return max(2.0 * _size(value / exact - 1), UNIT_ROUNDOFF["float64"])


def _size(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(error))))
