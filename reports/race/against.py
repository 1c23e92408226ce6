"""Two leaderboards side by side: of two machines, or of two dates; what got slower, and what changed its rank."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from isogru.judge.comparison import EQUAL
from reports.race import paired
from reports.race.records import ALIKE, FASTER, SLOWER, Against, Change, Leaderboard, Row, Table
from shared_spec.race import decisions
from shared_spec.race.decisions import Decisions


def compare(board: Leaderboard, other: Leaderboard) -> Against:
    """The rows of one leaderboard held against those of an earlier one."""
    before = _rows(other)
    now = _rows(board)
    machines = [(one.machine, one.device, one.threads, one.tf32) for one in (board, other)]
    return Against(
        name=other.name,
        machine=other.machine,
        same_machine=machines[0] == machines[1],
        rows=[_change(now[key], before[key]) for key in now if key in before],
        gone=[_label(key) for key in before if key not in now],
        new=[_label(key) for key in now if key not in before],
        reversed=list(reversed_ranks(board, other)),
    )


def slower(against: Against) -> list[Change]:
    """The rows that got slower beyond doubt."""
    return [row for row in against.rows if row.change == SLOWER]


def _rows(board: Leaderboard) -> dict[tuple[str, str], Row]:
    """Ranked rows, by framework and benchmark."""
    return {(row.framework, row.id): row for table in board.tables for row in table.rows if row.status == EQUAL}


def _label(key: tuple[str, str]) -> str:
    framework, row = key
    return f"{framework}: {row}"


def _change(now: Row, before: Row) -> Change:
    ratio = paired.unpaired(list(now.passes.values()), list(before.passes.values()))
    one = ratio.high == float("inf")
    return Change(
        framework=now.framework,
        id=now.id,
        implementation=now.implementation,
        before=before.time,
        now=now.time,
        ratio=ratio.value,
        low=None if one else ratio.low,
        high=None if one else ratio.high,
        change=SLOWER if ratio.is_slower else FASTER if ratio.is_faster else ALIKE,
    )


def reversed_ranks(board: Leaderboard, other: Leaderboard) -> Iterator[str]:
    """Pairs of rows of one table whose order was beyond doubt in both leaderboards, and not the same."""
    earlier = {table.workload: _decided(table) for table in other.tables}
    for table in board.tables:
        names, decided = _decided(table)
        names_then, then = earlier.get(table.workload, ([], None))
        both = [name for name in names if name in names_then]
        for one, two in itertools.combinations(both if then else [], 2):
            assert then is not None
            first = decided.pairs[names.index(one)][names.index(two)]
            second = then.pairs[names_then.index(one)][names_then.index(two)]
            if (first.is_slower and second.is_faster) or (first.is_faster and second.is_slower):
                words = "slower" if first.is_slower else "faster"
                yield f"{table.workload}: {one} is now {words} than {two}, and was not"


def _decided(table: Table) -> tuple[list[str], Decisions]:
    """The ranked rows, and what is known of each two."""
    ranked = [row for row in table.rows if row.status == EQUAL]
    times = [{int(number): (value,) for number, value in row.passes.items()} for row in ranked]
    return [f"{row.framework}/{row.implementation}" for row in ranked], decisions.decide(times)
