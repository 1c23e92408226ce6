"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import socket
import stat
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from shared_spec.errors import UserError

_MADE = re.compile(r"\.?isogru-([0-9a-f]{8})-(\d{1,10})-\w{8}(\.part)?")


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside and renames it: a reader, or a second writer, never meets half of one."""
    with whole(path) as beside:
        beside.write_bytes(content)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Several files that belong together: where one cannot be written, none is another than it was."""
    with contextlib.ExitStack() as stack:
        for path, content in contents.items():
            beside = stack.enter_context(whole(path))
            try:
                beside.write_bytes(content)
            except OSError as error:
                raise _unwritten(path, error) from None


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
    """A file beside, to be written, which takes the place of `path` at the end, with the rights of the one before; of a
    symbolic link that of what it leads to. Raises UserError where it cannot, and for what is there and no regular file.
    """
    target = Path(os.path.realpath(path))
    mode = None
    try:
        with contextlib.suppress(FileNotFoundError):
            mode = target.stat().st_mode
    except OSError as error:
        raise _unwritten(path, error) from None
    if mode is not None and not stat.S_ISREG(mode):
        what = "is a directory" if stat.S_ISDIR(mode) else "is no regular file"
        raise UserError(f"{path}: cannot be written: it {what}; name a file")
    with replaced(target, path, mode) as beside:
        yield beside


@contextlib.contextmanager
def replaced(target: Path, path: Path | None = None, mode: int | None = None) -> Iterator[Path]:
    """A file beside `target`, which takes its place at the end whatever that is; told of as `path`."""
    beside = target.parent / f".{mark()}{uuid.uuid4().hex[:8]}.part"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        clean(target.parent, os.getpid())
        yield beside
        if mode is not None:
            beside.chmod(stat.S_IMODE(mode))
        beside.replace(target)
    except OSError as error:
        raise _unwritten(path or target, error) from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def _unwritten(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be written: {error.strerror or error}")


def mark() -> str:
    """How a name begins of what this process makes for a while only."""
    return f"isogru-{_host()}-{os.getpid()}-"


@functools.cache
def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


@functools.cache
def clean(folder: Path, process: int) -> None:
    """Once for each folder that a process writes to: what runs left behind that were killed while they wrote."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in [each for each in entries if _is_left(each.name)]:
            # In a folder for everybody, what is somebody else's stays.
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    Path(entry.path).unlink()


def _is_left(name: str) -> bool:
    """Whether it was made for a while only, on this machine, by a process that is no more."""
    made = _MADE.fullmatch(name)
    if made is None or made[1] != _host():
        return False
    try:
        os.kill(int(made[2]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        pass  # Somebody else's, who is alive.
    return False
