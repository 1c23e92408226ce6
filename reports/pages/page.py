"""The page: one file that asks for nothing. Data, styles, scripts and the chart library are inside it."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import jinja2
import markupsafe
from latex2mathml.converter import convert as mathml

from reports.diff.records import Cell
from shared_spec.errors import UserError
from shared_spec.files import folders, kept

PARTS = Path(__file__).parents[1] / "templates"
SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""What the library of charts gives the page."""
REPORT = ("report", "charts", "matrix", "field", "pairs", "training", "standings", "leaderboard")
EXERCISES = ("report", "charts", "gates", "sweeps", "compared")
"""The scripts of each page."""
VEGA_LITE = "6.4"


def render(
    template: jinja2.Template,
    context: Mapping[str, object],
    data: bytes,
    parts: Sequence[str],
    cells: Sequence[Cell],
) -> str:
    """The page on a report of these cells, whose JSON is `data`: compressed it goes along, so that every chart and
    every field is drawn from it and from nothing else, by the scripts named in `parts`.
    """
    scripts = [_library(), "".join(_part(f"{name}.js") for name in parts)]
    return template.render(
        context,
        style=markupsafe.Markup(_part("page.css")),
        scripts=[markupsafe.Markup(script) for script in scripts],
        # Only these scripts may run, whatever text from a result might say; and nothing may be asked for.
        policy="; ".join(
            [
                "default-src 'none'",
                f"script-src {' '.join(_digest(script) for script in scripts)}",
                "style-src 'unsafe-inline'",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
            ]
        ),
        data=base64.b64encode(gzip.compress(data, 6, mtime=0)).decode(),
        formulas={
            cell.name: [
                (equation.target, formula(text)) for equation, text in zip(cell.equations, cell.latex, strict=False)
            ]
            for cell in cells
        },
    )


def render_plain(template: jinja2.Template, context: Mapping[str, object]) -> str:
    """A page that is text alone: no script runs on it."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return template.render(context, style=markupsafe.Markup(_part("page.css")), policy=policy)


@functools.cache
def formula(latex: str) -> markupsafe.Markup:
    """A formula of the latex reading as MathML."""
    return markupsafe.Markup(mathml(latex, display="block"))


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


@functools.cache
def _library() -> str:
    """Vega-Lite with all that it needs, as one script: vegaEmbed(element, specification, options). It takes two seconds
    to be made, and is kept: in the user's cache, never beside results, which may be anybody's, since a page runs it.
    """
    try:
        made_by = f"{SNIPPET} {metadata.version('vl-convert-python')}"
        file = folders.cache() / f"vega-lite-{VEGA_LITE}-{hashlib.sha256(made_by.encode()).hexdigest()[:8]}.kept"
    except UserError:
        return _bundle()
    if (bundle := kept.read(file, str)) is None:
        kept.keep(file, bundle := _bundle())
    return bundle


def _bundle() -> str:
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(SNIPPET, vl_version=VEGA_LITE)
    return bundle


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
