"""The report as data: what report.json holds, and all that the page and the summary show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from isogru.judge import reference
from isogru.judge.comparison import EQUAL, ORDER, TWIN_MULTIPLE, WORST_CASE, Finding, four
from isogru.judge.divergence import Local
from isogru.judge.profile import blocks
from isogru.judge.verdict import ResultVerdict
from isogru.wording import finite
from reports.diff import curves, pairs, precision, rosetta
from reports.diff.collect import FRAMEWORKS, TRACED_LANES, Collection, Row, overall
from reports.diff.quantities import COLUMNS, GATES, TRAINING, column_of
from reports.pages.schema import FORMAT, Record
from shared_spec import cases, cells, frameworks, machine
from shared_spec.files import store
from shared_spec.files.interchange import TRACE, Case
from shared_spec.readings import latex


def build(found: Collection, board: Record | None = None) -> Record:
    """The report on what was collected, with the leaderboard of a race where there is one; plain data, fit for JSON
    (infinities as null). Its schema is reports/report.schema.json.
    """
    setups = _Setups()
    report = {
        "format": FORMAT,
        "rule": {"twin_multiple": TWIN_MULTIPLE, "worst_case": WORST_CASE},
        "machine": machine.describe(),
        "cells": [cell_record(c) for c in cells.cells().values()],
        "frameworks": [_framework_record(name, found) for name in FRAMEWORKS],
        "results": [_row_record(row, setups) for row in found.rows],
        "implementations": list(_implementations(found)),
        "envelopes": list(_envelopes(found)),
        "pairs": list(pairs.matrices(found)),
        "training": list(curves.trainings(found)),
        "precision": list(precision.records(found)),
        "rosetta": rosetta.records(),
        "leaderboard": board,
    }
    report["setups"] = setups.records
    report["summary"] = _summary(report)
    plain: Record = finite(report)
    return plain


class _Setups:
    """What results were made with: many share one."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def number(self, row: Row) -> int | None:
        if row.verdict is None:
            return None
        origin = row.verdict.origin
        record = {
            "framework": origin.framework,
            "versions": dict(origin.versions),
            "switches": dict(origin.switches),
            "results": 0,
        }
        found = next((i for i, known in enumerate(self.records) if known | {"results": 0} == record), None)
        if found is None:
            found = len(self.records)
            self.records.append(record)
        self.records[found]["results"] += 1
        return found


def cell_record(cell: cells.Cell) -> Record:
    """A cell as pages show it."""
    return {
        "name": cell.name,
        "title": cell.title,
        "digest": cell.digest,
        "equations": [{"target": e.target, "text": e.text} for e in cell.equations],
        "latex": latex.formulas(cell),
    }


def _row_record(row: Row, setups: _Setups) -> Record:
    record: Record = {
        "id": f"{row.label}/{row.job.dtype}/{row.job.case}",
        **asdict(row.job),
        "cell": row.cell,
        "lane": row.lane,
        "status": row.status,
        "why": row.why,
        "mend": _mend(row),
        "setup": setups.number(row),
    }
    if row.verdict is not None:
        origin = row.verdict.origin
        record |= {
            "unit_roundoff": origin.unit_roundoff,
            "seconds": dict(origin.seconds),
            "findings": [_finding_record(finding) for finding in row.verdict.findings],
            "divergence": _divergence_record(row.verdict),
            "curves": asdict(row.verdict.profile.curves) if row.verdict.profile else None,
            "heat": [asdict(heat) for heat in row.verdict.profile.heat] if row.verdict.profile else [],
            "worst_equation": _worst_equation(row),
            "sentence": row.verdict.worst_finding.sentence(origin),
        }
    return record


def _mend(row: Row) -> str:
    """The command that runs a job again; empty where there is nothing to mend."""
    if row.status in ORDER:
        return ""
    job = row.job
    chosen = f"--case {job.case} --implementation {job.implementation} --dtype {job.dtype}"
    on_cpu = job.device == "cpu"
    if job.case.startswith(cases.FULL_TRAINING):
        return f"tox -e train-{job.framework} -- {chosen}{'' if on_cpu else f' --device {job.device}'}"
    return f"tox -e {job.framework}{'' if on_cpu else f'-{job.device}'} -- {chosen}"


def _finding_record(finding: Finding) -> Record:
    """A finding with the digits that mean something: all of a value, four of a difference."""
    record = asdict(finding)
    for name in ("difference", "ulp", "bound", "ratio", "max_absolute", "max_relative", "max_ulp"):
        record[name] = four(record[name])
    return record


def _divergence_record(verdict: ResultVerdict) -> Record | None:
    divergence = verdict.divergence
    if divergence is None:
        return None

    def local(one: Local) -> Record:
        finding = _finding_record(one.finding)
        for name in ("max_absolute", "max_relative", "max_ulp"):
            del finding[name]
        return finding | {"by_step": list(one.by_step), "inherits": one.inherits}

    first = {"first_forward": divergence.first_forward, "first_backward": divergence.first_backward}
    return {
        **{name: None if found is None else found.quantity for name, found in first.items()},
        # A trace is a run of its own: what went wrong in the one that is judged need not in this one.
        "explains": divergence.is_wrong or all(f.verdict == EQUAL for f in verdict.findings),
        "forward": [local(one) for one in divergence.forward],
        "backward": [local(one) for one in divergence.backward],
    }


def _worst_equation(row: Row) -> str | None:
    """The quantity whose own equation fits worst: of a trace the local one, else the state."""
    if row.verdict is None or row.verdict.profile is None:
        return None
    if row.verdict.divergence is None:
        return "H"
    first = row.verdict.divergence.first_forward
    if first is None and any(f.quantity in ("H", "final") and f.verdict != EQUAL for f in row.verdict.findings):
        return "H"
    local = [one.finding for one in row.verdict.divergence.forward]
    return (first or max(local, key=lambda f: f.ratio)).quantity.removeprefix(TRACE)


def _framework_record(name: str, found: Collection) -> Record:
    manifest = found.manifests.get(name)
    record: Record = {"name": name, "command": f"tox -e {name}", "colour": frameworks.framework(name).colour}
    if manifest is None:
        return record | {"status": "missing", "why": "no results"}
    if manifest.failure:
        return record | {"status": "failed", "why": manifest.failure}
    return record | {
        "status": "present",
        "why": "",
        "versions": manifest.versions,
        "switches": manifest.switches,
        "machine": manifest.machine,
        "corpus": manifest.corpus,
        "unavailable": [i for i in manifest.implementations if not i["available"]],
    }


def _implementations(found: Collection) -> Iterator[Record]:
    """One record for each implementation in a dtype on a device; in it, for each cell, a field for each column."""
    by_key: dict[tuple[str, str, str, str], list[Row]] = defaultdict(list)
    for row in found.rows:
        by_key[row.job.framework, row.job.implementation, row.job.dtype, row.job.device].append(row)
    for (framework, implementation, dtype, device), rows in by_key.items():
        of_cells: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            of_cells[row.cell].append(row)
        yield {
            "label": rows[0].label,
            "framework": framework,
            "implementation": implementation,
            "lane": rows[0].lane,
            "dtype": dtype,
            "device": device,
            "status": overall(row.status for row in rows),
            "results": len(rows),
            "equal": sum(row.status == EQUAL for row in rows),
            "fields": [field for cell, those in of_cells.items() for field in _fields(cell, those)],
        }


def _fields(cell: str, rows: list[Row]) -> Iterator[Record]:
    """Fields of the matrix: every column that these rows have or should have."""
    for column in COLUMNS:
        statuses: list[str] = []
        judged: list[tuple[Row, Finding]] = []
        for row in rows:
            training = row.job.case.startswith((cases.SHORT_TRAINING, cases.FULL_TRAINING))
            of_row = [
                (row, f)
                for f in (row.verdict.all_findings if row.verdict else ())
                if column_of(f.quantity, training=training) == column
            ]
            judged += of_row
            if row.status in ORDER:
                statuses += [f.verdict for _, f in of_row]
            elif column == GATES and not (row.lane in TRACED_LANES and cases.is_traced(row.job.case)):
                continue
            elif training == (column == TRAINING):
                # What it would have had is not known; that it is not there is.
                statuses.append(row.status)
        if not statuses:
            continue
        status = overall(statuses)
        # The case that gives the field its status: of those judged the worst, else the first that has none.
        without = next((row.job.case for row in rows if row.status == status), rows[0].job.case)
        own = [item for item in judged if status in ORDER or item[0].job.case == without]
        top = max(own, key=lambda item: (ORDER.index(item[1].verdict), item[1].ratio), default=None)
        yield {
            "cell": cell,
            "column": column,
            "status": status,
            "ratio": None if top is None else four(top[1].ratio),
            "quantity": None if top is None else top[1].quantity,
            "case": without if top is None else top[0].job.case,
        }


def _envelopes(found: Collection) -> Iterator[Record]:
    """For each case of a cell and dtype: how far a state may be from the oracle's trajectory, by time step."""
    present = {(row.job.case, row.job.dtype): None for row in found.rows if row.verdict is not None}
    for name, dtype in present:
        case = found.cases[name]
        if isinstance(case, Case):
            stray = reference.get(case, dtype).stray["H"]
            block, twins = blocks(TWIN_MULTIPLE * np.ravel(stray))
            yield {"case": name, "dtype": dtype, "block": block, "twins": list(twins), "T": len(stray)}


def _summary(report: Record) -> Record:
    statuses: dict[str, int] = defaultdict(int)
    for row in report["results"]:
        statuses[row["status"]] += 1
    statuses = dict(statuses)
    present = [f["name"] for f in report["frameworks"] if f["status"] == "present"]
    total = sum(statuses.values())
    equal = statuses.get(EQUAL, 0)
    among = " and ".join([", ".join(present[:-1]), present[-1]] if len(present) > 1 else present)
    if not total:
        sentence = f"{among or 'no framework'}: there is no result yet."
    elif equal == total:
        sentence = f"{among}: all {total} results are equal to the cells that they claim."
    else:
        others = ", ".join(f"{count} {status}" for status, count in statuses.items() if status != EQUAL)
        sentence = (
            f"{among or 'no framework'}: {equal} of {total} results are equal to the cells that they claim; {others}."
        )
    texts = sorted({training["corpus"].replace(" ", " text, sha1 ", 1) for training in report["training"]})
    return {
        "sentence": sentence,
        "statuses": statuses,
        "texts": texts,
        "present": present,
        "folder": store.folder().name,
    }
