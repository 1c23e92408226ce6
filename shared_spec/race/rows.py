"""What one pass of the benchmarks over one framework writes, a line of JSON for each thing as it happens.

The first line says who, on what, with how many threads, and which rows are planned; then {"begin": row} and
{"end": row, ...} in turn; limits of the machine; and {"done": true}. Whatever was complete when a pass was cut off is
there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.files.whole import write_whole
from shared_spec.race import workloads
from shared_spec.race.workloads import Workload

FORMAT = "isogru-rows/1"
HEADER = {
    *("framework", "device", "threads", "tf32", "pass", "plan"),
    *("import", "versions", "switches", "machine", "corpus"),
}
Record = dict[str, Any]


class OtherVersionError(UserError):
    """A race of an isogru that times other things, or writes of them in another way."""


def folder(name: str) -> Path:
    """Where the passes of one race lie."""
    return store.folder() / "benchmarks" / name


def alone() -> Path:
    """Where those lie that were run without a race."""
    return folder("alone")


def file(of: Path, framework: str, device: str, number: int) -> Path:
    return of / f"{framework}.{device}.{number}.jsonl"


class Writer:
    """Writes a pass, line by line."""

    def __init__(self, path: Path, *, goes_on: bool) -> None:
        self._path = path
        try:
            if goes_on:
                # Of a line that was cut off while it was written nothing is to be had.
                whole = path.read_bytes()
                path.write_bytes(whole[: whole.rfind(b"\n") + 1])
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None

    def line(self, **record: Any) -> None:
        """Raises UserError where it cannot be written."""
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record, default=_plain) + "\n")
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written: {error.strerror or error}") from None

    def header(self, **record: Any) -> None:
        """The first line, in place of whatever was there."""
        write_whole(self._path, (json.dumps({"format": FORMAT, **record}, default=_plain) + "\n").encode())


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} cannot be written as JSON")


@dataclass
class Pass:
    """A pass that was read: what it is, its rows, and how far it came."""

    path: Path
    header: Record
    rows: dict[str, Record] = field(default_factory=dict)
    limits: dict[str, Record] = field(default_factory=dict)
    """By dtype."""
    begun: str = ""
    """The row in which it was cut off, if it was in one."""
    is_done: bool = False

    @property
    def framework(self) -> str:
        return str(self.header["framework"])

    @property
    def number(self) -> int:
        return int(self.header["pass"])

    @property
    def done(self) -> int:
        """How many rows of the plan are over."""
        return len(self.rows) + bool(self.begun)


def read(path: Path) -> Pass:
    """A pass from its file, complete or not. Raises UserError for a file that is none, or of another version."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    records = [_record(line) for line in lines]
    if records and records[-1] is None:
        records.pop()  # Cut off while the line was written.
    if not records or records[0] is None or not str(records[0].get("format", "")).startswith("isogru-rows/"):
        raise UserError(f"{path}: not a pass of benchmarks; race again with python -m reports race")
    header = records[0]
    if header["format"] != FORMAT:
        raise OtherVersionError(f"{path}: format {header['format']}, this isogru reads {FORMAT}; race again")
    if missing := HEADER - header.keys():
        raise UserError(f"{path}: damaged: its first line does not say {', '.join(sorted(missing))}; race again")
    found = Pass(path, header)
    for number, record in enumerate(records[1:], start=2):
        if record is None:
            raise UserError(f"{path}: damaged: line {number} is not JSON; race again")
        _add(found, record)
    return found


def _record(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _add(found: Pass, record: Mapping[str, Any]) -> None:
    match record:
        case {"begin": name}:
            found.begun = str(name)
        case {"end": name, **rest}:
            found.rows[str(name)] = dict(rest)
            found.begun = ""
        case {"limits": dict(limits), "dtype": dtype}:
            found.limits[str(dtype)] = limits
        case {"done": True}:
            found.is_done = True


def split(row: str) -> tuple[Workload, str]:
    """A row's workload and implementation, such as "gradient-wide-gru-float32-compiled-xla"."""
    found = next((w for w in workloads.catalogue() if row.startswith(f"{w.name}-")), None)
    if found is None:
        raise OtherVersionError(
            f"no workload of a row {row!r} here: these benchmarks are of another version; race again"
        )
    return found, row.removeprefix(f"{found.name}-")
