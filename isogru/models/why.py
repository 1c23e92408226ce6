"""Why layers of two files are not the same: what `isogru same --why` adds."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from isogru.explain import EQUAL, EXPLAINED, UNEXPLAINED
from isogru.explain_weights import WeightExplanation, explain_weights
from isogru.models.layer import Layer
from isogru.models.same import ModelComparison, Pair, compare, is_scrambled
from shared_spec.weights.convert import GATED
from shared_spec.weights.same import DIFFERENT

MOST = 32
"""How many layers are held against each other: the time grows with the square of it."""

Why = Annotated[bool, typer.Option("--why", help="Name the edit that makes the weights of the one those of the other.")]


def why(pair: Pair) -> WeightExplanation:
    """What makes the weights of one layer those of its partner."""
    one, other = pair.one, pair.other
    roundoffs: dict[str, float] = {}
    for known in (one.roundoffs, one.worked_out, other.roundoffs, other.worked_out):
        roundoffs |= {part: max(u, roundoffs.get(part, 0.0)) for part, u in known.items()}
    return explain_weights(
        one.layout,
        one.tensors(),
        other.layout,
        other.tensors(),
        roundoffs=roundoffs,
        names=(str(one.contents.path), str(other.contents.path)),
        sources=(one.source, other.source),
    )


def exchanged(pair: Pair, off: Sequence[Pair]) -> Layer | None:
    """The partner of another pair that is off, whose weights those of the first layer are; None where none is."""
    one, others = pair.one, [each.other for each in off if each is not pair]
    for other in others if len(off) <= MOST else ():
        cells = {one.layout.cell, other.layout.cell}
        if one.sizes == other.sizes and (len(cells) == 1 or cells == set(GATED)):
            held = compare(one, other)
            turned = one.position.reverse != other.position.reverse and len(held.reasons) == 1
            if not held.differences and (held.verdict != DIFFERENT or turned):
                return other
    return None


def _reason(pair: Pair, off: Sequence[Pair]) -> WeightExplanation:
    """Of a pair that is off: the weights of another layer, or else an edit of its own."""
    if (partner := exchanged(pair, off)) is None:
        return why(pair)
    told = shlex.quote(f"{pair.one.title}={partner.title}")
    return WeightExplanation(
        EXPLAINED,
        f"the weights of {pair.one.title} are those of {partner.title} of {pair.other.contents.path}",
        f"put the layers in order, or hold these against each other with --pair {told}",
    )


def lines(comparison: ModelComparison) -> Iterator[str]:
    """A line for each pair that is different, and its remedy."""
    off = [pair for pair in comparison.pairs if pair.comparison.verdict == DIFFERENT]
    for pair in off:
        title = f"{pair.title}: " if len(comparison.pairs) > 1 else ""
        made = _reason(pair, off)
        if made.verdict == UNEXPLAINED and is_scrambled(pair.one, pair.other):
            yield f"why: {title}the order of the values is wrong, as is said above"
            continue
        if made.verdict == EQUAL:
            yield f"why: {title}the weights are the same; what differs is said above"
            continue
        yield f"why: {title}{made.sentence}"
        if made.remedy:
            yield f"remedy: {made.remedy}"


def record(comparison: ModelComparison) -> dict[str, Any]:
    """For machines: `why`, a list with an entry for each pair, null where it is not different."""
    off = [pair for pair in comparison.pairs if pair.comparison.verdict == DIFFERENT]
    made = [_reason(pair, off) if pair in off else None for pair in comparison.pairs]
    return {"why": [None if each is None else vars(each) for each in made]}
