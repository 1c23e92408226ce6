"""The door that files come in by: a regular file of a bounded size, decoded into a type, or refused in one sentence.

What is no regular file is never waited for: a FIFO, a device. What is no UTF-8, nests too deep, holds numbers that no
machine has, or is not of the type that is asked for, is refused with the file, the place in it, and what to do.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from shared_spec.errors import InterchangeError

MOST = 2**30
"""Bytes that are read into memory at once."""
LONGEST = 1000
"""Characters of a name, a version or a setting."""
UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, MemoryError)
"""What decoders raise on bytes that are not what they should be. ValueError is that of texts that are no UTF-8, too."""

Kind = TypeVar("Kind")


class MissingError(InterchangeError):
    """There is no such file."""


@contextlib.contextmanager
def opened(path: Path, remedy: str = "") -> Iterator[IO[bytes]]:
    """A regular file, open for reading. Raises MissingError where there is none, InterchangeError for what is no
    regular file or cannot be read, while it is opened and while it is used.
    """
    try:
        # Without O_NONBLOCK a FIFO would wait for somebody who writes to it.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(number, "rb") as file:
            _check(path, os.fstat(number).st_mode)
            yield file
    except OSError as error:
        raise _unreadable(path, error, remedy) from None


def check(path: Path, remedy: str = "") -> None:
    """The same without opening it, for who can be given a path alone."""
    try:
        _check(path, path.stat().st_mode)
        if not os.access(path, os.R_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise _unreadable(path, error, remedy) from None


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise InterchangeError(f"{path}: a directory; name a file")
    if not stat.S_ISREG(mode):
        raise InterchangeError(f"{path}: no regular file; copy what it gives into one, and name that")


def _unreadable(path: Path, error: OSError, remedy: str) -> InterchangeError:
    told = f"; {remedy}" if remedy else ""
    if isinstance(error, FileNotFoundError):
        return MissingError(f"{path}: no such file{told}")
    return InterchangeError(f"{path}: cannot be read: {error.strerror or error}{told}")


def content(path: Path, remedy: str = "") -> bytes:
    """The bytes of a file. Raises MissingError and InterchangeError."""
    with opened(path, remedy) as file:
        if (size := os.fstat(file.fileno()).st_size) > MOST:
            raise InterchangeError(f"{path}: {size} bytes, of which at most {MOST} are read{remedy and f'; {remedy}'}")
        return file.read()


def text(path: Path, remedy: str = "") -> str:
    """The text of a file in UTF-8. Raises InterchangeError for what is none."""
    raw = content(path, remedy)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        told = f"byte {error.start} is {raw[error.start]:#04x}"
        raise InterchangeError(f"{path}: no text in UTF-8: {told}{remedy and f'; {remedy}'}") from None


def json(path: Path, kind: type[Kind], remedy: str) -> Kind:
    """What a file of JSON holds, as a type. Raises MissingError and InterchangeError, with the place and the remedy."""
    return decoded(content(path, remedy), kind, path, remedy)


def decoded(raw: bytes | str, kind: type[Kind], what: object, remedy: str) -> Kind:
    """JSON as a type; `what` is told where it is not."""
    try:
        value: Kind = msgspec.json.decode(raw, type=kind)
        return value
    except UNDECODABLE as error:
        raise InterchangeError(f"{what}: damaged: {words(error)}; {remedy}") from None


def check_texts(path: Path, texts: Mapping[str, str]) -> None:
    """Names and versions go into tables and onto terminals. Raises InterchangeError for what is no line of text."""
    for what, told in texts.items():
        if not told.isprintable() or len(told) > LONGEST:
            raise InterchangeError(
                f"{path}: {what} is {told[:60]!r}, should be a line of text of at most {LONGEST} characters"
            )


def words(error: Exception) -> str:
    """What is wrong, and where, such as "rule.worst_case: expected float, got str"."""
    if isinstance(error, RecursionError):
        return "it nests too deep"
    if isinstance(error, UnicodeDecodeError):
        return f"not all of it is text in UTF-8 ({error})"
    if not isinstance(error, msgspec.ValidationError):
        return f"{error}" or type(error).__name__
    said, _, place = str(error).partition(" - at `$")
    said = re.sub(r"Expected `str` matching regex '\^\((.+)\)\\+Z'", _choice, said).replace("`", "")
    place = place.rstrip("`").removeprefix(".")
    return f"{place}{': ' if place else ''}{said[:1].lower()}{said[1:]}"


def _choice(of: re.Match[str]) -> str:
    return f"must be one of {', '.join(of[1].split('|'))}"
