"""The bound reading: how far one step, computed with unit roundoff u, can be from the exact one by rounding alone.

Between two nonlinear functions a cell is a polynomial. Written out as a sum of products, and whatever order an
implementation takes (blocked or hoisted products, fused multiply-adds, `C + Z * (H - C)` for `Z * H + (1 - Z) * C`),
each product passes through at most k roundings, so the computed value is off by at most gamma_k = k u / (1 - k u)
times the sum of the absolute values of all products (Higham 2002, Accuracy and Stability of Numerical Algorithms,
section 3.1 and lemma 8.4). A nonlinear function stretches the error that comes in by its steepest slope within that
error, and adds a few units of its own (readings/arithmetic.py says how many).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shared_spec.cells import Cell
from shared_spec.expression import Equation, Expression, Function, Name, Number, Operation
from shared_spec.readings.arithmetic import FUNCTIONS, SIGMOID_UNITS_OF_ONE, TANH_UNITS_OF_VALUE, Array
from shared_spec.readings.functions import function, steepest
from shared_spec.readings.value import operate


@dataclass(frozen=True)
class Bounded:
    """A polynomial piece: its value, the sum of its products' absolute values (`size`, inherited errors included),
    the error inherited through its leaves, and the number of roundings that any one product passes through.
    """

    value: Array
    size: Array
    inherited: Array
    roundings: int

    def error(self, u: float) -> Array:
        ku = self.roundings * u
        if ku >= 1:
            return np.full_like(self.inherited, np.inf)
        return self.inherited + ku / (1 - ku) * self.size + self.roundings * _smallest_normal(u)


def step(cell: Cell, X: Array, H: Array, parameters: Mapping[str, Array], *, u: float) -> tuple[Array, Array]:
    """One step from exact X (..., d), H (..., h) and parameters, all float64: next state and its bound, both (..., h).

    The bound covers a result computed with unit roundoff `u` held against the value returned here, which itself
    is rounded in float64.
    """
    return quantities(cell, X, H, parameters, u=u)["H"]


def quantities(
    cell: Cell, X: Array, H: Array, parameters: Mapping[str, Array], *, u: float
) -> dict[str, tuple[Array, Array]]:
    """The same for every quantity that the cell assigns, gates included: value and bound, both (..., h), by name."""
    u += 2.0**-53
    scope = {name: _exact(array) for name, array in {"X": X, "H": H, **parameters}.items()}
    for equation in cell.equations:
        scope[equation.target] = _read(equation.expression, scope, u)
    return {
        equation.target: (found.value, found.error(u))
        for equation in cell.equations
        for found in [scope[equation.target]]
    }


def equation(equation: Equation, values: Mapping[str, Array], *, u: float) -> tuple[Array, Array]:
    """One equation by itself, from everything on its right side as given: its value and its bound, of one shape."""
    u += 2.0**-53
    found = _read(equation.expression, {name: _exact(array) for name, array in values.items()}, u)
    return found.value, found.error(u)


def _read(expression: Expression, scope: Mapping[str, Bounded], u: float) -> Bounded:
    match expression:
        case Name(id):
            return scope[id]
        case Number(value):
            return _exact(np.asarray(value, np.float64))
        case Function(name, argument):
            return _function(name, _read(argument, scope, u), u)
        case Operation(symbol, left, right):
            a, b = _read(left, scope, u), _read(right, scope, u)
            if symbol in "+-":
                inherited = a.inherited + b.inherited
                return Bounded(
                    operate(symbol, a.value, b.value), a.size + b.size, inherited, a.roundings + b.roundings + 1
                )
            # (|a| + da)(|b| + db) - |a||b| = |a| db + da (|b| + db), for both products.
            product = operate(symbol, a.value, b.value)
            inherited = np.zeros_like(product)
            if b.inherited.any():
                inherited = inherited + operate(symbol, a.size - a.inherited, b.inherited)
            if a.inherited.any():
                inherited = inherited + operate(symbol, a.inherited, b.size)
            terms = b.value.shape[-2] if symbol == "@" else 1
            return Bounded(product, operate(symbol, a.size, b.size), inherited, a.roundings + b.roundings + terms)


def _function(name: str, x: Bounded, u: float) -> Bounded:
    if name not in FUNCTIONS:
        return _other(name, x, u)
    incoming = x.error(u)
    value = FUNCTIONS[name](x.value)
    flattest = np.maximum(np.abs(x.value) - incoming, 0)
    if name == "tanh":
        slope = 1 - np.tanh(flattest) ** 2
        own = TANH_UNITS_OF_VALUE * u * (np.abs(value) + slope * incoming)
    else:
        s = FUNCTIONS["sigmoid"](flattest)
        slope = s * (1 - s)
        own = np.full_like(value, SIGMOID_UNITS_OF_ONE * u)
    error = slope * incoming + own + _smallest_normal(u)
    return Bounded(value, np.abs(value) + error, error, 0)


def _other(name: str, x: Bounded, u: float) -> Bounded:
    """One of readings/functions.py, by its steepest slope. Such as clip(0.2 x + 0.5, 0, 1): what it rounds itself is of
    the size of 1, or of its value.
    """
    known = function(name)
    assert known is not None, name
    value = known(x.value)
    error = steepest(name) * x.error(u) + SIGMOID_UNITS_OF_ONE * u * (1 + np.abs(value)) + _smallest_normal(u)
    return Bounded(value, np.abs(value) + error, error, 0)


def _exact(array: Array) -> Bounded:
    return Bounded(array, np.abs(array), np.zeros_like(array), 0)


def _smallest_normal(u: float) -> float:
    """Below this a flush to zero is rounding too; the formats wider than float32 have float64's exponents."""
    return float(np.finfo(np.float64 if u < 2.0**-40 else np.float32).smallest_normal)
