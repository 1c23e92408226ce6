"""The report in brief, and a leaderboard, for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isogru.wording import ratio
from reports.diff.quantities import group_of
from reports.diff.records import Field, Report
from reports.pages.render import MARKS, fields_of, perplexity
from reports.pages.schema import size
from reports.race import records as race
from reports.race import standings

COLOURS = {
    "equal": "green",
    "suspect": "yellow",
    "undetermined": "dim",
    "different": "red",
    "failed": "red",
    "missing": "dim",
    "stale": "yellow",
}
WRONG = ("undetermined", "suspect", "different", "failed", "stale")
"""Of a layout; one that was not run, or that nothing here can run, is not wrong."""
MOST_LINES = 12
"""Of results that are not equal; the page has them all."""


def show(report: Report, console: Console, frameworks: list[str]) -> None:
    """A line for each implementation of these frameworks and dtype, then trainings, pairs, and what is wrong."""
    console.print(_table(report, frameworks))
    for line in (
        *_trainings(report),
        *_texts(report),
        *_pairs(report),
        *_rosetta(report),
        *_troubles(report, frameworks),
    ):
        say(console, line)
    say(console, report.summary.sentence, style="bold")


def show_leaderboard(board: race.Leaderboard, console: Console) -> None:
    """A table for each workload, in 80 columns; below each, what is not ranked and why."""
    for table in board.tables:
        bound = f", bound {standings.duration(table.bound.seconds)}" if table.bound else ""
        say(console, f"{table.title} · {table.cell} · {table.dtype}{bound}", style="bold")
        console.print(_ranking(table))
        for row in standings.unranked(table):
            who = f"{row.framework}/{row.implementation}"
            say(console, f"  not ranked: {who}: {row.status}: {row.why}", style="red")
    for sentence in board.trouble:
        say(console, sentence, style="yellow")
    for line in standings.side_by_side(board):
        say(console, line)
    for line in standings.controlled(board):
        say(console, f"control {line}", style="" if line.startswith(race.PASSED) else "yellow")
    if why := standings.no_ranks(board):
        say(console, why, style="yellow")


def _table(report: Report, frameworks: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    names = [cell.name for cell in report.cells]
    table.add_column("largest ratio", no_wrap=True, overflow="ellipsis", max_width=28)
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(name.replace("_", "\n"), width=7, no_wrap=True)
    for row in report.implementations:
        if row.framework in frameworks:
            fields = fields_of(row)
            table.add_row(Text(plain(row.label)), f"f{row.dtype[-2:]}", *(_field(fields, name) for name in names))
    return table


def _ranking(table: race.Table) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name in ("rank", "", "time", "beside the fastest", "bound", "held by"):
        # Numbers and names are shown whole; where the line is too short, words go on below.
        is_words = name in ("beside the fastest", "held by")
        grid.add_column(name, no_wrap=not is_words, justify="left" if is_words or not name else "right")
    for row in standings.ranked(table):
        who = f"{row.framework}/{row.implementation}"
        cells = [standings.rank(row), who, standings.duration(row.seconds), standings.beside(row)]
        cells += [standings.percent(row.percent), standings.held_back(row)]
        grid.add_row(*(Text(plain(cell)) for cell in cells))
    return grid


def _field(fields: dict[tuple[str, str], Field], cell: str) -> Text:
    own = [field for (name, _), field in fields.items() if name == cell]
    if not own:
        return Text("")
    order = ("equal", "undetermined", "suspect", "different", "missing", "stale", "failed")
    worst = max(own, key=lambda f: (order.index(f.status), size(f.ratio)))
    # No more than seven columns: of a large ratio the order of magnitude.
    large = worst.ratio is not None and worst.ratio >= 1000
    said = f"{worst.ratio:.0e}" if large else ratio(worst.ratio) if worst.quantity else ""
    return Text(f"{MARKS[worst.status]} {said}", style=COLOURS[worst.status])


def say(console: Console, line: str, *, style: str = "") -> None:
    """A line as it is, but for what a terminal would obey."""
    console.print(plain(line), style=style, markup=False, highlight=False, soft_wrap=True)


def plain(text: str) -> str:
    """Text from data without what a terminal would obey."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _trainings(report: Report) -> Iterator[str]:
    for training in report.training:
        runs = training.runs
        full = training.case.startswith("full")
        if len({run.framework for run in runs}) < 2 and not full:
            continue
        digits = training.digits_between_frameworks
        agree = f"{runs[0].digits:.1f} digits to the oracle" if digits is None else f"{digits:.1f} digits"
        opens = training.envelope_opens_at
        parted = "DIFFERENT texts" if opens is None else "texts part by rounding"
        text = "same text" if training.same_text else parted
        yield f"{training.case} {training.dtype}: {training.steps} steps, {len(runs)} runs, {agree}, {text}"
        if full:
            ends = sorted({(perplexity(run.perplexity_train, 2), perplexity(run.perplexity_val, 2)) for run in runs})
            yield (
                f"  envelope {'narrow throughout' if opens is None else f'opens at step {opens + 1}'}; perplexity "
                + ", ".join(f"{train} (validation {val})" for train, val in ends)
            )


def _texts(report: Report) -> Iterator[str]:
    for text in report.summary.texts:
        yield f"trained on: {text}"


def _pairs(report: Report) -> Iterator[str]:
    """The frameworks two by two, over all cells and lanes: how far states and gradients are apart."""
    largest: dict[tuple[str, str, str], dict[str, float]] = {}
    for record in report.pairs:
        for measured in record.quantities:
            group = group_of(measured.quantity)
            for i, a in enumerate(record.labels):
                for b, value in zip(record.labels, measured.absolute[i], strict=False):
                    if not isinstance(value, str) and a.split("/")[0] != b.split("/")[0]:
                        of_pair = largest.setdefault((record.dtype, b.split("/")[0], a.split("/")[0]), {})
                        of_pair[group] = max(of_pair.get(group, 0.0), size(value))
    for (dtype, a, b), of_pair in largest.items():
        if "H" in of_pair:
            gradients = of_pair.get("gradients", 0.0)
            yield f"{a}, {b}, {dtype}: states at most {of_pair['H']:.1e} apart, gradients {gradients:.1e}"
    counts = [(len(record.labels), len(record.left_out)) for record in report.pairs if record.left_out]
    if counts:
        shown, left = max(counts, key=sum)
        among = f"of up to {shown + left} implementations of a cell {shown} are compared with each other"
        yield f"{among}; all: python -m reports site --compared {shown + left}"


def _rosetta(report: Report) -> Iterator[str]:
    proven = [row.name for row in report.rosetta if row.status == "equal"]
    if proven:
        yield f"layouts proven: {', '.join(proven)}"
    for row in report.rosetta:
        if row.status in WRONG:
            yield f"{MARKS[row.status]} layout {row.name}: {row.status}: {row.why or row.worst}"


def _troubles(report: Report, frameworks: list[str]) -> Iterator[str]:
    for framework in report.frameworks:
        if framework.name not in frameworks:
            continue
        if framework.status != "present":
            yield f"{framework.name}: {framework.status}: {framework.why}; run {framework.command}"
            continue
        for name, reason in sorted({(i.name, i.reason) for i in framework.unavailable or ()}):
            yield f"{framework.name}/{name}: unavailable: {reason}"
    for precision in report.precision:
        if precision.framework in frameworks and precision.consequence:
            yield f"! {precision.framework}/{precision.implementation}: {precision.consequence}"
    wrong = [row for row in report.results if row.framework in frameworks and row.status != "equal"]
    for row in wrong[:MOST_LINES]:
        who = f"{row.framework}/{row.implementation} {row.case} {row.dtype}"
        yield f"{MARKS[row.status]} {who}: {row.status}: {row.reason}"
    for mend in sorted({row.mend.partition(" -- ")[0] for row in wrong if row.mend}):
        yield f"what is stale, missing or failed is run again by: {mend}"
    if len(wrong) > MOST_LINES:
        yield f"... and {len(wrong) - MOST_LINES} more that are not equal; the page has them all"
