"""The fewest sets that have everything: a greedy cover, then fewer by trying all that are smaller."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

MOST = 2_000_000
"""Choices that are tried to prove that there is no smaller cover."""


def cover(sets: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    """Names of the fewest sets with every element that any of them has; of as many the first in the order given.

    Greedy first, the largest gain at each step; what a later choice makes superfluous is left out; then every smaller
    choice is tried, as long as there are no more than MOST.
    """
    everything = frozenset().union(*sets.values())
    chosen = _without_superfluous(sets, _greedy(sets, everything), everything)
    for size in range(len(chosen) + 1):
        choices = itertools.combinations(sets, size)
        smaller = (choice for choice in itertools.islice(choices, MOST) if _has(sets, choice) >= everything)
        if (fewer := next(smaller, None)) is not None:
            return fewer
    return tuple(name for name in sets if name in chosen)


def alone(sets: Mapping[str, frozenset[str]], chosen: tuple[str, ...]) -> dict[str, frozenset[str]]:
    """Of each of the chosen sets what no other of them has."""
    return {name: sets[name] - _has(sets, tuple(other for other in chosen if other != name)) for name in chosen}


def _greedy(sets: Mapping[str, frozenset[str]], everything: frozenset[str]) -> list[str]:
    chosen: list[str] = []
    left = set(everything)
    while left:
        best = max(sets, key=lambda name: len(sets[name] & left))
        chosen.append(best)
        left -= sets[best]
    return chosen


def _without_superfluous(
    sets: Mapping[str, frozenset[str]], chosen: list[str], everything: frozenset[str]
) -> list[str]:
    kept = list(chosen)
    for name in chosen:
        others = tuple(other for other in kept if other != name)
        if _has(sets, others) >= everything:
            kept.remove(name)
    return kept


def _has(sets: Mapping[str, frozenset[str]], names: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*(sets[name] for name in names))
