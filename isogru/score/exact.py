"""Whether two functions are one: their states compared on exact rationals.

sigmoid(x) is taken as a rational number that depends on x and otherwise obeys nothing but what sigmoid and tanh obey
everywhere, sigmoid(-x) = 1 - sigmoid(x) and tanh(x) = 2 sigmoid(2x) - 1: it is drawn by a digest of x. Every number is
a fraction, so that nothing is rounded. Where any state differs, the two are not one function by algebra and these laws.
Where all are the same, on random numbers of several shapes, they are, but for a chance that is the smaller the more
numbers there are (Schwartz 1980 and Zippel 1979 have it for polynomials).
"""

from __future__ import annotations

import functools
import math
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from isogru.conventions import Convention
from isogru.edits import Edit, edited, unedited
from isogru.sequences import Inputs
from shared_spec.cells import Cell
from shared_spec.expression import Equation, Expression, Function, Number, Operation
from shared_spec.files.interchange import Case
from shared_spec.readings import value
from shared_spec.readings.arithmetic import Array, Plain

SIZES = ((4, 2, 3, 2), (3, 3, 2, 2), (3, 2, 2, 3))
"""T, n, d, h: different ones, inputs as many as units and steps as many as sequences, more units than inputs."""
POINTS = 2
"""Random problems of each of SIZES."""
MODULUS = 2**31 - 1
BITS = 48
"""Of the numbers: twice one, and the sum of two, are exact in float64."""
_NUMBERS = re.compile(r"([-+.\deE]+)")


@functools.cache
def problem(cell: Cell, sizes: tuple[int, int, int, int], seed: int = 0) -> Case:
    """A random problem whose numbers are small dyadic fractions: edits of weights in float64 are exact on them."""
    random, numbers = np.random.RandomState(seed), dict(zip("Tndh", sizes, strict=True))
    shapes = {"X": "Tnd", "H0": "nh", **cell.parameters}
    # No zero: what is multiplied by it would not be seen.
    arrays = {name: random.randint(1, 2**BITS, [numbers[s] for s in symbols]) for name, symbols in shapes.items()}
    signs = {name: random.choice([-1, 1], array.shape) for name, array in arrays.items()}
    return Case(f"{cell.name}-exact", cell, {name: signs[name] * array / 2**BITS for name, array in arrays.items()})


def proof(cell: Cell, conventions: Sequence[Convention], *, bits: int) -> str:
    """Why a cell with these conventions is the same function as without, in a precision of so many bits; empty where it
    is not. All of them are edits of equations, weights, sequence or precision.
    """
    coarser = [each for each in conventions if not (each.precision and each.precision.bits >= bits)]
    idle = "" if len(coarser) == len(conventions) else f"numbers of {bits} bits are rounded to no fewer"
    if not coarser:
        return idle
    if any(each.precision and each.precision.bits >= BITS for each in coarser):
        return ""  # No number of a problem has more, and nothing would be seen of it.
    tried = 0
    for sizes in SIZES:
        for seed in range(POINTS):
            case = problem(cell, sizes, seed)
            wrong = edited(unedited(case), coarser)
            if wrong is None:
                continue
            right = _states(unedited(case), case)
            if not np.array_equal(right, _states(wrong, case)):
                return ""
            tried += 1
    if not tried:
        return ""
    same = f"states are the same on exact rationals, at {tried} random points of {len(SIZES)} shapes"
    return f"{idle}; {same}" if idle else same


def _states(edit: Edit, case: Case) -> Array:
    """All states (T, n, h) of an edited cell, as fractions."""
    given, met = Inputs(_exactly(case.arrays["X"]), _exactly(case.arrays["H0"])), []
    for sequence in reversed(edit.sequences):
        met.append(given)
        changed = sequence.inputs(given)
        assert changed is not None
        given = changed
    cell = replace(edit.cell, equations=tuple(_exact(each) for each in edit.cell.equations))
    parameters = {name: _exactly(array) for name, array in edit.parameters.items()}
    H, previous = [], _exactly(given.H0)
    for X in _exactly(given.X):
        H.append(value.step(cell, X, previous, parameters, arithmetic=EXACTLY)["H"])
        previous = H[-1] if given.carried else _exactly(given.H0)
    states = np.stack(H)
    for sequence, inputs in zip(edit.sequences, reversed(met), strict=True):
        states = sequence.outward(states, inputs)
    return states


_fraction = np.frompyfunc(Fraction, 1, 1)


def _exactly(array: Array) -> Array:
    return np.asarray(_fraction(array), object)


def _exact(equation: Equation) -> Equation:
    return replace(equation, expression=_numbers(equation.expression))


def _numbers(expression: Expression) -> Expression:
    """The expression with every number a fraction."""
    match expression:
        case Number(number):
            return Number(Fraction(number))  # type: ignore[arg-type]
        case Function(name, argument):
            return Function(name, _numbers(argument))
        case Operation(symbol, left, right):
            return Operation(symbol, _numbers(left), _numbers(right))
    return expression


class _Exact(Plain):
    """Functions of fractions."""

    def function(self, name: str, x: Array) -> Array:
        """The function of that name, element by element."""
        values: Array = np.frompyfunc(_function(name), 1, 1)(x)
        return values


EXACTLY = _Exact()


def _sigmoid(x: Fraction) -> Fraction:
    if x < 0:
        return 1 - _sigmoid(-x)
    if x == 0:
        return Fraction(1, 2)
    drawn = zlib.crc32(repr(x).encode()) % MODULUS
    return Fraction(1, 2) + Fraction(drawn, 2 * MODULUS)


def _rounded(x: Fraction, bits: int) -> Fraction:
    if x == 0:
        return x
    scale = Fraction(2) ** (bits - 1 - math.floor(math.log2(abs(x))))
    return round(x * scale) / scale


@functools.cache
def _function(name: str) -> Callable[[Any], Any]:
    numbers = [float(each) for each in _NUMBERS.findall(name.partition("(")[2])]
    match name.partition("(")[0]:
        case "sigmoid":
            return _sigmoid
        case "tanh":
            return lambda x: 2 * _sigmoid(2 * x) - 1
        case "linear":
            return lambda x: x
        case "relu":
            return lambda x: max(x, Fraction(0))
        case "softsign":
            return lambda x: x / (1 + abs(x))
        case "hard_tanh":
            return lambda x: min(max(x, Fraction(-1)), Fraction(1))
        case "hard_sigmoid":
            slope, middle = map(Fraction, numbers)
            return lambda x: min(max(slope * x + middle, Fraction(0)), Fraction(1))
        case "rounded":
            return lambda x: _rounded(x, int(numbers[0]))
    # Any other is taken as one that obeys no law at all.
    return lambda x: Fraction(zlib.crc32(f"{name} {x!r}".encode()) % MODULUS, MODULUS)
