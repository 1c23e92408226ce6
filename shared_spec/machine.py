"""The machine that something runs on, as a report tells it."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

OF_GPU = ("name", "memory.total", "driver_version", "clocks.max.sm", "clocks.max.memory", "power.limit")
MOST_THREADS = 4096
"""That a library is asked to start."""
STATE_OF_GPU = ("pstate", "clocks.sm", "clocks.mem", "temperature.gpu", "power.draw")


def describe(device: str = "cpu") -> dict[str, str]:
    """System, processor, cores that this process may use, memory, and Python; and of cuda what the GPU is."""
    return {
        **({"gpu": ", ".join(_asked_of_gpu(OF_GPU).values()) or "unknown"} if device == "cuda" else {}),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": str(cores()),
        "memory": f"{there / 2**30:.0f} GiB" if (there := memory()) else "unknown",
        "python": platform.python_version(),
    }


def state_of_gpu() -> dict[str, str]:
    """What changes while it works: its power state, clocks, temperature and power. Empty where nothing tells."""
    return _asked_of_gpu(STATE_OF_GPU)


def _asked_of_gpu(properties: tuple[str, ...]) -> dict[str, str]:
    command = ["nvidia-smi", f"--query-gpu={','.join(properties)}", "--format=csv,noheader"]
    try:
        printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    # Of several it is the first that is used.
    values = printed.partition("\n")[0].split(", ")
    return dict(zip(properties, values, strict=True)) if len(values) == len(properties) else {}


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
