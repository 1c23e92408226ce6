"""python -m reports: the verdict on results, and the report of everything present."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from reports import build, collect, reference, render, verdict
from shared_spec import cells, store
from shared_spec.__main__ import Json
from shared_spec.command import EQUAL, NOT_EQUAL, application, main
from shared_spec.errors import InterchangeError, UserError
from shared_spec.interchange import Case, check_result, read_case, read_result

app = application("What is read by people. Exit status: 0 all equal, 1 something is not, 2 the request was wrong.")


@app.command("verdict")
def give_verdict(
    case_file: Annotated[Path, typer.Argument(metavar="CASE")],
    result_files: Annotated[list[Path], typer.Argument(metavar="RESULT...")],
    as_json: Json = False,
    claim: Annotated[
        Optional[str], typer.Option(help="Judge the results as if they claimed this cell instead of the case's.")
    ] = None,
) -> None:
    """Hold result files against a case: equal, suspect or different, and the worst element of each quantity."""
    case = read_case(case_file)
    verdicts = []
    for file in result_files:
        result = read_result(file, case)
        if result.origin.case_digest != case.digest:
            raise InterchangeError(f"{file}: made of another case than {case_file}; run it again on this one")
        held = case
        if claim is not None:
            if not isinstance(case, Case):
                raise UserError("a claim can be judged on a case of a cell over a sequence, not on a language model")
            held, result = verdict.claim(case, result, cells.cell(claim))
            check_result(file, result, held)
        verdicts.append(verdict.judge(held, result, reference.get(held, result.origin.dtype)))
    if as_json:
        records = [
            {"file": str(f), "verdict": v.verdict, **asdict(v)} for f, v in zip(result_files, verdicts, strict=True)
        ]
        typer.echo(json.dumps(build.finite(records), indent=1))
    else:
        for file, found in zip(result_files, verdicts, strict=True):
            typer.echo(f"{render.MARKS[found.verdict]} {found.verdict}: {file}")
            for finding in found.findings:
                mark = render.MARKS[finding.verdict]
                typer.echo(f"    {mark} {finding.sentence(found.origin)}, ratio {render.ratio(finding.ratio)}")
    raise typer.Exit(EQUAL if all(v.verdict == verdict.EQUAL for v in verdicts) else NOT_EQUAL)


@app.command("site")
def make_site(
    framework: Annotated[
        Optional[list[str]],
        typer.Option(help="Show, and judge the exit status by, this framework only; the page has all that is present."),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", envvar="ISOGRU_SITE", help="The folder to write to.")
    ] = render.SITE,
    as_json: Json = False,
) -> None:
    """Everything present, on one page: index.html, report.md and report.json."""
    shown = framework or list(collect.FRAMEWORKS)
    if unknown := [name for name in shown if name not in collect.FRAMEWORKS]:
        raise UserError(f"no framework {unknown[0]!r}; the frameworks are {', '.join(collect.FRAMEWORKS)}")
    # Two runs at once: whoever comes second sees the results of both.
    with store.lock(".lock"):
        report = build.build(collect.collect())
        page = render.write(report, output)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        render.terminal(report, Console(width=None if sys.stdout.isatty() else 100), shown)
        typer.echo(f"report: {page.resolve()}")
    # Missing is wrong only where it was asked for by name.
    bad = {"failed", "missing"} if framework else {"failed"}
    failed = [f for f in report["frameworks"] if f["name"] in shown and f["status"] in bad]
    wrong = [row for row in report["results"] if row["framework"] in shown and row["status"] != verdict.EQUAL]
    raise typer.Exit(NOT_EQUAL if failed or wrong else EQUAL)


if __name__ == "__main__":
    main(app)
