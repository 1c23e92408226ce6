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

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shared_spec.cells import Cell
from shared_spec.expression import Equation, Expression, Function, Name, Number, Operation
from shared_spec.readings import floats
from shared_spec.readings.arithmetic import FUNCTIONS, SIGMOID_UNITS_OF_ONE, TANH_UNITS_OF_VALUE, Array
from shared_spec.readings.functions import function, steepest
from shared_spec.readings.value import operate

NOTHING = np.zeros(())
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

    @classmethod
    def of(cls, u: float, sums: float | None = None, stored: str = "") -> Precision:
        """With the rounding of the float64 step that results are held against."""
        return cls(u + 2.0**-53, (u if sums is None else min(sums, u)) + 2.0**-53, stored)

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
        size = np.abs(array)
        small = size < self.smallest_normal
        if not self.stored:
            return Bounded(array, size, np.where(small, size, 0.0), 0, 0, NOTHING)
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
        ku = precision.rounding(self.stores, self.sums)
        if ku >= 1:
            return np.full_like(self.inherited, np.inf)
        underflow = self.flushed * precision.smallest_normal
        error: Array = self.inherited + (ku * self.size + underflow) / (1 - ku)
        return np.where(self.size / (1 - ku) > precision.largest, np.nan, error)


def step(
    cell: Cell,
    X: Array,
    H: Array,
    parameters: Mapping[str, Array],
    *,
    u: float,
    sums: float | None = None,
    stored: str = "",
) -> tuple[Array, Array]:
    """One step from exact X (..., d), H (..., h) and parameters, all float64: next state and its bound, both (..., h).

    The bound covers a result computed with unit roundoff `u`, and `sums` within sums where that is smaller, held
    against the value returned here, which itself is rounded in float64. `stored` is "float16" or "bfloat16" where X, H
    and parameters may be rounded to it first.
    """
    return quantities(cell, X, H, parameters, u=u, sums=sums, stored=stored)["H"]


def quantities(
    cell: Cell,
    X: Array,
    H: Array,
    parameters: Mapping[str, Array],
    *,
    u: float,
    sums: float | None = None,
    stored: str = "",
) -> dict[str, tuple[Array, Array]]:
    """The same for every quantity that the cell assigns, gates included: value and bound, both (..., h), by name."""
    precision = Precision.of(u, sums, stored)
    scope = {name: precision.given(array) for name, array in {"X": X, "H": H, **parameters}.items()}
    for equation in cell.equations:
        scope[equation.target] = _read(equation.expression, scope, precision)
    return {
        equation.target: (bounded.value, bounded.error(precision))
        for equation in cell.equations
        for bounded in [scope[equation.target]]
    }


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
                total = operate(symbol, a.value, b.value)
                flushed = a.flushed + b.flushed + 1
                return Bounded(total, a.size + b.size, a.inherited + b.inherited, stores + 1, sums, flushed)
            # (a + da)(b + db) - a b = a db + da (b + db), for both products.
            product = operate(symbol, a.value, b.value)
            inherited = np.zeros_like(product)
            if b.inherited.any():
                inherited = inherited + operate(symbol, np.abs(a.value), b.inherited)
            if a.inherited.any():
                inherited = inherited + operate(symbol, a.inherited, np.abs(b.value) + b.inherited)
            terms = b.value.shape[-2] if symbol == "@" else 1
            if precision.sums < precision.u and symbol == "@":
                # Summed up in the finer format, and stored.
                stores, sums = stores + 1, sums + terms
            else:
                stores += terms
            flushed = _flushed(symbol, a, b, precision)
            return Bounded(product, operate(symbol, a.size, b.size), inherited, stores, sums, flushed)


def _flushed(symbol: str, a: Bounded, b: Bounded, precision: Precision) -> Array:
    """What underflow is worth in a product: what it was in the factors, as with inherited errors, and one smallest
    normal number for each product and each sum.
    """
    left, right = a.flushed, b.flushed
    if symbol != "@":
        both = left * right * precision.smallest_normal
        return np.asarray(left * b.size + a.size * right + both + 1)
    # Where a finer format sums up, its ends are further out: only what is stored in the end counts.
    own = np.asarray(1.0 if precision.sums < precision.u else 2.0 * b.value.shape[-2])
    if left.any():
        own = own + (left * b.size.sum(axis=-2) if left.ndim == 0 else np.broadcast_to(left, a.size.shape) @ b.size)
    if right.any():
        beside = a.size + left * precision.smallest_normal
        right = np.broadcast_to(right, b.size.shape)
        own = own + beside @ right
    return own


def _function(name: str, x: Bounded, precision: Precision) -> Bounded:
    if name not in FUNCTIONS:
        return _other(name, x, precision)
    incoming, f = x.error(precision), FUNCTIONS[name]
    value = f(x.value)
    flattest = f(np.maximum(np.abs(x.value) - incoming, 0))
    through: Array = (1 - flattest**2 if name == "tanh" else flattest * (1 - flattest)) * incoming
    if not (incoming <= SMALL).all():
        ends = np.maximum(f(x.value + incoming) - value, value - f(x.value - incoming))
        # The ends are themselves rounded, in float64.
        through = np.minimum(through, ends + 2.0**-52)
    if name == "tanh":
        own = TANH_UNITS_OF_VALUE * precision.u * (np.abs(value) + through)
    else:
        own = np.full_like(value, SIGMOID_UNITS_OF_ONE * precision.u)
    error = through + own + precision.smallest_normal
    return Bounded(value, np.abs(value) + error, error, 0, 0, NOTHING)


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
