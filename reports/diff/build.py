"""The report as data: what report.json holds, and all that the page and the summary show."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import UNSET

from isogru.judge import profile, reference
from isogru.judge.comparison import EQUAL, ORDER, TWIN_MULTIPLE, WORST_CASE, Finding, four
from reports.diff import curves, pairs, precision, records, results, rosetta, verdicts
from reports.diff.collect import FRAMEWORKS, TRACED_LANES, Collection, Row, overall
from reports.diff.quantities import COLUMNS, GATES, TRAINING, column_of
from reports.pages.parts import number, numbers
from reports.race.records import Leaderboard
from shared_spec import cases, cells, frameworks, machine
from shared_spec.files import store
from shared_spec.files.interchange import Case
from shared_spec.readings import latex


def build(collection: Collection, board: Leaderboard | None = None, *, compared: int = pairs.MOST) -> records.Report:
    """The report on what was collected, with the leaderboard of a race where there is one; infinities are None. What is
    damaged is added to what was collected. So many implementations of a cell and dtype are compared, each against each.
    """
    setups = results.Setups()
    every = [_framework_record(name, collection) for name in FRAMEWORKS]
    rows = [results.record(row, setups) for row in collection.rows]
    trainings = list(curves.trainings(collection))
    return records.Report(
        format=records.FORMAT,
        rule=records.Rule(twin_multiple=TWIN_MULTIPLE, worst_case=WORST_CASE),
        machine=machine.describe(),
        cells=[cell_record(c) for c in cells.cells().values()],
        frameworks=every,
        results=rows,
        implementations=list(_implementations(collection)),
        envelopes=list(_envelopes(collection)),
        pairs=list(pairs.matrices(collection, compared)),
        training=trainings,
        precision=list(precision.records(collection)),
        rosetta=rosetta.table(collection.damaged),
        leaderboard=board,
        setups=setups.records,
        summary=_summary(every, rows, trainings),
    )


def cell_record(cell: cells.Cell) -> records.Cell:
    """A cell as pages show it."""
    return records.Cell(
        name=cell.name,
        title=cell.title,
        digest=cell.digest,
        equations=[records.Equation(target=e.target, text=e.text) for e in cell.equations],
        latex=latex.formulas(cell),
    )


def _framework_record(name: str, collection: Collection) -> records.Framework:
    manifest, command, colour = collection.manifests.get(name), f"tox -e {name}", frameworks.framework(name).colour
    if manifest is None:
        return records.Framework(name=name, command=command, colour=colour, status="missing", why="no results")
    if manifest.failure:
        return records.Framework(name=name, command=command, colour=colour, status="failed", why=manifest.failure)
    return records.Framework(
        name=name,
        command=command,
        colour=colour,
        status="present",
        why="",
        versions=manifest.versions,
        switches=manifest.switches,
        machine=manifest.machine,
        corpus=manifest.corpus,
        unavailable=[_listing_record(i) for i in manifest.implementations if not i["available"]],
    )


def _listing_record(listed: Mapping[str, Any]) -> records.Listing:
    return records.Listing(
        name=listed["name"],
        cell=listed["cell"],
        lane=listed["lane"],
        dtypes=listed.get("dtypes", UNSET),
        available=listed["available"],
        reason=listed["reason"],
    )


def _implementations(collection: Collection) -> Iterator[records.Implementation]:
    """One record for each implementation in a dtype on a device; in it, for each cell, a field for each column."""
    by_key: dict[tuple[str, str, str, str], list[Row]] = defaultdict(list)
    for row in collection.rows:
        by_key[row.job.framework, row.job.implementation, row.job.dtype, row.job.device].append(row)
    for (framework, implementation, dtype, device), rows in by_key.items():
        of_cells: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            of_cells[row.cell].append(row)
        yield records.Implementation(
            label=rows[0].label,
            framework=framework,
            implementation=implementation,
            lane=rows[0].lane,
            dtype=dtype,
            device=device,
            status=overall(row.status for row in rows),
            results=len(rows),
            equal=sum(row.status == EQUAL for row in rows),
            fields=[field for cell, those in of_cells.items() for field in _fields(cell, those)],
        )


def _fields(cell: str, rows: list[Row]) -> Iterator[records.Field]:
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
        yield records.Field(
            cell=cell,
            column=column,
            status=status,
            ratio=None if top is None else number(four(top[1].ratio)),
            quantity=None if top is None else top[1].quantity,
            case=without if top is None else top[0].job.case,
        )


def _envelopes(collection: Collection) -> Iterator[records.Envelope]:
    """For each case of a cell and dtype: how far a state may be from the oracle's trajectory, by time step."""
    present = {(row.job.case, row.job.dtype): None for row in collection.rows if row.verdict is not None}
    for name, dtype in present:
        case = collection.cases[name]
        if isinstance(case, Case):
            stray = reference.get(case, dtype).stray["H"]
            block, twins = profile.blocks(TWIN_MULTIPLE * stray.reshape(len(stray), -1).max(axis=1))
            yield records.Envelope(case=name, dtype=dtype, block=block, twins=numbers(twins), T=len(stray))


def _summary(
    every: Sequence[records.Framework], rows: Sequence[verdicts.Result], trainings: Sequence[records.Training]
) -> records.Summary:
    statuses = dict(Counter(row.status for row in rows))
    present = [f.name for f in every if f.status == "present"]
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
    texts = sorted({training.corpus.replace(" ", " text, sha1 ", 1) for training in trainings})
    return records.Summary(
        sentence=sentence, statuses=statuses, texts=texts, present=present, folder=store.folder().name
    )
