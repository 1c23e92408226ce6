"""TensorFlow's checkpoints, without TensorFlow: `NAME.index`, and the values beside it, `NAME.data-00000-of-00001`.

TensorFlow's own reader ends the process where an index says what cannot be (a negative length, a hundred dimensions too
many), and takes ten seconds to load. The format is small: tensorflow/core/util/tensor_bundle/tensor_bundle.h, and the
table of LevelDB in tensorflow/core/lib/io/format.h.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isogru.weight_files import plain
from isogru.weight_files.contents import Contents, Tensor
from shared_spec.errors import InterchangeError
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import FLOATS, widened

KIND = "a TensorFlow checkpoint"
ENDINGS = (".index", ".data-00000-of-00001")

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
"""The end of a table."""
FOOTER = 48
LARGEST_INDEX = 2**26
MOST_NAMES = 2**26
"""Bytes that all names together may take. A table stores of a name only what differs from the one before."""
MOST_DIMENSIONS = 32

# tensorflow/core/framework/types.proto. Text, resources and variants are no weights.
DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64", 10: "bool", 14: "bfloat16",
    17: "uint16", 19: "float16", 22: "uint32", 23: "uint64", 24: "float8_e5m2", 25: "float8_e4m3fn",
}  # fmt: skip

VALUES = re.compile(r"(.+)\.data-\d{5}-of-\d{5}", re.DOTALL)
# TensorFlow 2 has a variable under its path through the objects, with this after it.
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
KEPT_BESIDE = re.compile(r"/\.OPTIMIZER_SLOT/|(^|/)(optimizer|keras_api)/.*/\.ATTRIBUTES/|^save_counter/")
# TensorFlow 1 has what an optimizer keeps of a variable under the variable's name.
SLOT = re.compile(r"(.+)/(Adam|Adagrad|Adadelta|Momentum|RMSProp|Ftrl)(_\d)?")


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool


def recognises(head: bytes, path: Path) -> bool:
    """An index by how it ends, or values whose index stands beside them."""
    index = _index(path)
    try:
        with index.open("rb") as file:
            return index.stat().st_size >= FOOTER and file.seek(-len(MAGIC), 2) > 0 and file.read() == MAGIC
    except OSError:
        return False


def read(path: Path) -> Contents:
    """The variables by their names, in the order of these, since an index has no other.

    The state of an optimizer and what TensorFlow keeps for itself are left out.
    """
    index = _index(path)
    try:
        if index.stat().st_size > LARGEST_INDEX:
            raise ValueError("it is larger than any index")
        table = _table(index.read_bytes())
        header = dict(_fields(table.pop(b"", b"")))
        entries = {key.decode(): _entry(value) for key, value in table.items() if not key.startswith(b"\x00")}
    except (ValueError, IndexError, OSError) as error:
        raise InterchangeError(f"{index}: damaged or truncated ({error}); copy or save the checkpoint again") from None
    shards = header.get(1, 0)
    if not isinstance(shards, int) or not 0 < shards < 10**5 or header.get(2, 0) != 0:
        raise InterchangeError(
            f"{index}: no checkpoint of a kind that is read; save it with tf.train.Checkpoint or Saver"
        )
    tensors: dict[str, Tensor] = {}
    for key, entry in sorted(entries.items(), key=lambda item: _numbered(item[0])):
        slot = SLOT.fullmatch(key)
        if entry.dtype == "" or KEPT_BESIDE.search(key) or (slot and slot[1] in entries):
            continue
        name = key.removesuffix(VALUE)
        if name in tensors:
            raise InterchangeError(
                f"{index}: damaged: there are two variables of the name {_shown(name)}; save it again"
            )
        values = index.with_name(f"{index.name.removesuffix('.index')}.data-{entry.shard:05d}-of-{shards:05d}")
        _check(index, name, entry, values)
        load = functools.partial(_load, values, name, entry)
        tensors[name] = Tensor(entry.shape, entry.dtype, load)
    return Contents(path, KIND, tensors, ordered=False)


def _index(path: Path) -> Path:
    found = VALUES.fullmatch(path.name)
    return path.with_name(f"{found[1]}.index") if found else path


def _numbered(name: str) -> list[tuple[int, str]]:
    """For sorting: layer-10 after layer-9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", name)]


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]


def _check(index: Path, name: str, entry: _Entry, values: Path) -> None:
    needed = plain.length(entry.dtype, entry.shape)
    try:
        there = values.stat().st_size
    except OSError:
        raise InterchangeError(
            f"{index}: {_shown(name)} lies in {values.name}, which is not beside it; copy both"
        ) from None
    if not entry.sliced and (entry.size != needed or entry.offset + entry.size > there):
        raise InterchangeError(
            f"{index}: damaged or truncated: {_shown(name)} needs {needed} bytes, which {values.name} has not; "
            "copy or save the checkpoint again"
        )


def _load(values: Path, name: str, entry: _Entry) -> Array:
    if entry.sliced:
        raise InterchangeError(
            f"{values}: {_shown(name)} is stored in slices, which are not read; save it unpartitioned"
        )
    try:
        with values.open("rb") as file:
            file.seek(entry.offset)
            raw = file.read(entry.size)
    except OSError as error:
        raise InterchangeError(f"{values}: {_shown(name)} cannot be read ({error.strerror})") from None
    if len(raw) != entry.size or _masked(raw) != entry.checksum:
        raise InterchangeError(
            f"{values}: damaged: {_shown(name)} is not what its checksum says; copy or save it again"
        )
    if entry.dtype in FLOATS:
        return widened(raw, entry.dtype, entry.shape)
    array: Array = np.frombuffer(raw, np.dtype(entry.dtype).newbyteorder("<")).reshape(entry.shape)
    return array


def _table(content: bytes) -> dict[bytes, bytes]:
    """The keys and values of a table. Raises ValueError or IndexError for a damaged one."""
    if content[-len(MAGIC) :] != MAGIC or len(content) < FOOTER:
        raise ValueError("it does not end as an index does")
    footer = content[-FOOTER:]
    at = _handle(footer, _handle(footer, 0)[2])
    found: dict[bytes, bytes] = {}
    taken = blocks = 0
    for _, handle in _block(content, *at[:2]):
        start, size, _ = _handle(handle, 0)
        blocks += size
        if blocks > len(content):
            raise ValueError("it names a block twice")
        for key, value in _block(content, start, size):
            taken += len(key)
            if key in found or taken > MOST_NAMES:
                raise ValueError("it has a name twice, or names without end")
            found[key] = value
    return found


def _block(content: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The entries of one block: each key by what it shares with the one before."""
    block, trailer = content[start : start + size], content[start + size : start + size + 5]
    if len(block) < max(size, 4) or len(trailer) < 5 or start < 0:
        raise ValueError("a block lies outside it")
    if _masked(block + trailer[:1]) != int.from_bytes(trailer[1:], "little"):
        raise ValueError("a block is not what its checksum says")
    if trailer[0]:
        raise ValueError("a block is packed, which is not read")
    end, at, key = size - 4 - 4 * int.from_bytes(block[-4:], "little"), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if at + own + length > end or shared > len(key):
            raise ValueError("an entry lies outside its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _handle(raw: bytes, at: int) -> tuple[int, int, int]:
    """Where a block lies, its size, and where the next thing begins."""
    start, at = _varint(raw, at)
    size, at = _varint(raw, at)
    return start, size, at


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        value |= (raw[at] & 0x7F) << shift
        at += 1
        if raw[at - 1] < 0x80:
            return value, at
    raise ValueError("a number in it has no end")


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer, by number. protobuf.dev/programming-guides/encoding"""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        kind, length = tag & 7, {1: 8, 5: 4}.get(tag & 7)
        if kind == 0:
            value, at = _varint(raw, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            length, at = _varint(raw, at)
        if length is None or at + length > len(raw):
            raise ValueError("an entry of it is cut off")
        piece = raw[at : at + length]
        yield tag >> 3, piece if kind == 2 else int.from_bytes(piece, "little")
        at += length


def _entry(raw: bytes) -> _Entry:
    """Of tensorflow/core/protobuf/tensor_bundle.proto, BundleEntryProto."""
    numbers = dict.fromkeys((1, 3, 4, 5, 6), 0)
    shape: list[int] = []
    sliced = False
    for field, value in _fields(raw):
        sliced |= field == 7
        if field == 2 and isinstance(value, bytes):
            sizes = (
                dict(_fields(part)).get(1, 0) for key, part in _fields(value) if key == 2 and isinstance(part, bytes)
            )
            shape = [size for size in sizes if isinstance(size, int)]
        elif field in numbers and isinstance(value, int):
            numbers[field] = value
    # Negative numbers come as what they are modulo 2^64.
    if (
        max([*numbers.values(), *shape, math.prod(shape)]) >= 2**60
        or len(shape) > MOST_DIMENSIONS
        or numbers[3] >= 10**5
    ):
        raise ValueError("it announces sizes that nothing has")
    dtype = DTYPES.get(numbers[1], "")
    return _Entry(dtype, tuple(shape), numbers[3], numbers[4], numbers[5], numbers[6], sliced)


def _masked(raw: bytes) -> int:
    """TensorFlow's checksum: CRC-32C, rotated and moved."""
    crc = _crc32c(raw)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@functools.cache
def _crc_table() -> Array:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ 0x82F63B78, table >> 1).astype(np.uint32)
    return table


def _crc32c(raw: bytes) -> int:
    """CRC-32C (RFC 3720, appendix B.4), of many rows of bytes at once, since a row at a time is slow in Python."""
    table, rows = _crc_table(), max(1, math.isqrt(len(raw)) // 4)
    columns = len(raw) // rows
    crcs = np.zeros(rows, np.uint32)
    for column in np.frombuffer(raw[: rows * columns], np.uint8).reshape(rows, columns).T:
        crcs = table[(crcs ^ column) & 0xFF] ^ crcs >> 8
    # What a row's length of zeros does to each bit of what came before.
    powers = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(columns):
        powers = table[powers & 0xFF] ^ powers >> 8
    shifted, crc = [int(power) for power in powers], 0xFFFFFFFF
    for row in crcs:
        moved = 0
        for bit in range(32):
            moved ^= shifted[bit] if crc >> bit & 1 else 0
        crc = moved ^ int(row)
    for byte in raw[rows * columns :]:
        crc = int(table[(crc ^ byte) & 0xFF]) ^ crc >> 8
    return crc ^ 0xFFFFFFFF
