"""How long the workloads take in one framework: tox -e bench-torch, or any of the others.

Nothing is timed that is not proven equal on this very work, and nothing is ranked whose timed calls were not equal too.
"""

from __future__ import annotations

import pytest

from frameworks import timed
from reports.finding import EQUAL
from shared_spec import store, workloads
from tests.benchmarks import heat


def test_workload(row, session, benchmark):
    workload, implementation = row
    benchmark.group = f"{workload.title} {workload.cell} {workload.dtype}"

    def clock(call, inputs, after):
        each = iter(inputs)
        benchmark.pedantic(call, setup=lambda: ((next(each),), {}), teardown=after, rounds=len(inputs))
        return list(benchmark.stats.stats.data)

    session.writer.line(begin=row.id)
    given, tf32 = {"device": session.device, "text": session.text}, session.tf32
    try:
        record = heat.run(
            session.framework,
            implementation,
            workload,
            **given,
            seconds=session.seconds,
            clock=clock,
            tf32=tf32,
        )
        if session.number == 1 and record["verdict"] == EQUAL:
            heat.settle()
            # The same for all sizes that differ in n, d and h alone: compiling it takes longer than the rest.
            tiny = (implementation.name, workloads.tiny(workload))
            if tiny not in session.issues:
                session.issues[tiny] = timed.issue(session.framework, implementation, workload, **given)
            record["issue"] = session.issues[tiny]
    except Exception as error:  # A failure is a record, and the next row goes on.
        session.writer.line(end=row.id, failed=store.words_of(error))
        raise
    session.writer.line(end=row.id, **record)
    benchmark.extra_info |= {key: value for key, value in record.items() if key != "seconds"}
    assert record["verdict"] == EQUAL, record["why"]


@pytest.fixture(autouse=True)
def _with_a_clock(request):
    """--benchmark-disable would leave rows without times."""
    if request.config.getoption("--benchmark-disable"):
        raise pytest.UsageError("--benchmark-disable leaves nothing to time")
