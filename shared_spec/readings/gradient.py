"""The gradient reading: reverse-mode differentiation over the same tree.

The tree is written out once as a *tape*: a list of operations, each on places of a list of values. Going forward
fills the places; going back takes the cotangent of a place (the derivative of a scalar loss with respect to its value,
of its shape) to those of the places that it was made of. Formulas: Giles 2008, "Collected matrix derivative results
for forward and reverse mode algorithmic differentiation".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared_spec.cells import Cell
from shared_spec.expression import Equation, Expression, Function, Name, Number, Operation
from shared_spec.readings.arithmetic import FUNCTIONS, PLAIN, Array, OneHot, Plain, dense
from shared_spec.readings.value import Values, operate

Gradients = dict[str, Array]

COPIED = 2**12
"""A matrix of at most so many values is copied when it is turned: products with the copy take half the time."""


@dataclass(frozen=True)
class Entry:
    """One operation: the symbol of an equation, the name of a function or "lookup", from two places, or one place
    twice, to another.
    """

    symbol: str
    left: int
    right: int
    to: int
    spare_left: bool
    """Whether nothing else needs what is at the left place, neither on the way forward nor back."""
    spare_right: bool


class Tape:
    """Equations written out, for values of these names, and the way back to the names wanted; by an arithmetic, and
    those gradients that are sums over the rows of the batch by one of their own.
    """

    def __init__(
        self,
        equations: Sequence[Equation],
        values: Values,
        wanted: Collection[str],
        *,
        arithmetic: Plain = PLAIN,
        over_rows: Plain | None = None,
    ) -> None:
        self._arithmetic, self._over_rows = arithmetic, over_rows or arithmetic
        self._entries: list[Entry] = []
        self._names = {name: place for place, name in enumerate(values)}
        # In an order of its own: an arithmetic that draws its errors draws them in it, in every run.
        self._wanted = {name: self._names[name] for name in sorted(wanted)}
        self._numbers: dict[int, float] = {}
        self._size = len(self._names)
        # A gradient with respect to one-hot rows is one of all their elements, and takes them as such.
        one_hot = {name for name, array in values.items() if isinstance(array, OneHot) and name not in wanted}
        self._looked_up = {name: self._place() for name in one_hot}
        self._in_full = set(self._names) - one_hot
        self._on_the_way = set(self._wanted.values())
        scope = dict(self._names)
        for equation in equations:
            self._result = scope[equation.target] = self._write(equation.expression, scope)

    def forward(self, values: Values, dtype: np.dtype[Any]) -> tuple[Array, Callable[[Array], Gradients]]:
        """The value of the last equation, and the function from its cotangent to the gradients of the names wanted."""
        at: list[Any] = [None] * self._size
        for name in self._in_full:
            at[self._names[name]] = dense(values[name])
        for name, place in self._looked_up.items():
            at[place] = values[name]
        for place, number in self._numbers.items():
            at[place] = np.asarray(number, dtype)
        for entry in self._entries:
            symbol, a, b = entry.symbol, at[entry.left], at[entry.right]
            if symbol in FUNCTIONS:
                value = self._arithmetic.function(symbol, a)
            elif symbol == "lookup":
                value = self._arithmetic.lookup(a, b)
            else:
                value = operate(symbol, a, b, self._arithmetic, out=a if entry.spare_left else None)
            at[entry.to] = value
            # What is not needed any more makes room for what comes next, in the cache.
            if entry.spare_left and a.shape == value.shape:
                at[entry.left] = None
            if entry.spare_right and b.shape == value.shape:
                at[entry.right] = None
        return at[self._result], lambda d: self._back(at, d)

    def _back(self, at: Sequence[Any], d: Array) -> Gradients:
        cotangents: list[Any] = [None] * self._size
        cotangents[self._result] = d

        def add(place: int, d: Array) -> None:
            # Of what was let go, the shape is that of the result.
            if at[place] is not None and d.shape != (shape := at[place].shape):
                # Its axes in front were repeated.
                d = self._over_rows.total(d, tuple(range(d.ndim - len(shape)))).reshape(shape)
            cotangents[place] = d if cotangents[place] is None else cotangents[place] + d

        for entry in reversed(self._entries):
            symbol, d, cotangents[entry.to] = entry.symbol, cotangents[entry.to], None
            if d is None:
                continue
            a, b = at[entry.left], at[entry.right]
            if symbol in FUNCTIONS:
                y = at[entry.to]
                slope = 1 - y * y if symbol == "tanh" else (1 - y) * y
                slope *= d
                add(entry.left, slope)
                continue
            if entry.left in self._on_the_way:
                if symbol == "@":
                    add(entry.left, self._arithmetic.product(d, _turned(b)))
                else:
                    add(entry.left, d * b if symbol == "*" else d)
            if entry.right in self._on_the_way:
                if symbol in ("@", "lookup"):
                    add(entry.right, self._over_rows.product(dense(a).T, d))
                else:
                    add(entry.right, d * a if symbol == "*" else -d if symbol == "-" else d)
        return {
            name: np.zeros_like(dense(at[place])) if cotangents[place] is None else cotangents[place]
            for name, place in self._wanted.items()
        }

    def _write(self, expression: Expression, scope: Mapping[str, int]) -> int:
        """Write out an expression; the place of its value."""
        match expression:
            case Name(id):
                if scope[id] == self._names.get(id):
                    self._in_full.add(id)
                return scope[id]
            case Number(value):
                place = self._place()
                self._numbers[place] = value
                return place
            case Function(name, argument):
                x = self._write(argument, scope)
                return self._enter(name, (x, argument), (x, argument))
            case Operation("@", Name(id) as left, right) if id in self._looked_up and scope[id] == self._names[id]:
                return self._enter("lookup", (self._looked_up[id], left), (self._write(right, scope), right))
            case Operation(symbol, left, right):
                return self._enter(symbol, (self._write(left, scope), left), (self._write(right, scope), right))

    def _enter(self, symbol: str, left: tuple[int, Expression], right: tuple[int, Expression]) -> int:
        (a, of_left), (b, of_right) = left, right
        # Products need their factors on the way back, functions their values, and a name may be used again.
        kept = symbol in ("@", "*", "lookup")
        spare_left, spare_right = (not kept and isinstance(each, Operation) for each in (of_left, of_right))
        to = self._place()
        self._entries.append(Entry(symbol, a, b, to, spare_left, spare_right))
        if {a, b} & self._on_the_way:
            self._on_the_way.add(to)
        return to

    def _place(self) -> int:
        self._size += 1
        return self._size - 1


def step(
    cell: Cell,
    X: Array | OneHot,
    H: Array,
    parameters: Mapping[str, Array],
    wanted: Collection[str],
    *,
    arithmetic: Plain = PLAIN,
) -> tuple[Array, Callable[[Array], Gradients]]:
    """One time step with a way back: X (n, d), H (n, h) -> next state (n, h), and the function that takes the
    cotangent of that state (n, h) to the gradients of the wanted names among "X", "H" and the parameters.
    """
    values = {"X": X, "H": H, **parameters}
    return Tape(cell.equations, values, wanted, arithmetic=arithmetic).forward(values, H.dtype)


def _turned(b: Array) -> Array:
    return np.ascontiguousarray(b.T) if b.size <= COPIED else b.T
