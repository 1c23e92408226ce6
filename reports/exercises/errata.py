"""The errata of the chapter: what is printed, what is so, and the verdicts that prove it, from records."""

from __future__ import annotations

from collections.abc import Sequence

from isogru.judge.comparison import DIFFERENT, ORDER
from reports.exercises import measured
from reports.exercises.records.errata import Entry as Shown
from reports.exercises.records.errata import Errata, Held, MadeWith, Row, Run, Said, Wiring
from shared_spec import cases, cells
from shared_spec.errata import records, texts
from shared_spec.errata.records import Record
from shared_spec.errata.texts import Entry
from shared_spec.errors import UserError
from shared_spec.sweeps.place import Tell

PROVEN, NOT_PROVEN, STALE, FAILED, NOT_RUN = "proven", "not proven", "stale", "failed", "not run"


def build(tell: Tell | None = None) -> Errata:
    """The part as data. A record that is damaged or of another version is told by `tell`, and failed; without that
    UserError is raised for it.
    """
    entries = [_entry(name, entry, tell) for name, entry in texts.entries().items()]
    runs = [run for entry in entries for run in entry.runs]
    return Errata(
        entries=entries,
        runs=len(runs),
        proven=sum(run.status == PROVEN for run in runs),
        made_with=_made_with(runs),
    )


def _entry(name: str, entry: Entry, tell: Tell | None) -> Shown:
    failures = {framework: records.read_failure(name, framework) for framework in entry.frameworks}
    there = dict[str, Record | None]()
    for framework in entry.frameworks:
        try:
            there[framework] = _read(name, framework)
        except UserError as error:
            if tell is None:
                raise
            tell(str(error))
            there[framework], failures[framework] = None, _told(error, name, framework)
    statuses = {framework: _status(record, failures[framework]) for framework, record in there.items()}
    current = [r for framework, r in there.items() if r and statuses[framework] in (PROVEN, NOT_PROVEN)]
    return Shown(
        name=name,
        title=entry.title,
        claim=entry.claim,
        right=entry.right,
        wrong=entry.wrong,
        runs=[_run(framework, statuses[framework], record, failures[framework]) for framework, record in there.items()],
        wirings={side: _wirings(side, current) for side in ("wrong", "right")},
        frameworks=[record.framework for record in current],
        rows=[row for what, label in entry.held.items() if (row := _row(what, label, current))],
        worst=[
            Said(record.framework, held.sentence)
            for record in current
            for held in record.held
            if held.expected == DIFFERENT
        ],
        unmet=[Said(record.framework, said) for record in current for said in record.unmet],
        sentences=measured.sentences(name, current, tell),
    )


def _told(error: UserError, name: str, framework: str) -> str:
    """Without the folder."""
    file = records.file_of(name, framework)
    return str(error).replace(str(file), file.name)


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


def _run(framework: str, status: str, record: Record | None, failure: str | None) -> Run:
    return Run(
        framework=framework,
        status=status,
        why=failure or "",
        command=records.command(framework),
        versions=record.versions if record else {},
    )


def _made_with(runs: Sequence[Run]) -> list[MadeWith]:
    """For each framework the command that runs its errata, and with which versions they were run."""
    by_framework: dict[str, MadeWith] = {}
    for run in runs:
        one = by_framework.setdefault(run.framework, MadeWith(run.framework, run.command, []))
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        if versions and versions not in one.versions:
            one.versions.append(versions)
    return list(by_framework.values())


def _wirings(side: str, run: Sequence[Record]) -> list[Wiring]:
    """What was run, once where it was the same in several."""
    wirings: list[Wiring] = []
    for record in run:
        lines = getattr(record.wirings, side)
        same = next((one for one in wirings if one.lines == lines), None)
        if same is None:
            wirings.append(Wiring([record.framework], lines))
        else:
            same.frameworks.append(record.framework)
    return wirings


def _row(what: str, label: str, run: Sequence[Record]) -> Row | None:
    """One verdict in every framework; none where no framework has it."""
    verdicts = {
        record.framework: Held(held.verdict, held.ratio, held.expected)
        for record in run
        for held in record.held
        if held.what == what
    }
    return Row(label, [verdicts.get(record.framework) for record in run]) if verdicts else None
