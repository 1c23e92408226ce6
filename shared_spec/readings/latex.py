r"""The latex reading: an equation as a formula, such as \mathbf{Z}_t = \sigma(\mathbf{X}_t \mathbf{W}_{xz} + ...)."""

from __future__ import annotations

from shared_spec.cells import Cell
from shared_spec.expression import Expression, Function, Name, Number, Operation

_FUNCTIONS = {"sigmoid": r"\sigma", "tanh": r"\tanh"}
_SYMBOLS = {"@": " ", "*": r" \odot ", "+": " + ", "-": " - "}
_BINDS = {"+": 1, "-": 1, "*": 2, "@": 3}


def formulas(cell: Cell) -> list[str]:
    """One formula for each equation of the cell, in order."""
    written: set[str] = set()
    lines = []
    for equation in cell.equations:
        right = _read(equation.expression, cell, written)
        written.add(equation.target)
        lines.append(f"{_name(equation.target, cell, written)} = {right}")
    return lines


def _read(expression: Expression, cell: Cell, written: set[str], binding: int = 0) -> str:
    match expression:
        case Name(id):
            return _name(id, cell, written)
        case Number(value):
            return f"{value:g}"
        case Function(name, argument):
            inner = _read(argument, cell, written)
            return rf"{_FUNCTIONS[name]}({inner})"
        case Operation(symbol, left, right):
            own = _BINDS[symbol]
            # The right operand of an equal operator needs parentheses: a - (b - c); a chain on the left does not.
            text = _read(left, cell, written, own) + _SYMBOLS[symbol] + _read(right, cell, written, own + 1)
            return f"({text})" if own < binding else text


def _name(id: str, cell: Cell, written: set[str]) -> str:
    if id in cell.parameters:
        letter, _, index = id.partition("_")
        return rf"\mathbf{{{letter}}}_{{{index}}}"
    if id == "H":
        return r"\mathbf{H}_t" if id in written else r"\mathbf{H}_{t-1}"
    return r"\tilde{\mathbf{H}}_t" if id == "C" else rf"\mathbf{{{id}}}_t"
