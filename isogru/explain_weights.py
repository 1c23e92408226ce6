"""Why are two files of weights not the same? The same search over edits of weights, and no run is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from isogru.conventions import Convention, Held, conventions
from isogru.explain import EQUAL, EXPLAINED, UNEXPLAINED
from isogru.remedies import build, of_file
from shared_spec.cells import cell
from shared_spec.files.sources import Source
from shared_spec.readings.arithmetic import Array
from shared_spec.weights import convert
from shared_spec.weights.layouts import SECOND_BIASES, Layout, reset_of
from shared_spec.weights.packing import unpack
from shared_spec.weights.same import unit_roundoffs, within_rounding

PLACE = "build one of the two with the reset gate where the other has it: reset_after or linear_before_reset"
OF_THE_PRODUCT = {*SECOND_BIASES, "b_h"}
DECIMALS = range(1, 10)
"""float32 has nine significant digits at most."""


@dataclass(frozen=True)
class WeightExplanation:
    """What makes the weights of one layer those of another, if anything does."""

    verdict: str
    """"equal", "explained" or "not explained"."""
    sentence: str
    remedy: str = ""
    names: tuple[str, ...] = ()
    """Of the conventions, in the order in which they are applied."""
    tried: int = 0


def explain_weights(
    one: Layout,
    tensors: Mapping[str, Array],
    other: Layout,
    others: Mapping[str, Array],
    *,
    roundoffs: Mapping[str, float] = MappingProxyType({}),
    names: tuple[str, str] = ("ONE", "OTHER"),
    sources: tuple[Source | None, Source | None] = (None, None),
    pairs: bool = True,
) -> WeightExplanation:
    """Name the conventions, one or else two, that make the weights of one layer those of the other, or those of the
    other those of the one, up to one rounding of a parameter. `roundoffs` are the coarser unit roundoffs of what
    either holds, by the spec's names, where the dtypes do not tell; `names` are what sentences call the two, and
    `sources` where they stand, so that remedies name their tensors.

    Which of several that do is named first in conventions.toml: on these weights they are the same. Where they are of
    cells whose reset gates act at other places, that is named first: no edit of weights mends it. Raises UserError for
    tensors that do not fit their layouts.
    """
    of, to = reset_of(cell(one.cell)), reset_of(cell(other.cell))
    explanation = _searched(one, tensors, other, others, roundoffs, names, sources, pairs)
    if of == to or convert.is_diagonal(unpack(one, tensors)["W_hh"]):
        return explanation
    cells = (
        f"the reset gate acts {of} the product with W_hh in {names[0]}, {to} it in {names[1]}, and no weights mend that"
    )
    place = build(*sources, (of, to)) or PLACE
    if explanation.verdict == EQUAL:
        return replace(explanation, verdict=EXPLAINED, sentence=f"{cells}; the weights are the same", remedy=place)
    # Where the reset gate acts before the product, the bias of the product with the state is none of its own.
    about = [
        each for each in map(conventions().get, explanation.names) if each and not set(each.weights) <= OF_THE_PRODUCT
    ]
    remedy = "; ".join([place, *(each.remedy for each in about)])
    return replace(explanation, sentence=f"{cells}; beside that, {explanation.sentence}", remedy=remedy)


def _searched(
    one: Layout,
    tensors: Mapping[str, Array],
    other: Layout,
    others: Mapping[str, Array],
    roundoffs: Mapping[str, float],
    names: tuple[str, str],
    sources: tuple[Source | None, Source | None],
    pairs: bool,
) -> WeightExplanation:
    a, b = unpack(one, tensors), unpack(other, others)
    u = unit_roundoffs(one, a, other, b, roundoffs)
    if within_rounding(one, a, other, b, roundoffs=u):
        return WeightExplanation(EQUAL, "nothing to explain: the weights are the same")
    tried = 0
    for most in (1, 2) if pairs else (1,):
        for source, held, target, sought, (this, that), mended in (
            (one, a, other, b, names, sources[1]),
            (other, b, one, a, names[::-1], sources[0]),
        ):
            for applied, edit in _edits(held, most):
                tried += 1
                if within_rounding(source, edit, target, sought, roundoffs=u):
                    return _told(applied, this, that, mended, _sizes(a), tried)
        if most == 1 and (lower := _coarser(a, b, {part: u[one.second.get(part, part)] for part in a})):
            return WeightExplanation(
                EXPLAINED, f"{names[1]} is {names[0]}, but {lower}", "write every digit", (), tried
            )
    return WeightExplanation(
        UNEXPLAINED, f"not explained: none of {tried} edits makes the weights the same", tried=tried
    )


def _sizes(held: Held) -> dict[str, int]:
    d, h = held["W_xh"].shape
    return {"d": d, "h": h}


def _told(
    applied: Sequence[Convention], this: str, that: str, mended: Source | None, sizes: Mapping[str, int], tried: int
) -> WeightExplanation:
    said = ", and ".join(each.sentence for each in applied)
    # What was done last is undone first.
    remedy = "; ".join(of_file(each, mended, sizes) for each in reversed(applied))
    return WeightExplanation(EXPLAINED, f"{that} is {this}, but {said}", remedy, tuple(e.name for e in applied), tried)


def _edits(held: Held, most: int) -> Iterator[tuple[tuple[Convention, ...], Held]]:
    """Edited weights, with the conventions that edited them: `most` of them."""
    known = [each for each in conventions().values() if each.weights]
    for first in known:
        once = first.of_weights(held)
        if once is None:
            continue
        if most == 1:
            yield (first,), once
            continue
        for second in known:
            if second is not first and (twice := second.of_weights(once)) is not None:
                yield (first, second), twice


def _coarser(a: Held, b: Held, u: Mapping[str, float]) -> str:
    """How the second's numbers are the first's, rounded more coarsely than their dtype; empty where they are not."""
    if a.keys() != b.keys():
        return ""
    with np.errstate(over="ignore"):
        if all(_near(a[name].astype(np.float16), b[name], u[name]) for name in a):
            return "each number is rounded to float16"
    for digits in DECIMALS:
        if all(_near(np.round(a[name].astype(np.float64), digits), b[name], u[name]) for name in a):
            return f"each number is rounded to {digits} decimals"
    return ""


def _near(x: Array, y: Array, u: float) -> bool:
    wide, other = x.astype(np.float64), y.astype(np.float64)
    return bool((np.abs(wide - other) <= u * np.abs(wide)).all())
