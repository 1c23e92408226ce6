"""The clock of pytest-benchmark around the rows of a framework: python -m frameworks NAME bench.

Nothing is timed that is not proven equal on this very work, and nothing is ranked whose timed calls were not equal too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import structs

from frameworks.harness import timed_work
from frameworks.harness.benchmark import measure
from frameworks.harness.benchmark.measure import Batch
from frameworks.harness.benchmark.plan import Timed
from frameworks.harness.benchmark.session import Session
from isogru.judge.comparison import EQUAL
from shared_spec.files import store
from shared_spec.race import rows, workloads
from shared_spec.race.rows import Outcome

MOST_ROUNDS = 10**6
"""More than there will be: how many there are is known when they are over."""


class Over(BaseException):
    """No round is left. No Exception, which pytest-benchmark would take for a failure of what it times."""


def test_workload(timed: Timed, session: Session, benchmark: Any) -> None:
    workload, implementation = timed
    benchmark.group = f"{workload.title} {workload.cell} {workload.dtype}"

    def clock(call: Callable[[Batch], None], batches: Iterable[Batch], after: Callable[[Batch], None]) -> list[float]:
        each = iter(batches)

        def setup() -> tuple[tuple[Batch], dict[str, Any]]:
            batch = next(each, None)
            if batch is None:
                raise Over
            # pytest-benchmark tells the time of a call where a round is many.
            benchmark.stats.iterations = len(batch)
            return (batch,), {}

        def teardown(batch: Batch) -> None:
            after(batch)
            if session.turns is not None:
                session.turns.tell(benchmark.stats.stats.data[-1])

        with contextlib.suppress(Over):
            benchmark.pedantic(call, setup=setup, teardown=teardown, rounds=MOST_ROUNDS)
        return list(benchmark.stats.stats.data)

    session.writer.write(rows.Begin(timed.row))
    on: dict[str, Any] = {"device": session.device, "text": session.text}
    timing: dict[str, Any] = {
        "seconds": session.seconds,
        "clock": clock,
        "tf32": session.tf32,
        "turns": session.turns,
    }
    try:
        outcome = measure.run(session.framework, implementation, workload, **on, **timing)
        # In a race that is measured apart, with memory: to compile it would take of the budget.
        if session.turns is None and session.number == 1 and outcome.verdict == EQUAL:
            measure.settle()
            # The same for all sizes that differ in n, d and h alone: compiling it takes longer than the rest.
            tiny = (implementation.name, workloads.tiny(workload))
            if tiny not in session.issues:
                session.issues[tiny] = timed_work.issue(session.framework, implementation, workload, **on)
            outcome = structs.replace(outcome, issue=session.issues[tiny])
    except Exception as error:  # A failure is a record, and the next row goes on.
        session.writer.write(rows.End(timed.row, Outcome(failed=store.words_of(error))))
        raise
    session.writer.write(rows.End(timed.row, outcome))
    benchmark.extra_info |= {key: value for key, value in structs.asdict(outcome).items() if key != "seconds"}
    assert outcome.verdict == EQUAL, outcome.why
