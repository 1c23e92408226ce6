"""The command isogru suites: what other people's tests of GRUs accept, beside isogru's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Optional

import msgspec
import typer

from shared_spec.__main__ import Json
from shared_spec.command import say
from shared_spec.errors import UserError

if TYPE_CHECKING:
    from isogru.suites.matrix import Row
    from isogru.suites.reading import Suite

OWN = "isogru"
CELLS = ("gru", "gru_reset_after")
"""Those that the suites test."""


def judge_suites(
    names: Annotated[
        Optional[list[str]],
        typer.Argument(metavar="SUITE...", help="Only these, such as keras; isogru is its own catalogue."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Rebuild the GRU tests of other projects from their sizes, kinds of weights and tolerances, and count the mutants
    that each accepts. All of them take two minutes, and are kept for the page Referee, with a curve of mutants killed
    against tolerance.
    """
    # Here, so that the other commands start without it.
    from isogru.suites import own, records
    from isogru.suites.matrix import row

    asked = chosen(names)
    rows = []
    for suite in asked:
        rows.append(own.row(suite) if isinstance(suite, str) else row(suite))
        if not as_json:
            say(told(rows[-1]))
    record = records.made(rows, [] if names else [own.curve(cell) for cell in CELLS])
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(record)))
    if not names:
        file = records.write(record)
        if not as_json:
            say(f"wrote {file}; python -m reports referee makes the page")


def chosen(names: list[str] | None) -> list[Suite | str]:
    """The suites of these names, all where there is none; a cell stands for isogru's own catalogue of it. Raises
    UserError for a name that is not there.
    """
    from isogru.suites.reading import suites

    there = suites()
    known = list(dict.fromkeys([*(suite.name for suite in there), OWN]))
    if unknown := [name for name in names or () if name not in known]:
        raise UserError(f"no suite {unknown[0]!r}; the suites are {', '.join(known)}")
    wanted: list[Suite | str] = [suite for suite in there if not names or suite.name in names]
    return [*wanted, *(CELLS if not names or OWN in names else ())]


def told(of: Row) -> str:
    """Such as "keras, gru: 66 of 108 mutants live (...), 0 of 9 right results rejected (atol 1e-05, rtol 1e-05)"."""
    count = len(of.alive) + len(of.killed)
    lives = f"{len(of.alive)} of {count} mutants live"
    return f"{of.suite}, {of.cell}: {lives}, {of.rejected} of {of.right} right results rejected ({of.tolerance})"
