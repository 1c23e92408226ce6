"""The machine that something runs on, as a report tells it."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe() -> dict[str, str]:
    """System, processor, cores that this process may use, memory, and Python."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": str(cores()),
        "memory": f"{there / 2**30:.0f} GiB" if (there := memory()) else "unknown",
        "python": platform.python_version(),
    }


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    # On Linux platform.processor() is empty or the architecture; the kernel knows the model.
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory() -> int | None:
    """Bytes of memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
