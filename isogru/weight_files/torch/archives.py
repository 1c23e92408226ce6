"""The zip archives that PyTorch writes, without PyTorch: what they hold, and tensors by their place in a member."""

from __future__ import annotations

import contextlib
import io
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isogru.weight_files.contents import Tensor
from isogru.weight_files.plain import SIZES
from isogru.weight_files.torch.names import said
from isogru.weight_files.torch.records import Record, Stored
from shared_spec.errors import InterchangeError
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import FLOATS, widened

ERRORS = (
    zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError, EOFError, struct.error, zlib.error,
    IndexError, OverflowError, MemoryError,
)  # fmt: skip
"""What zipfile raises for what is damaged."""

EXPANDED = 2**28
"""Bytes that a tensor may take which repeats the few that it stores."""

STORAGES = {
    "torch.DoubleStorage": "float64", "torch.FloatStorage": "float32", "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16", "torch.LongStorage": "int64", "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16", "torch.CharStorage": "int8", "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool", "torch.QInt8Storage": "int8", "torch.QUInt8Storage": "uint8",
    "torch.QInt32Storage": "int32", "torch.ComplexFloatStorage": "complex64",
    "torch.ComplexDoubleStorage": "complex128", "torch.UntypedStorage": "uint8",
    "torch.storage.UntypedStorage": "uint8",
}  # fmt: skip


class Archive:
    """A zip archive whose members all lie in one folder, as PyTorch's do, and are not compressed."""

    def __init__(self, path: Path, inner: io.BytesIO | None = None) -> None:
        """`inner` is an archive that is a member of the file."""
        self.path = path
        self._source = inner or path
        try:
            size = inner.getbuffer().nbytes if inner else path.stat().st_size
            with zipfile.ZipFile(self._source) as archive:
                members = archive.infolist()
        except ERRORS as error:
            raise self.damaged(error) from None
        # `torch.export` of PyTorch before 2.8 has no folder.
        folders = {info.filename.partition("/")[0] for info in members if "/" in info.filename}
        flat = any("/" not in info.filename for info in members)
        if len(folders) > 1 and not flat:
            raise self.damaged("it has several folders")
        self._folder = "" if flat else "".join(folders) + "/"
        self.sizes: dict[str, int] = {}
        for info in members:
            name = info.filename.removeprefix(self._folder)
            if name in self.sizes:
                raise self.damaged(f"it has two members of the name {said(name)}")
            if info.compress_type == zipfile.ZIP_STORED and info.header_offset + info.file_size > size:
                raise self.damaged(f"its member {said(name)} announces {info.file_size} bytes, the file has {size}")
            self.sizes[name] = info.file_size if info.compress_type == zipfile.ZIP_STORED else -1

    def damaged(self, why: object) -> InterchangeError:
        """The error of a file that cannot be read."""
        return InterchangeError(f"{self.path}: damaged or truncated ({why}); save the weights again")

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """A member, or so many bytes of it. Raises InterchangeError where there are fewer."""
        if name not in self.sizes:
            raise self.damaged(f"it has no member {said(name)}")
        if self.sizes[name] < 0:
            # PyTorch compresses code alone. A small member may unpack to more than there is memory.
            raise InterchangeError(f"{self.path}: its member {said(name)} is compressed; save the weights again")
        length = self.sizes[name] - start if length is None else length
        try:
            with zipfile.ZipFile(self._source) as archive, archive.open(f"{self._folder}{name}") as member:
                member.seek(start)
                raw = member.read(length)
        except (*ERRORS, KeyError) as error:
            raise self.damaged(f"its member {said(name)}: {error}") from None
        if len(raw) < length:
            raise self.damaged(f"its member {said(name)} ends too early")
        return raw

    def text(self, name: str, most: int) -> str:
        """The beginning of a member that may be compressed, at most so many bytes. PyTorch compresses code."""
        try:
            with zipfile.ZipFile(self._source) as archive, archive.open(f"{self._folder}{name}") as member:
                return member.read(most).decode("utf-8", "replace")
        except (*ERRORS, KeyError) as error:
            raise self.damaged(f"its member {said(name)}: {error}") from None

    def little_endian(self) -> None:
        """Raises InterchangeError where numbers have their high byte first."""
        if "byteorder" in self.sizes and self.read("byteorder") != b"little":
            raise InterchangeError(
                f"{self.path}: written on a big-endian machine; torch.load and torch.save it there again"
            )


@dataclass(frozen=True)
class Laid:
    """Where a tensor lies: so many elements into a member, and how many elements apart."""

    member: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def check(self, archive: Archive, name: str) -> None:
        """Raises InterchangeError where the member holds less."""
        numbers = (self.offset, *self.shape, *self.strides)
        if len(self.shape) != len(self.strides) or not all(type(n) is int and 0 <= n < 2**48 for n in numbers):
            raise archive.damaged(f"tensor {said(name)} has no sensible shape")
        there = archive.sizes.get(self.member)
        if there is None:
            raise archive.damaged(f"tensor {said(name)} lies in {said(self.member)}, which is not there")
        if (needed := (self.offset + self._span()) * SIZES[self.dtype]) > there >= 0:
            raise archive.damaged(f"tensor {said(name)} announces {needed} bytes, and {there} are there")
        if math.prod(self.shape) * SIZES[self.dtype] > max(there, EXPANDED):
            raise archive.damaged(f"tensor {said(name)} announces {math.prod(self.shape)} elements, and has few")

    def _span(self) -> int:
        if 0 in self.shape:
            return 0
        return 1 + sum((n - 1) * apart for n, apart in zip(self.shape, self.strides, strict=True))

    def load(self, archive: Archive) -> Array:
        """Its elements, floats widened."""
        span, size = self._span(), SIZES[self.dtype]
        raw = archive.read(self.member, self.offset * size, span * size)
        if self.dtype in FLOATS:
            flat = widened(raw, self.dtype, (span,))
        else:
            flat = np.frombuffer(raw, np.dtype(self.dtype).newbyteorder("<"))
        if not span:
            return flat.reshape(self.shape)
        apart = tuple(stride * flat.itemsize for stride in self.strides)
        array: Array = np.lib.stride_tricks.as_strided(flat, self.shape, apart).copy()
        return array


def tensor(archive: Archive, name: str, record: Record, folder: str, note: str = "") -> Tensor:
    """A tensor by what its pickle says of it; `folder` holds the storages. Raises InterchangeError for nonsense."""
    record = bare(record)
    with contextlib.suppress(TypeError, ValueError, IndexError, AttributeError, KeyError):
        if record.kind in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"):
            laid = _laid(record, folder)
            laid.check(archive, name)
            return Tensor(laid.shape, laid.dtype, lambda: laid.load(archive), note)
        if record.kind == "torch._utils._rebuild_qtensor":
            return _quantized(archive, name, record, folder)
    what = said(record.kind.removeprefix("torch._utils._rebuild_"))

    def load() -> Array:
        raise InterchangeError(f"{archive.path}: {said(name)} is of a kind that is not read, {what}; save it dense")

    return Tensor((), what, load)


def is_tensor(value: Any) -> bool:
    """Whether a value is one."""
    return isinstance(value, Record) and value.kind.startswith("torch._utils._rebuild_")


def bare(record: Record) -> Record:
    """The tensor of a parameter."""
    for _ in range(4):
        if record.kind.startswith("torch._utils._rebuild_parameter") and is_tensor(record.arguments[0]):
            record = record.arguments[0]
    return record


def _laid(record: Record, folder: str) -> Laid:
    storage, offset, shape, strides, *more = record.arguments
    dtype = dtype_of(storage)
    if record.kind.endswith("_v3"):
        dtype = more[2].name.removeprefix("torch.")
        if dtype not in SIZES:
            raise KeyError(dtype)
    return Laid(f"{folder}/{storage.identity[2]}", dtype, offset, tuple(shape), tuple(strides))


def dtype_of(storage: Stored) -> str:
    """Of what a storage is made. Raises KeyError or AttributeError for what is none."""
    return STORAGES[storage.identity[1].name]


def _quantized(archive: Archive, name: str, record: Record, folder: str) -> Tensor:
    """Integers with their scale beside them: one for all, or one for each slice along an axis."""
    laid = _laid(record, folder)
    laid.check(archive, name)
    scheme, *given = record.arguments[4]
    if scheme.name == "torch.per_tensor_affine":
        scale, zero = (float(given[0]), int(given[1]))
        note = f"dequantised: {laid.dtype} times {scale:.6g}"

        def load() -> Array:
            return dequantized(laid.load(archive), np.array(scale), np.array(zero), "float32")
    elif scheme.name == "torch.per_channel_affine":
        scales, zeros = (tensor(archive, name, each, folder) for each in given[:2])
        axis, apart = int(given[2]), [1] * len(laid.shape)
        apart[axis] = laid.shape[axis]
        note = f"dequantised: {laid.dtype} times a scale for each slice along axis {axis}"

        def load() -> Array:
            each = (scales.load().reshape(apart), zeros.load().reshape(apart))
            return dequantized(laid.load(archive), *each, "float64")
    else:
        raise ValueError

    return Tensor(laid.shape, "float32", load, note)


def dequantized(whole: Array, scale: Array, zero: Array, dtype: str) -> Array:
    """What quantised numbers stand for, in float32. torch's `dequantize` multiplies in float32 where one scale is for
    all, and in float64 where there are several.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        value: Array = ((whole.astype(np.int64) - zero).astype(dtype) * scale.astype(dtype)).astype(np.float32)
    return value
