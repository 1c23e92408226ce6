"""Processes that end with the one that started them, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

PARENT = "ISOGRU_PARENT"
"""The environment variable that tells a process of ours who started it."""
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
    """Have the kernel kill this process as soon as its parent is gone, by SIGKILL too, of which nobody is told: else it
    goes on for nobody, or waits for ever for work. Linux alone has it; elsewhere nothing is done.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It was gone before.
        os.kill(os.getpid(), signal.SIGKILL)
