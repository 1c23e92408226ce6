"""The Rosetta table: how each layer packs the same parameters, and the verdict on it with such weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from isogru.judge import reference
from isogru.judge.comparison import Finding, four
from isogru.judge.verdict_cache import verdict_on
from reports.diff import records
from reports.diff.collect import overall
from reports.pages.parts import number
from shared_spec import machine
from shared_spec.errors import InterchangeError
from shared_spec.files import store
from shared_spec.files.interchange import Case, read_origin
from shared_spec.weights import layouts, proof
from shared_spec.weights.layouts import Layout


@dataclass
class _Proof:
    """What became of the proof of a layout."""

    status: str
    why: str = ""
    results: int = 0
    ratio: float | None = None
    worst: str = ""
    versions: dict[str, str] = field(default_factory=dict)


def table(damaged: list[str]) -> list[records.Layout]:
    """One record for each layout: its facts, and what became of the proof. What is said of a damaged result goes to
    `damaged` too.
    """
    every = list(layouts.layouts().values())
    there = [(case, dtype) for layout in every for _, dtype, case in _present(layout)]
    reference.prepare(there, processes=machine.cores())
    return [records.Layout(**layouts.facts(layout), **vars(_proof(layout, damaged))) for layout in every]


def _present(layout: Layout) -> Iterator[tuple[Path, str, Case]]:
    for dtype in layout.dtypes:
        for name in proof.case_names(layout):
            file = proof.result_file(layout.name, name, dtype)
            if file.exists():
                yield file, dtype, proof.case_of(layout, name)


def _proof(layout: Layout, damaged: list[str]) -> _Proof:
    if layout.unproven:
        return _Proof("unproven", layout.unproven)
    outcome = _Proof("missing")
    statuses: list[str] = []
    judged: list[tuple[Finding, str]] = []
    for file, dtype, case in _present(layout):
        try:
            origin = read_origin(file)
            if origin.case_digest != case.digest:
                statuses.append("stale")
                continue
            findings = verdict_on(file, case, dtype).findings
        except InterchangeError as error:
            damaged.append(f"{error}; run tox -e {layout.proven} again, or delete the file")
            statuses.append("failed")
            outcome.why = str(error).replace(str(file), file.name)
            continue
        judged += [(finding, f"{case.name} {dtype}") for finding in findings]
        statuses += [finding.verdict for finding in findings]
        outcome.versions = dict(origin.versions)
        outcome.results += 1
    wanted = len(proof.case_names(layout)) * len(layout.dtypes)
    for words in _failures(layout):
        statuses.append("failed")
        outcome.why = words
    if outcome.results + statuses.count("failed") + statuses.count("stale") < wanted:
        statuses.append("missing")
        outcome.why = outcome.why or f"{outcome.results} of {wanted} results; run tox -e {layout.proven}"
    if judged:
        worst, where = max(judged, key=lambda item: item[0].ratio)
        outcome.ratio, outcome.worst = number(four(worst.ratio)), f"{worst.quantity} in {where}"
    outcome.status = overall(statuses)
    return outcome


def _failures(layout: Layout) -> Iterator[str]:
    for dtype in layout.dtypes:
        for name in proof.case_names(layout):
            words = store.last_words(proof.failure_file(layout.name, name, dtype))
            if words is not None:
                yield words
