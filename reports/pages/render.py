"""The report as people read it: a page and a summary in Markdown; no number of their own."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import jinja2
import msgspec

from isogru import wording
from isogru.judge.comparison import EQUAL
from isogru.wording import ratio
from reports.diff.quantities import group_of
from reports.diff.records import FORMAT, Distances, Field, Implementation, Report
from reports.diff.verdicts import Deviation
from reports.exercises.records import Exercises
from reports.exercises.records.sweeps import Law, Otherwise
from reports.pages import page
from reports.pages.schema import Header, check_format, size
from reports.race import standings
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files import door
from shared_spec.files.whole import write_together
from shared_spec.sweeps.trials import worded

REPORTS = Path(__file__).parents[1]
TEMPLATES, SITE = REPORTS / "templates", REPORTS / "site"
MARKS = {**wording.MARKS, "missing": "–", "unfinished": "–", "stale": "~"}
MEANINGS = {
    "equal": "within what rounding allows",
    "suspect": "rounding could explain it, but further out than the oracle's twins",
    "undetermined": "the precision cannot hold it, so that nothing can be said of it",
    "different": "no rounding explains it: another function",
    "failed": "did not run to its end, left a damaged file, or its precision is not what its label says",
    "missing": "set out to be run, and not there",
    "stale": "made of another version of the specification, the case or the text",
}


def write(report: Report, folder: Path) -> Path:
    """Write index.html, report.md and report.json, and of a leaderboard leaderboard.md and leaderboard.json, each whole
    or not at all; returns the page's path.

    Raises UserError where the folder has a report of a newer isogru.
    """
    _refuse_newer(folder / "report.json")
    data, context = msgspec.json.encode(report), _context(report)
    html = template("index.html.jinja", autoescape=True)
    contents = {
        "report.json": data,
        "report.md": template("report.md.jinja", autoescape=False).render(context).encode(),
        "index.html": page.render(html, context, data, page.REPORT, report.cells).encode(),
    }
    if board := report.leaderboard:
        contents["leaderboard.json"] = msgspec.json.encode(board)
        contents["leaderboard.md"] = (
            template("leaderboard.md.jinja", autoescape=False).render(standings.context(board)).encode()
        )
    write_together({folder / name: content for name, content in contents.items()})
    return folder / "index.html"


def write_exercises(report: Exercises, folder: Path) -> Path:
    """Write exercises.html, exercises.md and exercises.json, each whole or not at all; returns the page's path."""
    data, context = msgspec.json.encode(report), {"report": report, "marks": MARKS, "meanings": MEANINGS}
    html = page.render(template("exercises.html.jinja", autoescape=True), context, data, page.EXERCISES, report.cells)
    brief = template("exercises.md.jinja", autoescape=False).render(context)
    contents = {"exercises.json": data, "exercises.md": brief.encode(), "exercises.html": html.encode()}
    write_together({folder / name: content for name, content in contents.items()})
    return folder / "exercises.html"


def _refuse_newer(file: Path) -> None:
    try:
        file_format = msgspec.json.decode(door.content(file), type=Header).format
    except (InterchangeError, *door.UNDECODABLE):
        return  # None, or none that could be read: it is written anew.
    try:
        check_format(file, file_format)
    except UserError as error:
        raise UserError(f"{error}, or write elsewhere with -o") from None


def template(name: str, *, autoescape: bool) -> jinja2.Template:
    """A template of reports/templates, with the filters that print numbers."""
    return _environment(autoescape).get_template(name)


@functools.cache
def _environment(autoescape: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "sci": scientific,
        "ratio": ratio,
        "cell": markdown_cell,
        "code": markdown_code,
        "perplexity": perplexity,
        "worded": worded,
        "lane": lane,
        "place": place,
        "power": power,
        "furthest": furthest,
        "formula": page.formula,
        **standings.FILTERS,
    }
    return environment


def _context(report: Report) -> dict[str, object]:
    ran = {field.cell for row in report.implementations for field in row.fields}
    return {
        **standings.context(report.leaderboard),
        "report": report,
        "format": FORMAT,
        "marks": MARKS,
        "meanings": MEANINGS,
        "ran": [cell for cell in report.cells if cell.name in ran],
        "trouble": [row for row in report.results if row.status != EQUAL],
        "matrix": [(row, fields_of(row)) for row in report.implementations],
    }


def fields_of(implementation: Implementation) -> dict[tuple[str, str], Field]:
    """The fields of a row of the matrix, by cell and column."""
    return {(field.cell, field.column): field for field in implementation.fields}


def lane(of: Law | Otherwise) -> str:
    """Such as torch/scratch on 2 threads; without the threads where nobody has told."""
    threads = f" on {of.threads} thread{'s' if of.threads != '1' else ''}" if of.threads else ""
    return f"{of.framework}/{of.implementation}{threads}"


def scientific(value: float | None) -> str:
    """Such as 6.0e-08; infinity where the report has none."""
    return "∞" if value is None else "0" if value == 0 else f"{value:.1e}"


def perplexity(value: float | None, digits: int = 6) -> str:
    """A perplexity; infinity where a training has diverged."""
    return "∞" if value is None else f"{value:.{digits}f}"


def power(u: float) -> str:
    """The exponent of a unit roundoff as a power of two."""
    exponent = math.log2(u)
    return f"{exponent:.0f}" if exponent == round(exponent) else f"{exponent:.1f}"


def furthest(quantities: Sequence[Distances]) -> list[tuple[str, Distances]]:
    """Of each kind of quantity, such as the gradients, the one in which two are furthest apart."""
    records: dict[str, Distances] = {}
    for record in quantities:
        group = group_of(record.quantity)
        if group not in records or size(record.worst.absolute) > size(records[group].worst.absolute):
            records[group] = record
    return list(records.items())


def place(finding: Deviation) -> str:
    """Such as H[3,7,2]."""
    index = ",".join(str(i) for i in finding.index)
    return f"{finding.quantity}[{index}]" if index else finding.quantity


def markdown_cell(value: object) -> str:
    """Text from data, made harmless in a table of Markdown."""
    text = " ".join(str(value).split())
    for character in ("\\", "`", "*", "_", "[", "]", "|"):
        text = text.replace(character, f"\\{character}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown_code(value: object) -> str:
    """Text from data that stays within the backticks around it, in a table too."""
    return " ".join(str(value).split()).replace("`", "").replace("|", "\\|")
