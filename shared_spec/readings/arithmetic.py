"""How a product, a sum and a function are computed: plainly, or as another library might.

The oracle's twins must err the way that a correct implementation may err. Permuting a problem changes the order of
sums within NumPy's own kernels, which block them and err little; another library may add term after term, and its
tanh may be off by units where NumPy's is right to the last place. `Unlike` adds errors of that size, at random, in the
manner of Monte Carlo arithmetic (Parker 1997; Denis et al. 2016, arXiv:1509.01347).
"""

from __future__ import annotations

import functools
import math
import operator
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shared_spec.readings import floats
from shared_spec.readings.floats import UNIT_ROUNDOFF as UNIT_ROUNDOFF
from shared_spec.readings.floats import Array as Array

# What a library's own functions may add, in units of u. Sigmoid is often taken as 0.5 + 0.5 tanh(x / 2), whose
# error is relative to 1 and not to the small value; tanh keeps its relative accuracy near 0 in every library. The worst
# found: TensorFlow's tanh in float64, 9.3 units near 15.9; its sigmoid, 1.5 units of 1.
SIGMOID_UNITS_OF_ONE = 4.0
TANH_UNITS_OF_VALUE = 12.0


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), accurate to a few units in the last place, and 0 where exp(-x) overflows; complex x too."""
    # Splitting on the sign would keep the exponent at or below 0; np.where takes three times as long as all the rest.
    y: Array = np.negative(x, out=np.empty_like(x))
    with np.errstate(over="ignore"):
        np.exp(y, out=y)
    y += x.dtype.type(1)
    np.reciprocal(y, out=y)
    return y


def tanh(x: Array) -> Array:
    value: Array = np.tanh(x)
    return value


FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {"sigmoid": sigmoid, "tanh": tanh}


@dataclass(frozen=True)
class OneHot:
    """An array of ones and zeros (..., size) by the places of the ones (...): a product with it is a lookup."""

    places: npt.NDArray[np.integer[Any]]
    size: int
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> OneHot:
        return OneHot(self.places[index], self.size, self.dtype)

    def __iter__(self) -> Iterator[OneHot]:
        return (self[i] for i in range(len(self)))

    @functools.cached_property
    def dense(self) -> Array:
        array: Array = np.eye(self.size, dtype=self.dtype)[self.places]
        return array


def dense(array: Array | OneHot) -> Array:
    """The array itself."""
    return array.dense if isinstance(array, OneHot) else array


class Plain:
    """NumPy's own."""

    def product(self, a: Array, b: Array) -> Array:
        """The matrix product."""
        value: Array = a @ b
        return value

    def lookup(self, a: OneHot, b: Array) -> Array:
        """The matrix product, each row of which is one of b's."""
        value: Array = np.take(b, a.places, axis=0)
        return value

    def total(self, a: Array, axes: tuple[int, ...]) -> Array:
        """The sum over axes."""
        value: Array = a.sum(axis=axes)
        return value

    def accumulated(self, parts: Sequence[Array] | Array, rows: int) -> Array:
        """The sum of the parts, each itself a plain sum: of `rows` terms for every element in all."""
        return functools.reduce(operator.add, parts)

    def function(self, name: str, x: Array) -> Array:
        """sigmoid or tanh."""
        return FUNCTIONS[name](x)

    def handed_on(self, a: Array) -> Array:
        """What one step hands on to the next, or to a sum over all steps."""
        return a

    @property
    def over_rows(self) -> Plain:
        """By what sums over the rows of one time step are computed: parts of sums over all rows and steps, which err as
        a whole.
        """
        return PARTS


class Parts(Plain):
    """Plain, for sums over the rows of one time step, which are parts of sums over all steps."""

    def total(self, a: Array, axes: tuple[int, ...]) -> Array:
        # NumPy adds rows up slowly, BLAS does not.
        rows: Array = a.reshape(math.prod(a.shape[axis] for axis in axes), -1)
        value: Array = np.ones(len(rows), a.dtype) @ rows
        return value


PLAIN = Plain()
PARTS = Parts()


@functools.lru_cache(maxsize=8)
def _pool(dtype: str, seed: int, size: int) -> Array:
    noise: Array = UNIT_ROUNDOFF[dtype] * np.random.RandomState(seed).uniform(-1, 1, size)
    return noise.astype(floats.carrier(dtype))


class Unlike(Plain):
    """Plain, plus the error that another library's kernels may have at unit roundoff `u`, drawn from a seed.

    A sum of k terms added one after another has partial sums s_j, and errs by about u sqrt(sum s_j^2). With terms of
    one sign that is u |s| sqrt(k / 3); with terms of random sign u sqrt(k / 2) sqrt(sum of their squares). Both in one:
    u sqrt(k / 2) sqrt(s^2 + sum of squares). A sum errs by that much where every term, and then the sum itself, is off
    by u sqrt(k / 2) of its own size, each by itself; no square is taken, and none overflows. Functions err by half of
    what the bound allows.

    In float16 and bfloat16 the arrays are float32, and what comes out is rounded to the format: it overflows, and falls
    to zero, where the format does.
    """

    _POOL = 2**20

    def __init__(self, dtype: str, seed: int, *, faintest: float = 0.0) -> None:
        """Errors of less than `faintest` units of u are left out."""
        self._random = random.Random(seed)
        self._faintest, self._u = faintest, UNIT_ROUNDOFF[dtype]
        self._half = dtype if dtype in floats.HALVES else ""
        # Fresh noise for every operation would take most of the time; slices of one pool at random places do.
        self._noise = _pool(dtype, seed, 2 * self._POOL)

    def given(self, a: Array) -> Array:
        """What is made of an input or a parameter before it is used."""
        return a

    def product(self, a: Array, b: Array) -> Array:
        units = _of_sum(a.shape[-1])
        # Of the larger one, for an error that few elements of the product share.
        if a.size > b.size:
            a = self._off(a, units)
        else:
            b = self._off(b, units)
        return self._off(a @ b, units)

    def lookup(self, a: OneHot, b: Array) -> Array:
        # As a product: its one term that is not zero and the sum are off, by as much each.
        return self._off(super().lookup(a, b), _of_sum(2 * a.size))

    def total(self, a: Array, axes: tuple[int, ...]) -> Array:
        units = _of_sum(math.prod(a.shape[axis] for axis in axes))
        return self._off(super().total(self._off(a, units), axes), units)

    def accumulated(self, parts: Sequence[Array] | Array, rows: int) -> Array:
        # As if a library had put off the sum to the end and then added all rows of all parts one by one: cuDNN and
        # oneDNN, for one, take gradients of weights and biases over all time steps at once. The errors that parts have
        # of their own, as sums, are as large as those of one part more.
        s = super().accumulated(parts, rows)
        units = _of_sum(rows) * math.sqrt(1 + 1 / len(parts))
        if units <= self._faintest:
            return self._kept(s)
        return self._kept(s + length(np.stack([s, *parts]), (0,)) * self._draw(s, units))

    def function(self, name: str, x: Array) -> Array:
        exact = super().function(name, x)
        units = (TANH_UNITS_OF_VALUE if name == "tanh" else SIGMOID_UNITS_OF_ONE) / 2
        if units <= self._faintest:
            return self._kept(exact)
        if name == "tanh":
            return self._felt(exact, self._off(exact, units))
        return self._felt(exact, self._kept(exact + self._draw(exact, units)))

    def _felt(self, exact: Array, y: Array) -> Array:
        """A function's values, where those whose error their own rounding took away are off by the least error that is
        kept. Next to one it takes a third of all errors away, and may take those of all twins: a slope that is 0 in
        every twin is 1e-17 in a library that computes 1 - y by itself.
        """
        lost = y == exact
        if not lost.any():
            return y
        return np.where(lost, self._kept(exact * exact.dtype.type(1 - 2 * self._u)), y)

    def _off(self, a: Array, units: float) -> Array:
        """Each element off by so many units of u of its own size, at most."""
        if units <= self._faintest:
            return self._kept(a)
        value: Array = a * self._draw(a, units)
        value += a
        return self._kept(value)

    def _kept(self, a: Array) -> Array:
        """As the format has it."""
        return floats.rounded(a, self._half) if self._half else a

    def _draw(self, like: Array, units: float) -> Array:
        """u times uniform(-units, units), in the shape of an array."""
        start = int(self._random.random() * self._POOL)
        noise: Array = self._noise[start : start + min(like.size, self._POOL)] * self._noise.dtype.type(units)
        if noise.size < like.size:
            noise = np.resize(noise, like.size)
        # In the order of memory: through a transposed array NumPy goes slowly.
        return noise.reshape(like.shape[::-1]).T if like.flags.f_contiguous else noise.reshape(like.shape)


def _of_sum(terms: int) -> float:
    """By how many units of u each term of a sum, and the sum, is off."""
    return math.sqrt(terms / 2) if terms > 1 else 0.0


def length(a: Array, axes: tuple[int, ...]) -> Array:
    """The root of the sum of squares over axes. Scaled, since squares overflow and underflow where it does not."""
    largest = np.abs(a).max(axis=axes, keepdims=True)
    scale = np.where((largest > 0) & (largest < np.inf), largest, largest.dtype.type(1))
    scaled = a / scale
    value: Array = np.squeeze(scale, axes) * np.sqrt((scaled * scaled).sum(axis=axes))
    return value
