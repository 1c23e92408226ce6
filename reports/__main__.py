"""python -m reports: the verdict on results, the report of everything present, and two reports compared."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Optional

import msgspec
import typer
from rich.console import Console

from isogru.command import give_verdict
from isogru.judge import comparison
from reports import third_party
from reports.diff import build, collect, compare, pairs
from reports.diff.records import Report
from reports.exercises import build as exercises
from reports.exercises import export
from reports.pages import render, schema, terminal
from reports.race import races, running, standings
from reports.race.records import Leaderboard
from reports.referee import build as referee
from reports.referee import page as referee_page
from shared_spec import language_model, machine
from shared_spec import third_party as third_party_records
from shared_spec.__main__ import CorpusPath, CorpusSha1, Json
from shared_spec.command import EQUAL, NOT_EQUAL, UNJUDGED, WRONG, application, main, say
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.files.whole import write_whole
from shared_spec.language_model.corpus import find as find_text
from shared_spec.race import definition, rows, workloads
from shared_spec.race.definition import BUDGET, TURN, Race
from shared_spec.sweeps.place import default_file

Site = Annotated[Path, typer.Option("-o", "--output", envvar="ISOGRU_SITE", help="The folder to write to.")]

app = application(
    "What is read by people. Exit status: 0 all equal, 1 something is not, 2 the request was wrong, 3 not judged."
)


app.command("verdict")(give_verdict)


@app.command("site")
def make_site(
    framework: Annotated[
        Optional[list[str]],
        typer.Option(help="Show, and judge the exit status by, this framework only; the page has all that is present."),
    ] = None,
    output: Site = render.SITE,
    report_file: Annotated[
        Optional[Path], typer.Option("--from", help="Make the page of this report.json instead of the results here.")
    ] = None,
    compared: Annotated[
        int, typer.Option(min=2, help="So many implementations of a cell and dtype are compared, each against each.")
    ] = pairs.MOST,
    as_json: Json = False,
) -> None:
    """Everything present, on one page: index.html, report.md and report.json."""
    shown = framework or list(collect.FRAMEWORKS)
    collect.check_names(shown)
    damaged: list[str] = []
    if report_file is not None:
        if report_file.is_dir():
            raise UserError(f"{report_file}: a folder; name a report.json, or results by ISOGRU_RESULTS={report_file}")
        report = schema.read(report_file)
        page = render.write(report, output)
    elif not store.folder().is_dir():
        raise UserError(f"no results: there is no {store.folder()}; run tox -e torch,jax")
    else:
        report, page, damaged = _site(output, compared=compared)
    if as_json:
        typer.echo(_json(report))
    else:
        # On a pipe Rich would take 80 columns, which cut no line of the table.
        terminal.show(report, Console(), shown)
        say(f"report: {page.resolve()}")
    _refused(damaged)
    # Missing is wrong only where it was asked for by name.
    bad = {"failed", "missing"} if framework else {"failed"}
    failed = [f for f in report.frameworks if f.name in shown and f.status in bad]
    statuses = {row.status for row in report.results if row.framework in shown} - {comparison.EQUAL}
    statuses |= {row.status for row in report.rosetta if row.status in terminal.WRONG and not framework}
    if failed or statuses - {comparison.UNDETERMINED}:
        raise typer.Exit(NOT_EQUAL)
    raise typer.Exit(UNJUDGED if statuses else EQUAL)


@app.command("exercises")
def make_exercises(output: Site = render.SITE, as_json: Json = False) -> None:
    """The chapter's exercises, answered by what has been run: exercises.html, exercises.md and exercises.json."""
    damaged: list[str] = []
    with store.lock_if_written(".lock"):
        report = exercises.build(damaged.append)
        page = render.write_exercises(report, output)
    if as_json:
        typer.echo(_json(report))
    else:
        say(f"exercises: {page.resolve()}")
    _refused(damaged)


@app.command("third-party")
def make_third_party(output: Site = render.SITE) -> None:
    """GRUs that nobody here wrote, judged: third-party.html, third-party.md and third-party.json. Exit status 1 where
    one is not equal, though nothing says that it would not be.
    """
    packages = third_party_records.read_all()
    if not packages:
        raise UserError(f"no records in {third_party_records.folder()}; run tox -e third-party")
    page, rows = third_party.write(packages, output)
    wrong = [row for row in rows if row.is_wrong]
    for row in wrong:
        record = row.record
        say(f"{row.package} · {record.implementation} · {record.dtype}: {row.verdict}")
    say(f"third-party: {page.resolve()}")
    raise typer.Exit(NOT_EQUAL if wrong else EQUAL)


@app.command("referee")
def make_referee(output: Site = render.SITE) -> None:
    """What the referee catches: the kill matrix, what other suites accept, one tolerance against derived bounds, the
    golden pack: referee.html and referee.json. What is missing is said, with the command that makes it.
    """
    made = referee.build()
    page = referee_page.write(made, output)
    for one in made.missing:
        say(f"not here: {one.what}: {one.command}")
    say(f"referee: {page.resolve()}")


@app.command("trials")
def export_trials(
    file: Annotated[Path, typer.Option("--export", metavar="FILE", help="A table to write, .csv or .parquet.")],
    kept: Annotated[Optional[Path], typer.Option("--store", help="The file of trials, if not the usual one.")] = None,
) -> None:
    """The trials of all sweeps as a table, a row for each epoch."""
    from shared_spec.sweeps.trial_store import TrialStore

    where = kept or default_file()
    if not where.is_file():
        raise UserError(f"{where}: there are no trials; run tox -e sweep-torch or the like")
    damaged: list[str] = []
    count = export.export(TrialStore(where, reads=True, tell=damaged.append), file)
    say(f"wrote {count} trials to {file}")
    _refused(damaged)


@app.command("compare")
def compare_reports(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A report.json.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="A later one.")],
    as_json: Json = False,
) -> None:
    """What changed from one report to another. Exit status 1 where anything is worse."""
    changes = compare.compare(schema.read(old), schema.read(new))
    if as_json:
        typer.echo(_json(changes, indent=1))
    else:
        for line in compare.lines(changes):
            say(line)
    raise typer.Exit(NOT_EQUAL if changes.is_worse else EQUAL)


@app.command("schema")
def print_schema() -> None:
    """The JSON Schema of report.json, as reports/report.schema.json has it."""
    typer.echo(schema.generate(), nl=False)


@app.command("race")
def run_race(
    names: Annotated[
        Optional[list[str]], typer.Argument(metavar="FRAMEWORK...", help=", ".join(collect.FRAMEWORKS))
    ] = None,
    workload: Annotated[
        Optional[list[str]],
        typer.Option(help="A workload, a kind of work such as gradient, chapter or everything; may be repeated."),
    ] = None,
    cell: Annotated[Optional[list[str]], typer.Option(help="Only this cell; may be repeated.")] = None,
    implementation: Annotated[
        Optional[list[str]], typer.Option(help="Only this implementation or lane; may be repeated.")
    ] = None,
    budget: Annotated[str, typer.Option(help="How long it may take: 90s, 10m, 1h.")] = BUDGET,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long a turn takes, about.")] = TURN,
    device: Annotated[str, typer.Option(help="cpu or, where there is one, cuda.")] = "cpu",
    threads: Annotated[
        Optional[int], typer.Option(min=1, max=machine.MOST_THREADS, help="Default: one per core.")
    ] = None,
    tf32: Annotated[bool, typer.Option("--tf32", help="Let a GPU cut factors to TF32; not mixed with others.")] = False,
    resume: Annotated[
        Optional[str], typer.Option(help="The name of a race that was cut off: its complete blocks are kept.")
    ] = None,
    against: Annotated[
        Optional[Path], typer.Option(help="A leaderboard.json of another date or machine, to be shown side by side.")
    ] = None,
    output: Site = render.SITE,
    as_json: Json = False,
    corpus: CorpusPath = None,
    corpus_sha1: CorpusSha1 = None,
) -> None:
    """Time frameworks in turns, each proven equal on the very work, and rank them: the leaderboard of the page."""
    other = schema.read_leaderboard(against) if against else None
    if resume is not None:
        own = (names, workload, cell, implementation, threads, tf32, budget != BUDGET, seconds != TURN)
        if any(own) or device != "cpu":
            raise UserError("--resume goes on with what was chosen then; leave out what to race, and how")
        chosen = definition.read(rows.folder(Path(resume).name) / "race.json")
    else:
        chosen = Race(
            name=time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime()),
            frameworks=list(dict.fromkeys(names or collect.FRAMEWORKS)),
            workloads=workload or ["chapter"],
            budget=definition.budget(budget),
            device=device,
            threads=threads or machine.cores(),
            seconds=definition.turn(seconds),
            tf32=tf32,
            cells=cell or [],
            implementations=implementation or [],
            seed=random.randrange(10**6),
        )
    collect.check_names(chosen.frameworks)
    workloads.choose(chosen.workloads, chosen.cells)
    if corpus is not None:
        find_text(language_model.specification().corpus, path=corpus, sha1=corpus_sha1)
    status = running.run(chosen, is_new=resume is None, corpus=corpus, corpus_sha1=corpus_sha1)
    if status:
        raise typer.Exit(status)
    if other is not None:
        write_whole(chosen.against_file, msgspec.json.encode(other))
    board = races.board(chosen)
    _, page, damaged = _site(output, board)
    if as_json:
        typer.echo(_json(board))
    else:
        terminal.show_leaderboard(board, Console())
        say(f"leaderboard: {page.resolve()}")
    _tell(damaged)
    raise typer.Exit(NOT_EQUAL if any(standings.wrong(board)) else EQUAL)


def _site(
    output: Path, board: Leaderboard | None = None, *, compared: int = pairs.MOST
) -> tuple[Report, Path, list[str]]:
    """The report of everything present, with this leaderboard or else the last race's, the path of its page, and what
    is damaged.
    """
    # Two runs at once: whoever comes second sees the results of both.
    with store.lock_if_written(".lock"):
        board = board or races.latest_board()
        collection = collect.collect(or_none=board is not None)
        report, damaged = build.build(collection, board, compared=compared), collection.damaged
        # The page of many results takes its memory when that of their verdicts is free again.
        del collection
        return report, render.write(report, output), damaged


def _refused(damaged: Iterable[str]) -> None:
    """Says what could not be read, after what could, and ends with the status of a wrong request."""
    if _tell(damaged):
        raise typer.Exit(WRONG)


def _tell(damaged: Iterable[str]) -> list[str]:
    told = list(dict.fromkeys(damaged))
    for sentence in told:
        say(f"isogru: {sentence}", err=True)
    return told


def _json(record: object, indent: int | None = None) -> str:
    """As Python's own json lays it out, infinities as null."""
    return json.dumps(msgspec.json.decode(msgspec.json.encode(record)), indent=indent)


if __name__ == "__main__":
    main(lambda: app(prog_name="python -m reports"))
