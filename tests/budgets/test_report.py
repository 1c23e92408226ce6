"""How long a report takes, and how much memory: cold, references made, with 704 and with 1,000 synthetic results."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isogru.judge import reference
from reports.diff.collect import FRAMEWORKS
from shared_spec import cases
from shared_spec.files import store
from tests import sample_results

ROOT = Path(__file__).parents[2]


def fill(count, chosen=None):
    """That many results of the whole catalogue of cells, or of some cases, no two of them the same to the bit."""
    random = np.random.RandomState(0)
    names = [(name, dtype) for name in chosen or cases.cell_case_names() for dtype in ("float32", "float64")]
    right = {(name, dtype): sample_results.run(cases.build(name), dtype) for name, dtype in names}
    jobs = {framework: [] for framework in FRAMEWORKS}
    for number in range(count):
        round_, at = divmod(number, len(names))
        framework = FRAMEWORKS[round_ % len(FRAMEWORKS)]
        job = sample_results.job(framework, *names[at], implementation=f"way{round_ // len(FRAMEWORKS)}")
        arrays = {key: array.copy() for key, array in right[names[at]].items()}
        for array in (array for key, array in arrays.items() if not key.startswith("trace.")):
            element = random.randint(array.size)
            array.flat[element] = np.nextafter(array.flat[element], array.dtype.type(2))
        if not cases.is_traced(job.case):
            arrays = {key: array for key, array in arrays.items() if not key.startswith("trace.")}
        sample_results.save(job, arrays)
        jobs[framework].append(job)
    for framework, those in jobs.items():
        sample_results.manifest(framework, those)
    reference.prepare([(cases.build(name), dtype) for name, dtype in names], processes=os.cpu_count())


@pytest.mark.parametrize("count", [704, 1000])
def test_cold(benchmark, results, tmp_path, count):
    fill(count)

    def forget():
        for file in (*store.folder().glob("*/*.verdict"), *store.folder().glob("pairs/*")):
            file.unlink()

    def site():
        command = [sys.executable, "-m", "reports", "site", "-o", str(tmp_path / "site")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout

    benchmark.pedantic(site, setup=forget, rounds=3)
    benchmark.extra_info["megabytes, the largest process"] = (
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    )
    benchmark.extra_info["megabytes of the page"] = (tmp_path / "site" / "index.html").stat().st_size / 1e6
    print(benchmark.extra_info)
