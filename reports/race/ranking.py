"""Rows of one table -> the places that they can have, what they are beside the others, and what holds them back."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from msgspec import structs

from isogru.judge.comparison import EQUAL, significant
from reports.race import roofline, statements
from reports.race.records import FAILED, SCRATCH, UNFINISHED, Row
from reports.race.roofline import Bound
from shared_spec.race import decisions, rows
from shared_spec.race.decisions import Decisions, Times

Key = tuple[str, rows.Row]
"""A framework and one of its rows."""


def possible(row: Row, bound: Bound | None) -> Row:
    """The row, rejected if it took less time than its work takes at the machine's best: not all of it was timed, or
    the bound is wrong.
    """
    if row.status != EQUAL or bound is None or row.time >= bound.seconds:
        return row
    why = (
        f"took {row.time:.2e} s, less than the bound, {bound.seconds:.2e} s, which all of its work takes at the best "
        "speed seen here: not all of it was timed, or the machine was measured at a bad moment"
    )
    return structs.replace(row, status=FAILED, why=why)


def rank(there: Mapping[Key, Row], times: Mapping[Key, Times], *, may_rank: bool) -> tuple[list[Row], list[Row]]:
    """The rows that are equal, with the places that they can have and their ratios to the fastest; and the others."""
    others = [row for row in there.values() if row.status != EQUAL]
    equal = {key: row for key, row in there.items() if row.status == EQUAL}
    first = min((start for key in equal for start in times[key]), default=0)
    why = "the first pass was cut off before it ran"
    others += [
        structs.replace(row, status=UNFINISHED, why=why) for key, row in equal.items() if first not in times[key]
    ]
    equal = {key: row for key, row in equal.items() if first in times[key]}
    if not equal:
        return [], others
    # The time of each is that of the starts that all have: the machine may have been slower in others.
    common = set.intersection(*({int(start) for start in row.passes} for row in equal.values()))
    ranked = [
        structs.replace(row, seconds=mean(value for start, value in row.passes.items() if int(start) in common))
        for row in equal.values()
    ]
    decided = decisions.decide([times[key] for key in equal])
    best = min(range(len(ranked)), key=lambda i: ranked[i].time)
    names = [f"{row.framework}/{row.implementation}" for row in ranked]
    places = decided.ranks()
    return [
        _placed(row, decided, (i, best), places[i] if may_rank else None, names) for i, row in enumerate(ranked)
    ], others


def _placed(
    row: Row, decided: Decisions, at: tuple[int, int], places: tuple[int, int] | None, names: Sequence[str]
) -> Row:
    i, best = at
    pair = decided.pairs[i][best]
    known = structs.replace(row, ratio=pair.value, said=statements.of(decided, i, best, names))
    if places is None:
        return structs.replace(known, said=statements.CONTROL)
    if decided.is_enough or i == best:
        known = structs.replace(known, low=pair.low, high=pair.high)
    if decided.is_enough:
        known = structs.replace(known, rank=places[0], last_rank=places[1])
    return known


def mean(seconds: Iterable[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.fmean(map(math.log, seconds)))


def share(row: Row, bound: Bound | None) -> Row:
    """The row with how far it is from its bound, and by what."""
    if bound is None:
        return row
    held_back_by, unexplained = roofline.held_back_by(row.time, bound, row.issue)
    return structs.replace(
        row,
        percent=significant(100 * bound.seconds / row.time, 3),
        held_back_by=held_back_by,
        unexplained=significant(100 * unexplained / row.time, 3),
    )


def break_even(rows: list[Row]) -> list[Row]:
    """The rows with the count of calls after which what compiles has cost no more than the same framework's scratch
    lane, None for never; or why there is nothing to count.
    """
    scratch = {row.framework: row for row in rows if row.implementation == SCRATCH}
    return [_counted(row, scratch.get(row.framework)) for row in rows]


def _counted(row: Row, scratch: Row | None) -> Row:
    if row is scratch:
        return structs.replace(row, uncounted="the others are counted against it")
    if scratch is None:
        return structs.replace(row, uncounted="no scratch lane to count against")
    if row.first is None or scratch.first is None:
        whose = "its first call" if row.first is None else "the scratch lane's first call"
        return structs.replace(row, uncounted=f"{whose} was not timed")
    return structs.replace(row, break_even=_calls(scratch.time - row.time, row.first - scratch.first))


def _calls(gained: float, paid: float) -> int | None:
    """Seconds gained by each call, and paid by the first."""
    if paid <= 0 and gained >= 0:
        return 1
    return math.ceil(1 + paid / gained) if gained > 0 else None
