"""Folders for a while only: gone at the end or, where that was a kill, when the next run makes one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from shared_spec.files import whole


def clean() -> None:
    """Remove what killed runs left among the system's temporary files."""
    whole.clean(Path(tempfile.gettempdir()), os.getpid())


def made() -> tempfile.TemporaryDirectory[str]:
    """A fresh folder among the system's temporary files. Raises OSError where none can be made."""
    clean()
    return tempfile.TemporaryDirectory(prefix=whole.mark(), ignore_cleanup_errors=True)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """The same, as long as the block takes."""
    with made() as name:
        yield Path(name)
