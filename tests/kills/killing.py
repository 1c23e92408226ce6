"""Commands that are killed at a random moment, and what they leave: results, locks, processes, temporary files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from shared_spec.processes import INTERRUPTED
from tests import processes
from tests.conftest import heed_ctrl_c

MARK = "ISOGRU_KILLED"
"""The environment variable by which all that a command has started is found."""
WITHIN = 20.0
"""Seconds in which everything has to be gone."""
LONGEST = 600
"""Seconds that a command may take."""

Contents = dict[str, Any]


def nothing(folder: Path) -> Contents:
    """Of a command that does everything anew."""
    return {}


@dataclass(frozen=True)
class Killed:
    """A command that is killed, in a folder of its own."""

    root: Path
    """Where it is run: the project, or a copy of it."""
    words: Callable[[Path], list[str]]
    """What comes after `python -m`, as the folder is now: one that was begun may go on by other words."""
    finished: Callable[[Path], Contents]
    """What is finished in the folder by now: by name its content, as it is in every run."""
    kept: Callable[[Path], Contents] = nothing
    """What the next run must leave as it is, such as times that were measured."""
    ready: Callable[[Path], None] = lambda folder: None
    """Puts into a fresh folder what the command needs."""
    environment: Mapping[str, str] = field(default_factory=dict)
    second: int = 0
    """The exit status of whoever of two comes second, at the same time in the same folder."""

    def fresh(self, folder: Path) -> Path:
        """A folder in which it can be run."""
        (folder / "temporary").mkdir(parents=True)
        self.ready(folder)
        return folder

    def started(self, folder: Path) -> subprocess.Popen[str]:
        """The command, in a session of its own, as a terminal has it."""
        return subprocess.Popen(
            [sys.executable, "-m", *self.words(folder)],
            cwd=self.root,
            env={
                **os.environ,
                "ISOGRU_RESULTS": str(folder / "results"),
                "ISOGRU_REFERENCE": str(folder / "results/reference"),
                "TMPDIR": str(folder / "temporary"),
                # Whatever a framework compiles is nobody's result.
                "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled"),
                MARK: str(folder),
                **self.environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=heed_ctrl_c,
        )

    def end(self, folder: Path) -> Contents:
        """Run it to its end; everything that is finished then."""
        with self.started(folder) as process:
            out, err = process.communicate(timeout=LONGEST)
        assert process.returncode == 0, (out, err)
        return self.finished(folder)


def check(one: Killed, folder: Path, draw: random.Random, kills: int) -> None:
    """So often kill it by SIGKILL, then by Ctrl-C where it goes on, at moments drawn at random, and let it come to its
    end; in a fresh folder or where it has been at its end before. Then run it twice in one folder, side by side.
    """
    began = time.monotonic()
    place = one.fresh(folder / "whole")
    whole = one.end(place)
    seconds = time.monotonic() - began
    assert whole
    for number in range(kills):
        if number % 4 < 3:
            place = one.fresh(folder / str(number))
        kept: Contents = {}
        for ending in (signal.SIGKILL, signal.SIGINT):
            _kill(one, place, ending, draw.uniform(0, seconds), whole)
            assert {name: one.kept(place)[name] for name in kept} == kept
            kept = one.kept(place)
        assert one.end(place) == whole
        assert {name: one.kept(place)[name] for name in kept} == kept
        _check_tidy(place)
    _check_two_at_once(one, one.fresh(folder / "two"), whole)


def _kill(one: Killed, place: Path, ending: signal.Signals, after: float, whole: Contents) -> None:
    told = f"{ending.name} after {after:.3f} s in {place}"
    before = one.finished(place)
    with one.started(place) as process:
        try:
            out, err = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            # A kill goes to one process, Ctrl-C to all that the terminal has.
            process.kill() if ending == signal.SIGKILL else os.killpg(process.pid, ending)
            out, err = process.communicate(timeout=LONGEST)
            if ending == signal.SIGINT:
                # While Python itself begins and ends, the system ends it.
                assert process.returncode in (INTERRUPTED, -ending, 0), (told, process.returncode, out, err)
    # Before the package is there that heeds Ctrl-C, Python says where it was.
    assert "Traceback" not in err or "in _get_module_details" in err or str(one.root) not in err, (told, err)
    assert processes.gone(processes.bearing(MARK, str(place)), within=WITHIN), told
    for lock in place.rglob("*.lock"):
        with filelock.FileLock(lock).acquire(timeout=0):
            pass
    left = one.finished(place)
    assert before.keys() <= left.keys(), told
    other = {name: (each, whole.get(name)) for name, each in left.items() if each != whole.get(name)}
    assert not other, (told, other)


def _check_two_at_once(one: Killed, place: Path, whole: Contents) -> None:
    with one.started(place) as first, one.started(place) as second:
        said = [process.communicate(timeout=LONGEST) for process in (first, second)]
    assert sorted(process.returncode for process in (first, second)) == [0, one.second], said
    assert one.finished(place) == whole
    _check_tidy(place)


def _check_tidy(place: Path) -> None:
    """Nothing is left that was made for a while only, and nothing runs."""
    assert processes.gone(processes.bearing(MARK, str(place)), within=WITHIN)
    assert list((place / "temporary").iterdir()) == []
    assert list(place.rglob("*.part")) == []
