"""The report as people read it: a page, a summary in Markdown, a table in the terminal; no number of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared_spec.files import write_whole

SITE = Path(__file__).with_name("site")
# A verdict is never told by colour alone.
MARKS = {"equal": "✓", "suspect": "?", "different": "✗", "failed": "!", "missing": "–", "stale": "~"}
COLOURS = {
    "equal": "green",
    "suspect": "yellow",
    "different": "red",
    "failed": "red",
    "missing": "dim",
    "stale": "yellow",
}

Record = dict[str, Any]


def write(report: Record, folder: Path) -> Path:
    """Write index.html, report.md and report.json, each whole or not at all; returns the page's path."""
    contents = {
        "report.json": json.dumps(report, allow_nan=False),
        "report.md": _template("report.md.jinja", autoescape=False).render(_context(report)),
        "index.html": _template("index.html.jinja", autoescape=True).render(_context(report)),
    }
    for name, text in contents.items():
        write_whole(folder / name, text.encode())
    return folder / "index.html"


def _template(name: str, *, autoescape: bool) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SITE),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "sci": scientific,
        "ratio": ratio,
        "cell": markdown_cell,
        "perplexity": perplexity,
        "place": place,
        "worst_first": worst_first,
    }
    return environment.get_template(name)


def _context(report: Record) -> Record:
    trouble = [row for row in report["results"] if row["status"] != "equal"]
    matrix: dict[tuple[str, str], Record] = {}
    for row in report["implementations"]:
        device = "" if row["device"] == "cpu" else f" on {row['device']}"
        fields = matrix.setdefault((f"{row['framework']}/{row['implementation']}{device}", row["dtype"]), {})
        fields[row["cell"]] = row
    return {"report": report, "marks": MARKS, "trouble": trouble, "matrix": matrix}


def scientific(value: float | None) -> str:
    """Such as 6.0e-08; infinity where the report has none."""
    return "∞" if value is None else "0" if value == 0 else f"{value:.1e}"


def ratio(value: float | None) -> str:
    """A ratio to a bound: two significant digits."""
    return "∞" if value is None else f"{value:.2g}" if value < 1000 else f"{value:.1e}"


def perplexity(value: float | None, digits: int = 6) -> str:
    """A perplexity; infinity where a training has diverged."""
    return "∞" if value is None else f"{value:.{digits}f}"


def place(finding: Record) -> str:
    """Such as H[3,7,2]."""
    index = ",".join(str(i) for i in finding["index"])
    return f"{finding['quantity']}[{index}]" if index else str(finding["quantity"])


def markdown_cell(value: object) -> str:
    """Text from data, made harmless in a table of Markdown."""
    text = " ".join(str(value).split())
    for character in ("\\", "`", "*", "_", "[", "]", "|"):
        text = text.replace(character, f"\\{character}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def worst_first(quantities: list[Record]) -> list[Record]:
    """Records of quantities, the largest ratio to its bound first; none stands for infinity."""
    return sorted(quantities, key=lambda q: _size(q["ratio"]), reverse=True)


def terminal(report: Record, console: Console, frameworks: list[str]) -> None:
    """The report in brief: a line for each implementation of these frameworks, then trainings and pairs."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "implementation", "cell", "dtype", "cases", "worst at"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    table.add_column("ratio", justify="right", no_wrap=True)
    for row in report["implementations"]:
        if row["framework"] not in frameworks:
            continue
        worst = next(iter(worst_first(row["quantities"])), None)
        table.add_row(
            Text(MARKS[row["status"]], style=COLOURS[row["status"]]),
            f"{row['framework']}/{row['implementation']}",
            row["cell"],
            row["dtype"],
            f"{row['equal']}/{row['cases']}",
            Text("-" if worst is None else worst["quantity"]),
            "-" if worst is None else ratio(worst["ratio"]),
        )
    console.print(table)
    for line in (*_training_lines(report), *_pair_lines(report), *_trouble_lines(report, frameworks)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(report["summary"]["sentence"], style="bold", markup=False, highlight=False, soft_wrap=True)


def _size(value: float | None) -> float:
    return float("inf") if value is None else value


def _training_lines(report: Record) -> Iterator[str]:
    for training in report["training"]:
        runs = training["runs"]
        if len({run["label"].split("/")[0] for run in runs}) < 2 and not training["case"].startswith("full"):
            continue
        text = "the same text" if training["same_text"] else "DIFFERENT texts"
        digits = training["digits_between_frameworks"]
        agree = (
            f"losses agree to {digits:.1f} digits"
            if digits is not None
            else f"{runs[0]['digits']:.1f} digits to the oracle"
        )
        line = f"{training['case']} {training['dtype']}: {training['steps']} steps, {len(runs)} runs, {agree}, {text}"
        if training["case"].startswith("full"):
            opens = training["envelope_opens_at"]
            line += f"; envelope {'narrow throughout' if opens is None else f'opens at step {opens}'}"
            ends = sorted(
                {tuple(perplexity(run[f"perplexity_{part}"], 2) for part in ("train", "val")) for run in runs}
            )
            line += f"; perplexity {', '.join(f'{train} (validation {val})' for train, val in ends)}"
        yield line


def _pair_lines(report: Record) -> Iterator[str]:
    """The frameworks two by two, over all cells and lanes: how far states and gradients are apart."""
    largest: dict[tuple[str, str, str, str], float] = {}
    for pair in report["pairs"]:
        if pair["group"] in ("H", "gradients"):
            a, b = (pair[side].split("/")[0] for side in "ab")
            key = (pair["dtype"], a, b, pair["group"])
            largest[key] = max(largest.get(key, 0.0), _size(pair["absolute"]))
    for (dtype, a, b, group), value in largest.items():
        if group == "H":
            gradients = largest.get((dtype, a, b, "gradients"), 0.0)
            yield f"{a} and {b}, {dtype}: states at most {value:.1e} apart, gradients {gradients:.1e}"


def _trouble_lines(report: Record, frameworks: list[str]) -> Iterator[str]:
    for framework in report["frameworks"]:
        if framework["name"] not in frameworks or framework["status"] != "present":
            yield from [
                f"{framework['name']}: {framework['status']}: {framework['why']}; run {framework['command']}"
            ] * (framework["status"] != "present")
            continue
        reasons = {(i["name"], i["reason"]) for i in framework["unavailable"]}
        for name, reason in sorted(reasons):
            yield f"{framework['name']}/{name}: unavailable: {reason}"
    for row in report["results"]:
        if row["framework"] in frameworks and row["status"] != "equal":
            who = f"{row['framework']}/{row['implementation']} {row['case']} {row['dtype']}"
            yield f"{MARKS[row['status']]} {who}: {row['status']}: {row['why'] or row['sentence']}"
