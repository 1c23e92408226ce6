"""The blocks of a race, a line of JSON for each as it is over: what each contender took in its turn, and what the
machine did meanwhile. Whatever was complete when a race was broken off is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from shared_spec.errors import UserError
from shared_spec.files import door
from shared_spec.race import rows
from shared_spec.race.rows import OtherVersionError

Format = Literal["isogru-blocks/1"]
FORMAT: Format = get_args(Format)[0]
AGAIN = "race again with python -m reports race"
TWICE = " again"
"""Behind the name of a contender that races against itself."""


class Block(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A turn of each contender of one workload, in one start."""

    start: int
    workload: str
    number: int
    """In its start, from 1 on."""
    seconds: dict[str, float]
    """Of a call, by the name of the contender, in the order of their turns."""
    calibration: float
    """Seconds of a loop that is always the same, just before."""
    busy: dict[str, float] = msgspec.field(default_factory=dict)
    """Cores that others took meanwhile, by the name of their process."""
    watched: bool = True
    """Whether anybody could look at that."""
    at: float = 0.0
    """Seconds of the budget that were gone then."""


class _Head(Struct):
    format: str = ""


def name(framework: str, implementation: str) -> str:
    """A contender's among those of its workload."""
    return f"{framework}/{implementation}"


def read(path: Path) -> list[Block]:
    """Those that are complete; none where there is no such file. Raises UserError for one that is damaged or of
    another version.
    """
    try:
        content = door.content(path, AGAIN)
    except door.MissingError:
        return []
    # What stands behind the last end of a line was cut off while it was written.
    first, *lines = content[: content.rfind(b"\n") + 1].splitlines() or [b""]
    try:
        version = msgspec.json.decode(first, type=_Head).format
        if version != FORMAT:
            if version.startswith("isogru-blocks/"):
                raise OtherVersionError(f"{path}: format {version}, this isogru reads {FORMAT}; race again")
            raise UserError(f"{path}: not the blocks of a race; {AGAIN}")
        read = [msgspec.json.decode(line, type=Block) for line in lines]
    except door.UNDECODABLE as error:
        raise UserError(f"{path}: damaged, or not the blocks of a race: {door.words(error)}; {AGAIN}") from None
    for block in read:
        if not all(0 < seconds < float("inf") for seconds in (*block.seconds.values(), block.calibration)):
            raise UserError(f"{path}: damaged: a block of {block.workload} took no time; {AGAIN}")
    return read


class Writer:
    """Writes them, line by line, behind those that are there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        rows.append(path, b"" if path.exists() else rows.encode(_Head(FORMAT)))

    def write(self, block: Block) -> None:
        """Raises UserError where it cannot be written."""
        rows.append(self._path, rows.encode(block))


def times(blocks: Iterable[Block], workload: str, names: Sequence[str]) -> dict[str, dict[int, list[float]]]:
    """Seconds by contender and start, of each block of that start; NaN where it was not in one. A start that it was
    not in at all is not among its own.
    """
    of_start: dict[int, list[Block]] = {}
    for block in blocks:
        if block.workload == workload:
            of_start.setdefault(block.start, []).append(block)
    return {
        name: {
            start: [block.seconds.get(name, float("nan")) for block in of]
            for start, of in of_start.items()
            if any(name in block.seconds for block in of)
        }
        for name in names
    }
