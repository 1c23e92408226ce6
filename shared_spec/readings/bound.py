"""The bound reading: how far one step, computed with unit roundoff u, can be from the exact one by rounding alone.

Between two nonlinear functions a cell is a polynomial. Written out as a sum of products, and whatever order an
implementation takes (blocked or hoisted products, fused multiply-adds, `C + Z * (H - C)` for `Z * H + (1 - Z) * C`),
each product passes through at most k roundings, so the computed value is off by at most gamma_k = k u / (1 - k u)
times the sum of the absolute values of all products (Higham 2002, Accuracy and Stability of Numerical Algorithms,
section 3.1 and lemma 8.4). A nonlinear function stretches the error that comes in by its steepest slope within that
error, but takes no value past where it takes the ends of it, since it rises; and adds a few units of its own
(readings/arithmetic.py says how many).

Where sums are kept in a finer format than what is stored, the k roundings are of two sizes: k u stands for the sum of
their sizes, by the same lemma.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared_spec.cells import Cell
from shared_spec.expression import Equation, Expression, Function, Name, Number, Operation
from shared_spec.readings import floats
from shared_spec.readings.arithmetic import FUNCTIONS, SIGMOID_UNITS_OF_ONE, TANH_UNITS_OF_VALUE, Array
from shared_spec.readings.functions import function, steepest

NOTHING = np.zeros(())
OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "@": operator.matmul,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
SMALL = 2.0**-10
"""Of errors up to this the slope says as much as the ends, in half the time."""


@dataclass(frozen=True)
class Precision:
    """What an implementation computes in."""

    u: float
    """The unit roundoff of what is stored."""
    sums: float
    """That of what products are summed up in: as large, or smaller."""
    stored: str = ""
    """"float16" or "bfloat16" where inputs, states and parameters are rounded to it before they are used."""
    arrays: Any = np
    """NumPy, or a namespace like it, such as jax.numpy, whose arrays those that are given are."""

    @classmethod
    def of(cls, u: float, sums: float | None = None, stored: str = "", arrays: Any = np) -> Precision:
        """With the rounding of the float64 step that results are held against."""
        return cls(u + 2.0**-53, (u if sums is None else min(sums, u)) + 2.0**-53, stored, arrays)

    def rounding(self, stores: int, sums: int) -> float:
        """The k u of so many roundings of either kind."""
        return stores * self.u + sums * self.sums

    @property
    def format(self) -> str:
        """Whose exponents it has; the formats wider than float32 have float64's."""
        return self.stored or ("float64" if self.u < 2.0**-40 else "float32")

    @property
    def smallest_normal(self) -> float:
        """Below this a flush to zero is rounding too."""
        return floats.smallest_normal(self.format)

    @property
    def largest(self) -> float:
        """Beyond this a sum is infinite, and in another order of its terms another number."""
        return floats.largest(self.format)

    def given(self, array: Array) -> Bounded:
        """An input, a state or a parameter: itself, or what the format that it is stored in makes of it. Below the
        smallest normal number a machine may take zero for it.
        """
        size = abs(array)
        if self.arrays is not np:
            # Whether there are such numbers is not known before the program runs, and to allow for them would be two
            # products more for each. Not to is the narrower bound.
            return Bounded(array, size, NOTHING, 0, 0, NOTHING)
        small = size < self.smallest_normal
        if not self.stored:
            return Bounded(array, size, np.where(small, size, 0.0) if small.any() else NOTHING, 0, 0, NOTHING)
        with np.errstate(invalid="ignore"):
            off = np.abs(floats.rounded(array, self.stored) - array)
        off = np.where(small, size, off)
        # Beyond the format, where nothing can be said.
        off = np.where(np.isfinite(off), off, np.nan)
        return Bounded(array, size + off, off, 0, 0, NOTHING)


@dataclass(frozen=True)
class Bounded:
    """A polynomial piece: its value, the sum of its products' absolute values (`size`, inherited errors included),
    the error inherited through its leaves, the number of roundings that any one product passes through: where
    something is stored, and within sums; and what underflow within it is worth.
    """

    value: Array
    size: Array
    inherited: Array
    stores: int
    sums: int
    flushed: Array
    """How far it is off at most, in smallest normal numbers, where every product and every sum below one of those is
    made zero; an array that broadcasts against the value.
    """

    def error(self, precision: Precision) -> Array:
        """NaN where a part of the piece may be beyond the format."""
        ku, arrays = precision.rounding(self.stores, self.sums), precision.arrays
        if ku >= 1:
            infinite: Array = arrays.full_like(self.size, np.inf)
            return infinite
        underflow = self.flushed * precision.smallest_normal
        error = self.inherited + (ku * self.size + underflow) / (1 - ku)
        within: Array = arrays.where(self.size / (1 - ku) > precision.largest, np.nan, error)
        return within


def step(
    cell: Cell,
    X: Array,
    H: Array,
    parameters: Mapping[str, Array],
    *,
    u: float,
    sums: float | None = None,
    stored: str = "",
    arrays: Any = np,
) -> tuple[Array, Array]:
    """One step from exact X (..., d), H (..., h) and parameters, all float64: next state and its bound, both (..., h).

    The bound covers a result computed with unit roundoff `u`, and `sums` within sums where that is smaller, held
    against the value returned here, which itself is rounded in float64. `stored` is "float16" or "bfloat16" where X, H
    and parameters may be rounded to it first. `arrays` is a namespace like NumPy, such as jax.numpy, of whose arrays
    those that are given are; it has no `stored`.
    """
    precision = Precision.of(u, sums, stored, arrays)
    bounded = _quantities(cell, X, H, parameters, precision)["H"]
    return bounded.value, bounded.error(precision)


def quantities(
    cell: Cell,
    X: Array,
    H: Array,
    parameters: Mapping[str, Array],
    *,
    u: float,
    sums: float | None = None,
    stored: str = "",
    arrays: Any = np,
) -> dict[str, tuple[Array, Array]]:
    """The same for every quantity that the cell assigns, gates included: value and bound, both (..., h), by name."""
    precision = Precision.of(u, sums, stored, arrays)
    bounded = _quantities(cell, X, H, parameters, precision)
    return {name: (each.value, each.error(precision)) for name, each in bounded.items()}


def _quantities(
    cell: Cell, X: Array, H: Array, parameters: Mapping[str, Array], precision: Precision
) -> dict[str, Bounded]:
    """Every quantity that the cell assigns, by name."""
    scope = {name: precision.given(array) for name, array in {"X": X, "H": H, **parameters}.items()}
    for equation in cell.equations:
        scope[equation.target] = _read(equation.expression, scope, precision)
    return {equation.target: scope[equation.target] for equation in cell.equations}


def equation(
    equation: Equation, values: Mapping[str, Array], *, u: float, sums: float | None = None, stored: str = ""
) -> tuple[Array, Array]:
    """One equation by itself, from everything on its right side as given: its value and its bound, of one shape."""
    precision = Precision.of(u, sums, stored)
    bounded = _read(equation.expression, {name: precision.given(array) for name, array in values.items()}, precision)
    return bounded.value, bounded.error(precision)


def _read(expression: Expression, scope: Mapping[str, Bounded], precision: Precision) -> Bounded:
    match expression:
        case Name(id):
            return scope[id]
        case Number(value):
            return _exact(np.asarray(value, np.float64))
        case Function(name, argument):
            return _function(name, _read(argument, scope, precision), precision)
        case Operation(symbol, left, right):
            a, b = _read(left, scope, precision), _read(right, scope, precision)
            stores, sums = a.stores + b.stores, a.sums + b.sums
            if symbol in "+-":
                total = OPERATORS[symbol](a.value, b.value)
                flushed = a.flushed + b.flushed + 1
                return Bounded(total, a.size + b.size, a.inherited + b.inherited, stores + 1, sums, flushed)
            # (a + da)(b + db) - a b = a db + da (b + db), for both products.
            multiply = OPERATORS[symbol]
            product = multiply(a.value, b.value)
            inherited = precision.arrays.zeros_like(product)
            if not _is_zero(b.inherited):
                inherited = inherited + multiply(abs(a.value), b.inherited)
            if not _is_zero(a.inherited):
                inherited = inherited + multiply(a.inherited, abs(b.value) + b.inherited)
            terms = b.value.shape[-2] if symbol == "@" else 1
            if precision.sums < precision.u and symbol == "@":
                # Summed up in the finer format, and stored.
                stores, sums = stores + 1, sums + terms
            else:
                stores += terms
            flushed = _flushed(symbol, a, b, precision)
            return Bounded(product, multiply(a.size, b.size), inherited, stores, sums, flushed)


def _flushed(symbol: str, a: Bounded, b: Bounded, precision: Precision) -> Array:
    """What underflow is worth in a product: what it was in the factors, as with inherited errors, and one smallest
    normal number for each product and each sum.
    """
    left, right, arrays = a.flushed, b.flushed, precision.arrays
    if symbol != "@":
        both = left * right * precision.smallest_normal
        of_factors: Array = arrays.asarray(left * b.size + a.size * right + both + 1)
        return of_factors
    # Where a finer format sums up, its ends are further out: only what is stored in the end counts.
    own = np.asarray(1.0 if precision.sums < precision.u else 2.0 * b.value.shape[-2])
    if not _is_zero(left):
        all_of_it = left.ndim == 0
        own = own + (left * b.size.sum(axis=-2) if all_of_it else arrays.broadcast_to(left, a.size.shape) @ b.size)
    if not _is_zero(right):
        beside = a.size + left * precision.smallest_normal
        right = arrays.broadcast_to(right, b.size.shape)
        own = own + beside @ right
    return own


def _function(name: str, x: Bounded, precision: Precision) -> Bounded:
    if name not in FUNCTIONS:
        return _other(name, x, precision)
    arrays, incoming = precision.arrays, x.error(precision)
    f = FUNCTIONS[name] if arrays is np else _of(arrays, name)
    value = f(x.value)
    flattest = f(arrays.maximum(abs(x.value) - incoming, 0))
    through: Array = (1 - flattest**2 if name == "tanh" else flattest * (1 - flattest)) * incoming
    if not _is_zero(~(incoming <= SMALL)):
        ends = arrays.maximum(f(x.value + incoming) - value, value - f(x.value - incoming))
        # The ends are themselves rounded, in float64.
        through = arrays.minimum(through, ends + 2.0**-52)
    if name == "tanh":
        own = TANH_UNITS_OF_VALUE * precision.u * (abs(value) + through)
    else:
        own = arrays.full_like(value, SIGMOID_UNITS_OF_ONE * precision.u)
    error = through + own + precision.smallest_normal
    return Bounded(value, abs(value) + error, error, 0, 0, NOTHING)


def _of(arrays: Any, name: str) -> Callable[[Any], Any]:
    """sigmoid or tanh of another namespace than NumPy."""
    return lambda x: arrays.tanh(x) if name == "tanh" else 1 / (1 + arrays.exp(-x))


def _is_zero(array: Any) -> bool:
    """Whether an array is known to be zero everywhere. Of one that is not NumPy's nothing is: it may be a place in a
    program that has no value yet.
    """
    return array is NOTHING or (isinstance(array, np.ndarray | np.generic) and not array.any())


def _other(name: str, x: Bounded, precision: Precision) -> Bounded:
    """One of readings/functions.py, by its steepest slope. Such as clip(0.2 x + 0.5, 0, 1): what it rounds itself is of
    the size of 1, or of its value.
    """
    known = function(name)
    assert known is not None, name
    value = known(x.value)
    own = SIGMOID_UNITS_OF_ONE * precision.u * (1 + np.abs(value))
    error = steepest(name) * x.error(precision) + own + precision.smallest_normal
    return Bounded(value, np.abs(value) + error, error, 0, 0, NOTHING)


def _exact(array: Array) -> Bounded:
    return Bounded(array, np.abs(array), np.zeros_like(array), 0, 0, NOTHING)
