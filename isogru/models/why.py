"""Why layers of two files are not the same: what `isogru same --why` adds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from isogru.explain import EQUAL
from isogru.explain_weights import WeightExplanation, explain_weights
from isogru.models.same import ModelComparison, Pair
from shared_spec.weights.same import DIFFERENT

Why = Annotated[bool, typer.Option("--why", help="Name the edit that makes the weights of the one those of the other.")]


def why(pair: Pair) -> WeightExplanation:
    """What makes the weights of one layer those of its partner."""
    one, other = pair.one, pair.other
    return explain_weights(
        one.layout,
        one.tensors(),
        other.layout,
        other.tensors(),
        unit_roundoff=max(one.unit_roundoff, other.unit_roundoff),
        names=(str(one.contents.path), str(other.contents.path)),
        sources=(one.source, other.source),
    )


def lines(comparison: ModelComparison) -> Iterator[str]:
    """A line for each pair that is different, and its remedy."""
    for pair in comparison.pairs:
        if pair.comparison.verdict != DIFFERENT:
            continue
        made = why(pair)
        title = f"{pair.title}: " if len(comparison.pairs) > 1 else ""
        if made.verdict == EQUAL:
            yield f"why: {title}the weights are the same; what differs is said above"
            continue
        yield f"why: {title}{made.sentence}"
        if made.remedy:
            yield f"remedy: {made.remedy}"


def record(comparison: ModelComparison) -> dict[str, Any]:
    """For machines: `why`, a list with an entry for each pair, null where it is not different."""
    made = [why(pair) if pair.comparison.verdict == DIFFERENT else None for pair in comparison.pairs]
    return {"why": [None if each is None else vars(each) for each in made]}
