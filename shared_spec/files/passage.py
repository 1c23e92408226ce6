"""How the layer of a case goes through its input, as metadata: backwards, or each sequence to its own end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from shared_spec.errors import InterchangeError
from shared_spec.files import door

Lengths = tuple[int, ...] | None
DIRECTIONS = ("forward", "reverse")


def written(*, reverse: bool, lengths: Lengths) -> dict[str, str]:
    """As metadata; what is usual is left out."""
    return ({"direction": "reverse"} if reverse else {}) | ({"lengths": json.dumps(lengths)} if lengths else {})


def read(path: Path, metadata: Mapping[str, str], T: int, n: int) -> tuple[bool, Lengths]:
    """Whether it runs backwards, and how many of T steps each of n sequences has. Raises InterchangeError for what
    cannot be.
    """
    direction = metadata.get("direction", "forward")
    if direction not in DIRECTIONS:
        raise InterchangeError(f"{path}: direction is {direction!r}, should be {' or '.join(DIRECTIONS)}")
    if "lengths" not in metadata:
        return direction == "reverse", None
    try:
        lengths = msgspec.json.decode(metadata["lengths"], type=tuple[int, ...])
    except door.UNDECODABLE:
        lengths = ()
    if len(lengths) != n or not all(1 <= length <= T for length in lengths):
        told = metadata["lengths"][:60]
        raise InterchangeError(f"{path}: lengths are {told!r}, should be {n} whole numbers from 1 to {T}")
    return direction == "reverse", lengths
