"""Passes of benchmarks -> rankings: a table for each workload, proven first, with what each row is worth.

Ranked is what was equal whenever it was timed. Everything else that was planned stands below, with the reason.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from isogru.judge.comparison import EQUAL, significant
from reports.pages.schema import LEADERBOARD, Record
from reports.race import paired, roofline
from reports.race.roofline import Limits
from shared_spec.errors import UserError
from shared_spec.race import rows, workloads
from shared_spec.race.rows import Pass
from shared_spec.race.workloads import Workload

FAILED, UNFINISHED = "failed", "unfinished"
SAME = ("machine", "device", "threads", "tf32", "corpus")
"""What all passes of one ranking must share."""


def build(passes: Sequence[Pass], memory: Iterable[Mapping[str, Any]], *, name: str) -> Record:
    """The leaderboard of a race: plain data, fit for JSON. Raises UserError for passes that do not belong together."""
    if not passes:
        raise UserError(f"{name}: no pass of benchmarks is there; run tox -e bench")
    check_alike(passes)
    bytes_of = {(m["framework"], m["workload"], m["implementation"]): m["bytes"] for m in memory}
    limits = {
        dtype: roofline.best((p.framework, p.limits[dtype]) for p in passes if dtype in p.limits)
        for dtype in dict.fromkeys(dtype for p in passes for dtype in p.limits)
    }
    planned: dict[Workload, dict[tuple[str, str], list[Pass]]] = {}
    for one in passes:
        for row in one.header["plan"]:
            workload, implementation = rows.split(row)
            planned.setdefault(workload, {}).setdefault((one.framework, implementation), []).append(one)
    first = passes[0].header
    return {
        "format": LEADERBOARD,
        "name": name,
        **{key: first[key] for key in SAME},
        "passes": max(p.number for p in passes),
        "frameworks": [_framework(name, passes) for name in dict.fromkeys(p.framework for p in passes)],
        "limits": [_limits(dtype, found) for dtype, found in limits.items()],
        "tables": [
            _table(workload, planned[workload], limits, bytes_of)
            for workload in workloads.catalogue()
            if workload in planned
        ],
        "trouble": [
            f"{p.path.name}: cut off after {p.done} of {len(p.header['plan'])} rows; race again"
            for p in passes
            if not p.is_done
        ],
        "against": None,
    }


def check_alike(passes: Sequence[Pass]) -> None:
    """Raises UserError where passes ran on different machines, devices, texts or numbers of threads, or those of one
    framework with different versions or switches.
    """
    first = passes[0]
    of: dict[str, Pass] = {}
    for one in passes:
        before = of.setdefault(one.framework, one)
        for key in ("versions", "switches"):
            if one.header[key] != before.header[key]:
                raise UserError(
                    f"{before.path.name} and {one.path.name} are no one ranking: their {key} differ "
                    f"({_differing(before.header[key], one.header[key])}); race again"
                )
    for other in passes[1:]:
        for key in SAME:
            if other.header[key] != first.header[key]:
                raise UserError(
                    f"{first.path.name} and {other.path.name} are no one ranking: their {key} differs "
                    f"({_differing(first.header[key], other.header[key])}); race again, all on one machine"
                )


def _differing(one: object, other: object) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        key = next(k for k in {**one, **other} if one.get(k) != other.get(k))
        return f"{key}: {one.get(key)} and {other.get(key)}"
    return f"{one} and {other}"


def _framework(name: str, passes: Sequence[Pass]) -> Record:
    those = [p for p in passes if p.framework == name]
    return {
        "name": name,
        "passes": len(those),
        "import": statistics.median(float(p.header["import"]) for p in those),
        "versions": those[0].header["versions"],
        "switches": those[0].header["switches"],
    }


def _limits(dtype: str, found: Limits) -> Record:
    return {
        "dtype": dtype,
        "rates": dict(found.rates),
        "by": dict(found.by),
        "steps": [
            {"n": n, "h": h, "k": k, "seconds": seconds, "rate": 2 * n * h * k / seconds}
            for (n, h, k), seconds in sorted(found.steps.items())
        ],
        "issue": dict(found.issue),
    }


def _table(
    workload: Workload,
    contenders: Mapping[tuple[str, str], list[Pass]],
    limits: Mapping[str, Limits],
    memory: Mapping[tuple[str, str, str], int | None],
) -> Record:
    found = limits.get(workload.dtype)
    bound = roofline.bound(workload, found) if found and set(workload.products()) <= found.steps.keys() else None
    rows = [
        _row(workload, framework, implementation, passes)
        | {"memory": memory.get((framework, workload.name, implementation))}
        for (framework, implementation), passes in contenders.items()
    ]
    ranked = _in_common([row for row in rows if row["status"] == EQUAL])
    _rank(ranked)
    _break_even(ranked)
    for row in ranked:
        row["percent"] = None if bound is None else significant(100 * bound.seconds / row["seconds"], 3)
        row["held_back_by"] = None if bound is None else roofline.held_back_by(row["seconds"], bound, row["issue"])
    size = workload.size
    return {
        "workload": workload.name,
        "title": workload.title,
        "kind": workload.kind,
        "size": {"name": size.name, "T": size.T, "n": size.n, "d": size.d, "h": size.h},
        "cell": workload.cell,
        "dtype": workload.dtype,
        "series": list(workload.in_series),
        "bound": None if bound is None else {"seconds": bound.seconds, **asdict(bound)},
        "rows": sorted(ranked, key=lambda row: (row["rank"], row["seconds"]))
        + sorted((row for row in rows if row["status"] != EQUAL), key=lambda row: (row["framework"], row["id"])),
    }


def _row(workload: Workload, framework: str, implementation: str, passes: list[Pass]) -> Record:
    name = f"{workload.name}-{implementation}"
    there = {p.number: p.rows[name] for p in passes if name in p.rows}
    cut = [p for p in passes if p.begun == name]
    status, why = _status(there.values(), cut)
    seconds = {number: statistics.median(r["seconds"]) for number, r in there.items() if r.get("seconds")}
    cold = there.get(1, {})
    return {
        "id": name,
        "framework": framework,
        "implementation": implementation,
        "lane": "compiled" if implementation.startswith("compiled") else implementation,
        "status": status,
        "why": why,
        "rank": None,
        "seconds": _mean(seconds.values()) if seconds else None,
        "passes": {str(number): value for number, value in seconds.items()},
        "ratio": None,
        "low": None,
        "high": None,
        "percent": None,
        "held_back_by": None,
        "error": _largest(there.values(), "error"),
        "error_ratio": _largest(there.values(), "ratio"),
        "first": cold.get("first"),
        "issue": cold.get("issue"),
        "break_even": None,
        "command": _command(passes[0].header, f"--workload {workload.name} --implementation {implementation}"),
    }


def _largest(records: Iterable[Mapping[str, Any]], key: str) -> float | None:
    """None where it is not known, or infinite: JSON has no infinity."""
    values = [float(r[key]) for r in records if r.get(key) is not None]
    return max(values) if values and math.isfinite(max(values)) else None


def _command(header: Mapping[str, Any], choice: str) -> str:
    """What times a row again."""
    if header["device"] == "cpu":
        return f"tox -e bench-{header['framework']} -- {choice}"
    options = f"--device {header['device']} {choice}"
    return f"python -m frameworks {header['framework']} bench {options}" + (" --tf32" if header["tf32"] else "")


def _status(records: Iterable[Mapping[str, Any]], cut: Sequence[Pass]) -> tuple[str, str]:
    """Equal only if it was so whenever it ran, and ran at all."""
    records = list(records)
    for record in records:
        if "failed" in record:
            return FAILED, str(record["failed"])
    for record in records:
        if record["verdict"] != EQUAL:
            return str(record["verdict"]), str(record["why"])
    if records:
        return EQUAL, ""
    return UNFINISHED, "the pass was cut off while it ran" if cut else "the pass was cut off before it ran"


def _in_common(rows: list[Record]) -> list[Record]:
    """The rows with those passes alone that all of them have: ratios are taken within a pass. One that the first pass
    has not, since it was cut off, is unfinished.
    """
    there = [row for row in rows if "1" in row["passes"]]
    for row in rows:
        if "1" not in row["passes"]:
            row |= {"status": UNFINISHED, "why": "the first pass was cut off before it ran"}
    for number in {n for row in there for n in row["passes"]}:
        if not all(number in row["passes"] for row in there):
            for row in there:
                row["passes"].pop(number, None)
    for row in there:
        row["seconds"] = _mean(row["passes"].values())
    return there


def _mean(seconds: Iterable[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.fmean(map(math.log, seconds)))


def _rank(rows: list[Record]) -> None:
    times = [{int(number): value for number, value in row["passes"].items()} for row in rows]
    if not rows:
        return
    best = min(range(len(rows)), key=lambda i: rows[i]["seconds"])
    for row, rank, own in zip(rows, paired.ranks(times), times, strict=True):
        found = paired.ratio(own, times[best])
        row |= {"rank": rank, "ratio": found.value, "low": found.low, "high": found.high}
        if row is rows[best]:
            row |= {"low": 1.0, "high": 1.0}
        elif len(own) == 1:
            row |= {"low": None, "high": None}


def _break_even(rows: list[Record]) -> None:
    """After how many calls what compiles has cost no more than the same framework's scratch lane; null for never."""
    scratch = {row["framework"]: row for row in rows if row["implementation"] == "scratch"}
    for row in rows:
        other = scratch.get(row["framework"])
        if other is None or row is other or row["first"] is None or other["first"] is None:
            continue
        gained, paid = other["seconds"] - row["seconds"], row["first"] - other["first"]
        if paid <= 0 and gained >= 0:
            row["break_even"] = 1
        elif gained > 0:
            row["break_even"] = math.ceil(1 + paid / gained)
