"""The forced reading: what is left of a cell once some of its quantities are numbers, such as a gate that is shut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from shared_spec.cells import Cell
from shared_spec.errors import UserError
from shared_spec.expression import Equation, Expression, Function, Name, Number, Operation, unparse


def forced(cell: Cell, values: Mapping[str, float]) -> Cell:
    """The cell with these quantities put to numbers: one equation, for H, all others put into it, and products with
    0 and 1 carried out: with ``{"Z": 1}`` a GRU is ``H = H``. A product with 0 counts as 0: states are finite.

    Raises UserError for a quantity that the cell has no equation of.
    """
    targets = [equation.target for equation in cell.equations]
    if unknown := sorted(set(values) - set(targets) | {"H"} & set(values)):
        gates = ", ".join(target for target in targets if target != "H") or "none"
        raise UserError(f"{unknown[0]} cannot be forced in {cell.name}; what can be is {gates}")
    known: dict[str, Expression] = {name: Number(value) for name, value in values.items()}
    for equation in cell.equations:
        if equation.target not in values:
            known[equation.target] = _put(equation.expression, known)
    left = known["H"]
    return replace(cell, equations=(Equation("H", left, f"H = {unparse(left)}"),))


def _put(expression: Expression, known: Mapping[str, Expression]) -> Expression:
    """The expression with what is known put in."""
    match expression:
        case Name(id):
            return known.get(id, expression)
        case Number():
            return expression
        case Function(name, argument):
            return Function(name, _put(argument, known))
        case Operation(symbol, left, right):
            return _carried_out(Operation(symbol, _put(left, known), _put(right, known)))


def _carried_out(operation: Operation) -> Expression:
    match operation:
        case Operation("-", Number(a), Number(b)):
            return Number(a - b)
        case Operation("+", Number(0), other) | Operation("+" | "-", other, Number(0)):
            return other
        case Operation("*", Number(1), other) | Operation("*", other, Number(1)):
            return other
        case Operation("*" | "@", Number(0), _) | Operation("*" | "@", _, Number(0)):
            return Number(0)
    return operation
