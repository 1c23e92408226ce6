"""End what Ray has started for a sweep as soon as that sweep is gone, however it ended, and remove its folder. A script
of the standard library alone, for a process of its own: `python -I -S watch.py MARK FOLDER`.

Standard input is a lifeline, closed by the end of who started this. Ray ends most of its processes with the one that
began it, but its agents look for that one, and linger for up to a minute. What belongs to a sweep bears its mark in
its environment, which children inherit: no matter who their parent is by then.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time

MARK = "ISOGRU_SWEEP"
"""The environment variable that holds the mark."""


def main() -> None:
    """Wait, then end whatever has the mark, and remove the folder."""
    mark, folder = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    while processes := marked(mark):
        for pid in processes:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


def marked(mark: str) -> list[int]:
    """The processes that have the mark, as far as they run: of one that has ended the environment is empty."""
    wanted, processes = f"{MARK}={mark}".encode(), []
    for name in os.listdir("/proc"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            if name.isdigit() and wanted in _content(f"/proc/{name}/environ").split(b"\0"):
                processes.append(int(name))
    return processes


def _content(file: str) -> bytes:
    with open(file, "rb") as opened:  # noqa: PTH123
        return opened.read()


if __name__ == "__main__":
    main()
