"""python -m frameworks NAME: list the implementations of a framework, run one, prove all, train fifty epochs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

import frameworks
from frameworks.harness import supervisor, worker
from frameworks.harness.benchmark import commands as timing
from frameworks.harness.errata.command import in_framework
from frameworks.harness.run import run
from frameworks.harness.score import command as score
from frameworks.protocol import find, implementations
from frameworks.sweep import command, studies
from shared_spec import cases, machine, processes
from shared_spec.__main__ import CorpusPath, CorpusSha1, Json, Output, find_corpus, keep
from shared_spec.command import EQUAL, NOT_EQUAL, application, main, repeated, say
from shared_spec.errors import UserError
from shared_spec.files.interchange import DTYPES, read_case, write_result
from shared_spec.language_model import tasks
from shared_spec.machine import MOST_THREADS as MOST
from shared_spec.sweeps import place, trials
from shared_spec.sweeps.place import default_file

Device = Annotated[str, typer.Option(help="cpu or, where there is one, cuda.")]
Cases = Annotated[Optional[list[str]], typer.Option("--case", help="Only this case; may be repeated.")]
Implementations = Annotated[
    Optional[list[str]], typer.Option("--implementation", help="Only this one; may be repeated.")
]
Dtypes = Annotated[Optional[list[str]], typer.Option("--dtype", help="float32 or float64; may be repeated.")]
Workers = Annotated[Optional[int], typer.Option(min=1, max=MOST, help="Trials at once here. Default: one per core.")]
Threads = Annotated[int, typer.Option(min=1, max=MOST, help="Of each worker.")]
Address = Annotated[Optional[str], typer.Option(help="A Ray cluster, HOST:PORT, instead of workers started here.")]
Store = Annotated[Optional[Path], typer.Option("--store", help="The file of trials, if not the usual one.")]

ABOUT = "The implementations under test. Each command runs where its framework is installed: tox -e FRAMEWORK."
app = application(ABOUT)


@app.callback(help=ABOUT)
def of_framework(
    context: typer.Context,
    framework: Annotated[
        str, typer.Argument(metavar="FRAMEWORK", help=", ".join(frameworks.NAMES), callback=frameworks.check_name)
    ],
) -> None:
    context.obj = framework


@app.command("list")
def list_implementations(context: typer.Context, as_json: Json = False) -> None:
    """The implementations of a framework: name, cell, lane, dtypes, and why one is not available."""
    rows = [i.listing() for i in implementations(frameworks.load(context.obj))]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        reason = f"  unavailable: {row['reason']}" if row["reason"] else ""
        say(f"{row['name']:<15} {row['cell']:<16} {row['lane']:<9} {' '.join(row['dtypes'])}{reason}")


@app.command("run")
def run_case(
    context: typer.Context,
    case_file: Annotated[Path, typer.Argument(metavar="CASE")],
    output: Output,
    implementation: Annotated[str, typer.Option(help="See list.")] = "scratch",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    device: Device = "cpu",
) -> None:
    """One implementation on one case file: a result file."""
    framework: str = context.obj
    keep(case_file, output)
    case = read_case(case_file)
    if dtype not in DTYPES:
        raise UserError(f"no dtype {dtype!r}; the dtypes are {', '.join(DTYPES)}")
    loaded = frameworks.load(framework)
    loaded.runtime.setup(device=device, threads=supervisor.threads_of_environment())
    match = find(loaded, implementation, case.cell.name, dtype)
    result = run(loaded, match, case, dtype=dtype, device=device)
    if result.origin.lie:
        raise UserError(result.origin.lie)
    write_result(output, result)
    if result.origin.note:
        say(result.origin.note)
    say(f"wrote {output}")


@app.command("prove")
def prove_all(
    context: typer.Context,
    case: Cases = None,
    implementation: Implementations = None,
    dtype: Dtypes = None,
    device: Device = "cpu",
    corpus: CorpusPath = None,
    corpus_sha1: CorpusSha1 = None,
) -> None:
    """Every implementation on every case, short trainings included: results for python -m reports site. Exit status 1
    where one failed.
    """
    framework: str = context.obj
    chosen = case or [*cases.cell_case_names(), *cases.training_case_names()]
    # The precisions side by side: small problems leave most of a machine idle.
    streams = [[each] for each in dtype or DTYPES]
    _supervise(framework, chosen, implementation, streams, device, corpus, corpus_sha1)


@app.command("train")
def train(
    context: typer.Context,
    case: Cases = None,
    implementation: Implementations = None,
    dtype: Dtypes = None,
    device: Device = "cpu",
    corpus: CorpusPath = None,
    corpus_sha1: CorpusSha1 = None,
) -> None:
    """The chapter's fifty epochs; takes minutes. Default: the scratch lane. Exit status 1 where one failed."""
    framework: str = context.obj
    chosen = case or [f"{cases.FULL_TRAINING}-gru"]
    # One after the other, on all cores: the report has the seconds that an epoch took.
    streams = [list(dtype or DTYPES)]
    _supervise(framework, chosen, implementation or ["scratch"], streams, device, corpus, corpus_sha1)


@app.command("sweep")
def sweep(
    context: typer.Context,
    grid: Annotated[
        Optional[list[str]],
        typer.Option(metavar="SETTING=VALUE,...", help=f"What to vary: {', '.join(trials.GRID)}; may be repeated."),
    ] = None,
    cell: Annotated[Optional[list[str]], typer.Option(help="May be repeated. Default: gru.")] = None,
    lane: Annotated[
        Optional[str], typer.Option(help="A lane or an implementation. Default: tuned, where a cell has it.")
    ] = None,
    task: Annotated[str, typer.Option(help="text, or copy-N: to copy after N steps.")] = tasks.TEXT,
    epochs: Annotated[Optional[int], typer.Option(min=1, help="Default: the chapter's 50.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each, from other starts.")] = 1,
    random: Annotated[Optional[int], typer.Option(min=1, help="So many of the grid, drawn at random.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    device: Device = "cpu",
    workers: Workers = None,
    threads: Threads = 1,
    address: Address = None,
    name: Annotated[
        Optional[str], typer.Option(help="The name of the sweep. Default: made of the framework and the grid.")
    ] = None,
    kept: Store = None,
    corpus: CorpusPath = None,
    corpus_sha1: CorpusSha1 = None,
) -> None:
    """Trainings over a grid, on Ray, each kept as soon as it is over; the same command goes on where one broke off."""
    framework: str = context.obj
    frameworks.check_installed(framework)
    place.check(kept)
    varied, cells = trials.axes(grid or []), list(dict.fromkeys(cell or ["gru"]))
    changes = {} if epochs is None else {"epochs": epochs}
    recipes = trials.grid(varied, cells, seeds=range(seeds), random=random, task=task, **changes)
    text = find_corpus(corpus, corpus_sha1)
    asked = {"grid": varied, "cells": cells, "seeds": seeds, "random": random, "epochs": recipes[0].epochs}
    asked |= {"lane": lane} if lane else {}
    # They change what a trial costs, not what comes of it.
    asked |= {"threads": threads} if threads > 1 else {}
    planned = command.plan(
        framework, recipes, asked, name=name, lane=lane, task=task, dtype=dtype, device=device, text=text
    )
    where = kept or default_file()
    raise typer.Exit(command.carry_out([planned], where, text, address=address, workers=workers, threads=threads))


@app.command("compare")
def compare(
    context: typer.Context,
    study: Annotated[str, typer.Option(help=", ".join(studies.STUDIES))] = "compare",
    epochs: Annotated[Optional[int], typer.Option(min=1, help="Fewer, to try it.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each cell, from other starts.")] = 3,
    device: Device = "cpu",
    workers: Workers = None,
    threads: Threads = 1,
    address: Address = None,
    kept: Store = None,
    corpus: CorpusPath = None,
    corpus_sha1: CorpusSha1 = None,
) -> None:
    """Cells against each other, each at the rate that suits it: the native RNN and GRU or, with --study halves, GRUs
    with one gate.
    """
    framework: str = context.obj
    frameworks.check_installed(framework)
    if study not in studies.STUDIES:
        raise UserError(f"no study {study!r}; the studies are {', '.join(studies.STUDIES)}")
    place.check(kept)
    chosen, text = studies.STUDIES[study], find_corpus(corpus, corpus_sha1)
    options: dict[str, Any] = {"dtype": "float32", "device": device, "epochs": epochs}
    where = kept or default_file()
    on: dict[str, Any] = {"address": address, "workers": workers, "threads": threads}
    searches = studies.rates(chosen, framework, text, **options)
    status = command.carry_out(searches, where, text, **on)
    if status == NOT_EQUAL:
        say("the comparison needs the trials that failed: the same command runs them again", err=True)
    elif status == EQUAL:
        from shared_spec.sweeps.trial_store import TrialStore

        planned = studies.trainings(chosen, framework, text, searches, TrialStore(where), seeds=seeds, **options)
        status = command.carry_out(planned, where, text, **on)
    raise typer.Exit(status)


app.command("errata")(in_framework)
app.command("score")(score.in_framework)


app.command("bench", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(timing.time_workloads)
app.command("enter", hidden=True)(timing.enter_race)
app.command("contend", hidden=True)(timing.fork_contenders)
app.command("memory", hidden=True)(timing.measure_memory)


@app.command("work", hidden=True)
def work_on(
    context: typer.Context,
    first: Annotated[int, typer.Option()],
    case: Annotated[list[str], typer.Option("--case")],
    implementation: Implementations = None,
    dtype: Dtypes = None,
    device: Device = "cpu",
    threads: Annotated[int, typer.Option()] = 1,
    corpus: CorpusPath = None,
    corpus_sha1: CorpusSha1 = None,
    corpus_source: Annotated[str, typer.Option()] = "given",
) -> None:
    """The worker of prove and train."""
    framework: str = context.obj
    tell = worker.channel()
    choice = worker.Choice(tuple(case), tuple(implementation or ()), tuple(dtype or ()), device, threads)
    text = replace(find_corpus(corpus, corpus_sha1), source=corpus_source)
    worker.work(framework, choice, text, first=first, tell=tell)


def _supervise(
    framework: str,
    chosen: list[str],
    implementation: list[str] | None,
    streams: list[list[str]],
    device: str,
    corpus: Path | None,
    corpus_sha1: str | None,
) -> None:
    frameworks.check_installed(framework)
    asked = supervisor.threads_of_environment()
    for name in chosen:
        cases.cell_name_of(name)
    # What a worker refuses, another may have begun with by then: of dtypes each has its own.
    if unknown := [name for dtypes in streams for name in dtypes if name not in DTYPES]:
        raise UserError(f"no dtype {unknown[0]!r}; the dtypes are {', '.join(DTYPES)}")
    text = find_corpus(corpus, corpus_sha1)
    for name in chosen:
        if not cases.entry_of(name):
            # A text that is too short is the user's to mend, before anything is run.
            cases.build(name, text)
            break
    threads = asked or max(1, machine.cores() // len(streams))
    arguments = [*repeated("--case", chosen), *repeated("--implementation", implementation)]
    arguments += ["--device", device, "--threads", str(threads)]
    tally = supervisor.supervise(framework, text, arguments, [repeated("--dtype", dtypes) for dtypes in streams])
    lanes = ", ".join(f"{lane} {seconds:.1f} s" for lane, seconds in tally.seconds.items())
    say(f"{framework}: {tally.done} results ({lanes})")
    for failure in tally.failed:
        say(f"{framework}: FAILED {failure}", err=True)
    raise typer.Exit(NOT_EQUAL if tally.failed else EQUAL)


if __name__ == "__main__":
    processes.end_with_parent()
    main(lambda: app(prog_name="python -m frameworks"))
