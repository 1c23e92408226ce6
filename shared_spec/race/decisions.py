"""Which of several programs that were timed in turns is faster, and which is as fast: said of all pairs at once.

A *start* is a process of each program, a *block* a turn of each in it, close together. What the machine did in a block
fell on all alike, so that differences of log times within a block are what is looked at. They come in two levels
(Kalibera and Jones 2013): blocks differ, and so do starts, by where a program's memory came to lie, what was compiled
and how. However many blocks a start has, it is one observation of the difference between two programs: the mean over
its blocks, without the quarter of them at either end, which the machine may have held up (Tukey and McLaughlin 1963).

How much starts differ is known of few. It is what these two have shown, in their pair or each in all its pairs
(Grubbs 1948); where that is less than over all pairs together, the mean of the two variances (Smyth 2004, with as much
weight for all pairs as for these). The interval is Student's (after Wallace 1959), and its level is shared out over all
numbers of starts, so that one may stop when one likes, and all that is said of one table holds together, ranks too
(Klein, Wright and Wieczorek 2020). It is the wider of two. One is right where a single cause moves all pairs, so that
they are wrong together: of one pair, with the degrees of freedom of its starts. The other is right where each program
is moved by itself: its level is shared out over all pairs, with the degrees of freedom of all programs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from shared_spec.readings.arithmetic import Array

LEVEL = 0.05
"""How often anything that is said of one table may be wrong."""
MARGIN = 0.02
"""Programs that differ by less are as fast as each other."""
FAR = 0.10
"""One that is slower than the fastest by more leaves a race as soon as its place is known."""
LEAST = 3
"""Starts below which nothing is said: of two nobody knows how much they differ by chance."""
TRIMMED = 0.25
"""Of the blocks of a start, at either end."""

Times = Mapping[int, Sequence[float]]
"""Seconds of a program by start, of each of its blocks; NaN for a block that it was not in."""


@dataclass(frozen=True)
class Ratio:
    """How many times as long one takes as another: the geometric mean, and its confidence interval."""

    value: float
    low: float
    high: float
    """0 and infinity where nothing is known of its spread."""

    @property
    def is_slower(self) -> bool:
        """Slower, beyond doubt."""
        return self.low > 1

    @property
    def is_faster(self) -> bool:
        return self.high < 1


class Pair(Ratio):
    """Of two programs of one table, whose intervals hold together."""

    @property
    def is_equivalent(self) -> bool:
        """As fast, but for less than the margin."""
        return self.low >= 1 / (1 + MARGIN) and self.high <= 1 + MARGIN


@dataclass(frozen=True)
class Decisions:
    """What is known of all pairs of several programs."""

    starts: int
    pairs: Sequence[Sequence[Pair]]
    """[i][j]: how many times as long i takes as j."""

    @property
    def is_enough(self) -> bool:
        """Whether there are starts enough to say anything."""
        return self.starts >= LEAST

    def ranks(self) -> list[tuple[int, int]]:
        """The best and the worst place that each can have; all are right together."""
        count = len(self.pairs)
        return [
            (1 + sum(pair.is_slower for pair in of), count - sum(pair.is_faster for pair in of)) for of in self.pairs
        ]


def undecided(decision: Decisions) -> list[int]:
    """Those programs that a race has still to time: all but those that are surely far behind the fastest and whose
    place is known. None where every pair is decided.
    """
    count = len(decision.pairs)
    those = range(count)
    if not decision.is_enough:
        return list(those)
    if all(p.is_slower or p.is_faster or p.is_equivalent for i in those for p in decision.pairs[i]):
        return []
    places = decision.ranks()
    far = [any(pair.low > 1 + FAR for pair in decision.pairs[i]) for i in those]
    return [i for i in those if not far[i] or places[i][0] != places[i][1]]


def decide(times: Sequence[Times]) -> Decisions:
    """What the times of several programs say. Of each two it is said from those starts that both have, together with
    all that have these: one that has left has fewer.
    """
    count = len(times)
    itself, unknown = Pair(1.0, 1.0, 1.0), Pair(1.0, 0.0, math.inf)
    pairs = [[itself if i == j else unknown for j in range(count)] for i in range(count)]
    members, common = list(range(count)), _common(times)
    first = len(common)
    while members:
        for i, j, pair in _layer(members, common, times):
            pairs[i][j] = pair
        members = [i for i in members if set(times[i]) != set(common)]
        longer = _common([times[i] for i in members])
        if len(longer) <= len(common):
            break
        common = longer
    return Decisions(first, pairs)


def _common(times: Sequence[Times]) -> list[int]:
    return sorted(set.intersection(*(set(of) for of in times))) if times else []


def _layer(members: Sequence[int], common: Sequence[int], times: Sequence[Times]) -> Iterator[tuple[int, int, Pair]]:
    """What is said of each two of these programs, of all those starts."""
    blocks = max((len(times[i][start]) for i in members for start in common), default=0)
    logs = np.full((len(members), len(common), blocks), np.nan)
    for row, i in enumerate(members):
        for place, start in enumerate(common):
            logs[row, place, : len(times[i][start])] = np.log(times[i][start])
    mean, half = intervals(logs, pairs=len(times) * (len(times) - 1) // 2)
    with np.errstate(over="ignore"):
        value, low, high = np.exp(mean), np.exp(mean - half), np.exp(mean + half)
    for row, i in enumerate(members):
        for column, j in enumerate(members):
            if i != j and np.isfinite(value[row, column]):
                yield i, j, Pair(float(value[row, column]), float(low[row, column]), float(high[row, column]))


def intervals(logs: Array, *, pairs: int | None = None) -> tuple[Array, Array]:
    """(..., programs, starts, blocks) log times, NaN where there is none -> the mean differences and half of their
    intervals, (..., programs, programs); infinite where starts are too few. The level is shared out over all pairs of
    these programs, or over so many.
    """
    *_, count, starts, blocks = logs.shape
    if not starts or not blocks:
        shape = (*logs.shape[:-3], count, count)
        return np.zeros(shape), np.full(shape, np.inf)
    apart = logs[..., :, None, :, :] - logs[..., None, :, :, :]
    of_start, within = _trimmed(apart)
    mean = of_start.mean(axis=-1)
    if starts < LEAST or count < 2:
        return mean, np.full(mean.shape, np.inf)
    variance = _from_start_to_start(of_start.var(axis=-1, ddof=1), within.mean(axis=-1))
    return mean, np.sqrt(variance / starts) * _reach(starts, count, pairs or count * (count - 1) // 2)


def _from_start_to_start(own: Array, within: Array) -> Array:
    """The variance of each pair over its starts, and within them, (..., programs, programs) -> what it is taken for."""
    count = own.shape[-1]
    others = ~np.eye(count, dtype=bool)
    # What starts differ by beyond what their blocks do, over all pairs.
    between = (own - within)[..., others].mean(axis=-1)[..., None, None]
    pooled = np.maximum(between, 0.0) + within
    shown = own
    if count > 2:
        # Were each program moved by itself, the variance of a pair would be the sum of two parts, one of each.
        parts = (own.sum(axis=-1) - own.sum(axis=(-2, -1))[..., None] / (2 * count - 2)) / (count - 2)
        shown = np.maximum(own, parts[..., :, None] + parts[..., None, :])
    taken: Array = np.maximum(shown, (shown + pooled) / 2)
    return taken


def _reach(starts: int, count: int, pairs: int) -> float:
    """How many standard errors the interval reaches, of so many programs."""
    # Over 3, 4, 5 and any more starts these add up to the whole.
    level = LEVEL / ((starts - LEAST + 1) * (starts - LEAST + 2))
    together, apart = (-NormalDist().inv_cdf(share / 2) for share in (level, level / pairs))
    return max(_student(together, starts - 1), _student(apart, (count - 1) * (starts - 1)))


def _trimmed(values: Array) -> tuple[Array, Array]:
    """Over the last axis the mean without its ends, and the variance of that mean; 0 where there are too few to
    know.
    """
    ordered = np.sort(values, axis=-1)  # NaN comes last.
    there = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    cut = (TRIMMED * there).astype(int)
    place = np.arange(values.shape[-1])
    inner = (place >= cut) & (place < there - cut)
    kept = there - 2 * cut
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(inner, ordered, 0.0).sum(axis=-1) / kept[..., 0]
    last = np.maximum(there - cut - 1, 0)
    low, high = (np.take_along_axis(ordered, at, axis=-1) for at in (np.minimum(cut, last), last))
    drawn_in = np.where(place < there, np.clip(ordered, low, high), 0.0)
    centre = drawn_in.sum(axis=-1, keepdims=True) / np.maximum(there, 1)
    squares = np.where(place < there, drawn_in - centre, 0.0) ** 2
    # The winsorized variance, over the share of what was kept.
    freedom, kept = np.maximum(kept - 1, 1), np.maximum(kept, 1)
    variance = squares.sum(axis=-1) / (kept * freedom)[..., 0]
    return mean, np.where(there[..., 0] < 4, 0.0, variance)


def _student(multiple: float, freedom: int) -> float:
    """So many deviations of the normal distribution by Student's t: the point that is as improbable, after Wallace
    1959; a little too far out for few degrees of freedom.
    """
    wider = multiple * (8 * freedom + 3) / (8 * freedom + 1)
    return math.sqrt(freedom * math.expm1(wider**2 / freedom))
