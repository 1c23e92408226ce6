"""The gradient reading: reverse-mode differentiation over the same tree.

Tracing returns, beside a value, its *pullback*: the function that takes the cotangent of the value (the derivative
of a scalar loss with respect to it, of its shape) and adds what follows for each name to a dictionary. Formulas:
Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared_spec.cells import Cell
from shared_spec.expression import Expression, Function, Name, Number, Operation
from shared_spec.readings.arithmetic import PLAIN, Array, Plain
from shared_spec.readings.value import operate

Gradients = dict[str, Array]
Pullback = Callable[[Array, Gradients], None]


@dataclass(frozen=True)
class Tracer:
    """Traces expressions: to which names gradients are wanted, in which dtype, by which arithmetic."""

    wanted: Collection[str]
    dtype: np.dtype[Any]
    arithmetic: Plain = PLAIN

    def trace(self, expression: Expression, values: Mapping[str, Array]) -> tuple[Array, Pullback | None]:
        """The value of an expression and its pullback; None where no wanted name is inside it."""
        match expression:
            case Name(id):
                return values[id], (lambda d, into: _add(into, id, d)) if id in self.wanted else None
            case Number(value):
                return np.asarray(value, self.dtype), None
            case Function(name, argument):
                x, pull = self.trace(argument, values)
                y = self.arithmetic.function(name, x)
                if pull is None:
                    return y, None
                inner = pull
                if name == "tanh":
                    return y, lambda d, into: inner(d * (1 - y * y), into)
                return y, lambda d, into: inner(d * (y * (1 - y)), into)
            case Operation(symbol, left, right):
                return self._operation(symbol, self.trace(left, values), self.trace(right, values))

    def _operation(
        self, symbol: str, left: tuple[Array, Pullback | None], right: tuple[Array, Pullback | None]
    ) -> tuple[Array, Pullback | None]:
        (a, pull_a), (b, pull_b) = left, right

        def pull_both(d: Array, into: Gradients) -> None:
            if pull_a is not None:
                pull_a(self._unbroadcast(self._to_left(symbol, d, b), a.shape), into)
            if pull_b is not None:
                pull_b(self._unbroadcast(self._to_right(symbol, d, a), b.shape), into)

        return operate(symbol, a, b, self.arithmetic), pull_both if pull_a or pull_b else None

    def _to_left(self, symbol: str, d: Array, b: Array) -> Array:
        match symbol:
            case "@":
                return self.arithmetic.product(d, b.T)
            case "*":
                return d * b
        return d

    def _to_right(self, symbol: str, d: Array, a: Array) -> Array:
        match symbol:
            case "@":
                return self.arithmetic.product(a.T, d)
            case "*":
                return d * a
            case "-":
                return -d
        return d

    def _unbroadcast(self, d: Array, shape: tuple[int, ...]) -> Array:
        """Sum a cotangent over the axes along which its operand was repeated."""
        if d.shape == shape:
            return d
        return self.arithmetic.total(d, tuple(range(d.ndim - len(shape)))).reshape(shape)


def step(
    cell: Cell,
    X: Array,
    H: Array,
    parameters: Mapping[str, Array],
    wanted: Collection[str],
    *,
    arithmetic: Plain = PLAIN,
) -> tuple[Array, Callable[[Array], Gradients]]:
    """One time step with a way back: X (n, d), H (n, h) -> next state (n, h), and the function that takes the
    cotangent of that state (n, h) to the gradients of the wanted names among "X", "H" and the parameters.
    """
    values: dict[str, Array] = {"X": X, "H": H, **parameters}
    scope = set(wanted)
    tracer = Tracer(scope, X.dtype, arithmetic)
    pullbacks: list[tuple[str, Pullback | None]] = []
    for equation in cell.equations:
        values[equation.target], pull = tracer.trace(equation.expression, values)
        pullbacks.append((equation.target, pull))
        if pull is not None:
            scope.add(equation.target)

    def pull_step(d: Array) -> Gradients:
        # "H" is the new state until the last equation is taken back, the old one after.
        gradients: Gradients = {"H": d}
        for target, pull in reversed(pullbacks):
            cotangent = gradients.pop(target, None)
            if pull is not None and cotangent is not None:
                pull(cotangent, gradients)
        return {name: gradients[name] if name in gradients else np.zeros_like(values[name]) for name in wanted}

    return values["H"], pull_step


def _add(into: Gradients, name: str, d: Array) -> None:
    into[name] = into[name] + d if name in into else d
