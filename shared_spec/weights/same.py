"""Two files of weights: are they the same function? Both are read as parameters of their cells, and compared there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array
from shared_spec.weights import convert
from shared_spec.weights.layouts import Layout, reset_of
from shared_spec.weights.packing import summed, unpack

SAME, ROUNDED, DIFFERENT = "the same", "the same but for rounding", "different"


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

    @property
    def sentence(self) -> str:
        """The verdict as one sentence."""
        said = [f"{d.parameter}{list(d.index)} is {d.one:.9g} and {d.other:.9g}" for d in self.differences]
        why = "; ".join([*self.reasons, *said])
        if self.verdict == SAME:
            return f"the same function: every parameter, of two biases their sum, to the bit{'; ' if why else ''}{why}"
        off = f"states up to {self.error:.2g} off (measured with these weights on {convert.PROBE})"
        if self.verdict == ROUNDED:
            return f"the same function but for one rounding of a parameter: {why}; {off}"
        return f"different: {why}; {off}"


def compare(one: Layout, tensors: Mapping[str, Array], other: Layout, others: Mapping[str, Array]) -> Comparison:
    """The weights of one layout against those of another. Biases that are added to each other count as their sum, and
    that sum may have been rounded once. Raises UserError for cells of which neither can stand for the other, and for
    sizes that are not the same.
    """
    of, to = cell(one.cell), cell(other.cell)
    if of.name != to.name and {of.name, to.name} != set(convert.GATED):
        raise UserError(f"{one.name} computes {of.name} and {other.name} {to.name}: two different cells")
    (a, sizes_a), (b, sizes_b) = _parameters(one, tensors), _parameters(other, others)
    if (sizes := (a["W_xh"].shape, b["W_xh"].shape))[0] != sizes[1]:
        (d, h), (e, k) = sizes
        raise UserError(f"{one.name} has {d} inputs and {h} units, {other.name} {e} and {k}: two different problems")
    u = max(UNIT_ROUNDOFF[array.dtype.name] for given in (tensors, others) for array in given.values())
    differences, within = [], True
    for name in a:
        if not np.array_equal(a[name], b[name]):
            apart = np.abs(a[name] - b[name])
            index = tuple(int(i) for i in np.unravel_index(int(np.argmax(apart)), apart.shape))
            differences.append(Difference(name, index, float(a[name][index]), float(b[name][index])))
            # Of two biases either may have been rounded, or their sum.
            within = within and bool((apart <= u * np.maximum(sizes_a[name], sizes_b[name])).all())
    reasons = []
    placed_apart = of.name != to.name and not convert.is_diagonal(a["W_hh"])
    if placed_apart:
        reasons.append(
            f"the reset gate acts {reset_of(of)} the product with W_hh in {one.name}, {reset_of(to)} it in {other.name}"
        )
    verdict = DIFFERENT if placed_apart or not within else ROUNDED if differences else SAME
    states = [convert.states(c, {name: p[name] for name in c.parameters}) for c, p in ((of, a), (to, b))]
    return Comparison(verdict, tuple(reasons), tuple(differences), float(np.abs(states[0] - states[1]).max()))


def _parameters(layout: Layout, tensors: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """The parameters of both placements of the reset gate, in float64: what a layer does not have is zero. And of each
    element the size of what it is the sum of.
    """
    held = unpack(layout, tensors)
    with np.errstate(over="ignore"):
        found, sizes = summed(layout, held), summed(layout, {name: np.abs(array) for name, array in held.items()})
    for second, first in layout.second.items():
        if not np.isfinite(sizes[first]).all():
            raise UserError(f"{first} + {second} of {layout.name} is beyond float64: nothing can be compared")
    if layout.cell in convert.GATED:
        for known in (found, sizes):
            known.setdefault(convert.INNER, np.zeros(known["b_h"].shape))
    return found, sizes
