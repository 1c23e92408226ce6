"""Tensors of an ONNX model: where their data lie, in the model or in a file beside it, and how they are read."""

from __future__ import annotations

import math
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from isogru.weight_files.onnx.wire import whereabouts
from isogru.weight_files.plain import SIZES
from shared_spec.errors import InterchangeError
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import FLOATS, widened

# onnx/onnx.proto, TensorProto.DataType.
DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1", 24: "float8_e8m0", 25: "uint2", 26: "int2",
}  # fmt: skip
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")
EXTERNAL = 1


@dataclass(frozen=True)
class Leaf:
    """A tensor that stands in the file."""

    at: int
    """Where its TensorProto begins in the model: what tells it from all others."""
    name: str
    shape: tuple[int, ...]
    dtype: str
    raw: Callable[[], bytes]
    """Its data as memory. Raises InterchangeError."""
    load: Callable[[], Array]
    external: bool


def shown(name: str) -> str:
    """A name as a message shows it: no lines, no escape codes."""
    return name if name.isprintable() else ascii(name)[1:-1]


def texts(entries: Any) -> dict[str, str]:
    """Pairs of texts; what is no text, protobuf gives as bytes."""
    return {entry.key: entry.value for entry in entries if isinstance(entry.key, str) and isinstance(entry.value, str)}


def width(dtype: str) -> int | None:
    """The bytes of an element; None for what is not read."""
    return SIZES[dtype] if dtype in FLOATS or dtype in INTEGERS else None


def leaf(path: Path, proto: Any, name: str) -> Leaf:
    """A tensor of a model that `wire.without_data` went over. Raises InterchangeError."""
    said = f"{path}: tensor {shown(name)}"
    at, start, length = whereabouts(proto.doc_string)
    shape, dtype = tuple(proto.dims), DTYPES.get(proto.data_type, f"number {proto.data_type}")
    if any(n < 0 for n in shape):
        raise InterchangeError(f"{said} has the shape {shape}; the file is damaged, get it anew")
    each = width(dtype)
    needed = None if each is None else each * math.prod(shape)
    external = proto.data_location == EXTERNAL
    if external:
        raw = _beside(path, said, texts(proto.external_data), needed)
    elif start >= 0:
        if needed not in (None, length):
            raise InterchangeError(
                f"{said} of {dtype} and the shape {shape} has {length} bytes; the file is damaged, get it anew"
            )
        raw = _inside(path, said, start, length)
    else:
        raw = _listed(said, proto, dtype, math.prod(shape))

    def load() -> Array:
        if each is None:
            raise InterchangeError(f"{said} is of dtype {dtype}, which is not read")
        try:
            if dtype in FLOATS:
                return widened(raw(), dtype, shape)
            array: Array = np.frombuffer(raw(), np.dtype(dtype).newbyteorder("<")).reshape(shape)
        except (ValueError, OverflowError) as error:
            raise InterchangeError(f"{said} cannot be read ({error}); the file is damaged, get it anew") from None
        return array

    return Leaf(at, name, shape, dtype, raw, load, external)


def encoded(array: Array, dtype: str) -> bytes:
    """Values as memory of a dtype. Raises ValueError for values that it does not hold."""
    array = np.ascontiguousarray(array)
    if dtype == "bfloat16":
        with np.errstate(over="ignore"):
            data = (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    elif dtype in ("float64", "float32", "float16"):
        with np.errstate(over="ignore", under="ignore"):
            data = array.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    else:
        raise ValueError(f"tensors of {dtype} are not written")
    if not np.array_equal(widened(data, dtype, array.shape), array, equal_nan=True):
        raise ValueError(f"{dtype} does not hold the values given; round them first")
    return data


def _read(file: Path, said: str, start: int, length: int) -> bytes:
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InterchangeError(
                f"{said} has its data in {shown(str(file))}, which is no regular file; put one there"
            )
        if start + length > status.st_size:
            raise InterchangeError(
                f"{said} takes {length} bytes from byte {start} on of {shown(str(file))}, which has {status.st_size};"
                " it is truncated, get it anew"
            )
        with file.open("rb") as opened:
            opened.seek(start)
            data = opened.read(length)
    except FileNotFoundError:
        raise InterchangeError(
            f"{said} has its data in {shown(str(file))}, which is missing; put it beside the model"
        ) from None
    except OSError as error:
        raise InterchangeError(f"{said}: {shown(str(file))} cannot be read ({error.strerror})") from None
    if len(data) != length:
        raise InterchangeError(f"{said}: {shown(str(file))} was cut off while it was read; try again")
    return data


def _inside(path: Path, said: str, start: int, length: int) -> Callable[[], bytes]:
    return lambda: _read(path, said, start, length)


def _beside(path: Path, said: str, entries: dict[str, str], needed: int | None) -> Callable[[], bytes]:
    """Data in a file of their own. One that is not in the model's folder is refused at once."""
    location = entries.get("location", "")
    parts = PureWindowsPath(location)
    folder = path.parent.resolve()
    try:
        file = (folder / location).resolve()
        offset, length = (int(entries.get(key, default)) for key, default in (("offset", 0), ("length", needed or 0)))
    except (OSError, RuntimeError, ValueError, TypeError):
        raise InterchangeError(f"{said}: where its data lie cannot be read; the file is damaged, get it anew") from None
    if not location or parts.anchor or ".." in parts.parts or not file.is_relative_to(folder):
        raise InterchangeError(
            f"{said} has its data in {shown(location) or 'a file without a name'}, which is not in the model's folder;"
            " put a copy there, and save the model with its name"
        )
    if offset < 0 or length < 0 or needed not in (None, length):
        raise InterchangeError(
            f"{said} has {length} bytes from byte {offset} on of {shown(location)}, and takes {needed}; the file is"
            " damaged, get it anew"
        )
    return lambda: _read(file, said, offset, length)


def _listed(said: str, proto: Any, dtype: str, count: int) -> Callable[[], bytes]:
    """Data as a list of numbers, one by one. onnx/onnx.proto: which list is whose."""

    def raw() -> bytes:
        lists = {"float32": "float_data", "float64": "double_data", "int64": "int64_data"}
        lists |= dict.fromkeys(("uint32", "uint64"), "uint64_data")
        values = getattr(proto, lists.get(dtype, "int32_data"))
        if len(values) != count:
            raise InterchangeError(
                f"{said} has {len(values)} values and takes {count}; the file is damaged, get it anew"
            )
        # Narrow floats are there by their bits.
        kind = dtype if dtype in (*INTEGERS, "float32", "float64") else f"uint{8 * (width(dtype) or 1)}"
        return np.array(values, kind).astype(np.dtype(kind).newbyteorder("<")).tobytes()

    return raw
