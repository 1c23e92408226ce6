"""Equations in less precision at one place: a name, a product or the argument of a function rounded to so many bits."""

from __future__ import annotations

from dataclasses import dataclass

from shared_spec.expression import Expression, Function, Name, Operation


@dataclass(frozen=True)
class Rounding:
    """What is rounded, and to how many bits of the significand; as many as there are, where there are fewer."""

    bits: int
    values: tuple[str, ...] = ()
    """Names, where they are given or assigned."""
    products: tuple[str, ...] = ()
    """Weights: both factors of every product with one on its right."""
    arguments: tuple[str, ...] = ()
    """Functions."""

    def __post_init__(self) -> None:
        """Raises ValueError for what is no number of bits."""
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or self.bits < 1:
            raise ValueError(f"bits is {self.bits!r}, should be a whole number from 1 on")


def rounded(expression: Expression, target: str, rounding: Rounding) -> Expression:
    """The right side of an equation that assigns `target`, with what is to be rounded as the argument of a function
    "rounded(BITS)".
    """
    made = _rounded(expression, rounding)
    return _round(made, rounding) if target in rounding.values else made


def _round(expression: Expression, rounding: Rounding) -> Expression:
    return Function(f"rounded({rounding.bits})", expression)


def _rounded(expression: Expression, rounding: Rounding) -> Expression:
    match expression:
        case Name(id) if id in rounding.values and (id == "X" or "_" in id):
            # What an equation assigns is rounded there, once.
            return _round(expression, rounding)
        case Function(name, argument):
            inner = _rounded(argument, rounding)
            return Function(name, _round(inner, rounding) if name in rounding.arguments else inner)
        case Operation("@", left, Name(id) as right) if id in rounding.products:
            return Operation("@", _round(_rounded(left, rounding), rounding), _round(right, rounding))
        case Operation(symbol, left, right):
            return Operation(symbol, _rounded(left, rounding), _rounded(right, rounding))
    return expression
