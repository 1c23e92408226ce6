"""The span reading: between what the next state can lie, whatever the parameters make of its gates.

The last equation of a cell is linear in each of what functions gave, so that its ends are where each of those is at an
end of its own: a sigmoid at 0 or 1, a tanh at -1 or 1. `Z * H + (1 - Z) * C` lies between -1, H and 1.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping

import numpy as np

from shared_spec.cells import Cell
from shared_spec.expression import Expression, Function, Name, Number, Operation, names
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.value import evaluate

ENDS: Mapping[str, tuple[float, float]] = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


def state(cell: Cell, H: Array) -> tuple[Array, Array]:
    """The least and the largest next state that a state H (..., h) in float64 can go to, both (..., h). Infinite where
    the last equation takes more than H and what functions gave, or a function has no ends.
    """
    leaves: dict[str, str] = {}
    scope: dict[str, Expression] = {}
    for equation in cell.equations:
        scope[equation.target] = _cut(equation.expression, scope, leaves)
    last = scope["H"]
    own = {name: function for name, function in leaves.items() if name in set(names(last))}
    if set(names(last)) - {"H", *own} or set(own.values()) - set(ENDS):
        return np.full_like(H, -np.inf), np.full_like(H, np.inf)
    ends = []
    for corner in itertools.product(*(ENDS[function] for function in own.values())):
        values = {"H": H, **{name: np.full_like(H, end) for name, end in zip(own, corner, strict=True)}}
        ends.append(evaluate(last, values, H.dtype))
    return functools.reduce(np.minimum, ends), functools.reduce(np.maximum, ends)


def _cut(expression: Expression, scope: Mapping[str, Expression], leaves: dict[str, str]) -> Expression:
    """The expression with a leaf for each function, and what was assigned before put in its place."""
    match expression:
        case Name(id):
            return scope.get(id, expression)
        case Number():
            return expression
        case Function(name, _):
            leaves[leaf := f"{name} {len(leaves)}"] = name
            return Name(leaf)
        case Operation(symbol, left, right):
            return Operation(symbol, _cut(left, scope, leaves), _cut(right, scope, leaves))
