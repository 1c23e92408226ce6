"""Partitioned variables: a checkpoint has each part under a key of its own, which says the name and where it lies.

The key is tensorflow/core/util/saved_tensor_slice_util.cc, EncodeTensorNameSlice, in the OrderedCode of
tensorflow/core/lib/strings/ordered_code.cc: what sorts as the values do.
"""

from __future__ import annotations

from collections.abc import Sequence

from isogru.weight_files.tensorflow.table import fields

WHOLE = -1
"""The length of an axis that is not cut."""
Extents = tuple[tuple[int, int], ...]
"""Of each axis, where a part begins and how long it is."""


def extents(raw: bytes) -> Extents:
    """Of tensorflow/core/framework/tensor_slice.proto. Raises ValueError for a damaged one."""
    extents = []
    for field, part in fields(raw):
        if field == 1 and isinstance(part, bytes):
            numbers = dict(fields(part))
            start, length = numbers.get(1, 0), numbers.get(2, WHOLE)
            if not isinstance(start, int) or not isinstance(length, int) or max(start, length) >= 2**60:
                raise ValueError("a part of a variable lies nowhere")
            extents.append((start, length))
    return tuple(extents)


def key(name: str, part: Extents) -> bytes:
    """The key of a part."""
    return b"".join([_number(0), _escaped(name), _number(len(part)), *(_signed(n) for extent in part for n in extent)])


def _escaped(name: str) -> bytes:
    escapes = {0: b"\x00\xff", 255: b"\xff\x00"}
    return b"".join(escapes.get(byte, bytes([byte])) for byte in name.encode()) + b"\x00\x01"


def _number(value: int) -> bytes:
    digits = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(digits)]) + digits


def _signed(value: int) -> bytes:
    """As many bytes as it takes, of which the first bits say how many: 6 bits of the value in one byte, 7 more in each
    after it.
    """
    size = (value if value >= 0 else ~value).bit_length() // 7 + 1
    ones = (1 << size) - 1 << 8 * size - size
    bits = (value & (1 << 8 * size) - 1) ^ ones
    return bits.to_bytes(size, "big")


def placed(part: Extents, shape: Sequence[int]) -> tuple[slice, ...]:
    """Where a part lies in the whole. Raises ValueError where that is outside of it."""
    if len(part) != len(shape):
        raise ValueError("a part of a variable has other axes")
    slices = []
    for (start, length), whole in zip(part, shape, strict=True):
        end = whole if length == WHOLE else start + length
        if start > end or end > whole:
            raise ValueError("a part of a variable lies outside of it")
        slices.append(slice(start, end))
    return tuple(slices)
