"""One row of the benchmarks: judged, timed on fresh inputs, and judged again by what the timed calls gave."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from frameworks import Framework
from frameworks.harness import outputs, timed_work
from frameworks.harness.peak import IN_MEMORY
from frameworks.harness.timed_work import Work
from frameworks.protocol import Implementation
from isogru.judge import admission
from isogru.judge.comparison import EQUAL
from shared_spec.language_model.corpus import Corpus
from shared_spec.race.rows import Outcome
from shared_spec.race.workloads import Workload

LEAST, MOST, WARM = 3, 15, 2
"""Rounds that are timed of a row alone, and calls before them that are not."""
SLOW = 0.2
"""Seconds of a call that needs no more warming up than its rehearsal was."""
MOST_CALLS = 512
"""Of a turn."""
SETTLE, BRIEF = 0.3, 0.05
"""Seconds of rest after a verdict, unless it was a brief one: the threads of NumPy's products spin for a tenth of a
second when there is no more to do, and what was timed meanwhile took twice as long.
"""
REST = 0.01
"""Seconds after which the results of a call are there at the latest, unless it takes longer than half of that."""

Batch = list[Any]
"""The inputs of the calls that are timed together."""
Clock = Callable[[Callable[[Batch], None], Iterable[Batch], Callable[[Batch], None]], list[float]]
"""(call, batches, after) -> seconds of a call: times call(batch) for each of the batches, and has after(batch) called
outside the clock.
"""


class Turns(Protocol):
    """Whoever says when it is a row's turn, in a race."""

    planned: int
    """How many turns there will be, about."""

    def ready(self) -> None:
        """Tell that the first turn may come."""

    def wait(self) -> bool:
        """Until it is its turn; or that there is none any more."""


def settle() -> None:
    """Wait until nothing but what is timed runs."""
    time.sleep(SETTLE)


def run(
    framework: Framework,
    implementation: Implementation,
    workload: Workload,
    *,
    device: str,
    text: Corpus,
    seconds: float,
    clock: Clock,
    tf32: bool = False,
    turns: Turns | None = None,
) -> Outcome:
    """What comes of a row: timed for so many seconds, or in turns of so many. Nothing is timed that is not equal
    before; see isogru/judge/admission.py.
    """
    work = timed_work.make(framework, implementation, workload, device=device, text=text)
    case, arrays = work.rehearse()
    origin, began = work.subject.origin(case), time.perf_counter()
    verdict = admission.judge(case, origin, arrays, whole=work.is_over, tf32=tf32)
    if time.perf_counter() - began > BRIEF:
        settle()
    taken: list[float] = []
    if verdict.verdict == EQUAL:
        timing = _Timing(framework, work, device)
        batches = timing.rounds(seconds) if turns is None else timing.turns(seconds, turns)
        taken = clock(timing.call, batches, timing.after)
        case, arrays = work.outcome(timing.of_audits())
        verdict |= admission.judge(case, work.subject.origin(case), arrays, whole=True, tf32=tf32)
        if taken:
            verdict |= admission.finished(taken, timing.undone, timing.rested)
        if workload.kind != "prediction":
            # Characters may well be the same.
            verdict |= admission.fresh(timing.fingerprints)
    return Outcome(
        verdict=verdict.verdict,
        why=verdict.sentence,
        ratio=verdict.ratio,
        error=verdict.error,
        seconds=tuple(taken),
        first=work.times.first,
    )


class _Timing:
    """The inputs of one row, call by call, and what is read of the outputs: outside the clock."""

    def __init__(self, framework: Framework, work: Work, device: str) -> None:
        self._framework, self._work, self._device = framework, work, device
        self._call = timed_work.waits(framework, work)
        self._others: Any = None
        """On a GPU: as much data of others as pushes all else out of the cache that its multiprocessors share."""
        if device != "cpu":
            self._others = framework.runtime.tensor(np.ones(IN_MEMORY, np.float32), dtype="float32", device=device)
            self._push_out()
        self._audits = work.audits()
        self._left = list(self._audits)
        self.rested: list[float] = []
        """Seconds of what seemed undone after calls that were left in peace for a while."""
        self.undone: list[float] = []
        self.fingerprints: list[str] = []
        self._outputs: Any = None
        self._of_audit: Any = None

    def _warm(self, calls: int) -> int:
        return calls if self._work.times.later < SLOW else 0

    def _rest(self) -> float:
        """The first calls of a row that has the machine for itself; seconds of the fastest of them."""
        on_gpu, fastest = self._device != "cpu", self._work.times.later
        for number, given in enumerate(self._work.fresh(self._warm(WARM) + on_gpu)):
            began = time.perf_counter()
            given = self._call(given)
            fastest = min(fastest, time.perf_counter() - began)
            time.sleep(max(REST, 2 * self._work.times.later))
            undone, _ = outputs.read(self._framework, given, device=self._device)
            # On a GPU what copies results is compiled the first time.
            if number or not on_gpu:
                self.rested.append(undone)
        return fastest

    def _push_out(self) -> None:
        """Whatever is in the cache that a GPU's multiprocessors share, by others."""
        self._framework.runtime.wait(self._framework.peak.sums(self._others, self._others, count=1))

    def rounds(self, seconds: float) -> Iterator[Batch]:
        """One call at a time, as many as take so long."""
        self._rest()
        count = int(min(max(seconds / max(self._work.times.later, 1e-9), LEAST), MOST))
        places = self._places(count)
        for number in range(count):
            yield self._drawn([number], places)

    def turns(self, seconds: float, turns: Turns) -> Iterator[Batch]:
        """As many calls in each turn as take so long, which the first turn finds out, since before it others may be at
        work; before them one that is not timed, since others were at work.
        """
        calls = number = 0
        places: set[int] = set()
        turns.ready()
        while turns.wait():
            if not calls:
                calls = int(min(max(seconds / max(self._rest(), 1e-9), 1), MOST_CALLS))
                places = self._places(calls * turns.planned)
            for given in self._work.fresh(self._warm(1)):
                self._call(given)
            batch = self._drawn(range(number, number + calls), places)
            number += len(batch)
            yield batch

    def _places(self, calls: int) -> set[int]:
        """Nobody knows beforehand which calls are judged."""
        return set(random.sample(range(calls), min(calls, len(self._audits))))

    def _drawn(self, numbers: Sequence[int], places: Collection[int]) -> Batch:
        batch = self._work.fresh(len(numbers))
        for i, number in enumerate(numbers[: len(batch)]):
            if number in places and self._left:
                batch[i] = self._left.pop(0)
        if self._others is not None:
            # Inputs come from memory, and not from where making them has left them.
            self._push_out()
        return batch

    def call(self, batch: Batch) -> None:
        """What is timed."""
        for given in batch:
            self._outputs = self._call(given)
            if given is self._audits[-1]:
                self._of_audit = self._outputs

    def after(self, batch: Batch) -> None:
        """What is not: the outputs of the last call are read."""
        undone, fingerprint = outputs.read(self._framework, self._outputs, device=self._device)
        self.undone.append(undone)
        self.fingerprints.append(fingerprint)

    def of_audits(self) -> Any:
        """What the last audit gave. Those for which there were too few turns come now."""
        for given in self._left:
            self.call([given])
        return self._of_audit
