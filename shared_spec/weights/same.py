"""Two files of weights: are they the same function? Both are read as parameters of their cells, and compared there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.readings.arithmetic import PLAIN, UNIT_ROUNDOFF, Array, Plain
from shared_spec.weights import convert
from shared_spec.weights.layouts import Layout, reset_of
from shared_spec.weights.packing import unpack

SAME, ROUNDED, DIFFERENT = "the same", "the same but for rounding", "different"
ROWS = 128
"""How many rows of a large matrix are compared at a time."""


@dataclass(frozen=True)
class Difference:
    """One parameter that is not the same, at its worst element."""

    parameter: str
    index: tuple[int, ...]
    one: float
    other: float


@dataclass(frozen=True)
class Comparison:
    """What two sets of weights are to each other."""

    verdict: str
    reasons: tuple[str, ...]
    differences: tuple[Difference, ...]
    error: float
    """The largest difference of a state on the problem of `convert.PROBE`, both in float64."""
    conditions: tuple[str, ...] = ()
    """What must hold besides, which the weights do not tell."""
    precision: str = ""
    """The narrowest dtype of the parameters that differ by one rounding, where it is narrower than float32."""
    worked_out: Mapping[str, float] = field(default_factory=dict)
    """The parameters that differ by more than one rounding, and no more than the roundings of how they were made ->
    how far those may be, relative to a value.
    """

    @property
    def sentence(self) -> str:
        """The verdict as one sentence, with every parameter that is not the same."""
        return self.said()

    def said(self, most: int | None = None, *, measured: bool = True) -> str:
        """The sentence, with so many of the worst parameters and how many more there are; and `measured` on what."""
        told = list(self.differences)
        if most is not None and len(told) > most:
            told = sorted(told, key=lambda d: -abs(d.one - d.other))[:most]
        said = [f"{d.parameter}{list(d.index)} is {d.one:.9g} and {d.other:.9g}" for d in told]
        if more := len(self.differences) - len(told):
            said.append(f"{more} more parameter{'s' if more > 1 else ''}, which -v tells")
        why = "; ".join([*self.reasons, *said])
        condition = f", if {' and '.join(self.conditions)}" if self.conditions else ""
        if self.verdict == SAME:
            every = "every parameter, of two biases their sum, to the bit"
            return f"the same function{condition}: {every}{'; ' if why else ''}{why}"
        how = f" (measured with these weights on {convert.PROBE})" if measured else ""
        off = f"states up to {self.error:.2g} off{how}"
        if self.verdict == ROUNDED:
            return f"the same function but for {self._rounding}{condition}: {why}; {off}"
        return f"different: {why}; {off}"

    @property
    def _rounding(self) -> str:
        to = f" to {self.precision}" if self.precision else ""
        kinds = [f"one rounding of a parameter{to}"] if len(self.differences) > len(self.worked_out) else []
        if self.worked_out:
            names, verb = " and ".join(self.worked_out), "is" if len(self.worked_out) == 1 else "are"
            most = max(self.worked_out.values())
            kinds.append(f"the several roundings with which {names} {verb} worked out, at most {most:.2g} of a value")
        return " and ".join(kinds)


@dataclass(frozen=True)
class Side:
    """What is known of one side beside its weights."""

    name: str = ""
    """What reasons call it; its layout's name where it is empty."""
    arithmetic: Plain = PLAIN
    """Its functions, where they are not sigmoid and tanh."""
    reverse: bool = False
    """Whether it runs from the last step to the first."""
    roundoffs: Mapping[str, float] = field(default_factory=dict)
    """Of what it holds, by the spec's names, the unit roundoff that it was rounded with; where there is none, that of
    the array's dtype.
    """
    worked_out: Mapping[str, float] = field(default_factory=dict)
    """Of what was made of several tensors, how far it may be from what others make of the same, relative to a value."""


def compare(
    one: Layout,
    tensors: Mapping[str, Array],
    other: Layout,
    others: Mapping[str, Array],
    *,
    sides: tuple[Side, Side] = (Side(), Side()),
    reasons: Sequence[str] = (),
    conditions: Sequence[str] = (),
) -> Comparison:
    """The weights of one layout against those of another. Biases that are added to each other count as their sum, and
    that sum may have been rounded once. `reasons` are differences that are known beside the weights, `conditions` what
    must hold and nobody knows. Raises UserError for cells of which neither can stand for the other, and for sizes that
    are not the same.
    """
    of, to = cell(one.cell), cell(other.cell)
    if of.name != to.name and {of.name, to.name} != set(convert.GATED):
        raise UserError(f"{one.name} computes {of.name} and {other.name} {to.name}: two different cells")
    a, b = _Held(one, unpack(one, tensors, copied=False)), _Held(other, unpack(other, others, copied=False))
    if a.shape != b.shape:
        (d, h), (e, k) = a.shape, b.shape
        raise UserError(f"{one.name} has {d} inputs and {h} units, {other.name} {e} and {k}: two different problems")
    u = unit_roundoffs(one, a.held, other, b.held, *(side.roundoffs for side in sides))
    several = unit_roundoffs(one, a.held, other, b.held, *(side.worked_out for side in sides))
    differences, within, worked_out = [], True, {}
    for name in dict.fromkeys((*of.parameters, *to.parameters)):
        if a.alike(name, b):
            continue
        if difference := _difference(name, a, b):
            differences.append(difference)
            if within and not a.within(name, b, u[name]):
                within = several[name] > u[name] and a.within(name, b, several[name])
                worked_out[name] = several[name]
    reasons = list(reasons)
    if of.name != to.name and not convert.is_diagonal(a.held["W_hh"]):
        names = [side.name or layout.name for side, layout in zip(sides, (one, other), strict=True)]
        reasons.append(
            f"the reset gate acts {reset_of(of)} the product with W_hh in {names[0]}, {reset_of(to)} it in {names[1]}"
        )
    verdict = DIFFERENT if reasons or not within else ROUNDED if differences else SAME
    error = 0.0
    if reasons or differences:
        states = [
            convert.states(c, {name: p.parameter(name) for name in c.parameters}, side.arithmetic, reverse=side.reverse)
            for c, p, side in zip((of, to), (a, b), sides, strict=True)
        ]
        error = float(np.abs(states[0] - states[1]).max())
    once = [each.parameter for each in differences if each.parameter not in worked_out]
    coarsest = max((u[name] for name in once), default=0.0)
    narrow = next((dtype for dtype, of_it in UNIT_ROUNDOFF.items() if of_it == coarsest), "")
    return Comparison(
        verdict,
        tuple(reasons),
        tuple(differences),
        error,
        tuple(conditions),
        narrow if coarsest > UNIT_ROUNDOFF["float32"] else "",
        worked_out if verdict == ROUNDED else {},
    )


def unit_roundoffs(
    one: Layout, held: Mapping[str, Array], other: Layout, others: Mapping[str, Array], *known: Mapping[str, float]
) -> dict[str, float]:
    """Of each parameter the coarsest unit roundoff of what either layer holds of it, of two biases both: that of the
    arrays' dtypes, or a coarser one that is `known` of it. A matrix in bfloat16 says nothing of a bias in float32.
    """
    coarsest: dict[str, float] = {}
    for layout, arrays in ((one, held), (other, others)):
        for part, array in arrays.items():
            name = layout.second.get(part, part)
            own = (UNIT_ROUNDOFF[array.dtype.name], *(each.get(part, 0.0) for each in known))
            coarsest[name] = max(coarsest.get(name, 0.0), *own)
    return coarsest


def _difference(name: str, a: _Held, b: _Held) -> Difference | None:
    """Where a parameter is furthest apart; None where it is the same."""
    x, y = a.parameter(name), b.parameter(name)
    if np.array_equal(x, y):
        return None
    apart = np.abs(x - y)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(apart)), apart.shape))
    return Difference(name, index, float(x[index]), float(y[index]))


def within_rounding(
    one: Layout,
    held: Mapping[str, Array],
    other: Layout,
    others: Mapping[str, Array],
    *,
    roundoffs: Mapping[str, float],
) -> bool:
    """Whether what two layers hold, by the spec's names, is the same parameters but for one rounding of each, with
    the unit roundoff that it has in `roundoffs`: what `compare` asks of weights.
    """
    a, b = _Held(one, held), _Held(other, others)
    every = dict.fromkeys((*cell(one.cell).parameters, *cell(other.cell).parameters))
    # One row of each first: it tells most of what differs in no time.
    return all(a.within_rows(name, b, roundoffs.get(name, 0.0), slice(1)) for name in every) and all(
        a.within(name, b, roundoffs.get(name, 0.0)) for name in every
    )


class _Held:
    """What a layer holds, as the parameters of both placements of the reset gate. Wide copies are made one parameter at
    a time: a large layer is not held in float64.
    """

    def __init__(self, layout: Layout, held: Mapping[str, Array]) -> None:
        self.held = held
        self.shape: tuple[int, ...] = self.held["W_xh"].shape
        self._second = {first: second for second, first in layout.second.items()}
        for first, second in self._second.items():
            if not np.isfinite(self.size(first)).all():
                raise UserError(f"{first} + {second} of {layout.name} is beyond float64: nothing can be compared")

    def alike(self, name: str, other: _Held) -> bool:
        """Whether a parameter is to the bit the same in both, as far as that can be told without adding biases."""
        alone = name not in self._second and name not in other._second
        both = name in self.held and name in other.held
        return alone and both and np.array_equal(self.held[name], other.held[name])

    def within(self, name: str, other: _Held, u: float) -> bool:
        """Whether a parameter is the same in both but for rounding."""
        # A block of rows at a time, in memory that does not count.
        starts = range(0, max(len(self.held.get(name, ())), len(other.held.get(name, ())), 1), ROWS)
        return all(self.within_rows(name, other, u, slice(start, start + ROWS)) for start in starts)

    def within_rows(self, name: str, other: _Held, u: float, rows: slice) -> bool:
        """The same of some rows: of two biases either may have been rounded, or their sum."""
        apart = np.abs(self.parameter(name, rows) - other.parameter(name, rows))
        return bool((apart <= u * np.maximum(self.size(name, rows), other.size(name, rows))).all())

    def parameter(self, name: str, rows: slice = slice(None)) -> Array:
        """A parameter, or rows of it, in float64, of two biases their sum; zero where the layer does not have it."""
        return self._sum(name, rows, lambda array: array)

    def size(self, name: str, rows: slice = slice(None)) -> Array:
        """Of each element the size of what it is the sum of."""
        return self._sum(name, rows, np.abs)

    def _sum(self, name: str, rows: slice, of: Callable[[Array], Array]) -> Array:
        parts = [self.held[part][rows] for part in (name, self._second.get(name, "")) if part in self.held]
        # The second bias of a layer that resets before the product is no inner bias of another.
        if not parts or (name in self._second.values()):
            return np.zeros(self.shape[-1:])[rows]
        with np.errstate(over="ignore"):
            total: Array = sum((of(part.astype(np.float64)) for part in parts[1:]), of(parts[0].astype(np.float64)))
        return total
