"""The hand-written step of a framework, edited in its own source: what an equation computes is changed there, and stays
in the framework's functions.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from frameworks.folder import Step
from frameworks.harness.score.operations import Operations
from shared_spec.cells import Cell
from shared_spec.errors import UserError
from shared_spec.expression import Expression, Function, Name, Number, Operation, Place, names, parse
from shared_spec.readings.functions import rounded

FUNCTION, CONSTANT = "function_of_mutant", "constant_of_mutant"
"""What the edited source calls these."""
OPERATORS: Mapping[str, type[ast.operator]] = {"@": ast.MatMult, "+": ast.Add, "-": ast.Sub, "*": ast.Mult}
_HARD_SIGMOID = re.compile(r"hard_sigmoid\(([-+.\deE]+), ([-+.\deE]+)\)")
_ROUNDED = re.compile(r"rounded\((\d+)\)")
BITS = {"float32": 24, "float64": 53}


def edited(step: Step, right: Cell, wrong: Cell, operations: Operations, *, held: tuple[str, ...] = ()) -> Step:
    """A framework's step of the cell `right`, with the equations that are others in `wrong` edited, and what is `held`
    made a constant of the gradient. Raises UserError where its source is not those equations.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(step)))
    source = _Source(right)
    source.visit(tree)
    source.check(f"{step.__module__}.{step.__name__}")
    expressions = {
        one.target: other.expression
        for one, other in zip(right.equations, wrong.equations, strict=True)
        if one.expression != other.expression
    }
    edit = _Edit(expressions, held, source.functions, frozenset(right.parameters))
    tree = ast.fix_missing_locations(edit.visit(tree))
    function = functools.partial(_function, operations)
    scope = {**step.__globals__, FUNCTION: function, CONSTANT: operations.constant}
    exec(compile(tree, f"<{step.__name__} with a fault>", "exec"), scope)
    step_with_fault: Step = scope[step.__name__]
    return step_with_fault


class _Source(ast.NodeTransformer):
    """Reads the equations off a step, and the framework's own sigmoid and tanh; where the state that it returns has
    another name, it is assigned to H first.
    """

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._read: dict[str, Expression] = {}
        self.functions: dict[str, ast.expr] = {}

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        """One equation."""
        plain = ast.unparse(_Plain(self.functions).visit(copy.deepcopy(node)))
        place = Place(self._cell.name, node.lineno, node.col_offset, self._cell.name)
        equation = parse(plain, place)
        self._read[equation.target] = equation.expression
        return node

    def visit_Return(self, node: ast.Return) -> list[ast.stmt]:
        """The state, and the gates."""
        if not isinstance(node.value, ast.Tuple) or not isinstance(node.value.elts[0], ast.Name):
            return [node]
        state = node.value.elts[0]
        if state.id == "H":
            return [node]
        self._read["H"] = Name(state.id)
        given = ast.Assign([ast.Name("H", ast.Store())], ast.Name(state.id, ast.Load()))
        state.id = "H"
        return [given, node]

    def check(self, name: str) -> None:
        """Raises UserError where what was read is not the cell's equations."""
        should = {equation.target: equation.expression for equation in self._cell.equations}
        if unlike := [target for target in {**should, **self._read} if should.get(target) != self._read.get(target)]:
            raise UserError(
                f"no mutant can be planted in {name}: its {unlike[0]} is not the equation of {self._cell.name}; write "
                "it as shared_spec/cells.toml does"
            )


class _Plain(ast.NodeTransformer):
    """torch.sigmoid(x) as sigmoid(x), each function kept as it is called there."""

    def __init__(self, functions: dict[str, ast.expr]) -> None:
        self._functions = functions

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A function."""
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("sigmoid", "tanh"):
            self._functions[name] = node.func
            return ast.Call(ast.Name(name, ast.Load()), node.args, node.keywords)
        return node


class _Edit(ast.NodeTransformer):
    """Puts other expressions in the place of those that assign a quantity."""

    def __init__(
        self,
        expressions: Mapping[str, Expression],
        held: tuple[str, ...],
        functions: Mapping[str, ast.expr],
        parameters: frozenset[str],
    ) -> None:
        self._expressions, self._held, self._functions = expressions, held, functions
        self._parameters = parameters

    def visit_Assign(self, node: ast.Assign) -> list[ast.stmt]:
        """One equation."""
        target = ast.unparse(node.targets[0])
        if target in self._expressions:
            node.value = self._written(self._expressions[target])
            if self._parameters.issuperset(names(self._expressions[target])):
                # Such as tanh(b_h), which has no rows: of a state there must be as many as of the state before.
                none = ast.BinOp(ast.Constant(0), ast.Mult(), ast.Name("H", ast.Load()))
                node.value = ast.BinOp(node.value, ast.Add(), none)
        if target not in self._held:
            return [node]
        name = ast.Name(target, ast.Load())
        held = ast.Call(ast.Name(CONSTANT, ast.Load()), [name], [])
        return [node, ast.Assign([ast.Name(target, ast.Store())], held)]

    def _written(self, expression: Expression) -> ast.expr:
        match expression:
            case Name(id):
                return ast.Name(id, ast.Load())
            case Number(value):
                return ast.Constant(int(value) if value.is_integer() else value)
            case Operation(symbol, left, right):
                return ast.BinOp(self._written(left), OPERATORS[symbol](), self._written(right))
            case Function(name, argument):
                made = ast.Call(ast.Name(FUNCTION, ast.Load()), [ast.Constant(name)], [])
                own = copy.deepcopy(self._functions.get(name))
                return ast.Call(own or made, [self._written(argument)], [])


def _function(operations: Operations, name: str) -> Callable[[Any], Any]:
    """A function that stands for sigmoid or tanh, in the framework."""
    if own := operations.function(name):
        return own
    if match := _HARD_SIGMOID.fullmatch(name):
        slope, middle = float(match[1]), float(match[2])
        return lambda x: operations.clipped(slope * x + middle, 0.0, 1.0)
    if match := _ROUNDED.fullmatch(name):
        bits = int(match[1])
        return lambda x: _narrowed(operations, x, bits)
    others: Mapping[str, Callable[[Any], Any]] = {
        "linear": lambda x: x,
        "softsign": lambda x: x / (1 + abs(x)),
        "hard_tanh": lambda x: operations.clipped(x, -1.0, 1.0),
    }
    if name not in others:
        raise UserError(f"no mutant can be planted with {name}: frameworks have no such function here")
    return others[name]


def _narrowed(operations: Operations, x: Any, bits: int) -> Any:
    own = next(of for name, of in BITS.items() if name in str(x.dtype))
    if bits >= own:
        return x
    cast = operations.narrowed(x, bits)
    return rounded(x, bits, of=own) if cast is None else cast
