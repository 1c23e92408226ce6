"""Passes of benchmarks -> rankings: a table for each workload, proven first, with what each row is worth.

Ranked is what was equal whenever it was timed. Everything else that was planned stands below, with the reason.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import structs

from isogru.judge.comparison import EQUAL
from reports.race import alike, controls, ranking, records, roofline
from reports.race.ranking import Key
from reports.race.records import FAILED, UNFINISHED, Leaderboard, Row, Table
from reports.race.roofline import Bound, Limits
from shared_spec.errors import UserError
from shared_spec.race import blocks, rows, workloads
from shared_spec.race.blocks import Block
from shared_spec.race.decisions import Times
from shared_spec.race.definition import Race
from shared_spec.race.rows import Memory, Outcome, Pass
from shared_spec.race.workloads import Workload


def build(
    passes: Sequence[Pass],
    memory: Iterable[Memory],
    *,
    name: str,
    turns: Sequence[Block] = (),
    race: Race | None = None,
) -> Leaderboard:
    """The leaderboard of a race, whose times are those of its blocks; without blocks, the medians of its passes. Raises
    UserError for passes that do not belong together.
    """
    if not passes:
        raise UserError(f"{name}: no pass of benchmarks is there; run tox -e bench")
    alike.check(passes)
    measured = list(memory)
    bytes_of = {(m.framework, m.workload, m.implementation): m.bytes for m in measured}
    issues = {_issued(m.framework, m.workload, m.implementation): m.issue for m in measured if m.issue is not None}
    limits = {
        dtype: roofline.best((p.framework, p.limits[dtype]) for p in passes if dtype in p.limits)
        for dtype in dict.fromkeys(dtype for p in passes for dtype in p.limits)
    }
    planned: dict[Workload, dict[tuple[str, rows.Row], list[Pass]]] = {}
    for one in passes:
        for row in one.header.plan:
            planned.setdefault(rows.workload(row), {}).setdefault((one.framework, row), []).append(one)
    first, judged = passes[0].header, controls.judge(turns, device=passes[0].header.device)
    times = {workload: _times(workload, contenders, turns) for workload, contenders in planned.items()}
    may_rank = not any(control.is_failed for control in judged)
    return Leaderboard(
        format=records.FORMAT,
        name=name,
        **{key: getattr(first, key) for key in alike.SAME},
        passes=max(p.number for p in passes),
        frameworks=[_entrant(name, passes) for name in dict.fromkeys(p.framework for p in passes)],
        limits=[_limits(dtype, best) for dtype, best in limits.items()],
        tables=[
            _table(workload, planned[workload], times[workload], limits, bytes_of, issues, may_rank=may_rank)
            for workload in workloads.catalogue()
            if workload in planned
        ],
        # A race of an earlier version, in passes, had neither.
        budget=race.budget if race and turns else None,
        seed=race.seed if race and turns else None,
        blocks=len(turns),
        controls=judged,
        trouble=[_cut_off(p, race if turns else None) for p in passes if not p.is_done],
        against=None,
    )


def _issued(framework: str, workload: str, implementation: str) -> tuple[str, Workload, str]:
    """What the host takes as long to issue: of all sizes that differ in n, d and h alone it is measured once."""
    return framework, workloads.tiny(rows.workload(rows.Row(workload, implementation, ""))), implementation


def _cut_off(one: Pass, race: Race | None) -> str:
    if race is not None:
        return f"{one.path.name}: broken off; go on with python -m reports race --resume {race.name}"
    return f"{one.path.name}: cut off after {one.done} of {len(one.header.plan)} rows; race again"


def _times(workload: Workload, contenders: Mapping[Key, list[Pass]], turns: Sequence[Block]) -> dict[Key, Times]:
    """Seconds by start: of each of its blocks, or, without any, the median of a pass."""
    if turns:
        names = {key: blocks.name(key[0], key[1].implementation) for key in contenders}
        of = blocks.times(turns, workload.name, list(names.values()))
        return {key: of[name] for key, name in names.items()}
    return {
        (framework, row): {
            p.number: (statistics.median(p.outcomes[row].seconds),)
            for p in passes
            if row in p.outcomes and p.outcomes[row].seconds
        }
        for (framework, row), passes in contenders.items()
    }


def _entrant(name: str, passes: Sequence[Pass]) -> records.Entrant:
    those = [p for p in passes if p.framework == name]
    return records.Entrant(
        name=name,
        passes=len(those),
        import_=statistics.median(p.header.import_ for p in those),
        versions=those[0].header.versions,
        switches=those[0].header.switches,
    )


def _limits(dtype: str, best: Limits) -> records.Limits:
    return records.Limits(
        dtype=dtype,
        rates=dict(best.rates),
        by=dict(best.by),
        steps=[
            records.Step(n=n, h=h, k=k, seconds=seconds, rate=2 * n * h * k / seconds)
            for (n, h, k), seconds in sorted(best.steps.items())
        ],
        issue=dict(best.issue),
    )


def _table(
    workload: Workload,
    contenders: Mapping[Key, list[Pass]],
    times: Mapping[Key, Times],
    limits: Mapping[str, Limits],
    memory: Mapping[tuple[str, str, str], int | None],
    issues: Mapping[tuple[str, Workload, str], float],
    *,
    may_rank: bool,
) -> Table:
    best = limits.get(workload.dtype)
    bound = roofline.bound(workload, best) if best and set(workload.products()) <= best.steps.keys() else None
    there: dict[Key, Row] = {}
    for key, passes in contenders.items():
        framework, row = key
        contender = _row(framework, row, passes, times[key], memory.get((framework, row.workload, row.implementation)))
        issue = (
            contender.issue
            if contender.issue is not None
            else issues.get(_issued(framework, row.workload, row.implementation))
        )
        there[key] = ranking.possible(structs.replace(contender, issue=issue), bound)
    ranked, others = ranking.rank(there, times, may_rank=may_rank)
    ranked = [ranking.share(row, bound) for row in ranking.break_even(ranked)]
    size = workload.size
    return Table(
        workload=workload.name,
        title=workload.title,
        kind=workload.kind,
        size=records.Size(name=size.name, T=size.T, n=size.n, d=size.d, h=size.h),
        cell=workload.cell,
        dtype=workload.dtype,
        series=list(workload.in_series),
        bound=None if bound is None else _bound(bound),
        rows=sorted(ranked, key=lambda row: (row.rank or 0, row.time))
        + sorted(others, key=lambda row: (row.framework, row.id)),
    )


def _bound(of: Bound) -> records.Bound:
    return records.Bound(seconds=of.seconds, compute=of.compute, memory=of.memory, latency=of.latency)


def _row(framework: str, of: rows.Row, passes: list[Pass], times: Times, memory: int | None) -> Row:
    """A row as it stands by itself: what it is beside the others is not known yet."""
    there = {p.number: p.outcomes[of] for p in passes if of in p.outcomes}
    cut = [p for p in passes if p.begun == of]
    status, why = _status(there.values(), cut)
    if status == EQUAL and not times:
        status, why = UNFINISHED, "the race was broken off before it had a turn"
    cold = there[min(there)] if there else Outcome()
    return Row(
        id=of.id,
        framework=framework,
        implementation=of.implementation,
        lane=of.lane,
        status=status,
        why=why,
        rank=None,
        seconds=ranking.mean(_of_starts(times).values()) if times else None,
        passes={str(number): value for number, value in _of_starts(times).items()},
        ratio=None,
        low=None,
        high=None,
        percent=None,
        held_back_by=None,
        error=_largest(r.error for r in there.values() if not r.failed),
        error_ratio=_largest(r.ratio for r in there.values() if not r.failed),
        first=cold.first,
        issue=cold.issue,
        break_even=None,
        blocks=sum(t == t for of in times.values() for t in of),
        command=_command(passes[0].header, f"--workload {of.workload} --implementation {of.implementation}"),
        memory=memory,
    )


def _of_starts(times: Times) -> dict[int, float]:
    """The middle of the blocks of each start."""
    return {start: statistics.median(t for t in of if t == t) for start, of in sorted(times.items())}


def _largest(values: Iterable[float | None]) -> float | None:
    """None where one of them is not known, or infinite: JSON has no infinity."""
    known = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return max(known, default=None)


def _command(header: rows.Header, choice: str) -> str:
    """What times a row again."""
    if header.device == "cpu":
        return f"tox -e bench-{header.framework} -- {choice}"
    options = f"--device {header.device} {choice}"
    return f"python -m frameworks {header.framework} bench {options}" + (" --tf32" if header.tf32 else "")


def _status(outcomes: Collection[Outcome], cut: Sequence[Pass]) -> tuple[str, str]:
    """Equal only if it was so whenever it ran, and ran at all."""
    for outcome in outcomes:
        if outcome.failed:
            return FAILED, outcome.failed
    for outcome in outcomes:
        if outcome.verdict != EQUAL:
            return outcome.verdict, outcome.why
    if outcomes:
        return EQUAL, ""
    return UNFINISHED, "the pass was cut off while it ran" if cut else "the pass was cut off before it ran"
