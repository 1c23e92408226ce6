"""A contender of a race: a process that is forked, compiles and is judged once, then waits for its turns, stopped
meanwhile: some frameworks have threads that go on spinning. Imports no framework.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import tempfile
import time
from pathlib import Path
from typing import TypeVar

import msgspec

from frameworks.harness import busy
from frameworks.harness.nursery import LostError, Nursery, Order
from shared_spec.command import last_words
from shared_spec.race import rows
from shared_spec.race.rows import Outcome, Ready, Row, Took

REFUSED = "Exit: isogru: "
KILL_LIMIT = 10.0
"""Seconds within which what was killed is known to have ended."""
LOOK = 1.0
"""Seconds after which it is seen to at the latest that it has ended."""
GONE = (ProcessLookupError, PermissionError)
"""What a signal to a process that has ended raises; the latter on macOS, before it has been waited for."""
Said = TypeVar("Said", Ready, Took)


class Contender:
    """One row of one framework, in a process of its own."""

    def __init__(self, name: str, row: Row, nursery: Nursery, order: Order, *, file: Path) -> None:
        """Starts it; its rows go to the file. Raises LostError where it cannot be started."""
        self.name, self.row, self.file = name, row, file
        reads, self._to = os.pipe()
        self._from, writes = os.pipe()
        self._ended, end = os.pipe()
        # Kept, not shown, and no pipe, which nobody would read while it waits.
        self._printed = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._said = b""
        self._status: int | None = None
        self._is_over = False
        try:
            self.pid = nursery.start(order, [reads, writes, self._printed.fileno(), end])
        except LostError:
            self._let_go()
            raise
        finally:
            for of_it in (reads, writes, end):
                os.close(of_it)

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

    def finish(self) -> None:
        """Tell it, once, that there is no other turn: it is judged once more, and ends."""
        if self._is_over:
            return
        self._is_over = True
        self._signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):
            os.write(self._to, rows.OVER)

    def end(self, limit: float) -> Outcome:
        """What comes of it, once it has finished. Raises LostError where it does not end."""
        self.finish()
        if not self._has_ended(limit):
            raise LostError(self._silent(limit))
        return self.outcome(self.words())

    def outcome(self, words: str) -> Outcome:
        """What it has written of itself; or these last words."""
        there = rows.read(self.file).outcomes if self.file.exists() else {}
        return there.get(self.row, Outcome(failed=words))

    def kill(self) -> None:
        """End it at once, and what it has started."""
        self._signal(signal.SIGKILL)
        self._has_ended(KILL_LIMIT)

    def close(self) -> None:
        """Let go of it: nothing of it runs on."""
        self.kill()
        self._let_go()
        self.file.unlink(missing_ok=True)

    def words(self) -> str:
        """Its last ones."""
        self._has_ended(KILL_LIMIT)
        status = -signal.SIGKILL if self._status is None else self._status
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
            if b"\n" not in self._said and self._has_ended(0):
                raise LostError(self.words())
        line, _, self._said = self._said.partition(b"\n")
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError:
            raise LostError(f"said what nobody understands: {line[:80]!r}") from None

    def _silent(self, limit: float) -> str:
        if busy.is_stopped(self.pid):
            return "was stopped from outside"
        return f"did not come back within {limit:.0f} s"

    def _has_ended(self, limit: float) -> bool:
        """Whether it has, or does within so many seconds."""
        if self._status is None and select.select([self._ended], [], [], limit)[0]:
            # Nothing, where who forked it has been killed: then it has ended too, or is about to.
            self._status = int(os.read(self._ended, 16) or -signal.SIGKILL)
        return self._status is not None

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except GONE:
            # It may not lead a group yet.
            if self._status is None:
                with contextlib.suppress(*GONE):
                    os.kill(self.pid, number)

    def _let_go(self) -> None:
        for end in (self._to, self._from, self._ended):
            os.close(end)
        self._printed.close()
