"""A campaign: problems one after the other, each kept as soon as it is judged, and the table of what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path

import msgspec

from isogru.judge import code, reference
from shared_spec.errors import UserError
from shared_spec.files import door
from tests.false_alarms import judging
from tests.false_alarms.problems import KINDS

FORMAT = "isogru-false-alarms/1"
ACCUSED = ("suspect", "different")
OF_A_PROBLEM = sum(judging.RESULTS.values())


class Header(msgspec.Struct, forbid_unknown_fields=True):
    """The first line of a file of records."""

    format: str
    seed: int
    judge: str
    """The digest of the code that judges."""


class Judged(msgspec.Struct):
    """A right result, and what it was called."""

    dtype: str
    form: str
    verdict: str
    sentence: str = ""
    why: tuple[str, ...] = ()


class Record(msgspec.Struct):
    """A problem, and its right results."""

    number: int
    kind: str
    cell: str
    T: int
    n: int
    d: int
    h: int
    results: tuple[Judged, ...]


def begin(file: Path, seed: int) -> None:
    """A new file of records. Raises UserError where there is one."""
    if file.exists():
        raise UserError(f"{file} is there already; go on with it by --resume, or remove it")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.encode(Header(FORMAT, seed, code.judge())) + b"\n")


def read(file: Path, seed: int) -> list[Record]:
    """What is kept; the last line may have been cut off, and is done again. Raises UserError for what is no such file,
    one of another seed, and one that other code has judged.
    """
    remedy = f"remove {file} and begin anew without --resume"
    first, *lines = door.content(file, "begin without --resume").split(b"\n")
    header = door.decoded(first, Header, f"{file}: line 1", remedy)
    if (header.format, header.seed, header.judge) != (FORMAT, seed, code.judge()):
        raise UserError(f"{file} is of another version of the judge, or of seed {header.seed} and not {seed}; {remedy}")
    return [door.decoded(line, Record, f"{file}: line {i + 2}", remedy) for i, line in enumerate(lines[:-1])]


def run(file: Path, seed: int, count: int, done: set[int], processes: int) -> Iterable[Record]:
    """The problems below `count` that are not done, each written as soon as it is judged, and then yielded."""
    content = file.read_bytes()
    if not content.endswith(b"\n"):
        file.write_bytes(content[: content.rfind(b"\n") + 1])
    todo = iter(number for number in range(count) if number not in done)
    with reference.pool(processes) as workers, file.open("ab", buffering=0) as kept:
        running = set()
        while True:
            while len(running) < 2 * processes and (number := next(todo, None)) is not None:
                running.add(workers.submit(judging.judged, seed, number))
            if not running:
                return
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for each in ended:
                record = msgspec.convert(each.result(), Record)
                kept.write(msgspec.json.encode(record) + b"\n")
                yield record


def accused(records: Iterable[Record]) -> list[str]:
    """A line for each right result that was called suspect or different."""
    return [
        f"problem {record.number} ({record.kind}, {record.cell}, {one.dtype}; {one.form}): "
        f"{one.verdict}: {one.sentence}"
        for record in records
        for one in record.results
        if one.verdict in ACCUSED
    ]


def table(records: Iterable[Record]) -> str:
    """What came of each kind of problem, in Markdown."""
    records = list(records)
    lines = [
        "| problems | results | equal | undetermined, float32 | float64 | suspect | different | why undetermined |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    kinds = [(kind, [r for r in records if r.kind == kind]) for kind in KINDS]
    lines += [_row(kind, chosen) for kind, chosen in kinds if chosen]
    return "\n".join([*lines, _row("**all**", records)]) + "\n"


def _row(title: str, records: list[Record]) -> str:
    results = [one for record in records for one in record.results]
    counted = Counter(one.verdict for one in results)
    unsaid = Counter(one.dtype for one in results if one.verdict == "undetermined")
    whys = Counter(why for one in results for why in one.why)
    why = ", ".join(f"{name} {count:,}" for name, count in whys.most_common())
    numbers = [len(results), counted["equal"], unsaid["float32"], unsaid["float64"]]
    numbers += [counted[verdict] for verdict in ACCUSED]
    return f"| {title} | " + " | ".join(f"{number:,}" for number in numbers) + f" | {why} |"
