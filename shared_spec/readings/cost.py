"""The cost reading: what one step must compute and move, counted off the equations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from shared_spec.cells import INPUT_SHAPES, Cell
from shared_spec.expression import Expression, Function, Name, Number, Operation, Place, Shape, shape

_NOWHERE = Place("", 0, 0, "")


@dataclass(frozen=True)
class Cost:
    """One step, forward: floating-point operations by kind, values moved, products that wait for one another."""

    product_flops: int
    """2 a b c for a product of (a, b) with (b, c)."""
    recurrent_flops: int
    """Those of them that need the state: the others can be done for all steps at once."""
    elementwise_flops: int
    """One for each element of each + - *."""
    function_calls: int
    """One for each element of each sigmoid and tanh."""
    parameter_values: int
    state_values: int
    """X and H read, H written, once each."""
    dependent_products: int
    """The longest chain of products from H at t-1 to H at t: 2 where the reset comes first, else 1."""
    in_turn: tuple[int, ...]
    """How many recurrent products each turn has, made as soon as what they need is there: (2, 1) where two gates can
    be had at once from H, and the candidate only then. Those of one turn do not wait for one another, and are a single
    product with the matrices side by side where their left sides are the same.
    """

    def bytes(self, itemsize: int) -> int:
        """The least that one step moves, for values of `itemsize` bytes: parameters and states once."""
        return (self.parameter_values + self.state_values) * itemsize


def step(cell: Cell, dimensions: Mapping[str, int]) -> Cost:
    """The cost of one step at the given sizes, such as ``{"n": 1024, "d": 28, "h": 32}``."""
    counts = {"product": 0, "recurrent": 0, "elementwise": 0, "function": 0}
    turns: Counter[int] = Counter()
    shapes: dict[str, Shape] = {**INPUT_SHAPES, **cell.parameters}

    def size(symbols: Shape) -> int:
        total = 1
        for symbol in symbols:
            total *= dimensions[symbol]
        return total

    def count(expression: Expression) -> int | None:
        """Adds an expression up; returns the products between it and H, None where H is not in it."""
        match expression:
            case Name(id):
                return reaches.get(id)
            case Number():
                return None
            case Function(_, argument):
                counts["function"] += size(shape(argument, shapes, _NOWHERE))
                return count(argument)
            case Operation(symbol, left, right):
                both = [k for k in (count(left), count(right)) if k is not None]
                inner = max(both) if both else None
                whole = size(shape(expression, shapes, _NOWHERE))
                if symbol == "@":
                    flops = 2 * whole * dimensions[shape(left, shapes, _NOWHERE)[-1]]
                    counts["product"] += flops
                    if inner is None:
                        return None
                    counts["recurrent"] += flops
                    turns[inner + 1] += 1
                    return inner + 1
                counts["elementwise"] += whole
                return inner

    reaches: dict[str, int | None] = {"H": 0}
    for equation in cell.equations:
        reaches[equation.target] = count(equation.expression)
        shapes[equation.target] = shape(equation.expression, shapes, _NOWHERE)
    return Cost(
        product_flops=counts["product"],
        recurrent_flops=counts["recurrent"],
        elementwise_flops=counts["elementwise"],
        function_calls=counts["function"],
        parameter_values=sum(size(symbols) for symbols in cell.parameters.values()),
        state_values=size(INPUT_SHAPES["X"]) + 2 * size(INPUT_SHAPES["H"]),
        dependent_products=reaches["H"] or 0,
        in_turn=tuple(turns[turn] for turn in sorted(turns)),
    )
