"""Which implementation runs which case in which dtypes: in all, or, where that costs seconds, in each in turns."""

from __future__ import annotations

from collections.abc import Iterable

from frameworks.protocol import Implementation
from shared_spec import cases


def chosen(available: Iterable[Implementation], names: Iterable[str]) -> list[tuple[Implementation, str, str]]:
    """Implementations, cases and dtypes, in the order of the cases."""
    available, found = list(available), []
    turns: dict[tuple[str, str], int] = {}
    for name in names:
        for implementation in available:
            dtypes = [dtype for dtype in implementation.dtypes if implementation.runs(name, dtype)]
            if dtypes and in_turns(implementation, name):
                # The next cell of the same lane has the next dtype.
                which = (implementation.name, kind(name))
                turn = turns[which] = turns.get(which, -1) + 1
                dtypes = [dtypes[turn % len(dtypes)]]
            found += [(implementation, name, dtype) for dtype in dtypes]
    return found


def kind(name: str) -> str:
    """What a case is of any cell: "long", or "short-training"."""
    entry = cases.entry_of(name)
    return entry[0].name if entry else name.rpartition("-")[0]


def in_turns(implementation: Implementation, name: str) -> bool:
    """Whether a case is run in one dtype only: a training in any lane but scratch, and many steps where each shape is
    compiled. Every lane runs each of its cells in both dtypes on fewer steps, and what trains them is the same code.
    """
    if kind(name) == cases.SHORT_TRAINING:
        return implementation.lane != "scratch"
    return implementation.brief and kind(name) == "long"
