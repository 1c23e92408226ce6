"""A layer of a framework as it is judged: what it computes from arrays, and the cases made for its weights.

A case of the catalogue has weights and sizes of its own. A module has its own too, and is judged with them: inputs are
drawn by a seed. A fresh module shows little by itself, such as a Keras layer whose biases are all zero, so that weights
are drawn for it too, put in, and taken out again.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isogru.judge import ends, reference
from isogru.models.layer import Layer
from isogru.models.recognition import matrices
from isogru.runners.arrays import Arrays, Leaves, Run, parted, taken
from shared_spec.cells import Cell, cell
from shared_spec.errors import UserError
from shared_spec.expression import Place, parse
from shared_spec.files.interchange import Case
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import HALVES, UNIT_ROUNDOFF, rounded
from shared_spec.weights.layouts import SECOND_BIASES, Layout
from shared_spec.weights.packing import pack, unpack

SIGMA = 0.5
"""Standard deviation of weights that are drawn, as of the catalogue's; of many units less."""
OPEN = 12.0
"""Added to the biases of gates, with alternating sign: gates at their ends."""
LARGE = 30.0
"""By which an input is multiplied that drives every gate to its ends."""
DRAWS = 16
"""So many times a case is drawn until the layer's precision can hold all of its gradients."""


@dataclass(frozen=True)
class Subject:
    """One layer, in one direction."""

    title: str
    """As sentences name it: "GRU", "GRU l0_reverse"."""
    framework: str
    layer: Layer
    """Its weights, and the layout that they have."""
    dtype: str
    device: str
    call: Callable[[Array, Array, Mapping[str, Array]], dict[str, Array]]
    """(X (T, n, d), H0 (n, h), tensors by the layout's own names) -> "H" and, where it gives that, "final"."""
    pull: Callable[[Array, Array, Mapping[str, Array], Array], dict[str, Array]]
    """(X, H0, tensors, dH (T, n, h)) -> the gradients of sum(dH * H) by "X", "H0" and the layout's own names."""
    starts: bool = True
    """Whether it takes H0; else it starts from zero."""
    fixed: tuple[int, int] | None = None
    """(T, n), where it takes no other."""
    brief: bool = False
    """Whether many steps take long."""
    redrawn: bool = True
    """Whether other weights can be put in."""
    enters: tuple[int, Callable[[Array], Array]] | None = None
    """Of the top of a stack: how many inputs the stack takes, and what enters the top, (T, n, d), where X enters that.
    """
    notes: tuple[str, ...] = ()
    products: str = ""
    """What its products are computed in, where that is coarser than the dtype of its states."""
    around: str = ""
    """What says so of its products, where it is not the module itself, which need not heed it."""
    without: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    """In which what is around it is switched off."""

    @property
    def computed(self) -> str:
        """What it computes in: that of its products, else that of its states."""
        return self.products or self.dtype

    @property
    def rounds_gradients(self) -> bool:
        """Whether gradients of its weights are in a coarser dtype than its states: that of the weights."""
        return UNIT_ROUNDOFF[self.layer.dtypes[0]] > UNIT_ROUNDOFF[self.dtype]

    @property
    def label(self) -> str:
        """Of one layer among several: "l0_reverse"."""
        return self.layer.label if self.enters is None else f"{self.layer.label} in the stack"

    @property
    def tensors(self) -> dict[str, Array]:
        """Its own weights, by the layout's own names; zero for a bias that it does not have."""
        return self.layer.tensors()


@dataclass(frozen=True)
class Drawn:
    """A kind of case: which weights, and how the input is drawn."""

    name: str
    T: int
    n: int
    input: float = 1.0
    start: bool = True
    own: bool = True
    gate_bias: float = 0.0


KINDS = (
    Drawn("ordinary", 7, 3),
    Drawn("zero_start", 7, 3, start=False),
    Drawn("zero_input", 7, 3, input=0.0),
    Drawn("large_input", 7, 3, input=LARGE),
    Drawn("long", 64, 2),
    Drawn("drawn_weights", 7, 3, own=False),
    Drawn("drawn_saturated", 7, 3, own=False, gate_bias=OPEN),
)
"""The cases of a module."""


def functional(run: Run, arrays: Arrays, dtype: str, device: str, *, weights: str = "") -> tuple[Any, Any]:
    """`call` and `pull` of a subject, from what computes it from leaves alone: X, H0 and states in `dtype`, and the
    `weights` too unless another is said.
    """
    held = weights or dtype

    def leaves(X: Array, H0: Array, tensors: Mapping[str, Array]) -> Leaves:
        given = {name: arrays.give(array, dtype) for name, array in {"X": X, "H0": H0}.items()}
        return given | {name: arrays.give(array, held) for name, array in tensors.items()}

    def call(X: Array, H0: Array, tensors: Mapping[str, Array]) -> dict[str, Array]:
        return outputs(run(leaves(X, H0, tensors)), dtype, device)

    def pull(X: Array, H0: Array, tensors: Mapping[str, Array], dH: Array) -> dict[str, Array]:
        gradients = arrays.pull(run, leaves(X, H0, tensors), arrays.give(dH, dtype))
        of = {name: dtype if name in ("X", "H0") else held for name in gradients}
        return {name: taken(value, f"grad.{name}", dtype=of[name]) for name, value in gradients.items()}

    return call, pull


def outputs(given: Any, dtype: str, device: str) -> dict[str, Array]:
    """What a layer gave, H or (H, final), as NumPy has it."""
    H, final = parted(given)
    arrays = {"H": taken(H, "H", dtype=dtype, device=device)}
    return arrays if final is None else arrays | {"final": taken(final, "final", dtype=dtype, device=device)}


def with_second(layout: Layout, of: Cell) -> Cell:
    """A cell as a layer of a layout computes it: its equations with the second biases that the layout has, each of
    which is rounded in by itself.
    """
    held = [second for second in SECOND_BIASES if second in layout.holds and second not in of.parameters]
    seconds = {second: SECOND_BIASES[second] for second in held if SECOND_BIASES[second] in of.parameters}
    equations = []
    for equation in of.equations:
        text = equation.text
        for second, bias in seconds.items():
            text = re.sub(rf"\b{bias}\b", f"{bias} + {second}", text)
        equations.append(parse(text, Place("layouts.toml", 1, 1, layout.name)))
    shapes = {second: of.parameters[bias] for second, bias in seconds.items()}
    return replace(of, equations=tuple(equations), parameters={**of.parameters, **shapes})


@dataclass(frozen=True)
class Problem:
    """A case of a layer, the tensors that it is to have, and the X that goes in, where the case's comes out of that."""

    case: Case
    tensors: dict[str, Array]
    X: Array


def problems(
    subject: Subject, of: Cell, *, seed: int, gradients: bool, names: Collection[str] = ()
) -> Iterator[Problem]:
    """The cases of a layer that claims to be a cell, those of `names` where there are some. Raises InterchangeError for
    weights that are no finite numbers, UserError where some that the cell does not have are not zero.
    """
    whole = with_second(subject.layer.layout, of)
    for kind in KINDS:
        if names and kind.name not in names:
            continue
        if (kind.name == "long" and (subject.brief or subject.fixed)) or not (kind.own or subject.redrawn):
            continue
        if kind.name == "zero_start" and not subject.starts:
            continue
        yield _problem(subject, whole, kind, seed, gradients)


def _problem(subject: Subject, of: Cell, kind: Drawn, seed: int, gradients: bool) -> Problem:
    """The first draw of a case of which the layer's precision can hold every gradient: where gates are at their ends
    rounding alone can move one by as much as it is large. The first draw of all where no other is better.
    """
    # float16 and bfloat16 cannot hold gradients there at all, and nothing could be said of them.
    at_ends = bool(kind.gate_bias or kind.input > 1)
    pulled = gradients and not (at_ends and subject.computed in HALVES)
    first = _draw(subject, of, kind, [seed, zlib.crc32(kind.name.encode())], pulled)
    if not (pulled and at_ends):
        return first
    others = (_draw(subject, of, kind, [seed, zlib.crc32(kind.name.encode()), k], True) for k in range(1, DRAWS))
    held = (each for each in itertools.chain([first], others) if _held(each.case, subject.computed))
    return next(held, first)


def _held(case: Case, dtype: str) -> bool:
    return ends.can_hold(reference.get(case, dtype, kept=False), dtype)


def _draw(subject: Subject, of: Cell, kind: Drawn, seed: list[int], pulled: bool) -> Problem:
    d, entered = subject.enters or (subject.layer.sizes["d"], lambda X: X)
    (T, n), h = subject.fixed or (kind.T, kind.n), subject.layer.sizes["h"]
    random = np.random.RandomState(seed)
    X = kind.input * random.standard_normal((T, n, d))
    H0 = np.tanh(random.standard_normal((n, h)))
    if not (kind.start and subject.starts):
        H0 = np.zeros_like(H0)
    given = {"X": X, "H0": H0} | ({"dH": random.standard_normal((T, n, h))} if pulled else {})
    tensors = subject.tensors if kind.own else _drawn(subject, of, random, kind.gate_bias)
    arrays = {name: rounded(array, subject.dtype).astype(np.float64) for name, array in given.items()}
    X = arrays["X"]
    arrays["X"] = entered(X).astype(np.float64)
    return Problem(Case(kind.name, of, {**arrays, **_parameters(subject, of, tensors)}), tensors, X)


def _parameters(subject: Subject, of: Cell, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters of a cell that tensors hold, in float64; zero where the layout has none."""
    held = {name: array.astype(np.float64) for name, array in unpack(subject.layer.layout, tensors).items()}
    for name, array in held.items():
        if name not in of.parameters and array.any():
            raise UserError(f"{subject.title} has {name} not zero, and {of.name} has no {name}: claim another cell")
    zeros = {name: np.zeros([subject.layer.sizes[s] for s in symbols]) for name, symbols in of.parameters.items()}
    return {name: held.get(name, zero) for name, zero in zeros.items()}


def _drawn(subject: Subject, of: Cell, random: np.random.RandomState, gate_bias: float) -> dict[str, Array]:
    """Other weights, all of them random; zero for what the layer or the cell does not have."""
    layout, sizes = subject.layer.layout, subject.layer.sizes
    sigma = SIGMA * min(1.0, 4 / np.sqrt(sizes["h"]))
    shapes = with_second(layout, cell(layout.cell)).parameters
    held = {}
    for name in layout.holds:
        values = sigma * random.standard_normal([sizes[symbol] for symbol in shapes[name]])
        if gate_bias and name in of.gate_biases and name not in SECOND_BIASES:
            values += gate_bias * np.resize([1.0, -1.0], values.shape)
        narrow = subject.layer.dtypes[0] if subject.rounds_gradients else subject.dtype
        held[name] = rounded(values if name in of.parameters else 0 * values, narrow)
    packed = pack(layout, held)
    kept = matrices(layout) | set(subject.layer.names)
    return {own: array if own in kept else np.zeros_like(array) for own, array in packed.items()}
