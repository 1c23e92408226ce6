"""safetensors. The header is read by hand, since NumPy has no bfloat16 and no float8 to load one as."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import msgspec

from isogru.weight_files import plain
from isogru.weight_files.contents import Contents
from isogru.weight_files.plain import SIZES, Plain
from shared_spec.errors import InterchangeError
from shared_spec.files import tensors as files
from shared_spec.readings.arithmetic import Array

KIND = "a safetensors file"
ENDINGS = (".safetensors",)

LARGEST_HEADER = 100_000_000
"""safetensors' own limit, in bytes."""
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def recognises(head: bytes, path: Path) -> bool:
    """A length of eight bytes and a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LARGEST_HEADER


def read(path: Path) -> Contents:
    """The tensors by name, and the metadata."""
    arrays, metadata = _header(path)
    tensors = {name: array.tensor(path, name) for name, array in arrays.items()}
    return Contents(path, KIND, tensors, metadata=metadata, ordered=False)


def _header(path: Path) -> tuple[dict[str, Plain], dict[str, str]]:
    """Where each tensor lies, and the metadata. Raises InterchangeError where tensors overlap, or leave gaps."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, LARGEST_HEADER):
            raise InterchangeError(f"{path}: damaged or truncated: its header says {length} bytes, the file has {size}")
        header = file.read(length)
    try:
        raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        metadata = msgspec.json.decode(raw.pop("__metadata__", msgspec.Raw(b"{}")), type=dict[str, str] | None) or {}
        entries = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InterchangeError(f"{path}: damaged: its header cannot be read ({error})") from None
    arrays = {}
    end = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        dtype, shape = DTYPES.get(entry.dtype, entry.dtype), tuple(entry.shape)
        first, last = (8 + length + offset for offset in entry.data_offsets)
        needed = math.prod(shape) * SIZES[dtype] if dtype in SIZES else last - first
        if any(n < 0 for n in shape) or first != end or last - first != needed or last > size:
            raise InterchangeError(f"{path}: damaged or truncated: tensor {name!r} does not lie where its header says")
        end = last
        arrays[name] = Plain(shape, dtype, ((first, last - first),))
    return {name: arrays[name] for name in entries}, metadata


def write(path: Path, tensors: Mapping[str, Array], metadata: dict[str, str]) -> None:
    """A new file, whole or not at all."""
    files.write(path, tensors, metadata)


def fill(template: Path, path: Path, tensors: Mapping[str, Array]) -> None:
    """The template with some tensors replaced."""
    plain.fill(template, path, _header(template)[0], tensors)
