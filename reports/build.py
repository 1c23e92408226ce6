"""The report as data: what report.json holds, and all that the page and the summary show."""

from __future__ import annotations

import itertools
import math
import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from reports import reference
from reports.collect import FRAMEWORKS, Collection, Row
from reports.verdict import EQUAL, ORDER, TWIN_MULTIPLE, WORST_CASE, Finding, differences, is_narrow, worst
from shared_spec import cells, store
from shared_spec.interchange import TrainingCase
from shared_spec.readings import latex
from shared_spec.readings.arithmetic import Array

FORMAT = "isogru-report/1"
GROUPS = ("H", "final", "gradients", "loss", "weights", "norm", "perplexity", "text")

Record = dict[str, Any]


def build(found: Collection) -> Record:
    """The report on what was collected; plain data, fit for JSON (infinities as null)."""
    rows = [_row_record(row) for row in found.rows]
    report = {
        "format": FORMAT,
        "rule": {"twin_multiple": TWIN_MULTIPLE, "worst_case": WORST_CASE},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count() or 1},
        "cells": [
            {"name": c.name, "title": c.title, "digest": c.digest, "latex": latex.formulas(c)}
            for c in cells.cells().values()
        ],
        "frameworks": [_framework_record(name, found) for name in FRAMEWORKS],
        "implementations": list(_implementations(found)),
        "results": rows,
        "pairs": list(_pairs(found)),
        "training": list(_trainings(found)),
    }
    report["summary"] = _summary(report)
    plain: Record = finite(report)
    return plain


def _label(row: Row) -> str:
    """Such as torch/scratch; the device only where it is not the CPU."""
    device = "" if row.job.device == "cpu" else f" on {row.job.device}"
    return f"{row.job.framework}/{row.job.implementation}{device}"


def group_of(quantity: str) -> str:
    """The kind of a quantity, by which tables are grouped: "grad.W_xz" is one of the gradients."""
    part = quantity.split(".")[0]
    return {"grad": "gradients", "step1": "weights", "end": "weights"}.get(part, part)


def _row_record(row: Row) -> Record:
    record: Record = {**asdict(row.job), "cell": row.cell, "lane": row.lane, "status": row.status, "why": row.why}
    if row.verdict is not None:
        origin = row.verdict.origin
        record |= {
            "unit_roundoff": origin.unit_roundoff,
            "corpus": origin.corpus,
            "versions": dict(origin.versions),
            "switches": dict(origin.switches),
            "seconds": dict(origin.seconds),
            "findings": [asdict(finding) for finding in row.verdict.findings],
            "sentence": row.verdict.worst_finding.sentence(origin),
        }
    return record


def _framework_record(name: str, found: Collection) -> Record:
    manifest = found.manifests.get(name)
    record: Record = {"name": name, "command": f"tox -e {name}"}
    if manifest is None:
        return record | {"status": "missing", "why": "no results"}
    if manifest.failure:
        return record | {"status": "failed", "why": manifest.failure}
    return record | {
        "status": "present",
        "why": "",
        "versions": manifest.versions,
        "switches": manifest.switches,
        "corpus": manifest.corpus,
        "unavailable": [i for i in manifest.implementations if not i["available"]],
    }


def _implementations(found: Collection) -> Iterator[Record]:
    """One record for each implementation of a cell in a dtype: its verdict over all cases, by kind of quantity."""
    by_key: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in found.rows:
        by_key[row.job.framework, row.job.implementation, row.cell, row.job.dtype, row.job.device].append(row)
    for (framework, implementation, cell, dtype, device), rows in by_key.items():
        statuses = [row.status for row in rows]
        judged = [(row, finding) for row in rows if row.verdict for finding in row.verdict.findings]
        yield {
            "framework": framework,
            "implementation": implementation,
            "lane": rows[0].lane,
            "cell": cell,
            "dtype": dtype,
            "device": device,
            "status": _overall(statuses),
            "cases": len(rows),
            "equal": statuses.count(EQUAL),
            "delivered": max((row.verdict.origin.unit_roundoff for row in rows if row.verdict), default=None),
            "quantities": [
                _worst_of(group, [(row, f) for row, f in judged if group_of(f.quantity) == group])
                for group in GROUPS
                if any(group_of(f.quantity) == group for _, f in judged)
            ],
        }


def _overall(statuses: Iterable[str]) -> str:
    """One word for several: the worst verdict, unless something has none."""
    there = set(statuses)
    return next((word for word in ("failed", "stale", "missing") if word in there), "") or worst(there)


def _worst_of(group: str, judged: list[tuple[Row, Finding]]) -> Record:
    row, finding = max(judged, key=lambda item: (ORDER.index(item[1].verdict), item[1].ratio))
    return {
        "group": group,
        **asdict(finding),
        "case": row.job.case,
        "max_absolute": max(f.max_absolute for _, f in judged),
        "max_relative": max(f.max_relative for _, f in judged),
        "max_ulp": max(f.max_ulp for _, f in judged),
    }


def _pairs(found: Collection) -> Iterator[Record]:
    """Every two frameworks against each other, lane by lane: the largest differences over all cases."""
    by_problem: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in found.rows:
        if row.verdict is not None:
            by_problem[row.job.case, row.job.dtype, row.lane].append(row)
    worst_pairs: dict[tuple[str, ...], Record] = {}
    for (case, dtype, lane), rows in by_problem.items():
        arrays = [(row, row.arrays()) for row in rows]
        for (a, of_a), (b, of_b) in itertools.combinations(arrays, 2):
            if a.job.framework == b.job.framework:
                continue
            for quantity in of_a:
                measured = differences(of_a[quantity], of_b[quantity])
                names = [_label(row) for row in (a, b)]
                key = (a.cell, dtype, lane, *names, group_of(quantity))
                record = worst_pairs.setdefault(
                    key,
                    dict(zip(("cell", "dtype", "lane", "a", "b", "group"), key, strict=True))
                    | {"absolute": 0.0, "relative": 0.0, "ulp": 0.0, "case": case, "quantity": quantity},
                )
                if measured["absolute"] > record["absolute"]:
                    record |= {"case": case, "quantity": quantity}
                record |= {kind: max(record[kind], value) for kind, value in measured.items()}
    yield from worst_pairs.values()


def _trainings(found: Collection) -> Iterator[Record]:
    """One record for each language model and dtype: the oracle, its envelope, and each framework's curve against it."""
    by_case: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in found.rows:
        if row.verdict is not None and isinstance(found.cases[row.job.case], TrainingCase):
            by_case[row.job.case, row.job.dtype].append(row)
    for (name, dtype), rows in sorted(by_case.items(), key=lambda item: item[0]):
        case = found.cases[name]
        assert isinstance(case, TrainingCase)
        known = reference.get(case, dtype)
        truth = known.oracle["loss"]
        allowed = TWIN_MULTIPLE * known.stray["loss"]
        narrow = is_narrow(known.stray["loss"], truth)
        opens = int(np.argmin(narrow)) if not narrow.all() else None
        decode = case.problem.vocabulary.decode
        runs = []
        losses: dict[str, Array] = {}
        for row in rows:
            arrays = row.arrays()
            label = _label(row)
            losses[label] = arrays["loss"].astype(np.float64)
            outside = np.flatnonzero(~(np.abs(losses[label] - truth) <= allowed))
            runs.append(
                {
                    "label": label,
                    "lane": row.lane,
                    "status": row.status,
                    "perplexity_train": float(arrays["perplexity.train"][-1]),
                    "perplexity_val": float(arrays["perplexity.val"][-1]),
                    "text": decode(arrays["text"]),
                    "seconds": dict(row.verdict.origin.seconds) if row.verdict else {},
                    "leaves_envelope_at": int(outside[0]) if len(outside) else None,
                    "digits": agreeing_digits(losses[label], truth),
                    "loss": [float(value) for value in losses[label]],
                }
            )
        between = [
            agreeing_digits(losses[a], losses[b])
            for a, b in itertools.combinations(losses, 2)
            if a.partition("/")[0] != b.partition("/")[0]
        ]
        yield {
            "case": name,
            "cell": case.cell.name,
            "dtype": dtype,
            "recipe": asdict(case.problem.recipe),
            "corpus": f"{case.problem.corpus_source} {case.problem.corpus_sha1}",
            "steps": len(truth),
            "clipped_steps": int(np.sum(known.oracle["norm"] > case.problem.recipe.clip_norm)),
            "envelope_opens_at": opens,
            "oracle": {
                "perplexity_train": float(known.oracle["perplexity.train"][-1]),
                "perplexity_val": float(known.oracle["perplexity.val"][-1]),
                "text": decode(known.oracle["text"]),
                "loss": [float(value) for value in truth],
                "stray": [float(value) for value in known.stray["loss"]],
            },
            "digits_between_frameworks": min(between, default=None),
            "same_text": len({run["text"] for run in runs}) == 1,
            "runs": runs,
        }


def agreeing_digits(a: Array, b: Array) -> float:
    """The decimal digits to which two curves agree everywhere: -log10 of the largest relative difference, up to 16."""
    largest = differences(a.astype(np.float64), b.astype(np.float64))["relative"]
    return 16.0 if largest < 1e-16 else max(0.0, -math.log10(largest))


def _summary(report: Record) -> Record:
    statuses: dict[str, int] = defaultdict(int)
    for row in report["results"]:
        statuses[row["status"]] += 1
    statuses = dict(statuses)
    present = [f["name"] for f in report["frameworks"] if f["status"] == "present"]
    total = sum(statuses.values())
    equal = statuses.get(EQUAL, 0)
    among = " and ".join([", ".join(present[:-1]), present[-1]] if len(present) > 1 else present)
    if total and equal == total:
        sentence = f"{among}: all {total} results are equal to the cells that they claim."
    else:
        others = ", ".join(f"{count} {status}" for status, count in statuses.items() if status != EQUAL)
        sentence = (
            f"{among or 'no framework'}: {equal} of {total} results are equal to the cells that they claim; {others}."
        )
    return {"sentence": sentence, "statuses": statuses, "present": present, "folder": store.folder().name}


def finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: None stands for both."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
