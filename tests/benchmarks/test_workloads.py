"""How long the workloads take in one framework: tox -e bench-torch, or any of the others.

Nothing is timed that is not proven equal on this very work, and nothing is ranked whose timed calls were not equal too.
"""

from __future__ import annotations

import pytest

from frameworks import timed
from reports import gate
from reports.finding import EQUAL

LEAST, MOST = 3, 15
"""Rounds."""


def test_workload(row, session, benchmark):
    workload, implementation = row
    benchmark.group = f"{workload.title} {workload.cell} {workload.dtype}"
    record = {"verdict": "", "why": "", "ratio": None, "error": None, "seconds": []}
    session.writer.line(begin=row.id)
    try:
        _run(workload, implementation, session, benchmark, record)
    except Exception as error:
        record["failed"] = " ".join(f"{type(error).__name__}: {error}".split())[:1000]
        raise
    finally:
        # pytest's own exceptions, and Ctrl-C, are no failure of the implementation.
        if record["verdict"] or "failed" in record:
            session.writer.line(end=row.id, **record)
    assert record["verdict"] == EQUAL, record["why"]


def _run(workload, implementation, session, benchmark, record):
    framework, device, text = session.framework, session.device, session.text
    work = timed.make(framework, implementation, workload, device=device, text=text)
    case, arrays = work.rehearse()
    found = gate.judge(case, work.subject.origin(case), arrays)
    if found.verdict == EQUAL:
        found |= _time(work, session, benchmark, record)
    record |= {"verdict": found.verdict, "why": found.sentence, "ratio": found.ratio, "error": found.error}
    record |= {"first": work.times.first}
    if session.number == 1 and found.verdict == EQUAL:
        record["issue"] = timed.issue(framework, implementation, workload, device=device, text=text)
    benchmark.extra_info |= {key: value for key, value in record.items() if key != "seconds"}


def _time(work, session, benchmark, record):
    """Times calls on fresh inputs: the verdict on what they gave, and on whether it was there in time."""
    rounds = int(min(max(session.seconds / max(work.times.later, 1e-9), LEAST), MOST))
    inputs = iter(drawn := work.fresh(rounds))
    call, outputs, undone = timed.waits(session.framework, work), None, []

    def timed_call(given):
        nonlocal outputs
        outputs = call(given)

    benchmark.pedantic(
        timed_call,
        setup=lambda: ((next(inputs),), {}),
        teardown=lambda given: undone.append(timed.left_undone(session.framework, outputs)),
        rounds=len(drawn),
    )
    record["seconds"] = list(benchmark.stats.stats.data)
    case, arrays = work.outcome(outputs)
    return gate.judge(case, work.subject.origin(case), arrays) | gate.finished(record["seconds"], undone)


@pytest.fixture(autouse=True)
def _no_rounds_without_a_clock(request):
    """--benchmark-disable would leave rows without times."""
    if request.config.getoption("--benchmark-disable"):
        raise pytest.UsageError("--benchmark-disable leaves nothing to time")
