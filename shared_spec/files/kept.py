"""What is kept so that it need not be made again: with a checksum, and thrown away where anything is wrong with it."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TypeVar

import msgspec

from shared_spec.errors import InterchangeError, UserError
from shared_spec.files import door
from shared_spec.files.whole import replaced

Kind = TypeVar("Kind")
_SIZE = hashlib.sha256().digest_size


def read(path: Path, kind: type[Kind]) -> Kind | None:
    """What was kept, as a type; None where it was not, or is damaged. It is made anew then."""
    try:
        content = door.content(path)
        if hashlib.sha256(content[_SIZE:]).digest() != content[:_SIZE]:
            return None
        kept: Kind = msgspec.msgpack.decode(memoryview(content)[_SIZE:], type=kind)
        return kept
    except (InterchangeError, *door.UNDECODABLE):
        return None


def keep(path: Path, value: object) -> None:
    """Keep a value. Where that cannot be done, as on a full disk or in a folder that is only read, it is not."""
    raw = msgspec.msgpack.encode(value)
    with contextlib.suppress(UserError), replaced(path) as beside:
        beside.write_bytes(hashlib.sha256(raw).digest() + raw)
