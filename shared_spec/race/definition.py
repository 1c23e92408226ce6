"""A race as it is set out: what is raced, and how; the folder that it lies in, and its passes there."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
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
MOST_PASSES = 1000
"""Of a race: a file that says more is damaged, and nobody waits for it."""
PASSES, SECONDS = 5, 0.4
"""Of a race, and for how long each row is timed in a pass, unless told."""


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
    passes: int = PASSES
    device: str = "cpu"
    threads: int = field(default_factory=machine.cores)
    seconds: float = SECONDS
    tf32: bool = False
    cells: list[str] = field(default_factory=list)
    implementations: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return rows.folder(self.name)

    def order(self, number: int) -> list[str]:
        """The frameworks in the order of that pass, shuffled, and the same whenever it is asked for."""
        shuffled = sorted(self.frameworks)
        random.Random(f"{self.name} {number}").shuffle(shuffled)
        return shuffled

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
    def memory_file(self) -> Path:
        return self.folder / "memory.jsonl"


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
    if not (1 <= race.passes <= MOST_PASSES and 1 <= race.threads <= machine.MOST_THREADS and race.seconds >= 0):
        most = f"at most {MOST_PASSES} passes, {machine.MOST_THREADS} threads, and seconds from 0 on"
        raise UserError(f"{file}: damaged: a race has {most}; {AGAIN}")
    return race


def passes(race: Race) -> list[Pass]:
    """Those passes that are there, complete or not."""
    return [one for one in _passes(race) if isinstance(one, Pass)]


def damaged(race: Race) -> list[str]:
    """What is said of those passes that are there and cannot be read."""
    return [str(one) for one in _passes(race) if isinstance(one, UserError)]


def _passes(race: Race) -> Iterator[Pass | UserError]:
    for number in range(1, race.passes + 1):
        for name in race.frameworks:
            file = race.file(name, number)
            if file.exists():
                try:
                    yield rows.read(file)
                except OtherVersionError:
                    raise
                except UserError as error:
                    yield error


def text(race: Race) -> Corpus | None:
    """The text that a race was run on so far; None where it was not run."""
    if not race.corpus_file.exists():
        return None
    sha1 = hashlib.sha1(door.content(race.corpus_file, AGAIN)).hexdigest()
    return corpus.find(language_model.specification().corpus, path=race.corpus_file, sha1=sha1)
