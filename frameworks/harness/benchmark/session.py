"""The framework under test, set up once; what is timed in it; and the file of rows, which is written as they come."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import frameworks
from frameworks import protocol
from frameworks.harness import peak
from frameworks.harness.benchmark import measure
from frameworks.protocol import Implementation
from shared_spec import machine
from shared_spec.__main__ import find_corpus
from shared_spec.errors import UserError
from shared_spec.frameworks import native_cells
from shared_spec.race import rows, workloads
from shared_spec.race.definition import SECONDS
from shared_spec.race.workloads import Workload


def add_options(parser: pytest.Parser) -> None:
    """What can be chosen, beside the framework and the device."""
    parser.addoption("--workload", action="append", help="a workload, a kind of work, chapter or everything")
    parser.addoption("--cell", action="append", help="only this cell")
    parser.addoption("--implementation", action="append", help="only this one; or a lane")
    parser.addoption("--threads", type=int, help="how many threads; default: one per core")
    parser.addoption("--pass", type=int, default=1, help="the number of this pass; the first measures more")
    parser.addoption("--seconds", type=float, default=SECONDS, help="for how long each row is timed")
    parser.addoption("--tf32", action="store_true", help="let a GPU cut factors to TF32, and measure that")
    parser.addoption("--from-row", type=int, default=0, help="go on with this row of the plan")
    parser.addoption("--rows", type=Path, help="the file of rows")


class Timed(NamedTuple):
    """A workload and what does it."""

    workload: Workload
    implementation: Implementation

    @property
    def row(self) -> rows.Row:
        """How a pass writes of it."""
        return rows.Row(self.workload.name, self.implementation.name, self.implementation.lane)


class Session:
    """A framework, set up, and the rows to be timed in it."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.getoption
        self.device, self.number, self.first = option("--device"), option("--pass"), option("--from-row")
        self.threads, self.seconds = option("--threads") or machine.cores(), option("--seconds")
        self.tf32 = option("--tf32")
        of_machine = machine.describe(self.device)
        python = of_machine.pop("python")
        _pin(self.threads)
        # MXNet and OpenMP read it while they are imported.
        os.environ["OMP_NUM_THREADS"] = str(self.threads)
        chosen, cells = workloads.choose(option("--workload") or ["chapter"]), option("--cell") or []
        # Before the framework is imported, which takes seconds.
        if unknown := [name for name in cells if name not in native_cells()]:
            raise UserError(f"no benchmark of a cell {unknown[0]!r}; the cells are {', '.join(native_cells())}")
        began = time.perf_counter()
        self.framework = frameworks.load(option("--framework"))
        imported = time.perf_counter() - began
        self.framework.runtime.setup(device=self.device, threads=self.threads, tf32=self.tf32)
        # What a framework does when it computes for the first time is no row's.
        one = self.framework.runtime.tensor(np.ones((2, 2)), dtype="float32", device=self.device)
        self.framework.runtime.wait(one @ one)
        self.issues: dict[tuple[str, Workload], float] = {}
        self.plan = self._chosen(chosen, cells, option("--implementation") or [])
        path = os.environ.get("ISOGRU_CORPUS")
        self.text = find_corpus(Path(path) if path else None, os.environ.get("ISOGRU_CORPUS_SHA1"))
        file = option("--rows") or rows.file(rows.alone(), self.framework.name, self.device, self.number)
        self.writer = rows.Writer(file, goes_on=self.first > 0)
        if not self.first:
            self.writer.header(
                rows.Header(
                    framework=self.framework.name,
                    device=self.device,
                    threads=self.threads,
                    tf32=self.tf32,
                    number=self.number,
                    plan=tuple(each.row for each in self.plan),
                    import_=imported,
                    versions={"python": python, **self.framework.runtime.versions()},
                    switches=dict(self.framework.runtime.switches()),
                    machine=of_machine,
                    corpus=f"{self.text.source} {self.text.sha1}",
                    gpu=machine.state_of_gpu() if self.device == "cuda" else {},
                )
            )

    def _chosen(self, chosen: list[Workload], cells: list[str], names: list[str]) -> list[Timed]:
        there = protocol.implementations(self.framework)
        protocol.check(self.framework.name, there, names, or_lanes=True)
        found = [
            Timed(workload, implementation)
            for workload in chosen
            for implementation in there
            if implementation.cell == workload.cell and workload.dtype in implementation.dtypes
            if not implementation.reason and (not cells or workload.cell in cells)
            if not names or {implementation.name, implementation.lane} & set(names)
        ]
        if not found:
            raise UserError(f"nothing to time: {self.framework.name} has none of these implementations of these cells")
        return found

    def limits(self) -> None:
        """Measure what the machine can do, in the shapes of these rows."""
        measure.settle()
        for dtype in dict.fromkeys(each.workload.dtype for each in self.plan):
            shapes = {shape: None for e in self.plan if e.workload.dtype == dtype for shape in e.workload.products()}
            reached = peak.measure(self.framework, shapes, dtype=dtype, device=self.device)
            self.writer.write(rows.Limits(dtype, reached))


def _pin(threads: int) -> None:
    """Keep this process, and whatever it starts, on as many cores as it has threads."""
    if hasattr(os, "sched_setaffinity"):
        there = sorted(os.sched_getaffinity(0))
        if threads > len(there):
            raise UserError(f"{threads} threads asked for, and there are {len(there)} cores")
        os.sched_setaffinity(0, there[:threads])
