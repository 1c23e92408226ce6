"""The errata of the chapter: what is printed, what is so, and the verdicts that prove it, as tests/errata kept them."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from isogru.judge.comparison import DIFFERENT
from reports.exercises import erratum, measured
from reports.exercises.erratum import Record
from reports.pages.schema import Record as Plain
from shared_spec import cases, cells

FILE = Path(__file__).with_name("errata.toml")
FORMAT = "isogru-errata/1"
PROVEN, NOT_PROVEN, STALE, NOT_RUN = "proven", "not proven", "stale", "not run"


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One erratum as errata.toml has it."""

    title: str
    claim: str
    right: str
    wrong: str
    frameworks: tuple[str, ...]
    held: dict[str, str]


@functools.cache
def entries() -> Mapping[str, Entry]:
    """The errata by name, in order."""
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    assert tables.pop("format") == FORMAT
    return msgspec.convert(tables, dict[str, Entry])


def build() -> Plain:
    """The part as data. Raises UserError for a record that is damaged or of another version."""
    found = [_entry(name, entry) for name, entry in entries().items()]
    runs = [run for entry in found for run in entry["runs"]]
    return {
        "entries": found,
        "runs": len(runs),
        "proven": sum(run["status"] == PROVEN for run in runs),
        "made_with": _made_with(runs),
    }


def _entry(name: str, entry: Entry) -> Plain:
    records = {framework: erratum.read(name, framework) for framework in entry.frameworks}
    statuses = {framework: _status(record) for framework, record in records.items()}
    current = [r for framework, r in records.items() if r and statuses[framework] in (PROVEN, NOT_PROVEN)]
    return {
        "name": name,
        "title": entry.title,
        "claim": entry.claim,
        "right": entry.right,
        "wrong": entry.wrong,
        "runs": [_run(framework, statuses[framework], record) for framework, record in records.items()],
        "wirings": {side: _wirings(side, current) for side in ("wrong", "right")},
        "frameworks": [record.framework for record in current],
        "rows": [row for what, label in entry.held.items() if (row := _row(what, label, current))],
        "worst": [
            {"framework": record.framework, "sentence": held.sentence}
            for record in current
            for held in record.held
            if held.expected == DIFFERENT
        ],
        "sentences": measured.sentences(name, current),
    }


def _is_stale(record: Record) -> bool:
    """Whether a cell or a case of the catalogue is not what it was then."""
    known = cells.cells()
    of_cells = any(h.cell in known and h.spec_digest != known[h.cell].digest for h in record.held)
    return of_cells or any(
        cases.entry_of(name) is None or cases.build(name).digest != digest for name, digest in record.cases.items()
    )


def _status(record: Record | None) -> str:
    if record is None:
        return NOT_RUN
    if _is_stale(record):
        return STALE
    return PROVEN if record.is_proven else NOT_PROVEN


def _run(framework: str, status: str, record: Record | None) -> Plain:
    return {
        "framework": framework,
        "status": status,
        "command": erratum.command(framework),
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


def _wirings(side: str, records: Sequence[Record]) -> list[Plain]:
    """What was run, once where it was the same in several."""
    found: list[Plain] = []
    for record in records:
        lines = getattr(record.wirings, side)
        same = next((one for one in found if one["lines"] == lines), None)
        if same is None:
            found.append({"frameworks": [record.framework], "lines": lines})
        else:
            same["frameworks"].append(record.framework)
    return found


def _row(what: str, label: str, records: Sequence[Record]) -> Plain | None:
    """One verdict in every framework; none where no framework has it."""
    found = {record.framework: held for record in records for held in record.held if held.what == what}
    if not found:
        return None
    return {
        "label": label,
        "verdicts": [
            {"verdict": held.verdict, "ratio": held.ratio, "expected": held.expected} if held else None
            for record in records
            for held in [found.get(record.framework)]
        ],
    }
