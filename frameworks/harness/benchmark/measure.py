"""One row of the benchmarks: judged, timed on fresh inputs, and judged again by what the timed calls gave."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from frameworks import Framework
from frameworks.harness import timed_work
from frameworks.harness.timed_work import Work
from frameworks.protocol import Implementation
from isogru.judge import admission
from isogru.judge.comparison import EQUAL
from shared_spec.language_model.corpus import Corpus
from shared_spec.race.rows import Outcome
from shared_spec.race.workloads import Workload

LEAST, MOST, WARM = 3, 15, 2
"""Rounds that are timed, and calls before them that are not."""
SLOW = 0.2
"""Seconds of a call that needs no more warming up than its rehearsal was."""
SETTLE, BRIEF = 0.3, 0.05
"""Seconds of rest after a verdict, unless it was a brief one: the threads of NumPy's products spin for a tenth of a
second when there is no more to do, and what was timed meanwhile took twice as long.
"""
REST = 0.01
"""Seconds after which the results of a call are there at the latest, unless it takes longer than half of that."""

Clock = Callable[[Callable[[Any], None], Sequence[Any], Callable[[Any], None]], list[float]]
"""(call, inputs, after) -> seconds: times call(given) for each of the inputs, calls after(given) outside the clock."""


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
) -> Outcome:
    """What comes of a row. Nothing is timed that is not equal before; see isogru/judge/admission.py."""
    work = timed_work.make(framework, implementation, workload, device=device, text=text)
    case, arrays = work.rehearse()
    origin, began = work.subject.origin(case), time.perf_counter()
    verdict = admission.judge(case, origin, arrays, whole=work.is_over, tf32=tf32)
    if time.perf_counter() - began > BRIEF:
        settle()
    taken: list[float] = []
    if verdict.verdict == EQUAL:
        rounds = int(min(max(seconds / max(work.times.later, 1e-9), LEAST), MOST))
        warm = WARM if work.times.later < SLOW else 0
        timing = _Timing(framework, work, rounds, warm, device)
        taken = clock(timing.call, timing.inputs, timing.after)
        case, arrays = work.outcome(timing.judged_outputs)
        verdict |= admission.judge(case, work.subject.origin(case), arrays, whole=True, tf32=tf32)
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
    """The inputs of one row and, call by call, what is read of the outputs: outside the clock."""

    def __init__(self, framework: Framework, work: Work, rounds: int, warm: int, device: str) -> None:
        self._framework, self._device = framework, device
        self._call = timed_work.waits(framework, work)
        inputs = work.fresh(rounds + warm)
        # An epoch is one input, and was warmed up by the one before.
        warm = min(warm, len(inputs) - 1)
        self._judged = inputs[-1]
        if work.any_order:
            # Nobody knows beforehand which one is judged.
            place = random.randrange(warm, len(inputs))
            inputs[place], inputs[-1] = inputs[-1], inputs[place]
        self.inputs = inputs[warm:]
        self.rested: list[float] = []
        """Seconds of what seemed undone after calls that were left in peace for a while."""
        for given in inputs[:warm]:
            outputs = self._call(given)
            time.sleep(max(REST, 2 * work.times.later))
            self.rested.append(timed_work.read(framework, outputs, device=device)[0])
        self.undone: list[float] = []
        self.fingerprints: list[str] = []
        self._outputs: Any = None
        self.judged_outputs: Any = None

    def call(self, given: Any) -> None:
        """What is timed."""
        self._outputs = self._call(given)

    def after(self, given: Any) -> None:
        """What is not: the outputs are read, and those of the judged inputs kept."""
        undone, fingerprint = timed_work.read(self._framework, self._outputs, device=self._device)
        self.undone.append(undone)
        self.fingerprints.append(fingerprint)
        if given is self._judged:
            self.judged_outputs = self._outputs
