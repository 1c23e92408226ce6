"""A process that the harness starts: a worker of `prove`, or what enters a race. Imports no framework."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from shared_spec import processes

ROOT = Path(__file__).parents[2]


class Child:
    """A command, run from the project's root: what it says line by line, then how it ended. It ends with this process,
    however that ends, and where the `with` block is left by an exception.

    In a session of its own it does not get the user's Ctrl-C, which would look like a crash.
    """

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        *,
        apart: bool,
        given: str = "",
        limit: float | None = None,
    ) -> None:
        """With `apart` its standard output alone comes line by line; else standard error comes between it. What is
        given is its standard input, as a file, which it may open by the name /dev/stdin. After `limit` seconds it is
        ended, with all that it has started.
        """
        self._errors: IO[str] | None = None
        if apart:
            # Kept, not shown: frameworks chatter, and only last words are of use.
            self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        # A file without a name: nothing of it is left, however this ends.
        with tempfile.TemporaryFile() as read:
            read.write(given.encode())
            read.seek(0)
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=processes.for_child(environment),
                stdin=read,
                stdout=subprocess.PIPE,
                stderr=self._errors or subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        self._said: list[str] = []
        self.is_late = False
        """Whether it was ended since its time was over."""
        self._timer = threading.Timer(limit or 0.0, self._end_late)
        self._timer.daemon = True
        if limit is not None:
            self._timer.start()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if kind is not None:
            self.kill()
        self._process.__exit__(kind, error, where)
        if self._errors is not None:
            self._errors.close()

    def lines(self) -> Iterator[str]:
        """What it says, as it comes."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.append(line)
            yield line

    def end(self) -> tuple[int, list[str]]:
        """Its exit status, once it has ended, and what it said last: on standard error, where that is kept apart."""
        for _ in self.lines():
            pass
        status = self._process.wait()
        self._timer.cancel()
        said = self._said
        if self._errors is not None:
            self._errors.seek(0)
            said = self._errors.readlines()
        return status, [line.rstrip() for line in said if line.strip()]

    def kill(self) -> None:
        """End it, and what it has started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _end_late(self) -> None:
        self.is_late = True
        # Whether or not it runs itself: what it has started may hold its output.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
