"""How much faster two workers are than one."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from shared_spec import machine

ROOT = Path(__file__).parents[2]
TRIALS, WARM = 24, 8
"""How many there are, and how many are over, with all starting and compiling, when the clock starts."""
TOGETHER_SECONDS = 0.3
"""Outcomes of one batch come within this time."""


def throughput(framework, workers, file):
    """Trials a second."""
    command = [sys.executable, "-m", "frameworks", framework, "sweep", "--grid", "lr=0.5,1,2,4", "--seeds", "6"]
    command += ["--epochs", "5", "--workers", str(workers), "--store", str(file)]
    moments = [(0.0, 0)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if match := re.search(rf": (\d+)/{TRIALS}, ", line):
                now, done = time.monotonic(), int(match.group(1))
                if now - moments[-1][0] < TOGETHER_SECONDS:
                    moments.pop()
                moments.append((now, done))
    assert process.returncode == 0
    begin, warm = next(moment for moment in moments if moment[1] >= WARM)
    end, done = moments[-1]
    assert done == TRIALS
    return (done - warm) / (end - begin)


def test_two_workers(framework_name, tmp_path):
    assert machine.cores() >= 2, "two workers need two cores"
    rates = {1: [], 2: []}
    for again in range(3):
        for workers in rates:
            rates[workers].append(throughput(framework_name, workers, tmp_path / f"{workers}-{again}.sqlite"))
    print(framework_name, {workers: [f"{each:.2f}" for each in some] for workers, some in rates.items()})
    ratios = [two / one for one, two in zip(*rates.values(), strict=True)]
    print(f"two workers against one: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    assert statistics.median(ratios) >= 1.7
