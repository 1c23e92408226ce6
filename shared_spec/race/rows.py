"""What one pass of the benchmarks over one framework writes, a line of JSON for each thing as it happens.

The first line says who, on what, with how many threads, and which rows are planned. A line follows as each row begins,
and one with what came of it; then the limits of the machine, and that the pass is done. Whatever was complete when a
pass was cut off is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import msgspec
import numpy as np
from msgspec import Struct

from shared_spec.errors import UserError
from shared_spec.files import door, store
from shared_spec.files.whole import write_whole
from shared_spec.race import workloads
from shared_spec.race.workloads import Workload

Format = Literal["isogru-rows/2"]
FORMAT: Format = get_args(Format)[0]
AGAIN = "race again with python -m reports race, or delete it"
MEMORY = '{"framework"'
"""How a line of Memory begins, among all that a framework may print."""
Kind = TypeVar("Kind")


class OtherVersionError(UserError):
    """A race of an isogru that times other things, or writes of them in another way."""


class _Versioned(Struct):
    format: str


class Row(Struct, frozen=True):
    """What is timed: a workload, by its name, and the implementation that does it, with its lane."""

    workload: str
    implementation: str
    lane: str

    @property
    def id(self) -> str:
        """Such as "gradient-wide-gru-float32-compiled-xla", to be shown; what a row is stands in its fields."""
        return f"{self.workload}-{self.implementation}"


class Header(Struct, frozen=True, kw_only=True):
    """The first line: who, on what, and what is planned."""

    format: Format = FORMAT
    framework: str
    device: str
    threads: int
    tf32: bool
    number: int = msgspec.field(name="pass")
    plan: tuple[Row, ...]
    import_: float = msgspec.field(name="import")
    """Seconds."""
    versions: dict[str, str]
    switches: dict[str, str]
    machine: dict[str, str]
    corpus: str
    gpu: dict[str, str] = msgspec.field(default_factory=dict)
    """Its clocks, temperature and power, where the device is one."""


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a row: last words, or a verdict and times."""

    failed: str = ""
    verdict: str = ""
    why: str = ""
    ratio: float | None = None
    """Of the worst element to what is allowed; None where it is not known, or infinite: JSON has no infinity."""
    error: float | None = None
    seconds: tuple[float, ...] = ()
    first: float | None = None
    """Seconds of the first call, compiling included."""
    issue: float | None = None
    """Seconds that the host takes to issue a call; in the first pass alone, and in a race with memory instead."""


class Reached(Struct, frozen=True, kw_only=True):
    """What a framework reached on the machine, in one dtype."""

    product: float
    function: float
    """Operations a second."""
    cache: float
    memory: float
    """Bytes a second."""
    issue: float
    """Seconds in which the host issues an operation."""
    step: tuple[tuple[int, int, int, float], ...]
    """Shapes (n, h, k) of products (n, h) (h, k) that wait for one another, and seconds."""

    def better(self, other: Reached) -> Reached:
        """Of two measurements the better of each."""
        rates = ("product", "function", "cache", "memory")
        return Reached(
            **{name: max(getattr(self, name), getattr(other, name)) for name in rates},
            issue=min(self.issue, other.issue),
            step=tuple((*a[:3], min(a[3], b[3])) for a, b in zip(self.step, other.step, strict=True)),
        )


class Begin(Struct, frozen=True, tag_field="line", tag="begin"):
    """A row begins."""

    row: Row


class End(Struct, frozen=True, tag_field="line", tag="end"):
    """A row is over."""

    row: Row
    outcome: Outcome


class Limits(Struct, frozen=True, tag_field="line", tag="limits"):
    """The limits of the machine in one dtype."""

    dtype: str
    reached: Reached


class Done(Struct, frozen=True, tag_field="line", tag="done"):
    """The pass is complete."""


Line = Begin | End | Limits | Done
GO, OVER = b"g", b"o"
"""What a contender is told: that it is its turn, or that there is none any more."""


class Ready(Struct, frozen=True, tag_field="line", tag="ready"):
    """What a contender says as soon as its first turn may come."""


class Took(Struct, frozen=True, tag_field="line", tag="took"):
    """And after each turn: seconds of a call."""

    seconds: float


class Memory(Struct, frozen=True, omit_defaults=True):
    """Bytes that a row takes at its peak; None, with last words, where there are none."""

    framework: str
    workload: str
    implementation: str
    bytes: int | None
    failed: str = ""
    issue: float | None = None
    """Seconds that the host takes to issue a call. Of all sizes that differ in n, d and h it is measured once."""


def folder(name: str) -> Path:
    """Where the passes of one race lie."""
    return store.folder() / "benchmarks" / name


def alone() -> Path:
    """Where those lie that were run without a race."""
    return folder("alone")


def file(of: Path, framework: str, device: str, number: int) -> Path:
    return of / f"{framework}.{device}.{number}.jsonl"


def encode(record: object) -> bytes:
    """One line of JSON. Numbers may be NumPy's, texts a library's own kind of text; infinities become null."""
    return msgspec.json.encode(record, enc_hook=_plain) + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str):  # torch.__version__, for one.
        return str(value)
    raise TypeError(f"{value!r} cannot be written as JSON")


def append(path: Path, line: bytes) -> None:
    """Add a line to a file; without one, take away a line that was cut off while it was written, of which nothing is
    to be had. Raises UserError where it cannot be written.
    """
    try:
        if not line:
            whole = path.read_bytes()
            path.write_bytes(whole[: whole.rfind(b"\n") + 1])
            return
        with path.open("ab") as stream:
            stream.write(line)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None


class Writer:
    """Writes a pass, line by line."""

    def __init__(self, path: Path, *, goes_on: bool) -> None:
        self._path = path
        if goes_on:
            append(path, b"")

    def write(self, line: Line) -> None:
        """Raises UserError where it cannot be written."""
        append(self._path, encode(line))

    def header(self, header: Header) -> None:
        """The first line, in place of whatever was there."""
        write_whole(self._path, encode(header))


@dataclass
class Pass:
    """A pass that was read: what it is, what came of its rows, and how far it got."""

    path: Path
    header: Header
    outcomes: dict[Row, Outcome] = field(default_factory=dict)
    limits: dict[str, Reached] = field(default_factory=dict)
    """By dtype."""
    begun: Row | None = None
    """The row in which it was cut off, if it was in one."""
    is_done: bool = False

    @property
    def framework(self) -> str:
        return self.header.framework

    @property
    def number(self) -> int:
        return self.header.number

    @property
    def done(self) -> int:
        """How many rows of the plan are over."""
        return len(self.outcomes) + (self.begun is not None)


def read(path: Path) -> Pass:
    """A pass from its file, complete or not. Raises UserError for a file that is none, or of another version."""
    content = door.content(path, AGAIN)
    # What stands behind the last end of a line was cut off while it was written.
    first, *lines = content[: content.rfind(b"\n") + 1].splitlines() or [b""]
    one = Pass(path, _header(path, first))
    for number, line in enumerate(lines, start=2):
        match _decode(path, line, Line, f"line {number}"):
            case Begin(row):
                one.begun = row
            case End(row, outcome):
                one.outcomes[row] = outcome
                one.begun = None
            case Limits(dtype, reached):
                one.limits[dtype] = reached
            case Done():
                one.is_done = True
    return one


def _header(path: Path, line: bytes) -> Header:
    try:
        version = msgspec.json.decode(line, type=_Versioned).format
    except door.UNDECODABLE:
        version = ""
    if not version.startswith("isogru-rows/"):
        raise UserError(f"{path}: not a pass of benchmarks; {AGAIN}")
    if version != FORMAT:
        raise OtherVersionError(f"{path}: format {version}, this isogru reads {FORMAT}; race again")
    return _decode(path, line, Header, "line 1")


def _decode(path: Path, line: bytes, kind: type[Kind] | Any, place: str) -> Kind:
    try:
        decoded: Kind = msgspec.json.decode(line, type=kind)
    except door.UNDECODABLE as error:
        raise UserError(f"{path}: damaged: {place}: {door.words(error)}; {AGAIN}") from None
    return decoded


def workload(row: Row) -> Workload:
    """A row's workload. Raises OtherVersionError where there is none of that name here."""
    for one in workloads.catalogue():
        if one.name == row.workload:
            return one
    raise OtherVersionError(f"no workload {row.workload!r} here: these benchmarks are of another version; race again")
