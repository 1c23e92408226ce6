"""A leaderboard as people read it: the words and digits of the terminal, of Markdown and of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from isogru.judge.comparison import EQUAL, significant
from reports.race import against, records, statements
from reports.race.records import SCRATCH, Change, Leaderboard, Row, Table
from shared_spec.race.decisions import LEAST, MARGIN, Pair

HELD_BACK = {
    "compute": "products and functions, at the best speed seen on this machine",
    "memory": "moving inputs, states and parameters once, which is counted",
    "latency": "products that wait for one another, step after step",
    "host": "issuing operations, one by one",
    "unexplained": "all that is left, of which nothing was measured: arrays written and read again, slower operations",
}
BOUNDS = {
    "compute": "products and functions at the machine's best",
    "memory": "what inputs and outputs take longer to move",
    "latency": "what products that wait for one another take longer",
}
COLUMNS = {
    "rank": "rank",
    "label": "implementation",
    "seconds": "time",
    "ratio": "× the fastest",
    "said": "beside the fastest",
    "percent": "of the bound",
    "held_back_by": "held back by",
    "error": "error",
    "memory": "memory",
    "first": "first call",
    "break_even": "pays after",
}
"""Of the page's table, by what each is sorted by."""
WORDY = ("label", "said", "held_back_by")
"""Those of them that are no numbers."""
DOUBLES = {
    records.PASSED: f"in {{}} tables one contender, raced twice, is equivalent to itself within {MARGIN:.0%}",
    records.UNKNOWN: "in {} tables it is not known whether one contender, raced twice, is as fast as itself",
}
"""What is said of the control *twice* where it came out alike in many tables."""
FEW = 3
"""Tables of which each is told by itself."""
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
NOTHING = "–"


def duration(seconds: float | None) -> str:
    """Such as 14.1 ms: three digits."""
    if seconds is None:
        return NOTHING
    rounded = significant(seconds, 3)
    scale, unit = next(((s, u) for s, u in UNITS if rounded >= s), UNITS[-1])
    return f"{_three(rounded / scale)} {unit}"


def _three(value: float) -> str:
    """Three significant digits, never as a power of ten."""
    rounded = significant(value, 3)
    return f"{rounded:.0f}" if rounded >= 100 else f"{rounded:.1f}" if rounded >= 10 else f"{rounded:.2f}"


def rank(row: Row) -> str:
    """The places that a row can have, such as 2–4."""
    if row.rank is None:
        return NOTHING
    return f"{row.rank}" if row.last_rank in (None, row.rank) else f"{row.rank}–{row.last_rank}"


def times(value: float | None) -> str:
    """A ratio of times: two decimals, fewer where it is large."""
    if value is None:
        return NOTHING
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.2g}".replace("e+", "e")


def interval(row: Row | Change) -> str:
    """The ratio to the fastest, with its interval."""
    if row.low is None or row.low == row.high:
        return times(row.ratio)
    return f"{times(row.ratio)} ({times(row.low)}–{times(row.high)})"


def beside(row: Row) -> str:
    """The same in a few words."""
    if row.ratio is None or row.low is None or row.high is None:
        return NOTHING
    return NOTHING if row.low == row.high else statements.beside(Pair(row.ratio, row.low, row.high))


def megabytes(size: int | None) -> str:
    """Such as 94 MB."""
    return NOTHING if size is None else f"{max(size, 0) / 1e6:.0f} MB"


def percent(value: float | None) -> str:
    """Of the bound."""
    return NOTHING if value is None else f"{value:.0f}%" if value >= 10 else f"{value:.1f}%"


def break_even(row: Row) -> str:
    """After how many calls compiling has paid; a dash where that could not be counted."""
    # One of an earlier version does not say that it could not.
    if row.uncounted or row.implementation == SCRATCH or row.first is None:
        return NOTHING
    return "never" if row.break_even is None else f"{row.break_even}"


def uncounted(table: Table) -> Iterator[str]:
    """Why the calls of rows could not be counted; the scratch lanes apart, against which they are."""
    rows = [row for row in ranked(table) if row.uncounted and row.implementation != SCRATCH]
    for why in dict.fromkeys(row.uncounted for row in rows):
        names = ", ".join(f"{row.framework}/{row.implementation}" for row in rows if row.uncounted == why)
        yield f"{why}: {names}"


def held_back(row: Row) -> str:
    """What takes most of its time; or how much of it is unexplained."""
    if row.held_back_by is None and row.unexplained is not None:
        return f"unexplained, {percent(row.unexplained)}"
    return row.held_back_by or NOTHING


def counted(board: Leaderboard) -> str:
    """How often all were timed, such as "5 starts, 61 blocks"; of a race in passes, "5 passes"."""
    if board.budget is None:
        return _many(board.passes, "pass")
    return f"{_many(board.passes, 'start')}, {_many(board.blocks, 'block')}"


def _many(count: int, of: str) -> str:
    plural = f"{of}es" if of.endswith("s") else f"{of}s"
    return f"{count} {of if count == 1 else plural}"


def no_ranks(board: Leaderboard) -> str:
    """Why nothing is ranked; empty where ranks may be given."""
    if any(control.is_failed for control in board.controls):
        return "No ranks: a control of this race failed, so that its times prove nothing."
    if board.passes < LEAST:
        return f"No ranks: it takes {LEAST} starts to know how much they differ by chance."
    return ""


def is_unsure(board: Leaderboard) -> bool:
    """Whether a control has not passed, or nothing is ranked."""
    return any(control.status != records.PASSED for control in board.controls) or no_ranks(board) != ""


def controlled(board: Leaderboard) -> list[str]:
    """The controls, one sentence each; of many tables that came out alike, none of which failed, how many they are."""
    doubles = Counter(control.status for control in board.controls if control.kind == "twice")
    told = []
    for control in board.controls:
        where = f"{control.workload}: " if control.workload else ""
        if control.kind == "twice" and not control.is_failed and doubles[control.status] > FEW:
            how = DOUBLES[control.status].format(doubles[control.status])
            told.append(f"{control.status}: {how}; leaderboard.json tells of each")
        else:
            told.append(f"{control.status}: {where}{control.said}")
    return list(dict.fromkeys(told))


def error(value: float | None) -> str:
    """The largest difference, relative."""
    return NOTHING if value is None else f"{value:.1e}"


FILTERS: dict[str, Callable[..., str]] = {
    "rank": rank,
    "duration": duration,
    "times": times,
    "interval": interval,
    "megabytes": megabytes,
    "percent": percent,
    "held_back": held_back,
    "break_even": break_even,
    "error": error,
}


def context(board: Leaderboard | None) -> dict[str, object]:
    """What the templates are given."""
    return {
        "board": board,
        "lines": list(side_by_side(board)) if board else [],
        "held_back": HELD_BACK,
        "bounds": BOUNDS,
        "columns": COLUMNS,
        "wordy": WORDY,
        "no_ranks": no_ranks(board) if board else "",
        "counted": counted(board) if board else "",
        "controls": controlled(board) if board else [],
        "unsure": is_unsure(board) if board else False,
        "ranked": ranked,
        "unranked": unranked,
        "uncounted": uncounted,
        "fastest": fastest,
    }


def ranked(table: Table) -> list[Row]:
    """The rows that were equal, the fastest first."""
    return [row for row in table.rows if row.status == EQUAL]


def fastest(table: Table, framework: str | None = None) -> Row | None:
    """The row of the shortest time, of all or of one framework; None where none is ranked."""
    those = (row for row in ranked(table) if framework in (None, row.framework))
    return min(those, key=lambda row: row.time, default=None)


def unranked(table: Table) -> list[Row]:
    """The others."""
    return [row for row in table.rows if row.status != EQUAL]


def wrong(board: Leaderboard) -> Iterator[Row]:
    """Every row that is not ranked."""
    for table in board.tables:
        yield from unranked(table)


def side_by_side(board: Leaderboard) -> Iterator[str]:
    """What the leaderboard that this one is held against says of the same rows."""
    comparison = board.against
    if comparison is None:
        return
    machine = "the same machine" if comparison.same_machine else comparison.machine.get("processor", "another machine")
    changes = [row.change for row in comparison.rows]
    kinds = (records.SLOWER, records.FASTER, records.ALIKE)
    counted = ", ".join(f"{changes.count(change)} {change}" for change in kinds)
    yield f"against {comparison.name}, {machine}: {counted}, {len(comparison.new)} new, {len(comparison.gone)} gone"
    for row in against.slower(comparison):
        yield (
            f"  slower: {row.framework}: {row.id}: {duration(row.before)}, now {duration(row.now)}: "
            f"{interval(row)} times"
        )
    for sentence in comparison.reversed:
        yield f"  reversed: {sentence}"
