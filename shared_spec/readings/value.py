"""The value reading: an equation as NumPy arrays, in the precision of the arrays given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from shared_spec.cells import Cell
from shared_spec.expression import Expression, Function, Name, Number, Operation

Array = npt.NDArray[Any]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), accurate to a few units in the last place and free of overflow; complex x too.

    Splitting on the sign keeps the exponent at or below 0 and the formula analytic, as complex-step derivatives need.
    """
    negative = x.real < 0
    e = np.exp(np.where(negative, x, -x))
    return np.where(negative, e, x.dtype.type(1)) / (x.dtype.type(1) + e)


FUNCTIONS = {"sigmoid": sigmoid, "tanh": np.tanh}


def evaluate(expression: Expression, values: Mapping[str, Array], dtype: np.dtype[Any]) -> Array:
    """The expression's value. Numbers take `dtype`: how NumPy promotes them differs between its versions 1 and 2."""
    match expression:
        case Name(id):
            return values[id]
        case Number(value):
            return np.asarray(value, dtype)
        case Function(name, argument):
            return FUNCTIONS[name](evaluate(argument, values, dtype))
        case Operation(symbol, left, right):
            return operate(symbol, evaluate(left, values, dtype), evaluate(right, values, dtype))


def operate(symbol: str, a: Array, b: Array) -> Array:
    """One of ``@ + - *``."""
    match symbol:
        case "@":
            return a @ b
        case "+":
            return a + b
        case "-":
            return a - b
    return a * b


def step(cell: Cell, X: Array, H: Array, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """One time step: X (..., d) and H (..., h) -> every quantity of the cell by name; "H" is the next state (..., h)."""
    values: dict[str, Array] = {"X": X, "H": H, **parameters}
    for equation in cell.equations:
        values[equation.target] = evaluate(equation.expression, values, X.dtype)
    return {equation.target: values[equation.target] for equation in cell.equations}
