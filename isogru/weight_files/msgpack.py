"""Flax' msgpack files, as flax.serialization.to_bytes and msgpack_serialize write them; read without Flax or msgpack.

The layout is that of flax/serialization.py, 0.12.8: nested maps, in which an array is an extension of type 1 (of type 3
where it is a scalar) that holds its shape, its dtype and its bytes; a large array is a map of such chunks. A library
that decodes msgpack would load every array; here the file is walked, and arrays are stepped over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from isogru.weight_files import plain
from isogru.weight_files.contents import Contents
from isogru.weight_files.plain import MOST_AXES, Plain, Stream
from shared_spec.errors import InterchangeError
from shared_spec.files.whole import write_pieces
from shared_spec.readings.arithmetic import Array

KIND = "a Flax msgpack file"
ENDINGS = (".msgpack",)

# What a first byte announces, and of how many bytes the number is that follows: of items, of bytes, or a value.
SIZED = {
    0xC4: ("bytes", 1), 0xC5: ("bytes", 2), 0xC6: ("bytes", 4), 0xC7: ("extension", 1), 0xC8: ("extension", 2),
    0xC9: ("extension", 4), 0xCC: ("number", 1), 0xCD: ("number", 2), 0xCE: ("number", 4), 0xCF: ("number", 8),
    0xD9: ("text", 1), 0xDA: ("text", 2), 0xDB: ("text", 4), 0xDC: ("list", 2), 0xDD: ("list", 4), 0xDE: ("map", 2),
    0xDF: ("map", 4),
}  # fmt: skip
FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
# Nothing, false, true, floats and negative numbers: the bytes that follow.
OTHERS = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}

ARRAY, SCALAR = 1, 3
"""Types of extensions."""
CHUNKED = "__msgpack_chunked_array__"
CHUNK = 2**30
"""The bytes of the largest array that Flax does not cut into chunks."""
DEEPEST = 64
MOST_VALUES = 1_000_000

Place = tuple[str, ...]
"""The keys that lead to a value."""
Leaf = Plain | int | str
"""An array, a number, or what else it is, in a word."""


def recognises(head: bytes, path: Path) -> bool:
    """A map whose first key is a text: HDF5, pickles, ZIP, NumPy's and all text begin otherwise."""
    first = head[:1]
    start = {b"\xde": 3, b"\xdf": 5}.get(first, 1)
    if not (b"\x81" <= first <= b"\x8f" or start > 1) or len(head) <= start:
        return False
    kind = head[start]
    if 0xA0 <= kind < 0xC0:
        size, length = 0, kind & 31
    elif SIZED.get(kind, ("",))[0] == "text":
        size = SIZED[kind][1]
        length = int.from_bytes(head[start + 1 : start + 1 + size], "big")
    else:
        return False
    key = head[start + 1 + size :][:length]
    after = head[start + 1 + size + length :][:1]
    try:
        key.decode()
    except UnicodeDecodeError as error:
        # A key may go on beyond the head, which then ends within a letter.
        return len(key) < length and error.start > len(key) - 4
    return after != b"\xc1"


def read(path: Path) -> Contents:
    """The arrays by their keys, joined by "/". What an optimizer keeps under opt_state is left out."""
    tensors = {name: array.tensor(path, name) for name, array in _arrays(path).items()}
    return Contents(path, KIND, tensors, ordered=False)


def _arrays(path: Path) -> dict[str, Plain]:
    with path.open("rb") as file:
        stream = Stream(path, file)
        leaves = dict(_Walk(stream).leaves())
        if stream.left:
            raise stream.damaged(f"{stream.left} bytes follow its last value")
        whole = _joined(stream, leaves)
    if not whole:
        there = [f"{_name(place)!r} ({'number' if isinstance(leaf, int) else leaf})" for place, leaf in leaves.items()]
        more = f" and {len(there) - 3} more" if there[3:] else ""
        raise InterchangeError(
            f"{path}: msgpack without any array, but {', '.join(there[:3]) or 'nothing'}{more}; "
            f"save the parameters with flax.serialization.to_bytes"
        )
    kept = {place: array for place, array in whole.items() if "opt_state" not in place} or whole
    tensors: dict[str, Plain] = {}
    for place, array in kept.items():
        if _name(place) in tensors:
            raise InterchangeError(f"{path}: there are two arrays of the name {_name(place)!r}; rename one of them")
        tensors[_name(place)] = array
    return tensors


def _name(place: Place) -> str:
    return "/".join(place)


class _Walk:
    """From value to value; the arrays are passed over."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.values = stream, 0

    def leaves(self, place: Place = ()) -> Iterator[tuple[Place, Leaf]]:
        """What maps and lists hold, in the order of the file."""
        stream, name = self.stream, repr(_name(place))
        self.values += 1
        if self.values > MOST_VALUES or len(place) > DEEPEST:
            raise InterchangeError(
                f"{stream.path}: more than {MOST_VALUES} values or {DEEPEST} levels; save the parameters alone"
            )
        what, count = self.item(name)
        if what in ("map", "list"):
            keys: set[str] = set()
            for number in range(stream.several(count, 1, f"values of {name}")):
                key = str(number) if what == "list" else self.text(("text", "number"), f"a key of {name}")
                if key in keys:
                    raise InterchangeError(
                        f"{stream.path}: two values of the name {_name((*place, key))!r}; rename one"
                    )
                keys.add(key)
                yield from self.leaves((*place, key))
        elif what == "extension":
            (kind,) = stream.numbers("B", name)
            if kind in (ARRAY, SCALAR):
                yield place, self.array(name, stream.at + count)
            else:
                stream.skip(count, name)
                yield place, f"extension {kind}"
        elif what == "number":
            yield place, count
        else:
            stream.skip(count, name)
            yield place, what

    def item(self, name: str) -> tuple[str, int]:
        """What comes next, and the number of its items, of its bytes, or its value where it is a number."""
        first = self.stream.read(1, name)[0]
        if first < 0x80:
            return "number", first
        if first < 0xC0:
            return (
                ("map", first & 15) if first < 0x90 else ("list", first & 15) if first < 0xA0 else ("text", first & 31)
            )
        if first in SIZED:
            what, size = SIZED[first]
            return what, int.from_bytes(self.stream.read(size, name), "big")
        if first in FIXED_EXTENSIONS:
            return "extension", FIXED_EXTENSIONS[first]
        if first == 0xC1:
            raise self.stream.damaged(f"{name} begins with {first:#x}, as nothing in msgpack does")
        return "other", OTHERS.get(first, 0)

    def text(self, kinds: tuple[str, ...], name: str) -> str:
        """A word. Keys may be numbers: those of lists of Flax' nnx are."""
        what, count = self.item(name)
        if what not in kinds:
            raise self.stream.damaged(f"{name} is no text but {what}")
        try:
            return str(count) if what == "number" else self.stream.read(count, name).decode()
        except UnicodeDecodeError:
            raise self.stream.damaged(f"{name} is not UTF-8") from None

    def array(self, name: str, end: int) -> Plain:
        """Shape, dtype and bytes, which end there."""
        if self.item(name) == ("list", 3):
            what, axes = self.item(name)
            if what == "list" and axes <= MOST_AXES:
                lengths = [self.item(name) for _ in range(axes)]
                shape, dtype = (
                    tuple(length for _, length in lengths),
                    self.text(("text", "bytes"), f"the dtype of {name}"),
                )
                what, count = self.item(name)
                exact = dtype not in plain.SIZES or plain.length(dtype, shape) == count
                numbers = all(kind == "number" for kind, _ in lengths)
                if what in ("bytes", "text") and self.stream.at + count == end and numbers and exact:
                    return Plain(shape, dtype, ((self.stream.skip(count, name), count),))
        raise self.stream.damaged(f"{name} is no array as Flax packs it")


def _joined(stream: Stream, leaves: Mapping[Place, Leaf]) -> dict[Place, Plain]:
    """The arrays, and those that lie in chunks joined."""
    cut = {place[:-1] for place in leaves if place[-1:] == (CHUNKED,)}
    tensors: dict[Place, Plain] = {}
    for place, leaf in leaves.items():
        around = next((place[:depth] for depth in range(len(place)) if place[:depth] in cut), None)
        if around is None:
            if isinstance(leaf, Plain):
                tensors[place] = leaf
        elif around not in tensors:
            lengths, chunks = _row(leaves, (*around, "shape")), _row(leaves, (*around, "chunks"))
            shape = tuple(length for length in lengths if isinstance(length, int))
            arrays = [chunk for chunk in chunks if isinstance(chunk, Plain)]
            dtypes = {array.dtype for array in arrays}
            if (
                len(dtypes) != 1
                or (len(shape), len(arrays)) != (len(lengths), len(chunks))
                or math.prod(shape) != sum(math.prod(array.shape) for array in arrays)
                or len(shape) > MOST_AXES
            ):
                raise stream.damaged(f"the chunks of {_name(around)!r} make no array of its shape")
            tensors[around] = Plain(shape, dtypes.pop(), tuple(piece for array in arrays for piece in array.pieces))
    return tensors


def _row(leaves: Mapping[Place, Leaf], place: Place) -> list[Leaf]:
    """What lies under the keys "0", "1", ..."""
    row: list[Leaf] = []
    while (key := (*place, str(len(row)))) in leaves:
        row.append(leaves[key])
    return row


def write(path: Path, tensors: Mapping[str, Array], metadata: dict[str, str]) -> None:
    """A new file, for flax.serialization.msgpack_restore and from_bytes.

    Names are levels, parted by "/", or by "." where no name has a "/".
    """
    between = "/" if any("/" in name for name in tensors) else "."
    arrays = {tuple(name.split(between)): np.asarray(array) for name, array in tensors.items()}
    tree: dict[str, Any] = {}
    for place, array in arrays.items():
        if any(place[:depth] in arrays for depth in range(1, len(place))):
            raise InterchangeError(f"{path}: {between.join(place)!r} lies within another array; rename one of them")
        if array.dtype.name not in plain.SIZES:
            raise InterchangeError(f"{path}: {between.join(place)!r} is of dtype {array.dtype}, which is not written")
        plain.name_as_bytes(path, between.join(place))
        level = tree
        for key in place[:-1]:
            level = level.setdefault(key, {})
        level[place[-1]] = array
    write_pieces(path, _packed(tree))


def _packed(value: Any) -> Iterator[bytes | memoryview]:
    """A tree of arrays, array by array: a library that encodes msgpack would hold them all a second time."""
    if isinstance(value, dict):
        yield bytes([0x80 | len(value)]) if len(value) < 16 else _sized("map", len(value))
        for key, inner in value.items():
            yield msgspec.msgpack.encode(key)
            yield from _packed(inner)
    elif not isinstance(value, np.ndarray):
        yield msgspec.msgpack.encode(value)
    elif value.nbytes > CHUNK:
        flat, step = value.reshape(-1), CHUNK // value.itemsize
        chunks = [flat[start : start + step] for start in range(0, flat.size, step)]
        yield from _packed(
            {
                CHUNKED: True,
                "shape": {str(axis): length for axis, length in enumerate(value.shape)},
                "chunks": {str(number): chunk for number, chunk in enumerate(chunks)},
            }
        )
    else:
        # A list of three.
        before = b"\x93" + msgspec.msgpack.encode(value.shape) + msgspec.msgpack.encode(value.dtype.name)
        before += _sized("bytes", value.nbytes)
        yield _sized("extension", len(before) + value.nbytes) + bytes([ARRAY]) + before
        yield plain.memory(value)


def _sized(what: str, count: int) -> bytes:
    """How something of so many items or bytes begins, in the shortest way."""
    code, size = next((code, size) for code, (kind, size) in SIZED.items() if kind == what and count < 256**size)
    return bytes([code]) + count.to_bytes(size, "big")


def fill(template: Path, path: Path, tensors: Mapping[str, Array]) -> None:
    """The template with the values of some arrays replaced, and every other byte as it was."""
    plain.fill(template, path, _arrays(template), tensors)
