"""The unit roundoff that an implementation delivers, measured through it: a dtype's label can lie.

Product and sum: one unit of a cell is set so that a small input comes out of it as it went in (view.py finds how: a
gate shut, and a candidate so small that tanh(x) = x in every precision), so its output is a product and a sum of what
goes in. With k bits, 1 + 2^-k is told apart from 1 in a format that keeps p bits as long as k < p; u = 2^-p. Asked both
ways: 1 + 2^-k as one input (a format that cuts its factors, such as TF32, loses it) and as a sum of two (the
accumulator's format).

tanh and sigmoid: in the same run a unit for each shows it, or an image of it, which the float64 oracle gives exactly.
The whole cell: one step on random numbers. There u is estimated from the root mean square of the errors: rounding to
nearest has relative errors of about u / 2 in that sense.

Product and sum come out through tanh: one that is coarser makes them look as coarse as it is. So does a sigmoid that
comes out through others, as the reset gate of a GRU does: where one of those is coarser than its label such a gate says
nothing, unless the cell has no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from isogru.judge import view
from isogru.judge.view import POINTS, SMALL, START, WEIGHT, View
from shared_spec.cells import Cell
from shared_spec.readings import value
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF

MOST_BITS = 60
COARSEST = 2.0**-8
WIDTH = 64
"""Wide enough for the kernels that real products use."""
A_FEW = 8
"""Units that a right function may be off by; no format has fewer than three bits less than the next."""
FIRST, SECOND, POINT, ONE = range(4)
"""The inputs: two that a product and a sum are made of, the points of the functions, and one that opens gates."""


States = Callable[[np.ndarray, np.ndarray, Mapping[str, np.ndarray]], np.ndarray]
"""(X (T, n, d), H0 (n, h), parameters) -> H (T, n, h), NumPy arrays in one dtype."""


def measure(states: States, cell: Cell, *, dtype: str, without: tuple[str, ...] = ()) -> dict[str, float]:
    """The unit roundoff that a function delivers, by operation: "product", "sum", "tanh", "sigmoid" where the cell has
    one, and "cell". Of several sigmoids it is the coarsest; `unmeasured` says which operations no setting shows.
    Parameters of `without` stay zero, but for "cell": a layer may lack them.

    A function that does not even pass on eight bits of its input is not this cell at all; that is for the verdict to
    say, and nothing is said of what was not measured.
    """

    def after_a_step(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        given = {name: array.astype(dtype) for name, array in arrays.items()}
        H = states(given["X"], given["H0"], {name: given[name] for name in cell.parameters})
        after: np.ndarray = np.asarray(H, np.float64)[0]
        return after

    asked = problem(cell, without)
    roundoff = delivered(cell, after_a_step(asked), dtype=dtype, without=without)
    random = whole_cell(cell, asked)
    exact = value.step(cell, random["X"][0], random["H0"], random)["H"]
    single = {name: array.astype(np.float32) for name, array in random.items()}
    numpys = value.step(cell, single["X"][0], single["H0"], single)["H"]
    # In units of what NumPy's float32 errs on the same step.
    own = _size(after_a_step(random) - exact) / _size(numpys - exact)
    roundoff["cell"] = max(own, 2.0**-29) * UNIT_ROUNDOFF["float32"]
    return {name: u for name, u in roundoff.items() if u <= COARSEST}


def unit_roundoff(roundoff: Mapping[str, float], dtype: str) -> float:
    """The one that verdicts use: of products and sums; the label's own where neither could be measured."""
    return max((roundoff[name] for name in ("product", "sum") if name in roundoff), default=UNIT_ROUNDOFF[dtype])


def unmeasured(cell: Cell, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What `measure` cannot say of any implementation of a cell, in words, such as "sigmoid of Z" where only the state
    opens that gate. Where neither "product" nor "sum" can be measured verdicts take the label's own.
    """
    return view.unseen(cell, without)


def _units(cell: Cell, without: tuple[str, ...]) -> dict[View, int]:
    """The unit that each view has: the linear one the first, the functions after it."""
    linear = view.linear(cell, without)
    views = dict.fromkeys([*([linear] if linear else []), *view.views(cell, without)])
    return {each: unit for unit, each in enumerate(views)}


def problem(cell: Cell, without: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """X (1, rows, WIDTH), H0 (rows, WIDTH) and parameters that show every function of the cell in a unit of its own,
    and product and sum in that of the linear view.
    """
    parameters = {name: np.zeros([WIDTH] * len(symbols)) for name, symbols in cell.parameters.items()}
    ulps = SMALL * 2.0 ** -np.arange(1.0, MOST_BITS + 2)
    ulps[-1] = 0.0
    X = np.zeros((1, 2 * len(ulps) + len(POINTS), WIDTH))
    product, total, functions = np.split(X[0], [len(ulps), 2 * len(ulps)])
    product[:, FIRST] = SMALL + ulps
    total[:, FIRST], total[:, SECOND] = SMALL, ulps
    functions[:, FIRST] = functions[:, POINT] = POINTS
    H0 = np.zeros(X.shape[1:])
    linear = view.linear(cell, without)
    for each, unit in _units(cell, without).items():
        parameters[each.weight][[FIRST, SECOND] if each == linear else POINT, unit] = 1.0
        for name, number in each.setting:
            if name == START:
                H0[:, unit] = number
            elif cell.parameters[name] == WEIGHT:
                parameters[name][ONE, unit] = number
                X[..., ONE] = 1.0
            else:
                parameters[name][(unit,) * len(cell.parameters[name])] = number
    return {"X": X, "H0": H0, **parameters}


def whole_cell(cell: Cell, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A step on random numbers, in the shapes of `problem`: compilers then have nothing more to compile."""
    random = np.random.RandomState(0)
    drawn = {name: random.standard_normal(array.shape) for name, array in like.items()}
    scaled = {name: array * (0.2 if name in cell.parameters else 1.0) for name, array in drawn.items()}
    return {name: array.astype(np.float32).astype(np.float64) for name, array in scaled.items()}


def delivered(cell: Cell, H: np.ndarray, *, dtype: str, without: tuple[str, ...] = ()) -> dict[str, float]:
    """The unit roundoff by operation, from the state (rows, WIDTH) after the one step of `problem`."""
    asked = problem(cell, without)
    exact = value.step(cell, asked["X"][0], asked["H0"], {name: asked[name] for name in cell.parameters})["H"]
    parts = [MOST_BITS + 1, 2 * (MOST_BITS + 1)]
    product, total, functions = np.split(H, parts)
    units, linear, roundoff = _units(cell, without), view.linear(cell, without), {}
    if linear:
        for name, rows in (("product", product[:, units[linear]]), ("sum", total[:, units[linear]])):
            bits = int(np.sum(np.cumprod(rows[:-1] != rows[-1])))
            roundoff[name] = 2.0 ** -(bits + 1)
    should = np.split(exact, parts)[-1]
    for name in ("tanh", "sigmoid"):
        seen = [each for each in view.views(cell, without) if each.function == name]
        alone = [each for each in seen if each.alone]
        coarse = max(roundoff.values(), default=0.0) > A_FEW * UNIT_ROUNDOFF[dtype]
        for each in (coarse and alone) or seen:
            unit = units[each]
            u = _estimate(functions[:, unit], should[:, unit], each.offset)
            roundoff[name] = max(u, roundoff.get(name, 0.0))
    return roundoff


def _estimate(values: np.ndarray, exact: np.ndarray, offset: float) -> float:
    """u from errors relative to what is not the offset; the oracle's own float64 is no better than another's, so that
    it is never 0.
    """
    return max(2.0 * _size((values - offset) / (exact - offset) - 1), UNIT_ROUNDOFF["float64"])


def _size(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(error))))
