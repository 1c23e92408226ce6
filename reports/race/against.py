"""Two leaderboards side by side: of two machines, or of two dates; what got slower, and what changed its rank."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from isogru.judge.comparison import EQUAL
from reports.pages.schema import Record
from reports.race import paired

SLOWER, FASTER, ALIKE = "slower", "faster", "alike"


def compare(board: Record, other: Record) -> Record:
    """The rows of one leaderboard held against those of an earlier one."""
    before = _rows(other)
    now = _rows(board)
    return {
        "name": other["name"],
        "machine": other["machine"],
        "same_machine": all(board[key] == other[key] for key in ("machine", "device", "threads", "tf32")),
        "rows": [_compared(key, now[key], before[key]) for key in now if key in before],
        "gone": [_label(key) for key in before if key not in now],
        "new": [_label(key) for key in now if key not in before],
        "reversed": list(reversed_ranks(board, other)),
    }


def slower(found: Record) -> list[Record]:
    """The rows that got slower beyond doubt."""
    return [row for row in found["rows"] if row["change"] == SLOWER]


def _rows(board: Record) -> dict[tuple[str, str], Record]:
    """Ranked rows, by framework and benchmark."""
    return {
        (row["framework"], row["id"]): row
        for table in board["tables"]
        for row in table["rows"]
        if row["status"] == EQUAL
    }


def _label(key: tuple[str, str]) -> str:
    framework, row = key
    return f"{framework}: {row}"


def _compared(key: tuple[str, str], now: Record, before: Record) -> Record:
    ratio = paired.unpaired(list(now["passes"].values()), list(before["passes"].values()))
    one = ratio.high == float("inf")
    return {
        "framework": key[0],
        "id": key[1],
        "implementation": now["implementation"],
        "before": before["seconds"],
        "now": now["seconds"],
        "ratio": ratio.value,
        "low": None if one else ratio.low,
        "high": None if one else ratio.high,
        "change": SLOWER if ratio.is_slower else FASTER if ratio.is_faster else ALIKE,
    }


def reversed_ranks(board: Record, other: Record) -> Iterator[str]:
    """Pairs of rows of one table whose order was beyond doubt in both leaderboards, and not the same."""
    before = {table["workload"]: _by_label(table) for table in other["tables"]}
    for table in board["tables"]:
        earlier, now = before.get(table["workload"], {}), _by_label(table)
        for one, two in itertools.combinations([label for label in now if label in earlier], 2):
            if not all(rows[one].keys() & rows[two].keys() for rows in (now, earlier)):
                continue
            first, second = (paired.ratio(rows[one], rows[two]) for rows in (now, earlier))
            if (first.is_slower and second.is_faster) or (first.is_faster and second.is_slower):
                words = "slower" if first.is_slower else "faster"
                yield f"{table['workload']}: {one} is now {words} than {two}, and was not"


def _by_label(table: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """The times by pass of each ranked row."""
    return {
        f"{row['framework']}/{row['implementation']}": {int(n): value for n, value in row["passes"].items()}
        for row in table["rows"]
        if row["status"] == EQUAL
    }
