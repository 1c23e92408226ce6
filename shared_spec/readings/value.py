"""The value reading: an equation as NumPy arrays, in the precision of the arrays given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared_spec.cells import Cell
from shared_spec.expression import Expression, Function, Name, Number, Operation
from shared_spec.readings.arithmetic import PLAIN, Array, Plain


def evaluate(
    expression: Expression, values: Mapping[str, Array], dtype: np.dtype[Any], arithmetic: Plain = PLAIN
) -> Array:
    """The expression's value. Numbers take `dtype`: how NumPy promotes them differs between its versions 1 and 2."""
    match expression:
        case Name(id):
            return values[id]
        case Number(value):
            return np.asarray(value, dtype)
        case Function(name, argument):
            return arithmetic.function(name, evaluate(argument, values, dtype, arithmetic))
        case Operation(symbol, left, right):
            a, b = evaluate(left, values, dtype, arithmetic), evaluate(right, values, dtype, arithmetic)
            return operate(symbol, a, b, arithmetic)


def operate(symbol: str, a: Array, b: Array, arithmetic: Plain = PLAIN) -> Array:
    """One of ``@ + - *``."""
    value: Array
    match symbol:
        case "@":
            value = arithmetic.product(a, b)
        case "+":
            value = a + b
        case "-":
            value = a - b
        case _:
            value = a * b
    return value


def step(
    cell: Cell, X: Array, H: Array, parameters: Mapping[str, Array], *, arithmetic: Plain = PLAIN
) -> dict[str, Array]:
    """One time step: X (..., d), H (..., h) -> every quantity of the cell by name; "H" is the next state (..., h)."""
    values: dict[str, Array] = {"X": X, "H": H, **parameters}
    for equation in cell.equations:
        values[equation.target] = evaluate(equation.expression, values, X.dtype, arithmetic)
    return {equation.target: values[equation.target] for equation in cell.equations}
