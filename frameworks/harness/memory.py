"""How much memory a call takes at its peak, above what the process had before, and how long the host takes to issue it:
each in a fresh process.

Importing a framework takes seconds, so that one process imports it and, before it has set anything up, forks one for
each row. Standard output gets a line of JSON for each, see Memory in shared_spec/race/rows.py.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import frameworks
from frameworks import protocol
from frameworks.harness import timed_work
from shared_spec import processes
from shared_spec.files import store
from shared_spec.language_model.corpus import Corpus
from shared_spec.race import rows, workloads
from shared_spec.race.rows import Memory
from shared_spec.race.workloads import Workload

STATUS = Path("/proc/self/status")


def measure(
    name: str, wanted: Iterable[tuple[str, str]], *, device: str, threads: int, text: Corpus, tell: IO[str]
) -> None:
    """Tells the peak of each row: a workload's name and an implementation's."""
    framework = frameworks.load(name)
    issued: set[tuple[str, Workload]] = set()
    for workload, implementation in wanted:
        # The same for all sizes that differ in n, d and h alone: compiling it takes longer than the rest.
        tiny = (implementation, workloads.tiny(workloads.choose([workload])[0]))
        is_first = tiny not in issued
        issued.add(tiny)
        parent, child = os.getpid(), os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            if status:
                words = f"ended with status {os.waitstatus_to_exitcode(status)}"
                _say(tell, Memory(name, workload, implementation, None, words))
            continue
        # A fork is not ended with its parent, though that one is with its own.
        processes.end_with(parent)
        try:
            framework.runtime.setup(device=device, threads=threads)
            _say(tell, _measured(framework, workload, implementation, device, text, with_issue=is_first))
        except Exception as error:  # A failure is a record, and the next row goes on.
            _say(tell, Memory(name, workload, implementation, None, store.words_of(error)))
        # Not sys.exit: what the framework registered to be run at the end belongs to the parent.
        os._exit(0)


def _measured(
    framework: frameworks.Framework, workload: str, implementation: str, device: str, text: Corpus, *, with_issue: bool
) -> Memory:
    """The peak of a row, and what its host takes; the peak alone, with last words, where that fails."""
    peak = _peak(framework, workload, implementation, device, text)
    failed = ""
    issue: float | None = None
    try:
        issue = _issue(framework, workload, implementation, device, text) if with_issue else None
    except Exception as error:  # The peak is known all the same.
        failed = store.words_of(error)
    return Memory(framework.name, workload, implementation, peak, failed, issue)


def _issue(framework: frameworks.Framework, workload: str, implementation: str, device: str, text: Corpus) -> float:
    (chosen,) = workloads.choose([workload])
    of = protocol.find(framework, implementation, chosen.cell, chosen.dtype)
    return timed_work.issue(framework, of, chosen, device=device, text=text)


def _peak(framework: frameworks.Framework, workload: str, implementation: str, device: str, text: Corpus) -> int:
    (chosen,) = workloads.choose([workload])
    match = protocol.find(framework, implementation, chosen.cell, chosen.dtype)
    work = timed_work.make(framework, match, chosen, device=device, text=text)
    call, inputs = timed_work.waits(framework, work), work.fresh(2)
    before = _resident()
    call(inputs[0])
    _forget_the_most()
    call(inputs[-1])
    on_device = framework.runtime.peak_memory(device)
    return _most() - before if on_device is None else int(on_device)


def _say(tell: IO[str], peak: Memory) -> None:
    tell.write(rows.encode(peak).decode())
    tell.flush()


def _forget_the_most() -> None:
    """Begin anew with the most: what compiling took is not what a call takes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _resident() -> int:
    """Bytes that this process has in memory."""
    return _kibibytes("VmRSS") or _most()


def _most() -> int:
    """The most that it ever had."""
    return _kibibytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def _kibibytes(name: str) -> int:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
