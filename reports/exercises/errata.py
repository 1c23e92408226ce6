"""The errata of the chapter: what is printed, what is so, and the verdicts that prove it, from records."""

from __future__ import annotations

from collections.abc import Sequence

from isogru.judge.comparison import DIFFERENT, ORDER
from reports.exercises import measured
from reports.pages.schema import Record as Plain
from shared_spec import cases, cells
from shared_spec.errata import records, texts
from shared_spec.errata.records import Record
from shared_spec.errata.texts import Entry

PROVEN, NOT_PROVEN, STALE, FAILED, NOT_RUN = "proven", "not proven", "stale", "failed", "not run"


def build() -> Plain:
    """The part as data. Raises UserError for a record that is damaged or of another version."""
    found = [_entry(name, entry) for name, entry in texts.entries().items()]
    runs = [run for entry in found for run in entry["runs"]]
    return {
        "entries": found,
        "runs": len(runs),
        "proven": sum(run["status"] == PROVEN for run in runs),
        "made_with": _made_with(runs),
    }


def _entry(name: str, entry: Entry) -> Plain:
    found = {framework: _read(name, framework) for framework in entry.frameworks}
    failures = {framework: records.read_failure(name, framework) for framework in entry.frameworks}
    statuses = {framework: _status(record, failures[framework]) for framework, record in found.items()}
    current = [r for framework, r in found.items() if r and statuses[framework] in (PROVEN, NOT_PROVEN)]
    return {
        "name": name,
        "title": entry.title,
        "claim": entry.claim,
        "right": entry.right,
        "wrong": entry.wrong,
        "runs": [
            _run(framework, statuses[framework], record, failures[framework]) for framework, record in found.items()
        ],
        "wirings": {side: _wirings(side, current) for side in ("wrong", "right")},
        "frameworks": [record.framework for record in current],
        "rows": [row for what, label in entry.held.items() if (row := _row(what, label, current))],
        "worst": [
            {"framework": record.framework, "sentence": held.sentence}
            for record in current
            for held in record.held
            if held.expected == DIFFERENT
        ],
        "unmet": [{"framework": record.framework, "sentence": said} for record in current for said in record.unmet],
        "sentences": measured.sentences(name, current),
    }


def _is_stale(record: Record) -> bool:
    """Whether a cell or a case of the catalogue is not what it was then."""
    known = cells.cells()
    of_cells = any(h.cell in known and h.spec_digest != known[h.cell].digest for h in record.held)
    return of_cells or any(
        cases.entry_of(name) is None or cases.build(name).digest != digest for name, digest in record.cases.items()
    )


def _read(name: str, framework: str) -> Record | None:
    """A record whose verdicts are verdicts; None where there is none. Raises UserError for any other."""
    record = records.read(name, framework)
    if record and not all(held.verdict in ORDER and held.expected in ORDER for held in record.held):
        raise records.damaged(name, framework)
    return record


def _status(record: Record | None, failure: str | None) -> str:
    if failure is not None:
        return FAILED
    if record is None:
        return NOT_RUN
    if _is_stale(record):
        return STALE
    return PROVEN if record.is_proven else NOT_PROVEN


def _run(framework: str, status: str, record: Record | None, failure: str | None) -> Plain:
    return {
        "framework": framework,
        "status": status,
        "why": failure or "",
        "command": records.command(framework),
        "versions": record.versions if record else {},
    }


def _made_with(runs: Sequence[Plain]) -> list[Plain]:
    """For each framework the command that runs its errata, and with which versions they were run."""
    found: dict[str, Plain] = {}
    for run in runs:
        one = found.setdefault(
            run["framework"], {"framework": run["framework"], "command": run["command"], "versions": []}
        )
        versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        if versions and versions not in one["versions"]:
            one["versions"].append(versions)
    return list(found.values())


def _wirings(side: str, run: Sequence[Record]) -> list[Plain]:
    """What was run, once where it was the same in several."""
    found: list[Plain] = []
    for record in run:
        lines = getattr(record.wirings, side)
        same = next((one for one in found if one["lines"] == lines), None)
        if same is None:
            found.append({"frameworks": [record.framework], "lines": lines})
        else:
            same["frameworks"].append(record.framework)
    return found


def _row(what: str, label: str, run: Sequence[Record]) -> Plain | None:
    """One verdict in every framework; none where no framework has it."""
    found = {record.framework: held for record in run for held in record.held if held.what == what}
    if not found:
        return None
    return {
        "label": label,
        "verdicts": [
            {"verdict": held.verdict, "ratio": held.ratio, "expected": held.expected} if held else None
            for record in run
            for held in [found.get(record.framework)]
        ],
    }
