"""The commands of python -m frameworks NAME that time: bench, and those that a race starts."""

from __future__ import annotations

import functools
import importlib
import socket
from pathlib import Path
from typing import Annotated, Optional

import typer

import frameworks
from frameworks.harness import memory, nursery, worker
from frameworks.harness.benchmark import plan
from shared_spec.__main__ import CorpusPath, CorpusSha1, find_corpus
from shared_spec.race import workloads

Device = Annotated[str, typer.Option(help="cpu or, where there is one, cuda.")]
PLUGIN, CLOCK = "frameworks.harness.benchmark.plugin", Path(__file__).parent / "clock.py"


def time_workloads(context: typer.Context) -> None:
    """Time the workloads by pytest-benchmark; takes the options of pytest, and --workload, --cell, --implementation,
    --device, --threads, --seconds, --tf32.
    """
    raise typer.Exit(_time(context.obj, context.args))


def fork_contenders(
    context: typer.Context,
    channel: Annotated[int, typer.Option(help="The number of a socket.")],
    threads: Annotated[int, typer.Option()] = 1,
) -> None:
    """The process of a race that imports a framework, then forks the contenders that it is asked for."""
    framework: str = context.obj
    plan.pin(threads)
    frameworks.load(framework)
    # And what else takes a while. Not the plugin and the clock themselves, which pytest wants to rewrite.
    for module in ("pytest", "frameworks.harness.benchmark.session"):
        importlib.import_module(module)
    nursery.serve(socket.socket(fileno=channel), functools.partial(_time, framework))


def _time(framework: str, arguments: list[str]) -> int:
    """What pytest makes of these options: its exit status."""
    import pytest  # Only where something is timed.

    return int(pytest.main(["-p", PLUGIN, str(CLOCK), "--framework", framework, *arguments]))


def enter_race(
    context: typer.Context,
    workload: Annotated[list[str], typer.Option()],
    cell: Annotated[Optional[list[str]], typer.Option()] = None,
    implementation: Annotated[Optional[list[str]], typer.Option()] = None,
    device: Device = "cpu",
    threads: Annotated[int, typer.Option()] = 1,
    tf32: Annotated[bool, typer.Option("--tf32")] = False,
    corpus: CorpusPath = None,
    corpus_sha1: CorpusSha1 = None,
) -> None:
    """The worker of python -m reports race that tells what a framework has to be raced, and what the machine can do."""
    channel = worker.channel()
    chosen = workloads.choose(workload, cell or [])
    entered = plan.Entered(context.obj, device=device, threads=threads, tf32=tf32)
    planned = entered.plan(chosen, implementation or [])
    plan.tell(entered, planned, find_corpus(corpus, corpus_sha1), channel)


def measure_memory(
    context: typer.Context,
    row: Annotated[list[str], typer.Option(help="A workload and an implementation: NAME/NAME.")],
    device: Device = "cpu",
    threads: Annotated[int, typer.Option()] = 1,
    corpus: CorpusPath = None,
    corpus_sha1: CorpusSha1 = None,
) -> None:
    """The worker of python -m reports race that measures memory."""
    framework: str = context.obj
    tell = worker.channel()
    chosen = [(name, implementation) for name, _, implementation in (each.partition("/") for each in row)]
    text = find_corpus(corpus, corpus_sha1)
    memory.measure(framework, chosen, device=device, threads=threads, text=text, tell=tell)
