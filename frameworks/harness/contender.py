"""A contender of a race: a process that imports, compiles and is judged once, then waits for its turns, stopped
meanwhile: some frameworks have threads that go on spinning. Imports no framework.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from frameworks.harness import busy
from frameworks.harness.child import ROOT
from shared_spec import processes
from shared_spec.command import last_words
from shared_spec.race import rows
from shared_spec.race.rows import Outcome, Ready, Row, Took

REFUSED = "Exit: isogru: "
LOOK = 1.0
"""Seconds after which it is seen to at the latest that it has ended."""
GONE = (ProcessLookupError, PermissionError)
"""What a signal to a process that has ended raises; the latter on macOS, before it has been waited for."""
Said = TypeVar("Said", Ready, Took)


class LostError(Exception):
    """A contender has died, hangs, or was stopped; or it has ended by itself, and its file of rows says why."""


class Contender:
    """One row of one framework, in a process of its own."""

    def __init__(
        self, name: str, row: Row, command: list[str], environment: Mapping[str, str], *, file: Path, planned: int
    ) -> None:
        """Starts it. The command is given the rest of its options; its rows go to the file."""
        self.name, self.row, self.file = name, row, file
        reads, self._to = os.pipe()
        self._from, writes = os.pipe()
        # Kept, not shown, and no pipe, which nobody would read while it waits.
        self._printed = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [*command, "--rows", str(file), "--turns", f"{reads},{writes},{planned}"],
            cwd=ROOT,
            env=processes.for_child(environment),
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            pass_fds=(reads, writes),
            start_new_session=True,
        )
        os.close(reads)
        os.close(writes)
        self._said = b""

    @property
    def session(self) -> int:
        return self._process.pid

    def await_ready(self, limit: float) -> None:
        """Until its first turn may come. Raises LostError where there will be none."""
        self._next(limit, Ready)
        self._signal(signal.SIGSTOP)

    def turn(self, limit: float) -> float:
        """Its turn: seconds of a call. Raises LostError where it does not come back from it."""
        self._signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):
            os.write(self._to, rows.GO)
        took = self._next(limit, Took)
        self._signal(signal.SIGSTOP)
        return took.seconds

    def end(self, limit: float) -> Outcome:
        """What comes of it, judged once more, and the end of its process. Raises LostError where it does not end."""
        self._signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):
            os.write(self._to, rows.OVER)
        try:
            self._process.wait(limit)
        except subprocess.TimeoutExpired:
            raise LostError(self._silent(limit)) from None
        return self.outcome(self.words())

    def outcome(self, words: str) -> Outcome:
        """What it has written of itself; or these last words."""
        there = rows.read(self.file).outcomes if self.file.exists() else {}
        return there.get(self.row, Outcome(failed=words))

    def kill(self) -> None:
        """End it at once, and what it has started."""
        with contextlib.suppress(*GONE):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Let go of it: nothing of it runs on."""
        self.kill()
        for end in (self._to, self._from):
            os.close(end)
        self._printed.close()
        self.file.unlink(missing_ok=True)

    def words(self) -> str:
        """Its last ones."""
        status = self._process.wait()
        self._printed.seek(0)
        printed = [line.rstrip() for line in self._printed if line.strip()]
        refused = next((line for line in printed if line.startswith(REFUSED)), None)
        return refused.removeprefix(REFUSED) if refused else last_words(status, printed)

    def _next(self, limit: float, kind: type[Said]) -> Said:
        deadline = time.monotonic() + limit
        while b"\n" not in self._said:
            left = deadline - time.monotonic()
            if left <= 0:
                raise LostError(self._silent(limit))
            if select.select([self._from], [], [], min(left, LOOK))[0]:
                self._said += os.read(self._from, 2**12)
            # What it has started may have the pipe still, after its end.
            if b"\n" not in self._said and self._process.poll() is not None:
                raise LostError(self.words())
        line, _, self._said = self._said.partition(b"\n")
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError:
            raise LostError(f"said what nobody understands: {line[:80]!r}") from None

    def _silent(self, limit: float) -> str:
        if busy.is_stopped(self._process.pid):
            return "was stopped from outside"
        return f"did not come back within {limit:.0f} s"

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(*GONE):
            os.killpg(self._process.pid, number)
