"""How a product, a sum and a function are computed: plainly, or as another library might.

The oracle's twins must err the way that a correct implementation may err. Permuting a problem changes the order of
sums within NumPy's own kernels, which block them and err little; another library may add term after term, and its
tanh may be off by units where NumPy's is right to the last place. `Unlike` adds errors of that size, at random, in the
manner of Monte Carlo arithmetic (Parker 1997; Denis et al. 2016, arXiv:1509.01347).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}

# What a library's own functions may add, in units of u. Sigmoid is often taken as 0.5 + 0.5 tanh(x / 2), whose
# error is relative to 1 and not to the small value; tanh keeps its relative accuracy near 0 in every library. The worst
# found: TensorFlow's tanh in float64, 9.3 units near 15.9; its sigmoid, 1.5 units of 1.
SIGMOID_UNITS_OF_ONE = 4.0
TANH_UNITS_OF_VALUE = 12.0


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), accurate to a few units in the last place and free of overflow; complex x too.

    Splitting on the sign keeps the exponent at or below 0 and the formula analytic, as complex-step derivatives need.
    """
    negative = x.real < 0
    e = np.exp(np.where(negative, x, -x))
    value: Array = np.where(negative, e, x.dtype.type(1)) / (x.dtype.type(1) + e)
    return value


def tanh(x: Array) -> Array:
    value: Array = np.tanh(x)
    return value


FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {"sigmoid": sigmoid, "tanh": tanh}


class Plain:
    """NumPy's own."""

    def product(self, a: Array, b: Array) -> Array:
        """The matrix product."""
        value: Array = a @ b
        return value

    def total(self, a: Array, axes: tuple[int, ...]) -> Array:
        """The sum over axes."""
        value: Array = a.sum(axis=axes)
        return value

    def accumulated(self, parts: Sequence[Array], rows: int) -> Array:
        """The sum of the parts, each itself a sum: of `rows` terms for every element in all."""
        return functools.reduce(operator.add, parts)

    def function(self, name: str, x: Array) -> Array:
        """sigmoid or tanh."""
        return FUNCTIONS[name](x)


PLAIN = Plain()


@functools.lru_cache(maxsize=8)
def _pool(dtype: str, seed: int, size: int) -> Array:
    noise: Array = (UNIT_ROUNDOFF[dtype] * np.random.RandomState(seed).uniform(-1, 1, size)).astype(dtype)
    return noise


class Unlike(Plain):
    """Plain, plus the error that another library's kernels may have at unit roundoff `u`, drawn from a seed.

    A sum of k terms added one after another has partial sums s_j, and errs by about u sqrt(sum s_j^2). With terms of
    one sign that is u |s| sqrt(k / 3); with terms of random sign u sqrt(k / 2) sqrt(sum of their squares). Both in one:
    u sqrt(k / 2) sqrt(s^2 + sum of squares). Functions err by half of what the bound allows.
    """

    _POOL = 2**20

    def __init__(self, dtype: str, seed: int) -> None:
        self._random = np.random.RandomState(seed)
        # Fresh noise for every operation would take most of the time; slices of one pool at random places do.
        self._noise = _pool(dtype, seed, 2 * self._POOL)

    def product(self, a: Array, b: Array) -> Array:
        return self._summed(a @ b, (a * a) @ (b * b), a.shape[-1])

    def total(self, a: Array, axes: tuple[int, ...]) -> Array:
        s = a.sum(axis=axes)
        return self._summed(s, (a * a).sum(axis=axes), a.size // max(s.size, 1))

    def accumulated(self, parts: Sequence[Array], rows: int) -> Array:
        # As if a library had put off the sum to the end and then added all rows of all parts one by one: cuDNN and
        # oneDNN, for one, take gradients of weights and biases over all time steps at once.
        s = super().accumulated(parts, rows)
        return self._summed(s, functools.reduce(operator.add, [part * part for part in parts]), rows)

    def function(self, name: str, x: Array) -> Array:
        y = FUNCTIONS[name](x)
        noise = self._draw(y)
        of = y.dtype.type
        units = of(TANH_UNITS_OF_VALUE / 2) * y if name == "tanh" else of(SIGMOID_UNITS_OF_ONE / 2)
        value: Array = y + units * noise
        return value

    def _summed(self, s: Array, squares: Array, terms: int) -> Array:
        if terms < 2:
            return s
        value: Array = s + np.sqrt(s.dtype.type(terms / 2) * (s * s + squares)) * self._draw(s)
        return value

    def _draw(self, like: Array) -> Array:
        """u times uniform(-1, 1), in the shape of an array."""
        start = self._random.randint(self._POOL)
        noise = self._noise[start : start + min(like.size, self._POOL)]
        return noise.reshape(like.shape) if noise.size == like.size else np.resize(noise, like.shape)
