"""Processes of a test: which ones a process has started, and whether they are gone. Linux."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    children: list[int] = []
    with contextlib.suppress(OSError):  # What has ended meanwhile has none.
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += [int(word) for word in (task / "children").read_text().split()]
    return children + [each for child in children for each in descendants(child)]


def bearing(name: str, value: str) -> list[int]:
    """The processes that have this in their environment, which those that they start have too."""
    wanted, processes = f"{name}={value}".encode(), []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in file.read_bytes().split(b"\0"):
                processes.append(int(file.parent.name))
    return processes


def all_stopped(pid: int) -> bool:
    """Whether all threads of a process have been stopped: only then does the system take it for stopped."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)


def gone(pids: Collection[int], *, within: float = 20.0) -> bool:
    """Whether none of them runs after so many seconds at the latest; a zombie does not run."""
    deadline = time.monotonic() + within
    while any(map(_runs, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
