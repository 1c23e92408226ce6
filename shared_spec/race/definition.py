"""A race as it is set out: what is raced, and how; the folder that it lies in, and what is there of it."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from shared_spec import language_model, machine
from shared_spec.errors import UserError
from shared_spec.files import door, store
from shared_spec.files.whole import write_whole
from shared_spec.language_model import corpus
from shared_spec.language_model.corpus import Corpus
from shared_spec.race import rows
from shared_spec.race.rows import OtherVersionError, Pass

FORMAT = "isogru-race/1"
AGAIN = "race again with python -m reports race"
MOST_BUDGET = 7 * 24 * 3600.0
"""Of a race, in seconds: a file that says more is damaged, and nobody waits for it."""
MOST_TURN = 60.0
"""Of a turn, in seconds: a contender that has not come back from one after two minutes is given up."""
BUDGET, TURN, SECONDS = "10m", 0.1, 0.4
"""Of a race, and how long a turn takes; and for how long each row is timed without one, unless told."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class _Versioned:
    format: str


@dataclass(frozen=True)
class Race:
    """What is raced, and how."""

    name: str
    """Its folder: the time at which it began."""
    frameworks: list[str]
    workloads: list[str]
    budget: float = 600.0
    """Seconds that it may take: to start contenders, to judge them and to time them."""
    device: str = "cpu"
    threads: int = field(default_factory=machine.cores)
    seconds: float = TURN
    """Of a turn, about."""
    tf32: bool = False
    cells: list[str] = field(default_factory=list)
    implementations: list[str] = field(default_factory=list)
    seed: int = 0
    """Of the order in which contenders take their turns, and of the one that races twice."""

    @property
    def folder(self) -> Path:
        return rows.folder(self.name)

    def shuffled(self, those: Iterable[str], *of: object) -> list[str]:
        """In an order that the seed gives, another for each start, workload and block, and the same whenever asked."""
        order = sorted(those)
        random.Random(" ".join(map(str, (self.seed, *of)))).shuffle(order)
        return order

    def file(self, framework: str, number: int) -> Path:
        return rows.file(self.folder, framework, self.device, number)

    @property
    def against_file(self) -> Path:
        """Another leaderboard, kept with the race that was held against it."""
        return self.folder / "against.json"

    @property
    def corpus_file(self) -> Path:
        """The text that it is run on."""
        return self.folder / "corpus.txt"

    @property
    def blocks_file(self) -> Path:
        """What each block took, as it came."""
        return self.folder / "blocks.jsonl"

    @property
    def memory_file(self) -> Path:
        return self.folder / "memory.jsonl"


def budget(text: str) -> float:
    """Seconds, of such as 90s, 10m and 1h. Raises UserError for what is none."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)([smh])", text)
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= MOST_BUDGET:
        raise UserError(f"no budget {text[:40]!r}; give one such as 90s, 10m or 1h, of seven days at most")
    return seconds


def turn(seconds: float) -> float:
    """The seconds of a turn. Raises UserError for what is none, such as infinity."""
    if not 0 <= seconds <= MOST_TURN:
        raise UserError(f"no turn of {seconds:g} s; give --seconds {MOST_TURN:.0f} at most")
    return seconds


def begin(race: Race) -> None:
    """Write down what is set out to be done."""
    record = {"format": FORMAT, **asdict(race)}
    write_whole(race.folder / "race.json", json.dumps(record, indent=1).encode())


def read(file: Path) -> Race:
    """A race from its file. Raises UserError for one that is damaged or of another version."""
    if not file.exists():
        there = ", ".join(sorted(f.parent.name for f in rows.folder(".").glob("*/race.json"))) or "none"
        raise UserError(f"no race {file.parent.name!r}; there are {there}")
    if door.json(file, _Versioned, AGAIN).format != FORMAT:
        raise OtherVersionError(f"{file}: of another version of isogru; race again")
    race = door.json(file, Race, AGAIN)
    if race.name != file.parent.name:
        raise UserError(f"{file}: damaged: it says that it is {race.name!r}; {AGAIN}")
    # Of these names the files of passes are made.
    if wrong := [name for name in (*race.frameworks, race.device) if not store.PLAIN.fullmatch(name)]:
        raise UserError(f"{file}: damaged: {wrong[0]!r} is no name; {AGAIN}")
    is_timed = 0 < race.budget <= MOST_BUDGET and 0 <= race.seconds <= MOST_TURN
    if not (is_timed and 1 <= race.threads <= machine.MOST_THREADS):
        most = f"at most a budget of {MOST_BUDGET:.0f} s, {machine.MOST_THREADS} threads and turns of {MOST_TURN:.0f} s"
        raise UserError(f"{file}: damaged: a race has {most}; {AGAIN}")
    return race


def passes(race: Race) -> list[Pass]:
    """What is there of each start of each framework, complete or not."""
    return [one for one in _passes(race) if isinstance(one, Pass)]


def damaged(race: Race) -> list[str]:
    """What is said of those that are there and cannot be read."""
    return [str(one) for one in _passes(race) if isinstance(one, UserError)]


def _passes(race: Race) -> Iterator[Pass | UserError]:
    there = [(number, framework) for framework in race.frameworks for number in _numbers(race, framework)]
    for number, framework in sorted(there, key=lambda each: each[0]):
        try:
            yield rows.read(race.file(framework, number))
        except OtherVersionError:
            raise
        except UserError as error:
            yield error


def _numbers(race: Race, framework: str) -> Iterator[int]:
    for file in race.folder.glob(f"{framework}.{race.device}.*.jsonl"):
        number = file.name.split(".")[2]
        if re.fullmatch("[1-9][0-9]{0,5}", number):
            yield int(number)


def text(race: Race) -> Corpus | None:
    """The text that a race was run on so far; None where it was not run."""
    if not race.corpus_file.exists():
        return None
    sha1 = hashlib.sha1(door.content(race.corpus_file, AGAIN)).hexdigest()
    return corpus.find(language_model.specification().corpus, path=race.corpus_file, sha1=sha1)
