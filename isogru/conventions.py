"""The ways in which GRUs differ, each an edit of what is right: `conventions.toml`, read and checked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from isogru.models.functions import function
from isogru.rounding import Rounding, rounded
from isogru.sequences import SEQUENCES, Sequence
from isogru.training_faults import SETTINGS, Setting
from shared_spec.cells import Cell, cells, place_of, read_tables
from shared_spec.errors import SpecificationError
from shared_spec.expression import FUNCTIONS, Equation, Expression, Function, Operation, Place, names, parse
from shared_spec.files import door
from shared_spec.readings import value
from shared_spec.readings.arithmetic import Array

FORMAT = "isogru-conventions/1"
FILE = Path(__file__).with_name("conventions.toml")
EDITS = (
    *("rewrite", "functions", "weights", "transposed", "written", "read", "takes"),
    *("sequence", "gradient", "training", "precision"),
)
GATES = ("z", "r", "h")
CUTS = ("through", "time", "half", "start", "others")
"""The ways of a gradient that can be cut: through a quantity that counts as a constant, from a state to the step
before, from the second half of the steps to the first, to H0, from all states but the last.
"""
EQUATIONS, WEIGHTS, SEQUENCE = "equations", "weights", "sequence"
GRADIENT, TRAINING, PRECISION = "gradient", "training", "precision"
OF_STATES = (EQUATIONS, WEIGHTS, SEQUENCE)
"""The kinds that change which function a layer is."""

Held = Mapping[str, Array]
"""Weights of a cell by name, second biases too."""


@dataclass(frozen=True)
class Convention:
    """One way in which GRUs differ, as an edit of equations, of weights or of the sequence."""

    name: str
    sentence: str
    """What is done otherwise, as in "equal if ..."."""
    remedy: str
    backward: tuple[str, str] = ("", "")
    """Sentence and remedy of a layer that runs backwards, where they are others."""
    rewrites: tuple[tuple[Expression, Expression], ...] = ()
    functions: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, Callable[[Held], Array | None]] = field(default_factory=dict)
    """What stands for each; None where it cannot be made, such as the transpose of what is not square."""
    takes: Mapping[str, str] = field(default_factory=dict)
    """Of gates whose weights are exchanged: whose weights each takes."""
    transposes: tuple[str, ...] = ()
    """Which of them must be square."""
    sequence: Sequence | None = None
    cuts: tuple[str, ...] = ()
    """Which ways of the gradient."""
    held: str = ""
    """Of a cut through a quantity, which."""
    training: Setting | None = None
    precision: Rounding | None = None

    @property
    def kind(self) -> str:
        """What it is an edit of."""
        others = {SEQUENCE: self.sequence, WEIGHTS: self.weights, GRADIENT: self.cuts, TRAINING: self.training}
        return next((kind for kind, there in others.items() if there), PRECISION if self.precision else EQUATIONS)

    def told(self, *, reverse: bool) -> tuple[str, str]:
        """Sentence and remedy, of a layer that runs backwards or not."""
        return self.backward if reverse and self.backward[0] else (self.sentence, self.remedy)

    def of_cell(self, cell: Cell) -> Cell | None:
        """The cell with edited equations; None where that is none of its conventions."""
        equations, defined = [], {"X", "H", *cell.parameters}
        for equation in cell.equations:
            expression = equation.expression
            for old, new in self.rewrites:
                expression = _rewritten(expression, old, new)
            expression = _with_functions(expression, self.functions)
            if self.precision:
                expression = rounded(expression, equation.target, self.precision)
            if not set(names(expression)) <= defined:
                # Such as R, in a cell that has no reset gate.
                return None
            defined.add(equation.target)
            equations.append(Equation(equation.target, expression, equation.text))
        edited = tuple(equations)
        return None if edited == cell.equations else replace(cell, equations=edited)

    def of_weights(self, held: Held) -> dict[str, Array] | None:
        """Edited weights; None where that is none of their conventions, or changes none."""
        weights = {name: made(held) for name, made in self.weights.items() if name in held}
        changed = {name: array for name, array in weights.items() if array is not None}
        if len(changed) < len(weights) or all(np.array_equal(array, held[name]) for name, array in changed.items()):
            return None
        return {**held, **changed}


@functools.cache
def conventions(file: Path = FILE) -> Mapping[str, Convention]:
    """Those that change which function a layer is, by name: edits of equations, of weights and of the sequence. Raises
    SpecificationError as `every` does.
    """
    return {name: each for name, each in every(file).items() if each.kind in OF_STATES}


@functools.cache
def every(file: Path = FILE) -> Mapping[str, Convention]:
    """All conventions, by name, those of gradients, trainings and precision too; those that hold in several places have
    a name for each, such as "order_rz: W_x". Raises SpecificationError, with the place, for a wrong one.
    """
    raw = door.text(file)
    tables = read_tables(file, raw, FORMAT)
    places = tables.pop("places", {})
    all_conventions: dict[str, Convention] = {}
    for name, table in tables.items():
        here = place_of("", name, raw, file)
        try:
            all_conventions |= {each.name: each for each in read_table(name, table, places, here)}
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise here.error(0, f"no convention: {type(error).__name__}: {error}") from None
    return all_conventions


def read_table(name: str, table: Any, places: Mapping[str, list[str]], here: Place) -> list[Convention]:
    """One table of such a file, which stands `here`: a convention, or one for each of the places. Raises
    SpecificationError for a wrong one.
    """
    edits = [key for key in EDITS if isinstance(table, dict) and key in table]
    if len(edits) != 1 or set(table) - {"backward"} != {"sentence", "remedy", *edits}:
        raise here.error(0, f"a convention has a sentence, a remedy and one of {', '.join(EDITS)}, and nothing else")
    sentence, remedy, edit = table["sentence"], table["remedy"], table[edits[0]]
    if not (isinstance(sentence, str) and isinstance(remedy, str)):
        raise here.error(0, "a sentence and a remedy are texts")
    of_backward, to_do = table.get("backward", ("", ""))
    plain = Convention(name, sentence, remedy, (of_backward, to_do))
    match edits[0]:
        case "rewrite":
            pairs = tuple((_expression(old, here), _expression(new, here)) for old, new in edit)
            return [replace(plain, rewrites=pairs)]
        case "functions":
            if unknown := [new for old, new in edit.items() if old not in FUNCTIONS or function(new) is None]:
                raise here.error(0, f"{unknown[0]} is no function that can stand for one of {', '.join(FUNCTIONS)}")
            return [replace(plain, functions=edit)]
        case "weights":
            return [replace(plain, weights={key: _evaluated(_expression(new, here)) for key, new in edit.items()})]
        case "takes":
            if unknown := sorted({*edit, *edit.values()} - set(GATES)):
                raise here.error(0, f"no gate {unknown[0]!r}; the gates are {', '.join(GATES)}")
            return [
                Convention(
                    f"{name}: {place}",
                    sentence.format(place=place),
                    remedy.format(place=place),
                    weights=taken,
                    takes=edit,
                )
                for place, prefixes in places.items()
                for taken in [{f"{p}{to}": _taken(f"{p}{of}") for p in prefixes for to, of in edit.items()}]
            ]
        case "sequence":
            if edit not in SEQUENCES:
                raise here.error(0, f"no sequence {edit!r}; there are {', '.join(SEQUENCES)}")
            return [replace(plain, sequence=SEQUENCES[edit])]
        case "gradient":
            if not edit or (unknown := sorted(set(edit) - set(CUTS))):
                raise here.error(0, f"no cut {edit and unknown[0]!r} of a gradient; there are {', '.join(CUTS)}")
            held = _assigned() if "through" in edit else [""]
            return [
                Convention(
                    f"{name}: {each}" if each else name,
                    sentence.format(held=each),
                    remedy.format(held=each),
                    cuts=tuple(edit),
                    held=each,
                )
                for each in held
            ]
        case "training":
            if len(edit) != 1 or (unknown := sorted(set(edit) - set(SETTINGS))):
                raise here.error(0, f"a training has one setting, of {', '.join(SETTINGS)}")
            ((setting, value),) = edit.items()
            return [replace(plain, training=Setting(setting, value))]
        case "precision":
            if "bits" not in edit or not set(edit) <= {"bits", "values", "products", "arguments"}:
                raise here.error(0, "a precision has bits, and values, products or arguments")
            where = {key: tuple(of) for key, of in edit.items() if key != "bits"}
            return [replace(plain, precision=Rounding(edit["bits"], **where))]
        case how:
            turned = {"transposed": _transposed, "written": _written, "read": _read_as}[how]
            square = tuple(edit) if how == "transposed" else ()
            return [replace(plain, weights={key: functools.partial(turned, key) for key in edit}, transposes=square)]


def _assigned() -> list[str]:
    """What the equations of any cell assign, but for the state."""
    targets = (equation.target for cell in cells().values() for equation in cell.equations)
    return [name for name in dict.fromkeys(targets) if name != "H"]


def _expression(text: str, place: Place) -> Expression:
    try:
        return parse(f"H = {text}", place).expression
    except SpecificationError as error:
        raise SpecificationError(f"{error}; write it as the equations of shared_spec/cells.toml are") from None


def _evaluated(expression: Expression) -> Callable[[Held], Array | None]:
    needed = set(names(expression))
    return lambda held: value.evaluate(expression, held, np.dtype(np.float64)) if needed <= held.keys() else None


def _taken(name: str) -> Callable[[Held], Array | None]:
    return lambda held: held.get(name)


def _transposed(name: str, held: Held) -> Array | None:
    return held[name].T if len(set(held[name].shape)) == 1 else None


def _written(name: str, held: Held) -> Array | None:
    # What is square is transposed by that, which has a convention of its own.
    return held[name].T.reshape(held[name].shape) if len(set(held[name].shape)) > 1 else None


def _read_as(name: str, held: Held) -> Array | None:
    return held[name].reshape(held[name].shape[::-1]).T if len(set(held[name].shape)) > 1 else None


def _rewritten(expression: Expression, old: Expression, new: Expression) -> Expression:
    """The expression with every part that is `old` made `new`."""
    if expression == old:
        return new
    match expression:
        case Function(name, argument):
            return Function(name, _rewritten(argument, old, new))
        case Operation(symbol, left, right):
            return Operation(symbol, _rewritten(left, old, new), _rewritten(right, old, new))
    return expression


def _with_functions(expression: Expression, others: Mapping[str, str]) -> Expression:
    match expression:
        case Function(name, argument):
            return Function(others.get(name, name), _with_functions(argument, others))
        case Operation(symbol, left, right):
            return Operation(symbol, _with_functions(left, others), _with_functions(right, others))
    return expression
