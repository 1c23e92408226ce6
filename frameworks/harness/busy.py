"""What the machine does beside a race: cores that processes of others take, between two looks, which Linux tells; and
how long a loop takes that is always the same.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Collection
from pathlib import Path

PROC = Path("/proc")
NOTABLE = 0.2
"""Cores that somebody takes who is named."""
LOOPS, TRIES = 100_000, 9
"""Of the loop that is always the same, and how often it is run each time."""
UNSEEN = "something outside what this process sees"


class Watch:
    """What has run since it was begun, but for the sessions of our own."""

    def __init__(self, ours: Collection[int]) -> None:
        self._ours = {os.getsid(0), *ours}
        self._tick = os.sysconf("SC_CLK_TCK")
        self._began, self._then = time.monotonic(), _ticks()
        self._all = _all_ticks()

    @property
    def can_look(self) -> bool:
        """Whether anything is seen of other processes at all: only Linux tells what they do."""
        return bool(self._then)

    def others(self) -> dict[str, float]:
        """Cores that each process of others took since then, by its name: the notable ones, the busiest first."""
        notable = {name: round(cores, 2) for name, cores in self.taken().items() if cores >= NOTABLE}
        return dict(sorted(notable.items(), key=lambda item: -item[1]))

    def taken(self) -> dict[str, float]:
        """The same of all."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        now, everything = _ticks(), _all_ticks()
        taken: dict[str, float] = {}
        seen = 0.0
        for pid, (name, session, ticks) in now.items():
            # One that has begun since has run all of its ticks since.
            cores = (ticks - self._then.get(pid, ("", 0, 0))[2]) / self._tick / seconds
            seen += cores
            if session not in self._ours:
                taken[name] = taken.get(name, 0.0) + cores
        taken[UNSEEN] = (everything - self._all) / self._tick / seconds - seen
        return taken


def _ticks() -> dict[int, tuple[str, int, int]]:
    """Of each process its name, its session and the ticks that it has run."""
    there = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            content = (folder / "stat").read_text(errors="replace")
        except OSError:  # It has ended.
            continue
        before, _, after = content.rpartition(")")
        words = after.split()
        there[int(folder.name)] = (before.partition("(")[2], int(words[3]), int(words[11]) + int(words[12]))
    return there


def _all_ticks() -> int:
    """That all cores have run: for users, for the system, for what has been interrupted, and stolen."""
    try:
        words = (PROC / "stat").read_text().splitlines()[0].split()
    except (OSError, IndexError):
        return 0
    user, nice, system, _, _, *rest = map(int, words[1:9])
    return user + nice + system + sum(rest)


def is_stopped(pid: int) -> bool:
    """Whether a process has been stopped, by SIGSTOP for one."""
    try:
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def calibrate() -> float:
    """Seconds of a loop that is always the same: the median of some tries, since a single one of some milliseconds says
    more of what held it up than of the machine's speed.
    """
    tries = []
    for _ in range(TRIES):
        began = time.perf_counter()
        total = 0
        for number in range(LOOPS):
            total += number
        tries.append(time.perf_counter() - began)
    return statistics.median(tries)
