"""Functions that stand for sigmoid and tanh elsewhere: relu, Keras' hard_sigmoid, and what else is told; by name."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from shared_spec.readings.arithmetic import FUNCTIONS, Array, Plain

_SELU = (1.0507009873554805, 1.6732632423543772)
_PLAIN: Mapping[str, Callable[[Array], Array]] = {
    **FUNCTIONS,
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
    "identity": lambda x: x,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: _SELU[0] * np.where(x > 0, x, _SELU[1] * np.expm1(np.minimum(x, 0))),
    "silu": lambda x: x * FUNCTIONS["sigmoid"](x),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
}
_STEEPEST: Mapping[str, float] = {"selu": _SELU[0] * _SELU[1], "silu": 1.1}
"""Of those that rise more steeply than 1 anywhere; silu's is a little less."""
_ROUNDED = re.compile(r"rounded\((\d+)\)")
_HARD_SIGMOID = re.compile(r"hard_sigmoid\(([-+.\deE]+), ([-+.\deE]+)\)")


@functools.lru_cache(maxsize=1024)
def function(name: str) -> Callable[[Array], Array] | None:
    """A function by its name, such as relu; "hard_sigmoid(0.2, 0.5)", which is clip(0.2 x + 0.5, 0, 1); "rounded(8)",
    to 8 bits of the significand. None where it is not known.
    """
    if match := _HARD_SIGMOID.fullmatch(name):
        slope, middle = float(match[1]), float(match[2])
        return lambda x: np.clip(slope * x + middle, 0, 1)
    if match := _ROUNDED.fullmatch(name):
        bits = int(match[1])
        return lambda x: rounded(x, bits)
    return _PLAIN.get(name)


def rounded(x: Any, bits: int, *, of: int | None = None) -> Any:
    """An array rounded to nearest, to so many bits of the significand, as it is where it has no more. Of any library:
    made of products and sums alone (Dekker 1971, A floating-point technique for extending the available precision);
    `of` is how many bits it has, which NumPy tells itself.
    """
    own = of or np.finfo(x.dtype).nmant + 1
    if bits >= own:
        return x
    scaled = x * (2.0 ** (own - bits) + 1.0)
    return scaled - (scaled - x)


def steepest(name: str) -> float:
    """The steepest slope that a known function has anywhere."""
    match = _HARD_SIGMOID.fullmatch(name)
    return abs(float(match[1])) if match else _STEEPEST.get(name, 1.0)


class ByName(Plain):
    """Plain, with every function by its name. Raises KeyError for one that is not known."""

    def function(self, name: str, x: Array) -> Array:
        """The function of that name."""
        activation = function(name)
        if activation is None:
            raise KeyError(name)
        return activation(x)
