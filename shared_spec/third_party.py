"""What became of GRUs that nobody here wrote: a record for each implementation and dtype, in a file for each package.

reports/results/third-party/<package>.json

Who runs them writes the file before the first is run, and again after each: what a crash leaves is whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from shared_spec.errors import UserError
from shared_spec.files import door, store
from shared_spec.files.whole import write_whole

FORMAT = "isogru-third-party/1"
WAITING, RUNNING, JUDGED, FAILED, UNAVAILABLE = "waiting", "running", "judged", "failed", "unavailable"
STATUSES = (WAITING, RUNNING, JUDGED, FAILED, UNAVAILABLE)


class Judged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The verdict on the states, or on the gradients, over all cases: the worst of them."""

    verdict: str
    """ "equal", "undetermined", "suspect" or "different"."""
    ratio: float | None
    """The largest difference in units of what rounding allows; infinity is null."""
    where: str
    """Quantity and case of the worst element, such as "grad.X in gru-ordinary"."""
    off: float | None
    """The largest absolute difference from the float64 oracle rounded to the dtype."""
    sentence: str
    """Of the worst element: index, value, what it should be, how far off, and the bound."""
    untold: list[str] = []
    """Cases of which something cannot be told in this precision."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One implementation in one dtype."""

    implementation: str
    called: str
    """What was called of the package."""
    layout: str
    """How it packs its weights: a name of layouts.toml."""
    cell: str
    dtype: str
    expected: str = ""
    """Why another verdict than equal is no surprise; empty where it would be one."""
    status: str = WAITING
    reason: str = ""
    """Why it was not judged."""
    cases: list[str] = []
    """Those that it was judged on."""
    states: Judged | None = None
    gradients: Judged | None = None
    without_gradients: str = ""
    """Why there are none."""
    roundoff: dict[str, float] = {}
    """The unit roundoff that it delivers, by operation, where it was measured."""
    cause: str = ""
    """What `isogru.explain` says of states that are not equal."""
    remedy: str = ""

    @property
    def verdict(self) -> str:
        """That on the states and the gradients, the worse of the two; the status of what was not judged."""
        if self.status != JUDGED or self.states is None:
            return self.status
        both = [self.states.verdict, *([self.gradients.verdict] if self.gradients else [])]
        return max(both, key=("equal", "undetermined", "suspect", "different").index)


class Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All implementations of one package, as one process ran them."""

    package: str
    versions: dict[str, str]
    machine: dict[str, str]
    records: list[Record]
    format: str = FORMAT


def folder() -> Path:
    """Where the files lie."""
    return store.folder() / "third-party"


def file_of(package: str) -> Path:
    """The file of a package."""
    return folder() / f"{package}.json"


def write(package: Package) -> None:
    """Keep the records of a package, whole or not at all, in place of what was kept before."""
    write_whole(file_of(package.package), msgspec.json.format(msgspec.json.encode(package)))


def read(file: Path) -> Package:
    """The records of a package. Raises UserError, with the file, for one that is damaged or of another version."""
    try:
        table: Any = msgspec.json.decode(door.content(file, "run tox -e third-party again, or delete it"))
        version = table.get("format") if isinstance(table, dict) else None
        if version == FORMAT:
            package = msgspec.convert(table, Package)
            if all(record.status in STATUSES for record in package.records):
                return package
    except door.UNDECODABLE:
        version = FORMAT
    why = "damaged" if version == FORMAT else f"its format is {version or 'not given'}, this isogru reads {FORMAT}"
    raise UserError(f"{file}: {why}; run tox -e third-party again, or delete the file")


def read_all(where: Path | None = None) -> list[Package]:
    """The records of every package that is there, by name."""
    return [read(file) for file in sorted((where or folder()).glob("*.json"))]
