"""Processes that end with the one that started them, however that one ends; and how Ctrl-C ends a program."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

PARENT = "ISOGRU_PARENT"
"""The environment variable that tells a process of ours who started it."""
INTERRUPTED = 130
"""The exit status of what Ctrl-C has ended."""
LOOK = 1.0
"""Seconds after which it is seen at the latest that a parent is gone, where the kernel does not tell."""
_PR_SET_PDEATHSIG = 1
"""prctl(2)."""


def for_child(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that this one is about to start, and that calls `end_with_parent`."""
    return {**environment, PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """For a command to call as it begins: it ends with whoever started it by `for_child`, and by itself otherwise."""
    if parent := os.environ.pop(PARENT, ""):
        end_with(int(parent))


def end_with(parent: int) -> None:
    """End this process as soon as its parent is gone, by SIGKILL too, of which nobody is told: else it goes on for
    nobody, or waits for ever for work. On Linux the kernel does it; elsewhere a thread looks whether it is there.
    """
    # Here, since this module is imported by whoever imports isogru.
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        import threading

        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # It was gone before.
        os.kill(os.getpid(), signal.SIGKILL)


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os.kill(os.getpid(), signal.SIGKILL)


def begin(program: str) -> None:
    """For a package to call before it imports what takes time. Where Python was started to run it, as `python -m
    PROGRAM` or by a command of that name, Ctrl-C ends the process at once, with exit status 130: until the command
    begins (see `heeding_ctrl_c`) there is nothing to tidy up, and Python would print where it was.
    """
    if _is_run(program) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _is_run(program: str) -> bool:
    words = sys.orig_argv
    module = "".join(words[words.index("-m") + 1 :][:1]) if "-m" in words else ""
    return module.partition(".")[0] == program or any(Path(word).name == program for word in words[:2])


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def heeding_ctrl_c() -> Iterator[None]:
    """While the command itself runs: Ctrl-C raises KeyboardInterrupt, so that it can end in good order. Afterwards it
    ends the process at once again.
    """
    if signal.getsignal(signal.SIGINT) is not _end:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _end)


@contextlib.contextmanager
def dying_at_once(program: str) -> Iterator[None]:
    """The opposite, for what a command does that cannot be broken off in good order, such as to import a framework."""
    before = signal.getsignal(signal.SIGINT)
    if not _is_run(program) or before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """What is started meanwhile never gets Ctrl-C, which a terminal sends to all: who started it ends it. This process
    gets its own as soon as that is over.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
