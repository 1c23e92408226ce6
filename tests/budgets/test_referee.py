"""How long the referee takes to start: `import isogru`, and the verdict on a small case, in processor time, and as
multiples of `import numpy`.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROUNDS = 7
IMPORT_SECONDS, VERDICT_SECONDS = 0.3, 0.6
IMPORT_TIMES, VERDICT_TIMES = 2.5, 6.0
"""Of `import numpy`: the seconds are those of a quiet machine, and hold on any as multiples."""


def processor_seconds(*command):
    """Of a process and what it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A case and a result of it; its reference is there after the first verdict."""
    folder = tmp_path_factory.mktemp("small")
    case, result = str(folder / "case.safetensors"), str(folder / "result.safetensors")
    processor_seconds("-m", "isogru", "case", "gru-one_unit", "-o", case)
    processor_seconds("-m", "shared_spec", "run", case, "-o", result)
    processor_seconds("-m", "isogru", "verdict", case, result)
    return case, result


def test_starting(small):
    """Interleaved, medians."""
    commands = {
        "numpy": ("-c", "import numpy"),
        "import": ("-c", "import isogru; isogru.check"),
        "verdict": ("-m", "isogru", "verdict", *small),
    }
    taken = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            taken[name].append(processor_seconds(*command))
    median = {name: statistics.median(values) for name, values in taken.items()}
    told = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in median.items())
    print(told)
    assert median["import"] <= max(IMPORT_SECONDS, IMPORT_TIMES * median["numpy"]), told
    assert median["verdict"] <= max(VERDICT_SECONDS, VERDICT_TIMES * median["numpy"]), told
