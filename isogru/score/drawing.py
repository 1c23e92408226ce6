"""Mutants that nobody chose: faults drawn from the grammar of conventions.toml, with their strengths, and in pairs.

Each comes with one cell, so that what is drawn are independent draws of a fault and the cell that has it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isogru import conventions
from isogru.conventions import GRADIENT, TRAINING, Convention
from isogru.score.faults import CHANGES_STATES, Fault, fault
from shared_spec.cells import Cell, cells
from shared_spec.expression import Place
from shared_spec.readings.floats import UNIT_ROUNDOFF

PAIRS = 1 / 3
"""The share of two faults at once."""
TRIES = 10_000
HERE = Place("drawn", 1, 1, "drawn")
Random = np.random.RandomState
Table = Mapping[str, Any]


def drawn(seed: int, count: int, *, dtype: str, file: Path = conventions.FILE) -> list[Fault]:
    """So many faults, all of them different, the same for the same seed."""
    random, every = Random(seed), list(conventions.every(file).values())
    # What is not made here is one of those that are written down.
    kinds = [kind for kind in KINDS if kind in MAKERS or any(each.kind == kind for each in every)]
    names, faults = list(cells()), dict[str, Fault]()
    for _ in range(TRIES + 10 * count):
        if len(faults) == count:
            break
        name = names[random.randint(len(names))]
        made = _conventions(random, cells()[name], kinds, every, dtype)
        one = fault(made, [name], drawn=True)
        # What is written down is held out from nobody.
        if one.cells and one.id not in conventions.every(file) and len({each.name for each in made}) == len(made):
            faults.setdefault(f"{one.id} [{name}]", one)
    return list(faults.values())


def _conventions(
    random: Random, cell: Cell, kinds: Sequence[str], every: Sequence[Convention], dtype: str
) -> list[Convention]:
    """One convention of any of these kinds, or with it another that it can be planted beside."""
    kind = kinds[random.randint(len(kinds))]
    first = _one(random, cell, kind, every, dtype)
    if random.uniform() >= PAIRS or kind in (GRADIENT, TRAINING):
        return [first]
    others = [each for each in kinds if each in CHANGES_STATES]
    return [first, _one(random, cell, others[random.randint(len(others))], every, dtype)]


def _one(random: Random, cell: Cell, kind: str, every: Sequence[Convention], dtype: str) -> Convention:
    """A convention of a kind: made here, with a strength, or one of those that are written down."""
    there = [each for each in every if each.kind == kind]
    make = MAKERS.get(kind)
    if make is None or (there and random.uniform() < 0.2):
        return there[random.randint(len(there))]
    name, table = make(random, cell, round(-np.log2(UNIT_ROUNDOFF[dtype])))
    return conventions.read_table(name, {"sentence": name, "remedy": "do not", **table}, {}, HERE)[0]


def _strength(random: Random) -> str:
    """A factor that is off by 1 or by as little as a thousandth."""
    return f"{1 + random.choice([-1, 1]) * 10 ** random.uniform(-3, 0):.4g}"


def _some(random: Random, of: Sequence[str]) -> list[str]:
    """One or more, in their order."""
    chosen = random.choice(len(of), random.randint(1, len(of) + 1), replace=False)
    return [each for i, each in enumerate(of) if i in chosen]


def _equations(random: Random, cell: Cell, bits: int) -> tuple[str, Table]:
    """A sign turned, an operand left out, a factor, another quantity of that shape, or another function."""
    if random.uniform() < 0.25:
        old = str(random.choice(sorted({each.name for _, each in cell.functions})))
        slope = f"{random.uniform(0.1, 0.4):.3g}"
        others = ["relu", "linear", "softsign", "hard_tanh", "sigmoid", "tanh", f"hard_sigmoid({slope}, 0.5)"]
        new = str(random.choice([each for each in others if each != old]))
        return f"{old} = {new}", {"functions": {old: new}}
    equation = cell.equations[random.randint(len(cell.equations))]
    target, _, old = equation.text.partition(" = ")
    tree = ast.parse(old, mode="eval")
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp | ast.Name) and _is_value(node, tree)]
    at = nodes[random.randint(len(nodes))]
    new = ast.unparse(ast.fix_missing_locations(_Put(at, _changed(random, at, cell)).visit(tree)))
    return f"{target} = {new}", {"rewrite": [[old, new]]}


def _is_value(node: ast.AST, tree: ast.AST) -> bool:
    """Whether it is no name of a function."""
    return not any(isinstance(call, ast.Call) and call.func is node for call in ast.walk(tree))


def _changed(random: Random, node: ast.AST, cell: Cell) -> ast.expr:
    """What stands in the place of an operation or a name."""
    factor = ast.Constant(float(_strength(random)))
    if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.MatMult):
        turned = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        choices = [ast.BinOp(node.left, turned, node.right), node.left, node.right]
        if isinstance(node.op, ast.Mult):
            choices = [node.left, node.right, ast.BinOp(node.left, ast.Add(), node.right)]
        return choices[random.randint(len(choices))]
    if isinstance(node, ast.BinOp):
        return ast.BinOp(ast.BinOp(node.left, node.op, node.right), ast.Mult(), factor)
    assert isinstance(node, ast.Name)
    shapes = {**cell.parameters, **{each.target: ("n", "h") for each in cell.equations}, "X": ("n", "d")}
    alike = [name for name, shape in shapes.items() if shape == shapes[node.id] and name != node.id]
    if not alike or random.uniform() < 0.5:
        return ast.BinOp(ast.Name(node.id), ast.Mult(), factor)
    return ast.Name(str(random.choice(alike)))


class _Put(ast.NodeTransformer):
    """One node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.expr) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        """The node, with what is below it put right."""
        return self._new if node is self._old else self.generic_visit(node)


def _weights(random: Random, cell: Cell, bits: int) -> tuple[str, Table]:
    """A factor, an offset, another gate's, or a transpose."""
    names, how = list(cell.parameters), random.randint(4)
    square = [name for name, shape in cell.parameters.items() if shape == ("h", "h")]
    if how == 0:
        turned = _some(random, square)
        return f"transposed {', '.join(turned)}", {"transposed": turned}
    if how == 1:
        name, of = str(random.choice(names)), str(random.choice(names))
        alike = [each for each in names if cell.parameters[each] == cell.parameters[name] and each != name]
        if alike:
            of = str(random.choice(alike))
            edit = {name: of, of: name} if random.uniform() < 0.5 else {name: of}
            return _told(edit), {"weights": edit}
    changed = _some(random, names) if random.uniform() < 0.3 else [str(random.choice(names))]
    strength = _strength(random)
    if how == 2:
        edit = {name: f"{name} + {10 ** random.uniform(-3, 0):.3g}" for name in changed if name.startswith("b")}
        if edit:
            return _told(edit), {"weights": edit}
    negated = random.uniform() < 0.2
    edit = {name: f"0 - {name}" if negated else f"{strength} * {name}" for name in changed}
    return _told(edit), {"weights": edit}


def _told(edit: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {new}" for name, new in edit.items())


def _gradient(random: Random, cell: Cell, bits: int) -> tuple[str, Table]:
    """Ways that are cut, of states; what is held constant is written down."""
    cuts = _some(random, ["time", "half", "start", "others"])
    return f"cut {', '.join(cuts)}", {"gradient": cuts}


def _training(random: Random, cell: Cell, bits: int) -> tuple[str, Table]:
    """A setting and its value."""
    setting, value = {
        0: ("labels_shifted", random.randint(0, 20)),
        1: ("batch_repeated", random.randint(1, 20)),
        2: ("momentum", float(f"{random.uniform(0.05, 0.99):.3g}")),
        3: ("weight_decay", float(f"{10 ** random.uniform(-5, -1):.3g}")),
        4: ("decayed", float(f"{random.uniform(0.05, 0.99):.3g}")),
        5: ("frozen", str(random.choice([*cell.parameters, "W_x", "W_h", "W_hq", "b_q"]))),
        6: ("dropout", float(f"{random.uniform(0.05, 0.5):.3g}")),
    }[random.randint(7)]
    return f"{setting} = {value}", {"training": {setting: value}}


def _precision(random: Random, cell: Cell, bits: int) -> tuple[str, Table]:
    """So many bits, from 4 to six fewer than there are, in values, products or arguments."""
    few = int(random.choice([8, 11, random.randint(4, bits - 5)]))
    assigned = dict.fromkeys(each.target for each in cell.equations)
    where: dict[str, list[str]] = {
        "values": _some(random, ["X", *assigned, *cell.parameters]),
        "products": _some(random, [name for name, shape in cell.parameters.items() if len(shape) > 1]),
        "arguments": _some(random, sorted({each.name for _, each in cell.functions})),
    }
    what = str(random.choice(list(where)))
    return f"{few} bits in {what} {', '.join(where[what])}", {"precision": {"bits": few, what: where[what]}}


Maker = Callable[[Random, Cell, int], tuple[str, Table]]
MAKERS: Mapping[str, Maker] = {
    conventions.EQUATIONS: _equations,
    conventions.WEIGHTS: _weights,
    conventions.GRADIENT: _gradient,
    conventions.TRAINING: _training,
    conventions.PRECISION: _precision,
}
KINDS = (*MAKERS, conventions.SEQUENCE)
