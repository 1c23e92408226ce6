"""The file NAME.index of a checkpoint: a table of LevelDB, tensorflow/core/lib/io/format.h, whose values are protocol
buffers, with TensorFlow's checksums.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np

from shared_spec.readings.arithmetic import Array

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
"""The end of a table."""
FOOTER = 48
MOST_NAMES = 2**26
"""Bytes that all names together may take. A table stores of a name only what differs from the one before."""


def table(content: bytes) -> dict[bytes, bytes]:
    """The keys and values of a table. Raises ValueError or IndexError for a damaged one."""
    if content[-len(MAGIC) :] != MAGIC or len(content) < FOOTER:
        raise ValueError("it does not end as an index does")
    footer = content[-FOOTER:]
    at = _handle(footer, _handle(footer, 0)[2])
    entries: dict[bytes, bytes] = {}
    taken = blocks = 0
    for _, handle in _block(content, *at[:2]):
        start, size, _ = _handle(handle, 0)
        blocks += size
        if blocks > len(content):
            raise ValueError("it names a block twice")
        for key, value in _block(content, start, size):
            taken += len(key)
            if key in entries or taken > MOST_NAMES:
                raise ValueError("it has a name twice, or names without end")
            entries[key] = value
    return entries


def _block(content: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The entries of one block: each key by what it shares with the one before."""
    block, trailer = content[start : start + size], content[start + size : start + size + 5]
    if len(block) < max(size, 4) or len(trailer) < 5 or start < 0:
        raise ValueError("a block lies outside it")
    if masked(block + trailer[:1]) != int.from_bytes(trailer[1:], "little"):
        raise ValueError("a block is not what its checksum says")
    if trailer[0]:
        raise ValueError("a block is packed, which is not read")
    end, at, key = size - 4 - 4 * int.from_bytes(block[-4:], "little"), 0, b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        length, at = varint(block, at)
        if at + own + length > end or shared > len(key):
            raise ValueError("an entry lies outside its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _handle(raw: bytes, at: int) -> tuple[int, int, int]:
    """Where a block lies, its size, and where the next thing begins."""
    start, at = varint(raw, at)
    size, at = varint(raw, at)
    return start, size, at


def varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        value |= (raw[at] & 0x7F) << shift
        at += 1
        if raw[at - 1] < 0x80:
            return value, at
    raise ValueError("a number in it has no end")


def fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer, by number. protobuf.dev/programming-guides/encoding"""
    at = 0
    while at < len(raw):
        tag, at = varint(raw, at)
        kind, length = tag & 7, {1: 8, 5: 4}.get(tag & 7)
        if kind == 0:
            value, at = varint(raw, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            length, at = varint(raw, at)
        if length is None or at + length > len(raw):
            raise ValueError("an entry of it is cut off")
        piece = raw[at : at + length]
        yield tag >> 3, piece if kind == 2 else int.from_bytes(piece, "little")
        at += length


def masked(raw: bytes) -> int:
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
