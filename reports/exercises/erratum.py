"""What became of one erratum in one framework: a record that tests/errata writes and the page reads.

reports/results/errata/<erratum>.<framework>.json
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from isogru.judge.comparison import ORDER
from isogru.judge.verdict import ResultVerdict
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.files.whole import write_whole

FORMAT = "isogru-erratum/1"
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
    format: str = FORMAT

    @property
    def is_proven(self) -> bool:
        """Whether every verdict is the one that the erratum claims."""
        return bool(self.held) and all(held.verdict == held.expected for held in self.held)


def held(what: str, expected: str, found: ResultVerdict, shown: str | None = None) -> Held:
    """A verdict as it is kept, with the worst element of all, or of the quantity that is to be shown."""
    worst = next((f for f in found.findings if f.quantity == shown), found.worst_finding)
    return Held(
        what=what,
        expected=expected,
        verdict=found.verdict,
        cell=found.origin.cell,
        spec_digest=found.origin.spec_digest,
        quantity=worst.quantity,
        ratio=worst.ratio if math.isfinite(worst.ratio) else None,
        sentence=worst.sentence(found.origin),
    )


def file_of(name: str, framework: str) -> Path:
    """Where the record lies."""
    return store.folder() / "errata" / f"{name}.{framework}.json"


def command(framework: str) -> str:
    """What runs every erratum in a framework."""
    return "tox -e errata" if framework == NUMPY else f"tox -e errata-{framework}"


def write(record: Record) -> None:
    """Keep a record in place of the one before."""
    write_whole(file_of(record.name, record.framework), msgspec.json.format(msgspec.json.encode(record)))


def forget(name: str, framework: str) -> None:
    """An erratum that is run again, and does not come to its end, is not run."""
    file_of(name, framework).unlink(missing_ok=True)


def read(name: str, framework: str) -> Record | None:
    """A record; None where the erratum has not been run there. Raises UserError, by name, for a damaged one and for one
    of another version.
    """
    file, remedy = file_of(name, framework), f"run {command(framework)} again, or delete the file"
    try:
        raw = file.read_bytes()
        table = msgspec.json.decode(raw)
        found = table.get("format") if isinstance(table, Mapping) else None
        if found == FORMAT:
            record = msgspec.convert(table, Record)
            if (record.name, record.framework) == (name, framework) and _makes_sense(record):
                return msgspec.structs.replace(record, measured=msgspec.convert(record.measured, MEASURED[name]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise UserError(f"{file}: damaged; {remedy}") from None
    if found == FORMAT:
        raise UserError(f"{file}: damaged; {remedy}")
    raise UserError(f"{file}: its format is {found or 'not given'}, this isogru reads {FORMAT}; {remedy}")


def _makes_sense(record: Record) -> bool:
    return all(held.verdict in ORDER and held.expected in ORDER for held in record.held)
