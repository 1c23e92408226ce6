"""The framework under test, set up once; what is timed in it; and the file of rows, which is written as they come."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from frameworks.harness.benchmark.plan import Entered, measured_limits
from frameworks.harness.benchmark.turns import Turns
from shared_spec import machine
from shared_spec.__main__ import find_corpus
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
    parser.addoption("--row", help="only this one: WORKLOAD/IMPLEMENTATION")
    parser.addoption("--turns", help="in a race: the ends of two pipes and how many turns there will be, 3,4,10")
    parser.addoption("--rows", type=Path, help="the file of rows")


class Session:
    """A framework, set up, and the rows to be timed in it."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.getoption
        self.device, self.number = option("--device"), option("--pass")
        self.threads, self.seconds = option("--threads") or machine.cores(), option("--seconds")
        self.tf32, self.turns = option("--tf32"), _turns(option("--turns"))
        # Before the framework is imported, which takes seconds.
        chosen = workloads.choose(option("--workload") or ["chapter"], option("--cell") or [])
        entered = Entered(option("--framework"), device=self.device, threads=self.threads, tf32=self.tf32)
        self.framework = entered.framework
        self.issues: dict[tuple[str, Workload], float] = {}
        self.plan = entered.plan(chosen, option("--implementation") or [])
        if option("--row"):
            self.plan = [
                each for each in self.plan if f"{each.workload.name}/{each.implementation.name}" == option("--row")
            ]
        path = os.environ.get("ISOGRU_CORPUS")
        self.text = find_corpus(Path(path) if path else None, os.environ.get("ISOGRU_CORPUS_SHA1"))
        file = option("--rows") or rows.file(rows.alone(), self.framework.name, self.device, self.number)
        self.writer = rows.Writer(file, goes_on=False)
        self.writer.header(entered.header(self.plan, self.text, self.number))

    def limits(self) -> None:
        """Measure what the machine can do, in the shapes of these rows; in a race that is done apart."""
        if self.turns is None:
            for limits in measured_limits(self.framework, self.plan, self.device):
                self.writer.write(limits)


def _turns(text: str | None) -> Turns | None:
    if text is None:
        return None
    reads, writes, planned = map(int, text.split(","))
    return Turns(reads, writes, planned=planned)
