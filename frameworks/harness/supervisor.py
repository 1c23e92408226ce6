"""The supervisor: runs a framework's worker, shows progress, makes a crash a record. Imports no framework."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from frameworks.harness.child import Child
from shared_spec.command import last_words
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.files.store import Job
from shared_spec.language_model.corpus import Corpus
from shared_spec.machine import MOST_THREADS


@dataclass
class Tally:
    """What happened: how many jobs were done, which failed, and the seconds that each lane took."""

    planned: int = 0
    done: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def note(self, stem: str, seconds: float, failed: str) -> None:
        """One job more, by its stem, with its last words where it failed."""
        _, implementation, dtype, _ = stem.split(".")
        lane = f"{implementation} {dtype}"
        self.seconds[lane] = self.seconds.get(lane, 0.0) + seconds
        self.done += 1
        if failed:
            self.failed.append(f"{stem}: {failed}")

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.planned + other.planned,
            self.done + other.done,
            self.failed + other.failed,
            self.seconds | other.seconds,
        )


@dataclass
class Run:
    """What the streams of one run share: its workers, so that they can be ended with it."""

    framework: str
    text: Corpus
    progress: Progress
    workers: list[Child] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Once, as soon as a stream has something to keep: what an earlier run died of is over."""
        with self.lock:
            if not self.begun.is_set():
                store.keep_text(self.text)
                store.note_failure(self.framework, "")
                self.begun.set()

    def stop(self) -> None:
        """End every worker: what they were at is left undone, not failed."""
        self.stopped.set()
        for worker in self.workers:
            worker.kill()


def supervise(framework: str, text: Corpus, arguments: list[str], streams: list[list[str]]) -> Tally:
    """Run `python -m frameworks FRAMEWORK work ARGUMENTS STREAM` for each stream of arguments, side by side, on that
    text, until all their jobs are done or have failed.

    Raises UserError where a worker says that the request was wrong, and where there was nothing to do; nothing has been
    written then.
    """
    with (
        Progress(
            TextColumn(framework),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
        ) as progress,
        ThreadPoolExecutor(len(streams)) as pool,
    ):
        # All workers, whenever they start, are given the same text, which is not kept yet: the request may be refused.
        arguments = [*arguments, "--corpus", "/dev/stdin", "--corpus-sha1", text.sha1, "--corpus-source", text.source]
        run = Run(framework, text, progress)
        try:
            running = [pool.submit(_stream, run, [*arguments, *each], number) for number, each in enumerate(streams)]
            tally = sum((each.result() for each in running), start=Tally())
        except BaseException:
            run.stop()
            raise
    if not tally.planned and not tally.failed:
        raise UserError(f"nothing to do for {framework}: none of its implementations runs any of the cases chosen so")
    return tally


def _stream(run: Run, arguments: list[str], number: int) -> Tally:
    """One worker after the other, each beginning behind the job that the one before it died in."""
    tally = Tally()
    first, total = 0, None
    bar = run.progress.add_task("starting", total=None)
    while not run.stopped.is_set() and (total is None or first < total):
        total, job, words = _one_worker(run, [*arguments, "--first", str(first)], tally, bar, number)
        if not words or run.stopped.is_set():
            break
        if job is None:
            tally.failed.append(words)
            # Dead before its first job or behind its last one. Only the first leaves something undone.
            if total is None:
                run.begin()
                store.note_failure(run.framework, words)
            break
        index, stem = job
        tally.failed.append(f"{stem}: {words}")
        case, implementation, dtype, device = stem.split(".")
        try:
            store.save_failure(Job(run.framework, case, implementation, dtype, device), words)
        except UserError as error:
            # A full disk, for one: no other job could be kept either.
            tally.failed.append(str(error))
            break
        first = index + 1
    tally.planned = total or 0
    return tally


def _one_worker(
    run: Run, arguments: list[str], tally: Tally, bar: TaskID, number: int
) -> tuple[int | None, tuple[int, str] | None, str]:
    """One worker from start to end: the number of jobs, the job it died in, its last words ("" for a good end)."""
    command = [sys.executable, "-m", "frameworks", run.framework, "work", *arguments]
    total: int | None = None
    current: tuple[int, str] | None = None
    began = time.perf_counter()
    with Child(command, _environment(arguments, number), apart=True, given=run.text.text) as child:
        run.workers.append(child)
        for text in child.lines():
            line = json.loads(text)
            if "plan" in line:
                total = line["plan"]
                if total:
                    run.begin()
                run.progress.update(bar, total=total)
            elif "begin" in line:
                current = (line["begin"], line["job"])
                run.progress.update(bar, completed=line["begin"], description=line["job"])
                began = time.perf_counter()
            elif "end" in line and current is not None:
                tally.note(current[1], time.perf_counter() - began, line["failed"])
                current = None
        status, printed = child.end()
    if status == 0:
        return total, None, ""
    if status == 2 and total is None:
        raise UserError(printed[-1].removeprefix("isogru: ") if printed else f"{run.framework}: request refused")
    return total, current, last_words(status, printed)


def _environment(arguments: list[str], number: int) -> dict[str, str]:
    """The worker's environment: some libraries count their threads while they are imported, and JAX's cache of
    compiled programs is no place for two processes at once.
    """
    threads = arguments[arguments.index("--threads") + 1]
    changes = {"OMP_NUM_THREADS": threads}
    if cache := os.environ.get("ISOGRU_COMPILE_CACHE"):
        changes["ISOGRU_COMPILE_CACHE"] = str(Path(cache) / str(number))
    return {**os.environ, **changes}


def threads_of_environment() -> int | None:
    """ISOGRU_THREADS as a number; None where it is not set. Raises UserError for anything else."""
    text = os.environ.get("ISOGRU_THREADS", "")
    if not text:
        return None
    # Of other scripts "²" is a digit and no number, and of many digits Python makes none.
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= MOST_THREADS:
        raise UserError(f"ISOGRU_THREADS is {text[:40]!r}, should be a whole number from 1 to {MOST_THREADS}")
    return int(text)
