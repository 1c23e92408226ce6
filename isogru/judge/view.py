"""How a function of a cell can be seen from outside: settings of its parameters in which an output is an image of it.

A sigmoid or tanh stands in the midst of a cell, and only the next state comes out. With one gate shut and another
open, though, a unit of that state is the function itself, or a + b times it. Which gates those are follows from the
equations: settings of a single unit are tried, the plainest first, and the float64 oracle tells what comes out. Nothing
here knows the name of a gate.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from shared_spec.cells import Cell
from shared_spec.expression import Shape, names
from shared_spec.readings import value
from shared_spec.readings.arithmetic import FUNCTIONS, PLAIN, Array, Plain

SMALL = 2.0**-30
"""So small that tanh(x) = x in every precision."""
POINTS = np.arange(13, 128) / 64
"""Where functions are asked: where neither is near its ends, so that its errors are those of its format; and exact in
eight bits, so that a product that cuts its factors hands them on as they are.
"""
WEIGHT, RECURRENT, BIAS, START = ("d", "h"), ("h", "h"), ("h",), "H0"
SATURATED = 200.0
"""What opens a gate, and its negative shuts it, in every precision."""
VALUES: Mapping[object, tuple[float, ...]] = {
    BIAS: (-SATURATED, SATURATED, SMALL),
    RECURRENT: (SMALL, 1.0),
    # From an input that is always 1: a cell without biases has no other way to open a gate.
    WEIGHT: (-SATURATED, SATURATED, SMALL),
}
"""What a parameter of one unit may be instead of zero, by its shape."""
STARTS = (1.0, SMALL)
MOST = 3
"""So many of these at once, beside what opens and shuts gates: each one more makes the search ten times as long."""
EXACT = 1e-12
"""The oracle's own rounding, and far below that of any format."""
FAINTEST = SMALL * SMALL
"""The least factor of a view, well within every format's range: a gate that is shut lets 1e-87 through in float64."""

Setting = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class View:
    """A setting of one unit in which the next state is offset + factor f(x)."""

    function: str
    """"sigmoid" or "tanh"; empty where the state is linear in x."""
    weight: str
    """The parameter (d, h) that hands x on, by a 1."""
    setting: Setting
    """What else is not zero: parameters, a (d, h) one on an input that is always 1, and the state "H0"."""
    offset: float
    factor: float
    alone: bool
    """Whether nothing else shows, coarse as it may be: no other function, and no factor of a product."""

    @property
    def hands_on(self) -> bool:
        """Whether a small x comes out as it went in, times a power of two, which no format rounds."""
        return self.function != "sigmoid" and not self.offset and abs(np.frexp(self.factor)[0]) == 0.5


def views(cell: Cell, without: tuple[str, ...] = ()) -> tuple[View, ...]:
    """One view of every sigmoid and tanh of a cell that can be seen, in the order of the equations. No parameter of
    `without` is used: a layer that lacks it takes it for zero.
    """
    return tuple(view for view in _views(cell, without) if view)


@functools.lru_cache(maxsize=64)
def linear(cell: Cell, without: tuple[str, ...] = ()) -> View | None:
    """The view in which small numbers come out as they went in: through a tanh that is seen, else straight."""
    through_tanh = (view for view in views(cell, without) if view.hands_on)
    straight = (_seen(cell, None, weight, without) for weight in _weights(cell, without))
    return next(through_tanh, None) or next((view for view in straight if view), None)


def unseen(cell: Cell, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What no view shows, in words: "product" and "sum", which need a linear one, and such as "sigmoid of F"."""
    hidden = zip(cell.functions, _views(cell, without), strict=True)
    arithmetic = () if linear(cell, without) else ("product", "sum")
    return (*arithmetic, *(f"{function.name} of {target}" for (target, function), view in hidden if view is None))


@functools.lru_cache(maxsize=64)
def _views(cell: Cell, without: tuple[str, ...]) -> tuple[View | None, ...]:
    views = []
    for number, (_, function) in enumerate(cell.functions):
        inside = set(names(function.argument))
        seen = (_seen(cell, number, weight, without) for weight in _weights(cell, without) if weight in inside)
        views.append(next((view for view in seen if view), None))
    return tuple(views)


def _weights(cell: Cell, without: tuple[str, ...]) -> list[str]:
    return [name for name, shape in cell.parameters.items() if shape == WEIGHT and name not in without]


def _seen(cell: Cell, number: int | None, weight: str, without: tuple[str, ...]) -> View | None:
    """The plainest setting that shows the function of that number, whose input comes by that weight; for None, a small
    input itself. Alone rather than through others, without an offset rather than with one, few parameters rather than
    many.
    """
    name = "" if number is None else cell.functions[number][1].name
    # Thirds fill all places: what goes through a sigmoid on its way, whose value is near one half, loses some of them.
    x = POINTS[::13] if name else SMALL / 3 * POINTS[::13]
    image = FUNCTIONS[name](x) if name else x
    # The first of each kind, best kind first: alone and without an offset, alone, without an offset.
    views: dict[tuple[bool, bool], View] = {}
    for settings in _settings(cell, weight, without):
        after = _after(cell, weight, settings, x, PLAIN)
        same = (after == _after(cell, weight, settings, x, _Coarse(number))).all(axis=1)
        for at, offset, factor in _images(after, image):
            view = View(name, weight, settings[at], offset, factor, bool(same[at]))
            if name or view.hands_on:
                views.setdefault((view.alone or not name, not offset), view)
        if (True, True) in views:
            break
    return views[max(views)] if views else None


class _Coarse(Plain):
    """Plain, but for the factors of products, and for all functions but that of a number, which keep eight bits: gates
    that are open or shut, and the points, are no others in them.
    """

    def __init__(self, number: int | None) -> None:
        self._number, self._asked = number, -1

    def product(self, a: Array, b: Array) -> Array:
        return super().product(_eight_bits(a), _eight_bits(b))

    def function(self, name: str, x: Array) -> Array:
        self._asked += 1
        y = super().function(name, x)
        return y if self._asked == self._number else _eight_bits(y)


def _eight_bits(array: Array) -> Array:
    mantissa, exponent = np.frexp(array)
    kept: Array = np.ldexp(np.round(np.ldexp(mantissa, 8)), exponent - 8)
    return kept


def _settings(cell: Cell, weight: str, without: tuple[str, ...]) -> Iterator[list[Setting]]:
    """Settings of a unit in which every gate but that of the weight is open or shut, as far as it has a parameter for
    that; by how many others they give a value to.
    """
    usable = {name: shape for name, shape in cell.parameters.items() if name not in without and shape in VALUES}
    gates = dict.fromkeys(name for name in _openers(cell, weight, usable) if name)
    may = [(START, STARTS)] + [
        (name, VALUES[shape])
        for name, shape in sorted(usable.items(), key=lambda item: list(VALUES).index(item[1]))
        if name not in gates and name != weight
    ]
    for count in range(MOST + 1):
        yield [
            (*zip(gates, shut, strict=True), *zip((name for name, _ in some), values, strict=True))
            for some in itertools.combinations(may, count)
            for values in itertools.product(*(values for _, values in some))
            for shut in itertools.product((-SATURATED, SATURATED), repeat=len(gates))
        ]


def _openers(cell: Cell, weight: str, usable: Mapping[str, Shape]) -> Iterator[str | None]:
    """For every gate but that of the weight the parameter that opens it: a bias of it, else a weight of its input."""
    for _, function in cell.functions:
        inside = list(names(function.argument))
        if function.name == "sigmoid" and weight not in inside:
            biases = [name for name in cell.gate_biases if name in inside and name in usable]
            yield next(iter(biases + [name for name in inside if usable.get(name) == WEIGHT]), None)


def _after(cell: Cell, weight: str, settings: list[Setting], x: Array, arithmetic: Plain) -> Array:
    """The state (settings, x) after one step of one unit from one input x and another that is 1, for all settings."""

    def column(name: str) -> Array:
        return np.array([dict(setting).get(name, 0.0) for setting in settings]).reshape(-1, 1, 1)

    zero = np.zeros((len(settings), 1, 1))
    parameters = {
        name: np.concatenate([zero + (name == weight), column(name)], 1) if shape == WEIGHT else column(name)
        for name, shape in cell.parameters.items()
    }
    X = np.broadcast_to(np.stack([x, np.ones_like(x)], 1), (len(settings), len(x), 2))
    H = np.broadcast_to(column(START), (len(settings), len(x), 1))
    with np.errstate(all="ignore"):
        H = value.step(cell, X, H, parameters, arithmetic=arithmetic)["H"]
    return np.broadcast_to(H, (len(settings), len(x), 1))[..., 0]


def _images(after: Array, image: Array) -> Iterator[tuple[int, float, float]]:
    """Which of the states (settings, x) are an offset and a factor times the image (x), and these two. An offset much
    larger than the factor would leave nothing of the image in a short format.
    """
    with np.errstate(all="ignore"):
        factor = (after[:, -1] - after[:, 0]) / (image[-1] - image[0])
        offset = after[:, 0] - factor * image[0]
        scale = np.abs(factor) * np.abs(image).max()
        rest = np.abs(after - offset[:, None] - factor[:, None] * image).max(axis=1)
        none = np.abs(offset) <= EXACT * scale
        # Without an offset the last ratio is the factor to the last place.
        factor = np.where(none, after[:, -1] / image[-1], factor)
        fits = (np.abs(factor) >= FAINTEST) & (rest <= EXACT * scale) & (np.abs(offset) <= 2 * scale)
    for at in np.flatnonzero(fits):
        yield int(at), 0.0 if none[at] else float(offset[at]), float(factor[at])
