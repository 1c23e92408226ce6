"""The value reading: an equation as NumPy arrays, in the precision of the arrays given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared_spec.cells import Cell
from shared_spec.expression import Expression, Function, Name, Operation
from shared_spec.readings.arithmetic import PLAIN, Array, OneHot, Plain, dense

Values = Mapping[str, Array | OneHot]


def evaluate(expression: Expression, values: Values, dtype: np.dtype[Any], arithmetic: Plain = PLAIN) -> Array:
    """The expression's value. Numbers take `dtype`: how NumPy promotes them differs between its versions 1 and 2."""
    # Of small arrays this takes as long as NumPy does, and `match` would take twice as long.
    if isinstance(expression, Name):
        return dense(values[expression.id])
    if isinstance(expression, Operation):
        symbol, left, right = expression.symbol, expression.left, expression.right
        if symbol == "@" and isinstance(left, Name) and isinstance(a := values[left.id], OneHot):
            return arithmetic.lookup(a, evaluate(right, values, dtype, arithmetic))
        first, second = evaluate(left, values, dtype, arithmetic), evaluate(right, values, dtype, arithmetic)
        # What was made on the way has no name, and nothing else needs it.
        return operate(symbol, first, second, arithmetic, out=first if isinstance(left, Operation) else None)
    if isinstance(expression, Function):
        return arithmetic.function(expression.name, evaluate(expression.argument, values, dtype, arithmetic))
    return np.asarray(expression.value, dtype)


def operate(symbol: str, a: Array, b: Array, arithmetic: Plain = PLAIN, *, out: Array | None = None) -> Array:
    """One of ``@ + - *``; a sum or a difference in the place of a, where `out` is that and holds it: what is written
    where the cache has just been costs half.
    """
    if out is not None and (out.ndim < max(b.ndim, 1) or out.dtype != b.dtype):
        out = None
    value: Array
    match symbol:
        case "@":
            value = arithmetic.product(a, b)
        case "+":
            value = np.add(a, b, out=out)
        case "-":
            value = np.subtract(a, b, out=out)
        case _:
            value = a * b
    return value


def step(
    cell: Cell, X: Array | OneHot, H: Array, parameters: Mapping[str, Array], *, arithmetic: Plain = PLAIN
) -> dict[str, Array]:
    """One time step: X (..., d), H (..., h) -> every quantity of the cell by name; "H" is the next state (..., h)."""
    values: dict[str, Array | OneHot] = {"X": X, "H": H, **parameters}
    outputs: dict[str, Array] = {}
    for equation in cell.equations:
        values[equation.target] = outputs[equation.target] = evaluate(equation.expression, values, H.dtype, arithmetic)
    return outputs
