"""The page Referee: referee.html and referee.json."""

from __future__ import annotations

from pathlib import Path

import msgspec

from isogru.score.records import ALIVE, EQUIVALENT, KILLED, NOT_APPLICABLE
from isogru.suites.records import Judged, Suites
from reports.pages import page, render
from reports.referee.records import Referee
from shared_spec.files.whole import write_together

PARTS = ("report", "charts", "referee")
"""The scripts of the page."""
MARKS = {KILLED: "✓", EQUIVALENT: "≡", ALIVE: "✗", NOT_APPLICABLE: "–", "": "–"}
LOOKS = {KILLED: "equal", EQUIVALENT: "equal", ALIVE: "different", NOT_APPLICABLE: "soft", "": "soft"}
KINDS = ("equations", "weights", "sequence", "gradient", "precision")


def write(referee: Referee, folder: Path) -> Path:
    """Write referee.html and referee.json, each whole or not at all; returns the page's path."""
    data = msgspec.json.encode(referee)
    context = {"report": referee, "marks": MARKS, "looks": LOOKS, "kinds": KINDS, "alive": alive_by_kind}
    html = page.render(render.template("referee.html.jinja", autoescape=True), context, data, PARTS, ())
    write_together({folder / "referee.json": data, folder / "referee.html": html.encode()})
    return folder / "referee.html"


def alive_by_kind(suites: Suites, row: Judged) -> list[tuple[int, int]]:
    """Of each of KINDS how many mutants a suite leaves alive, and how many there are."""
    every = suites.mutants[row.cell]
    counted = []
    for kind in KINDS:
        of_kind = [mutant.name for mutant in every if mutant.kind == kind]
        counted.append((sum(name in row.alive for name in of_kind), len(of_kind)))
    return counted
