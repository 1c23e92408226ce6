"""Arrays that lie in a file as plain bytes: found without being loaded, loaded when asked for, replaced in a copy."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from isogru.weight_files.contents import Tensor
from shared_spec.errors import InterchangeError
from shared_spec.files.whole import write_patched
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import FLOATS, widened

MOST_AXES = 32
"""Those of an array of NumPy 1."""
SIZES = {
    "bool": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8,
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "complex64": 8, "complex128": 16,
}  # fmt: skip
"""The bytes of one element, by dtypes that are read."""
FILLED = ("float16", "float32", "float64")


class Stream:
    """A file from its first byte to its last. Nothing longer than what is left is ever asked of it."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path, self.file = path, file
        self.at, self.size = 0, os.fstat(file.fileno()).st_size

    @property
    def left(self) -> int:
        """Bytes."""
        return self.size - self.at

    def damaged(self, why: str) -> InterchangeError:
        """What to raise."""
        return InterchangeError(f"{self.path}: damaged or truncated: {why}; save it again")

    def read(self, count: int, what: str) -> bytes:
        """The next bytes."""
        self._fits(count, what)
        raw = self.file.read(count)
        if len(raw) != count:
            raise self.damaged(f"it ends within {what}")
        self.at += count
        return raw

    def skip(self, count: int, what: str) -> int:
        """Where the bytes lie that are passed over."""
        self._fits(count, what)
        start = self.at
        self.at += count
        self.file.seek(self.at)
        return start

    def numbers(self, layout: str, what: str) -> tuple[int, ...]:
        """The next numbers, little-endian, by their letters in the module struct."""
        return struct.unpack(f"<{layout}", self.read(struct.calcsize(f"<{layout}"), what))

    def several(self, count: int, least: int, what: str) -> int:
        """The count, where so many of at least so many bytes each can follow."""
        if count * least > self.left:
            raise self.damaged(f"it announces {count} {what}, and {self.left} bytes are left")
        return count

    def _fits(self, count: int, what: str) -> None:
        if count > self.left:
            raise self.damaged(f"{what} takes {count} bytes, and {self.left} are left")


@dataclass(frozen=True)
class Plain:
    """An array in a file: little-endian, the last axis fastest."""

    shape: tuple[int, ...]
    dtype: str
    pieces: tuple[tuple[int, int], ...]
    """Where its bytes lie, and how many."""
    lack: str = ""
    """Why it cannot be loaded: "is sparse; save it dense"."""

    def tensor(self, path: Path, name: str) -> Tensor:
        """It, to be loaded from that file."""

        def load() -> Array:
            if self.lack:
                raise InterchangeError(f"{path}: array {name!r} {self.lack}")
            if self.dtype not in SIZES:
                raise InterchangeError(f"{path}: array {name!r} is of dtype {self.dtype!r}, which is not read")
            try:
                with path.open("rb") as file:
                    raw = b"".join(_at(file, start, count) for start, count in self.pieces)
                if self.dtype in FLOATS:
                    return widened(raw, self.dtype, self.shape)
                whole: Array = np.frombuffer(raw, np.dtype(self.dtype).newbyteorder("<")).reshape(self.shape)
                return whole
            except (OSError, ValueError) as error:
                raise InterchangeError(f"{path}: array {name!r} cannot be read ({error}); save it again") from None

        return Tensor(self.shape, self.dtype, load)


def _at(file: IO[bytes], start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def length(dtype: str, shape: tuple[int, ...]) -> int:
    """The bytes of an array."""
    return math.prod(shape) * SIZES[dtype]


def memory(array: Array) -> memoryview:
    """The bytes of an array as they are written; a view of it where it has them so."""
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    return flat.view(np.uint8).data


def name_as_bytes(path: Path, name: str) -> bytes:
    """A name as it is stored. Raises InterchangeError for half a surrogate pair, which UTF-8 does not have."""
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise InterchangeError(f"{path}: the name {name!r} cannot be written in UTF-8; rename it") from None


def fill(template: Path, path: Path, there: Mapping[str, Plain], tensors: Mapping[str, Array]) -> None:
    """A copy of the template with the values of some arrays replaced, and every other byte as it was."""
    write_patched(template, path, _pieces(template, there, tensors))


def _pieces(
    template: Path, there: Mapping[str, Plain], tensors: Mapping[str, Array]
) -> Iterator[tuple[int, memoryview]]:
    """Where each piece of the new values begins, and the piece."""
    for name, values in tensors.items():
        array = there.get(name)
        if array is None:
            raise InterchangeError(f"{template}: it has no array of the name {name!r}; give a template that has it")
        if array.lack or array.dtype not in FILLED:
            raise InterchangeError(
                f"{template}: array {name!r} {array.lack or f'is {array.dtype}, which is not filled'}"
            )
        if values.shape != array.shape:
            raise InterchangeError(f"{template}: array {name!r} has the shape {array.shape}, its values {values.shape}")
        with np.errstate(all="ignore"):
            cast = values.astype(array.dtype, copy=False)
        if cast is not values and not np.array_equal(cast, values, equal_nan=True):
            raise InterchangeError(
                f"{template}: array {name!r} is {array.dtype}, which does not hold the values of {values.dtype}; "
                f"give a template of {values.dtype}"
            )
        raw, taken = memory(cast), 0
        for start, count in array.pieces:
            yield start, raw[taken : taken + count]
            taken += count
