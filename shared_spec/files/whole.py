"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from shared_spec.errors import UserError


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside and renames it: a reader, or a second writer, never meets half of one."""
    with whole(path) as beside:
        beside.write_bytes(content)


def write_pieces(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """The same, of a file that is larger than what should be in memory: piece by piece."""
    with whole(path) as beside, beside.open("wb") as file:
        file.writelines(pieces)


def write_patched(template: Path, path: Path, pieces: Iterable[tuple[int, bytes | memoryview]]) -> None:
    """A copy of a file in which some bytes are others: where each piece begins, and the piece."""
    with whole(path) as beside:
        shutil.copyfile(template, beside)
        with beside.open("r+b") as file:
            for start, piece in pieces:
                file.seek(start)
                file.write(piece)


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
