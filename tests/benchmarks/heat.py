"""One row of the benchmarks: judged, timed on fresh inputs, and judged again by what the timed calls gave."""

from __future__ import annotations

import random
import time

from frameworks import timed
from reports import gate
from reports.finding import EQUAL

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


def settle():
    """Wait until nothing but what is timed runs."""
    time.sleep(SETTLE)


def run(framework, implementation, workload, *, device, text, seconds, clock, tf32=False):
    """The record of a row. `clock(call, inputs, after)` times call(given) for each of the inputs, calls after(given)
    outside the clock, and gives the seconds. Nothing is timed that is not equal before; see reports/gate.py.
    """
    work = timed.make(framework, implementation, workload, device=device, text=text)
    case, arrays = work.rehearse()
    origin, began = work.subject.origin(case), time.perf_counter()
    found = gate.judge(case, origin, arrays, whole=work.is_over, tf32=tf32)
    if time.perf_counter() - began > BRIEF:
        settle()
    record = {"seconds": [], "first": work.times.first}
    if found.verdict == EQUAL:
        rounds = int(min(max(seconds / max(work.times.later, 1e-9), LEAST), MOST))
        warm = WARM if work.times.later < SLOW else 0
        record["seconds"], rested, read, outputs = _time(framework, work, rounds, warm, clock, device)
        case, arrays = work.outcome(outputs)
        found |= gate.judge(case, work.subject.origin(case), arrays, whole=True, tf32=tf32)
        found |= gate.finished(record["seconds"], [undone for undone, _ in read], rested)
        if workload.kind != "prediction":
            # Characters may well be the same.
            found |= gate.fresh([fingerprint for _, fingerprint in read])
    return record | {"verdict": found.verdict, "why": found.sentence, "ratio": found.ratio, "error": found.error}


def _time(framework, work, rounds, warm, clock, device):
    """Seconds of each call; what seemed undone after calls that were left in peace for a while; what was after each that
    was timed, and its fingerprint; and what the judged one gave.
    """
    call, outputs, read = timed.waits(framework, work), None, []

    def timed_call(given):
        nonlocal outputs
        outputs = call(given)

    def after(given):
        nonlocal kept
        read.append(timed.read(framework, outputs, device=device))
        kept = outputs if given is judged else kept

    inputs = work.fresh(rounds + warm)
    # An epoch is one input, and was warmed up by the one before.
    warm = min(warm, len(inputs) - 1)
    judged, kept = inputs[-1], None
    if work.any_order:
        # Nobody knows beforehand which one is judged.
        place = random.randrange(warm, len(inputs))
        inputs[place], inputs[-1] = inputs[-1], inputs[place]
    rested = []
    for given in inputs[:warm]:
        found = call(given)
        time.sleep(max(REST, 2 * work.times.later))
        rested.append(timed.read(framework, found, device=device)[0])
    return clock(timed_call, inputs[warm:], after), rested, read, kept
