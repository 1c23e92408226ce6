"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from shared_spec.errors import UserError


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside and renames it: a reader, or a second writer, never meets half of one."""
    with whole(path) as beside:
        beside.write_bytes(content)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside, to be written, which takes the place of `path` at the end. Raises UserError where it cannot."""
    beside = path.parent / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
