"""Equation text -> tree, through Python's own `ast` with an allow-list, and the shapes of a tree.

The grammar: names, numbers, `@ + - *`, `sigmoid(...)`, `tanh(...)`, parentheses. Nothing else is an equation.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared_spec.errors import SpecificationError

Shape = tuple[str, ...]

FUNCTIONS = ("sigmoid", "tanh")
LONGEST, DEEPEST = 2000, 100
"""Characters of an equation, and operations within each other."""
OPERATORS: Mapping[type[ast.operator], str] = {ast.MatMult: "@", ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}


@dataclass(frozen=True)
class Name:
    id: str


@dataclass(frozen=True)
class Number:
    value: float


@dataclass(frozen=True)
class Function:
    name: str
    argument: Expression


@dataclass(frozen=True)
class Operation:
    symbol: str
    left: Expression
    right: Expression


Expression = Name | Number | Function | Operation


@dataclass(frozen=True)
class Equation:
    """`target = expression`, with the text it was read from."""

    target: str
    expression: Expression
    text: str


@dataclass(frozen=True)
class Place:
    """Where an equation stands: file, line of the file, column of the equation's first character, table."""

    file: str
    line: int
    column: int
    table: str

    def error(self, offset: int, message: str) -> SpecificationError:
        return SpecificationError(f"{self.file}:{self.line}:{self.column + offset}: [{self.table}] {message}")


def parse(text: str, place: Place) -> Equation:
    """Read one equation, such as ``Z = sigmoid(X @ W_xz + H @ W_hz + b_z)``.

    Raises SpecificationError, with file, line and column, for anything outside the grammar.
    """
    if len(text) > LONGEST:
        raise place.error(0, f"an equation has at most {LONGEST} characters, not {len(text)}")
    try:
        with warnings.catch_warnings(action="ignore"):  # Python has some for code, such as "1and 2".
            body = ast.parse(text).body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        offset = (getattr(error, "offset", None) or 1) - 1
        raise place.error(offset, f"not an equation: {text!r}") from None
    if len(body) != 1 or not isinstance(body[0], ast.Assign):
        raise place.error(0, f"an equation reads NAME = EXPRESSION, not {text!r}")
    assignment = body[0]
    target = assignment.targets[0]
    if len(assignment.targets) != 1 or not isinstance(target, ast.Name):
        raise place.error(0, f"the left side of an equation is one name, not {ast.unparse(target)!r}")
    return Equation(target.id, _read(assignment.value, place), text)


def _read(node: ast.expr, place: Place, depth: int = 0) -> Expression:
    if depth > DEEPEST:
        raise place.error(node.col_offset, f"an equation nests at most {DEEPEST} deep; give a part of it a name")
    match node:
        case ast.Name(id=name):
            return Name(name)
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            if not abs(value) <= sys.float_info.max:
                raise place.error(node.col_offset, "a number beyond the range of float64")
            return Number(float(value))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return Operation(OPERATORS[type(op)], _read(left, place, depth + 1), _read(right, place, depth + 1))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return Function(name, _read(argument, place, depth + 1))
        case _:
            raise place.error(
                node.col_offset,
                f"{ast.unparse(node)!r} is outside the grammar: names, numbers, @ + - *, sigmoid(...) and tanh(...)",
            )


def names(expression: Expression) -> Iterator[str]:
    """Every name in the expression, left to right, repeats included."""
    match expression:
        case Name(id):
            yield id
        case Function(_, argument):
            yield from names(argument)
        case Operation(_, left, right):
            yield from names(left)
            yield from names(right)


def functions(expression: Expression) -> Iterator[Function]:
    """Every function in the expression, inner ones before those around them."""
    match expression:
        case Function(_, argument):
            yield from functions(argument)
            yield expression
        case Operation(_, left, right):
            yield from functions(left)
            yield from functions(right)


def put(expression: Expression, known: Mapping[str, Expression]) -> Expression:
    """The expression with what is known put in the place of names."""
    match expression:
        case Name(id):
            return known.get(id, expression)
        case Number():
            return expression
        case Function(name, argument):
            return Function(name, put(argument, known))
        case Operation(symbol, left, right):
            return Operation(symbol, put(left, known), put(right, known))


def terms(expression: Expression) -> Iterator[Expression]:
    """What the expression is a sum or a difference of, left to right; itself where it is neither."""
    match expression:
        case Operation("+" | "-", left, right):
            yield from terms(left)
            yield from terms(right)
        case _:
            yield expression


def unparse(expression: Expression) -> str:
    """The expression as text again, every operation in parentheses."""
    match expression:
        case Name(id):
            return id
        case Number(value):
            return f"{value:g}"
        case Function(name, argument):
            return f"{name}({unparse(argument)})"
        case Operation(symbol, left, right):
            return f"({unparse(left)} {symbol} {unparse(right)})"


def shape(expression: Expression, shapes: Mapping[str, Shape], place: Place) -> Shape:
    """The shape of an expression in symbols, such as ``("n", "h")``, from those of the names in it.

    Raises SpecificationError for a name that has no shape and for operands that do not fit each other.
    """
    match expression:
        case Name(id):
            if id not in shapes:
                raise place.error(0, f"{id} is not defined here; defined are {', '.join(sorted(shapes))}")
            return shapes[id]
        case Number():
            return ()
        case Function(_, argument):
            return shape(argument, shapes, place)
        case Operation(symbol, left, right):
            first, second = shape(left, shapes, place), shape(right, shapes, place)
            fits = _product(first, second) if symbol == "@" else _broadcast(first, second)
            if fits is None:
                raise place.error(
                    0,
                    f"{unparse(left)} has shape {_show(first)} and {unparse(right)} has shape {_show(second)}: "
                    f"these do not go together with {symbol}",
                )
            return fits


def _product(left: Shape, right: Shape) -> Shape | None:
    if left and len(right) == 2 and left[-1] == right[0]:
        return (*left[:-1], right[1])
    return None


def _broadcast(left: Shape, right: Shape) -> Shape | None:
    """Equal shapes, a number with anything, or a vector along the last axis; nothing looser, on purpose."""
    longer, shorter = (left, right) if len(left) >= len(right) else (right, left)
    return longer if shorter in ((), longer, longer[-1:]) else None


def _show(shape: Shape) -> str:
    return f"({', '.join(shape)})"
