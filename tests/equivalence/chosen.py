"""Which implementation runs which case in which dtypes. Every lane runs each of its cells on the ordinary case in each
dtype; on every other case the dtypes take turns from cell to cell, and with --every-dtype it runs them all. In lanes
that are compiled for each shape anew, which costs seconds, they take turns on the ordinary case too.

So every two of lane, cell, case and dtype meet, and every three but cell, case and dtype. What depends on the dtype in
a cell shows on the ordinary case, or where that takes turns on the long one; what depends on it in a case shows in
another cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from frameworks.protocol import Implementation
from shared_spec import cases

IN_EACH = "ordinary"
"""The kind of case that each cell runs in each dtype, where that is cheap."""


def chosen(
    available: Iterable[Implementation], names: Iterable[str], *, every_dtype: bool = False
) -> list[tuple[Implementation, str, str]]:
    """Implementations, cases and dtypes, in the order of the cases."""
    available = list(available)
    cells = {each.name: cells_by_kind(each.name, available) for each in available}
    jobs = []
    for name in names:
        for implementation in available:
            dtypes = [dtype for dtype in implementation.dtypes if implementation.runs(name, dtype)]
            if dtypes and not every_dtype and not runs_in_each(implementation, kind(name)):
                dtypes = in_turns(dtypes, implementation.cell, kind(name), cells[implementation.name])
            jobs += [(implementation, name, dtype) for dtype in dtypes]
    return jobs


def runs_in_each(implementation: Implementation, of: str) -> bool:
    """Whether a cell runs that kind of case in each of its dtypes."""
    return of == IN_EACH and not implementation.brief


def cells_by_kind(implementation: str, available: Iterable[Implementation]) -> dict[str, list[str]]:
    """For each kind of case the cells that the implementation of that name runs it with."""
    mine = [each for each in available if each.name == implementation]
    cells: dict[str, list[str]] = {}
    for name in [*cases.cell_case_names(), *cases.training_case_names()]:
        cells.setdefault(kind(name), []).extend(i.cell for i in mine if any(i.runs(name, d) for d in i.dtypes))
    return {each: them for each, them in cells.items() if them}


def in_turns(dtypes: Sequence[str], cell: str, of: str, cells: dict[str, list[str]]) -> list[str]:
    """The dtypes in which a cell runs a kind of case. The next cell has the next dtype, and the next kind begins with
    the next, so that no cell has the same one always. A cell that is alone with a case has nobody to take turns with.
    """
    if len(cells[of]) == 1:
        return list(dtypes)
    return [dtypes[(list(cells).index(of) + cells[of].index(cell)) % len(dtypes)]]


def kind(name: str) -> str:
    """What a case is of any cell: "long", or "short-training"."""
    entry = cases.entry_of(name)
    return entry[0].name if entry else name.rpartition("-")[0]
