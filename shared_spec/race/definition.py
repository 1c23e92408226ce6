"""A race as it is set out: what is raced, and how; the folder that it lies in, and its passes there."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from shared_spec import language_model, machine
from shared_spec.errors import UserError
from shared_spec.files.whole import write_whole
from shared_spec.language_model import corpus
from shared_spec.language_model.corpus import Corpus
from shared_spec.race import rows
from shared_spec.race.rows import OtherVersionError, Pass

FORMAT = "isogru-race/1"
PASSES, SECONDS = 5, 0.4
"""Of a race, and for how long each row is timed in a pass, unless told."""


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
    try:
        record = json.loads(file.read_text())
        if record.pop("format") != FORMAT:
            raise OtherVersionError(f"{file}: of another version of isogru; race again")
        race = msgspec.convert(record, Race)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{file}: damaged; race again with python -m reports race") from None
    if race.name != file.parent.name:
        raise UserError(f"{file}: damaged: it says that it is {race.name!r}; race again with python -m reports race")
    return race


def passes(race: Race) -> list[Pass]:
    """Those passes that are there, complete or not."""
    files = (race.file(name, number) for number in range(1, race.passes + 1) for name in race.frameworks)
    return [rows.read(file) for file in files if file.exists()]


def text(race: Race) -> Corpus | None:
    """The text that a race was run on so far; None where it was not run."""
    if not race.corpus_file.exists():
        return None
    sha1 = hashlib.sha1(race.corpus_file.read_bytes()).hexdigest()
    return corpus.find(language_model.specification().corpus, path=race.corpus_file, sha1=sha1)
