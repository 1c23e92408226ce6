"""A framework that is entered for timing: set up, what of it is timed, and what the machine can do by it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np

import frameworks
from frameworks import Framework, protocol
from frameworks.harness import peak
from frameworks.harness.benchmark import measure
from frameworks.protocol import Implementation
from shared_spec import machine
from shared_spec.errors import UserError
from shared_spec.language_model.corpus import Corpus
from shared_spec.race import rows
from shared_spec.race.workloads import TRAININGS, Workload


class Timed(NamedTuple):
    """A workload and what does it."""

    workload: Workload
    implementation: Implementation

    @property
    def row(self) -> rows.Row:
        """How a pass writes of it."""
        return rows.Row(self.workload.name, self.implementation.name, self.implementation.lane)


class Entered:
    """A framework, imported and set up. Raises UserError for threads or a device that are not there."""

    def __init__(self, name: str, *, device: str, threads: int, tf32: bool) -> None:
        self.device, self.threads, self.tf32 = device, threads, tf32
        self._machine = machine.describe(device)
        self._python = self._machine.pop("python")
        pin(threads)
        # MXNet and OpenMP read it while they are imported.
        os.environ["OMP_NUM_THREADS"] = str(threads)
        began = time.perf_counter()
        self.framework = frameworks.load(name)
        self._imported = time.perf_counter() - began
        runtime = self.framework.runtime
        runtime.setup(device=device, threads=threads, tf32=tf32)
        # What a framework does when it computes for the first time is no row's.
        one = runtime.tensor(np.ones((2, 2)), dtype="float32", device=device)
        runtime.wait(one @ one)

    def plan(self, chosen: Sequence[Workload], names: Sequence[str]) -> list[Timed]:
        """What is timed of it. Raises UserError where that is nothing, and for names that it does not have."""
        there = protocol.implementations(self.framework)
        protocol.check(self.framework.name, there, names, or_lanes=True)
        kinds = dict.fromkeys(workload.kind for workload in chosen)
        for each in there:
            if {each.name, each.lane} & set(names) and not any(map(each.races_in, kinds)):
                its_own = f"it races in {' and '.join(TRAININGS)}, not in {', '.join(kinds)}"
                raise UserError(f"{self.framework.name}/{each.name} only trains: {its_own}")
        planned = [
            Timed(workload, implementation)
            for workload in chosen
            for implementation in there
            if implementation.cell == workload.cell and workload.dtype in implementation.dtypes
            if implementation.races_in(workload.kind)
            if not implementation.reason
            if {implementation.name, implementation.lane} & set(names) or (not names and implementation.races)
        ]
        if not planned:
            raise UserError(f"nothing to time: {self.framework.name} has none of these implementations of these cells")
        return planned

    def header(self, plan: Iterable[Timed], text: Corpus, number: int) -> rows.Header:
        """The first line of a pass."""
        return rows.Header(
            framework=self.framework.name,
            device=self.device,
            threads=self.threads,
            tf32=self.tf32,
            number=number,
            plan=tuple(each.row for each in plan),
            import_=self._imported,
            versions={"python": self._python, **self.framework.runtime.versions()},
            switches=dict(self.framework.runtime.switches()),
            machine=self._machine,
            corpus=f"{text.source} {text.sha1}",
            gpu=machine.state_of_gpu() if self.device == "cuda" else {},
        )


def measured_limits(framework: Framework, plan: Sequence[Timed], device: str) -> Iterator[rows.Limits]:
    """What the machine can do, in the shapes of these rows."""
    measure.settle()
    for dtype in dict.fromkeys(each.workload.dtype for each in plan):
        shapes = {shape: None for e in plan if e.workload.dtype == dtype for shape in e.workload.products()}
        yield rows.Limits(dtype, peak.measure(framework, shapes, dtype=dtype, device=device))


def tell(entered: Entered, plan: Sequence[Timed], text: Corpus, channel: IO[str]) -> None:
    """The header of what a framework enters for a race, then what the machine can do by it."""
    for line in (entered.header(plan, text, 0), *measured_limits(entered.framework, plan, entered.device)):
        channel.write(rows.encode(line).decode())
        channel.flush()


def pin(threads: int) -> None:
    """Keep this process, and whatever it starts, on as many cores as it has threads."""
    if hasattr(os, "sched_setaffinity"):
        there = sorted(os.sched_getaffinity(0))
        if threads > len(there):
            raise UserError(f"{threads} threads asked for, and there are {len(there)} cores")
        os.sched_setaffinity(0, there[:threads])
