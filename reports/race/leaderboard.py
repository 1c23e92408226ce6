"""Passes of benchmarks -> rankings: a table for each workload, proven first, with what each row is worth.

Ranked is what was equal whenever it was timed. Everything else that was planned stands below, with the reason.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import structs

from isogru.judge.comparison import EQUAL, significant
from reports.race import decisions, records, roofline, statements
from reports.race.records import FAILED, UNFINISHED, Leaderboard, Row, Table
from reports.race.roofline import Bound, Limits
from shared_spec.errors import UserError
from shared_spec.race import rows, workloads
from shared_spec.race.rows import Memory, Outcome, Pass
from shared_spec.race.workloads import Workload

SAME = ("machine", "device", "threads", "tf32", "corpus")
"""What all passes of one ranking must share."""


def build(passes: Sequence[Pass], memory: Iterable[Memory], *, name: str) -> Leaderboard:
    """The leaderboard of a race. Raises UserError for passes that do not belong together."""
    if not passes:
        raise UserError(f"{name}: no pass of benchmarks is there; run tox -e bench")
    check_alike(passes)
    bytes_of = {(m.framework, m.workload, m.implementation): m.bytes for m in memory}
    limits = {
        dtype: roofline.best((p.framework, p.limits[dtype]) for p in passes if dtype in p.limits)
        for dtype in dict.fromkeys(dtype for p in passes for dtype in p.limits)
    }
    planned: dict[Workload, dict[tuple[str, rows.Row], list[Pass]]] = {}
    for one in passes:
        for row in one.header.plan:
            planned.setdefault(rows.workload(row), {}).setdefault((one.framework, row), []).append(one)
    first = passes[0].header
    return Leaderboard(
        format=records.FORMAT,
        name=name,
        **{key: getattr(first, key) for key in SAME},
        passes=max(p.number for p in passes),
        frameworks=[_entrant(name, passes) for name in dict.fromkeys(p.framework for p in passes)],
        limits=[_limits(dtype, best) for dtype, best in limits.items()],
        tables=[
            _table(workload, planned[workload], limits, bytes_of)
            for workload in workloads.catalogue()
            if workload in planned
        ],
        trouble=[
            f"{p.path.name}: cut off after {p.done} of {len(p.header.plan)} rows; race again"
            for p in passes
            if not p.is_done
        ],
        against=None,
    )


def check_alike(passes: Sequence[Pass]) -> None:
    """Raises UserError where passes ran on different machines, devices, texts or numbers of threads, or those of one
    framework with different versions or switches.
    """
    first = passes[0]
    of: dict[str, Pass] = {}
    for one in passes:
        before = of.setdefault(one.framework, one)
        for key in ("versions", "switches"):
            ours, theirs = (getattr(each.header, key) for each in (before, one))
            if ours != theirs:
                raise UserError(
                    f"{before.path.name} and {one.path.name} are no one ranking: their {key} differ "
                    f"({_differing(ours, theirs)}); race again"
                )
    for other in passes[1:]:
        for key in SAME:
            ours, theirs = (getattr(each.header, key) for each in (first, other))
            if ours != theirs:
                raise UserError(
                    f"{first.path.name} and {other.path.name} are no one ranking: their {key} differs "
                    f"({_differing(ours, theirs)}); race again, all on one machine"
                )


def _differing(one: object, other: object) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        key = next(k for k in {**one, **other} if one.get(k) != other.get(k))
        return f"{key}: {one.get(key)} and {other.get(key)}"
    return f"{one} and {other}"


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
    contenders: Mapping[tuple[str, rows.Row], list[Pass]],
    limits: Mapping[str, Limits],
    memory: Mapping[tuple[str, str, str], int | None],
) -> Table:
    best = limits.get(workload.dtype)
    bound = roofline.bound(workload, best) if best and set(workload.products()) <= best.steps.keys() else None
    there = [
        _row(framework, row, passes, memory.get((framework, row.workload, row.implementation)))
        for (framework, row), passes in contenders.items()
    ]
    equal, others = _in_common([row for row in there if row.status == EQUAL])
    ranked = [_share(row, bound) for row in _break_even(_ranks(equal))]
    others += [row for row in there if row.status != EQUAL]
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


def _share(row: Row, bound: Bound | None) -> Row:
    """The row with how far it is from its bound, and by what."""
    if bound is None:
        return row
    return structs.replace(
        row,
        percent=significant(100 * bound.seconds / row.time, 3),
        held_back_by=roofline.held_back_by(row.time, bound, row.issue),
    )


def _row(framework: str, of: rows.Row, passes: list[Pass], memory: int | None) -> Row:
    """A row as it stands by itself: what it is beside the others is not known yet."""
    there = {p.number: p.outcomes[of] for p in passes if of in p.outcomes}
    cut = [p for p in passes if p.begun == of]
    status, why = _status(there.values(), cut)
    seconds = {number: statistics.median(r.seconds) for number, r in there.items() if r.seconds}
    cold = there.get(1, Outcome())
    return Row(
        id=of.id,
        framework=framework,
        implementation=of.implementation,
        lane=of.lane,
        status=status,
        why=why,
        rank=None,
        seconds=_mean(seconds.values()) if seconds else None,
        passes={str(number): value for number, value in seconds.items()},
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
        command=_command(passes[0].header, f"--workload {of.workload} --implementation {of.implementation}"),
        memory=memory,
    )


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


def _in_common(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """The rows with those passes alone that all of them have: ratios are taken within a pass. And apart those that the
    first pass has not, since it was cut off: they are unfinished.
    """
    there = [row for row in rows if "1" in row.passes]
    why = "the first pass was cut off before it ran"
    unfinished = [structs.replace(row, status=UNFINISHED, why=why) for row in rows if "1" not in row.passes]
    passes = [
        {number: value for number, value in row.passes.items() if all(number in other.passes for other in there)}
        for row in there
    ]
    return [
        structs.replace(row, passes=own, seconds=_mean(own.values())) for row, own in zip(there, passes, strict=True)
    ], unfinished


def _mean(seconds: Iterable[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.fmean(map(math.log, seconds)))


def _ranks(rows: list[Row]) -> list[Row]:
    """The rows with the places that they can have, and their ratios to the fastest."""
    if not rows:
        return []
    decided = decisions.decide([{int(number): (value,) for number, value in row.passes.items()} for row in rows])
    best = min(range(len(rows)), key=lambda i: rows[i].time)
    names = [f"{row.framework}/{row.implementation}" for row in rows]
    ranked = []
    for i, (row, (first, last)) in enumerate(zip(rows, decided.ranks(), strict=True)):
        found = decided.pairs[i][best]
        known = structs.replace(row, ratio=found.value, said=statements.of(decided, i, best, names))
        if decided.is_enough or i == best:
            known = structs.replace(known, low=found.low, high=found.high)
        if decided.is_enough:
            known = structs.replace(known, rank=first, last_rank=last)
        ranked.append(known)
    return ranked


def _break_even(rows: list[Row]) -> list[Row]:
    """The rows with the count of calls after which what compiles has cost no more than the same framework's scratch
    lane; None for never.
    """
    scratch = {row.framework: row for row in rows if row.implementation == "scratch"}
    return [structs.replace(row, break_even=_calls(row, scratch.get(row.framework))) for row in rows]


def _calls(row: Row, scratch: Row | None) -> int | None:
    if scratch is None or row is scratch or row.first is None or scratch.first is None:
        return None
    gained, paid = scratch.time - row.time, row.first - scratch.first
    if paid <= 0 and gained >= 0:
        return 1
    return math.ceil(1 + paid / gained) if gained > 0 else None
