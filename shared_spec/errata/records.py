"""What became of one erratum in one framework: a record of its run, or of the failure that it ended with.

reports/results/errata/<erratum>.<framework>.json            what was held, and the verdicts
reports/results/errata/<erratum>.<framework>.failed.json     the last words of a run that broke off
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from shared_spec.errors import UserError
from shared_spec.files import door, store
from shared_spec.files.whole import write_whole

FORMAT = "isogru-erratum/1"
FAILURE_FORMAT = "isogru-erratum-failure/1"
NUMPY = "numpy"
"""The name under which the equations themselves are run, by their value and gradient readings."""


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One wiring held against one cell: its verdict and the worst element. Infinities are null."""

    what: str
    """Which wiring, and against what: a name of errata.toml."""
    expected: str
    """The verdict that the erratum claims."""
    verdict: str
    cell: str
    spec_digest: str
    quantity: str
    ratio: float | None
    sentence: str
    """Of the worst element: index, value, what it should be, how far off, and the bound."""


class Wirings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was run, line by line."""

    wrong: list[str]
    right: list[str]


class ResetPlacement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    layer: str
    """The concise one, as the book makes it."""
    reset_after: str = ""
    """What Keras takes where it is not told; empty in other frameworks."""


class TimeAxis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    T: int
    n: int
    steps_right: int
    steps_wrong: int
    seconds_right: float
    """Forward and backward: a median of so many rounds."""
    seconds_wrong: float
    rounds: int
    epochs: int
    perplexity_right: float
    """Of the training windows, in the last of these epochs."""
    perplexity_wrong: float
    perplexity_of_character: float
    """The least that any prediction from the current character alone can have on these windows."""
    corpus: str
    batch_size: int = 0
    """Of the training; 0 where it is n."""


class ResetOnly(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    refused: str = ""
    """What the specification says to the equations as they are written; where they are equations."""


class UpdateOnly(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gradient_right: float
    """The largest of W_xz, W_hz and b_z."""
    gradient_wrong: float


class TurnedGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Clipping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    clip_norm: float
    norms_of_rnn: list[float]
    """Of all gradients, at each step of the training that the verdicts are on."""
    norms_of_gru: list[float]
    """The same of a GRU."""
    corpus: str


class Perplexity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    exact: list[float]
    """By epoch."""
    plotted: list[float]
    corpus: str


MEASURED: Mapping[str, type[msgspec.Struct]] = {
    "reset-placement": ResetPlacement,
    "time-axis": TimeAxis,
    "reset-only": ResetOnly,
    "update-only": UpdateOnly,
    "turned-gate": TurnedGate,
    "clipping": Clipping,
    "perplexity": Perplexity,
}


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One erratum in one framework."""

    name: str
    framework: str
    dtype: str
    versions: dict[str, str]
    machine: dict[str, str]
    cases: dict[str, str]
    """The digests of the cases of the catalogue that it was run on."""
    wirings: Wirings
    held: list[Held]
    measured: Any = None
    """What else was found: of the type that MEASURED has for the erratum."""
    unmet: list[str] = []
    """What the erratum claims beside its verdicts and is not so, in sentences."""
    format: str = FORMAT

    @property
    def shortfalls(self) -> list[str]:
        """What is not as the erratum claims, in sentences; none where it is proven."""
        verdicts = [
            f"{held.what} is {held.verdict}, should be {held.expected}: {held.sentence}"
            for held in self.held
            if held.verdict != held.expected
        ]
        return [*(verdicts if self.held else ["nothing was held"]), *self.unmet]

    @property
    def is_proven(self) -> bool:
        """Whether every verdict is the one that the erratum claims, and what it claims beside them is so."""
        return not self.shortfalls


def file_of(name: str, framework: str) -> Path:
    """Where the record lies."""
    return store.folder() / "errata" / f"{name}.{framework}.json"


def failure_file_of(name: str, framework: str) -> Path:
    """Where the record of a failure lies."""
    return store.folder() / "errata" / f"{name}.{framework}.failed.json"


def command(framework: str) -> str:
    """What runs every erratum in a framework."""
    return "tox -e errata" if framework == NUMPY else f"tox -e errata-{framework}"


def write(record: Record) -> None:
    """Keep a record, whole or not at all, in place of what was kept before."""
    write_whole(file_of(record.name, record.framework), msgspec.json.format(msgspec.json.encode(record)))
    _remove(failure_file_of(record.name, record.framework))


def write_failure(name: str, framework: str, last_words: str) -> None:
    """Keep the last words of a run that broke off; an older record no longer counts."""
    failure = {"format": FAILURE_FORMAT, "name": name, "framework": framework, "last_words": last_words}
    write_whole(failure_file_of(name, framework), json.dumps(failure, indent=1).encode())
    _remove(file_of(name, framework))


def forget(name: str, framework: str) -> None:
    """An erratum that is run again, and whose process does not come to its end, is not run."""
    _remove(file_of(name, framework))
    _remove(failure_file_of(name, framework))


def read_failure(name: str, framework: str) -> str | None:
    """The last words of a run that broke off; None where none did."""
    return store.last_words(failure_file_of(name, framework))


def read(name: str, framework: str) -> Record | None:
    """A record; None where there is none. Raises UserError, by name, for a damaged one and for one of another version.
    Which verdicts there are is not known here.
    """
    file = file_of(name, framework)
    try:
        table: Any = msgspec.json.decode(door.content(file, f"run {command(framework)} again, or delete it"))
        version = table.get("format") if isinstance(table, Mapping) else None
        if version == FORMAT:
            record = msgspec.convert(table, Record)
            if (record.name, record.framework) == (name, framework):
                return msgspec.structs.replace(record, measured=msgspec.convert(record.measured, MEASURED[name]))
    except door.MissingError:
        return None
    except door.UNDECODABLE:
        raise damaged(name, framework) from None
    if version == FORMAT:
        raise damaged(name, framework)
    raise _refused(name, framework, f"its format is {version or 'not given'}, this isogru reads {FORMAT}")


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{file}: cannot be deleted: {error.strerror or error}") from None


def damaged(name: str, framework: str) -> UserError:
    """What is said of a record that holds what it must not."""
    return _refused(name, framework, "damaged")


def _refused(name: str, framework: str, why: str) -> UserError:
    return UserError(f"{file_of(name, framework)}: {why}; run {command(framework)} again, or delete the file")
