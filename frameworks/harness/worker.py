"""The worker: one process that imports one framework and runs its jobs, telling on standard output how far it is.

Lines of JSON: {"plan": n, "corpus": ...}, {"begin": i}, {"end": i, "failed": words or ""}. When it dies, the line that
is missing says in which job; frameworks/harness/supervisor.py, which imports no framework, starts another for the rest.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import frameworks
from frameworks.harness.run import run
from frameworks.protocol import Implementation, check, implementations
from shared_spec import cases, machine
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.files.interchange import DTYPES, AnyCase, TrainingCase, check_result, write_case
from shared_spec.files.store import Job, Manifest
from shared_spec.language_model.corpus import Corpus


@dataclass(frozen=True)
class Choice:
    """Which jobs of a framework to do; empty means all."""

    cases: tuple[str, ...]
    implementations: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    device: str = "cpu"
    threads: int | None = None


def plan(framework: str, available: list[Implementation], choice: Choice) -> Iterator[tuple[Job, Implementation]]:
    """The jobs, in a fixed order. Raises UserError for an implementation or a dtype that is not there."""
    check(framework, available, choice.implementations)
    if unknown := [name for name in choice.dtypes if name not in DTYPES]:
        raise UserError(f"no dtype {unknown[0]!r}; the dtypes are {', '.join(DTYPES)}")
    for implementation in available:
        if implementation.reason or (choice.implementations and implementation.name not in choice.implementations):
            continue
        by_default = implementation.dtypes if choice.implementations else implementation.default_dtypes
        for dtype in (each for each in implementation.dtypes if each in by_default):
            for case in choice.cases if not choice.dtypes or dtype in choice.dtypes else ():
                if implementation.runs(case, dtype):
                    yield Job(framework, case, implementation.name, dtype, choice.device), implementation


def work(name: str, choice: Choice, corpus: Corpus, *, first: int, tell: IO[str]) -> None:
    """Do the jobs from number `first` on, writing each result or failure as it comes. Nothing is written before they
    are planned: what is refused leaves no trace.
    """
    framework = frameworks.load(name)
    framework.runtime.setup(device=choice.device, threads=choice.threads)
    available = implementations(framework)
    jobs = list(plan(name, available, choice))
    if jobs:
        _save_manifest(name, [job for job, _ in jobs], available, framework, corpus)
    _say(tell, plan=len(jobs))

    built: dict[str, AnyCase] = {}
    for i, (job, implementation) in enumerate(jobs[first:], start=first):
        _say(tell, begin=i, job=job.stem)
        failed = ""
        try:
            if job.case not in built:
                built[job.case] = cases.build(job.case, corpus)
                if isinstance(built[job.case], TrainingCase):
                    write_case(store.case_file(job.case), built[job.case])
            case = built[job.case]
            result = run(framework, implementation, case, dtype=job.dtype, device=job.device)
            check_result(job.result_file, result, case)
            store.save_result(job, result)
        except Exception as error:  # A failure is a record, and the next job goes on.
            failed = store.words_of(error)
            store.save_failure(job, failed)
        _say(tell, end=i, failed=failed)


def _save_manifest(
    name: str, jobs: list[Job], available: list[Implementation], framework: frameworks.Framework, corpus: Corpus
) -> None:
    """Jobs of an earlier manifest stay expected: a run of a part of them does not make the rest superfluous. Those of
    an implementation that is no more do not.
    """
    there = {(i.name, i.cell) for i in available if not i.reason}
    with store.manifest_of(name) as before:
        kept = [
            job
            for job in before.jobs
            if job not in jobs and job.case in cases.names()
            if (job.implementation, cases.cell_name_of(job.case)) in there
        ]
        store.save_manifest(
            Manifest(
                framework=name,
                jobs=[*jobs, *kept],
                implementations=[i.listing() for i in available],
                versions=dict(framework.runtime.versions()),
                switches=dict(framework.runtime.switches()),
                machine=machine.describe(),
                corpus=f"{corpus.source} {corpus.sha1}",
                failure=before.failure,
            )
        )


def _say(tell: IO[str], **line: object) -> None:
    print(json.dumps(line), file=tell, flush=True)


def channel() -> IO[str]:
    """Standard output for the lines above; what a framework prints there goes to standard error instead."""
    import os

    tell = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return tell
