"""TensorFlow's checkpoints, without TensorFlow: `NAME.index`, and the values beside it, `NAME.data-00000-of-00001`.

TensorFlow's own reader ends the process where an index says what cannot be (a negative length, a hundred dimensions too
many), and takes ten seconds to load. The format is small: tensorflow/core/util/tensor_bundle/tensor_bundle.h.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from isogru.weight_files import plain
from isogru.weight_files.contents import Contents, Tensor
from isogru.weight_files.tensorflow import objects, slices
from isogru.weight_files.tensorflow.objects import VALUE
from isogru.weight_files.tensorflow.slices import Extents
from isogru.weight_files.tensorflow.table import FOOTER, MAGIC, fields, masked, table
from shared_spec.errors import InterchangeError
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import FLOATS, widened

KIND = "a TensorFlow checkpoint"
ENDINGS = (".index", ".data-00000-of-00001")

LARGEST_INDEX = 2**26
MOST_DIMENSIONS = 32

# tensorflow/core/framework/types.proto. Text, resources and variants are no weights.
DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64", 10: "bool", 14: "bfloat16",
    17: "uint16", 19: "float16", 22: "uint32", 23: "uint64", 24: "float8_e5m2", 25: "float8_e4m3fn",
}  # fmt: skip

VALUES = re.compile(r"(.+)\.data-\d{5}-of-\d{5}", re.DOTALL)
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
    slices: tuple[Extents, ...] = ()
    """Where the parts of a partitioned variable lie in it; its values lie under keys of their own."""
    values: Path = Path()
    """The file that they lie in."""

    def same_as(self, other: _Entry) -> bool:
        """Whether another has the same values, as far as shape and checksum tell."""
        return (self.dtype, self.shape, self.checksum) == (other.dtype, other.shape, other.checksum)


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
        values = table(index.read_bytes())
        header = dict(fields(values.pop(b"", b"")))
        every = {key: _entry(value) for key, value in values.items()}
        entries = {key.decode(): entry for key, entry in every.items() if not key.startswith(b"\x00")}
    except (ValueError, IndexError, OSError) as error:
        raise _damaged(index, error) from None
    shards = header.get(1, 0)
    if not isinstance(shards, int) or not 0 < shards < 10**5 or header.get(2, 0) != 0:
        raise InterchangeError(
            f"{index}: no checkpoint of a kind that is read; save it with tf.train.Checkpoint or Saver"
        )
    start = f"{index.name.removesuffix('.index')}.data-"

    def placed(entry: _Entry) -> _Entry:
        return replace(entry, values=index.with_name(f"{start}{entry.shard:05d}-of-{shards:05d}"))

    entries = {key: placed(entry) for key, entry in entries.items()}
    parts = {key: placed(entry) for key, entry in every.items() if key.startswith(b"\x00")}
    better = _better_names(index, entries)
    tensors: dict[str, Tensor] = {}
    kept: dict[str, _Entry] = {}
    # An exported model has its variables in two lists: those without a name of their own come last.
    nameless = {key for key in entries if _listed(key) and key.removesuffix(VALUE) not in better}
    for key in sorted(entries, key=lambda key: (key in nameless, _numbered(key))):
        entry, own, slot = entries[key], key.removesuffix(VALUE), SLOT.fullmatch(key)
        beside = KEPT_BESIDE.search(key) and own not in better
        if entry.dtype == "" or beside or (slot and slot[1] in entries):
            continue
        name = better.get(own, own)
        twins = kept.values() if key in nameless else [kept[name]] if own in better and name in kept else []
        if any(twin.same_as(entry) for twin in twins):
            continue
        if twins:
            name = own
        if name in tensors:
            raise InterchangeError(
                f"{index}: damaged: there are two variables of the name {_shown(name)}; save it again"
            )
        pieces = _pieces(index, key, entry, parts)
        for _, piece in pieces:
            _check(index, name, piece)
        kept[name] = entry
        tensors[name] = Tensor(entry.shape, entry.dtype, functools.partial(_load, name, entry, pieces))
    return Contents(path, KIND, tensors, ordered=False)


def _listed(key: str) -> bool:
    return objects.LISTED.fullmatch(key.removesuffix(VALUE)) is not None


def _damaged(index: Path, error: Exception) -> InterchangeError:
    return InterchangeError(f"{index}: damaged or truncated ({error}); copy or save the checkpoint again")


def _better_names(index: Path, entries: Mapping[str, _Entry]) -> dict[str, str]:
    """Better names for variables that have none of a layer: see `objects`."""
    graph = entries.get(objects.KEY)
    if graph is None or not any(map(_listed, entries)):
        return {}
    try:
        if graph.size > LARGEST_INDEX:
            raise ValueError("its graph of objects is larger than any")
        return objects.names(objects.text(_raw(graph)))
    except (ValueError, IndexError, OSError) as error:
        raise _damaged(index, error) from None


Piece = tuple[tuple[slice, ...], "_Entry"]
"""Where a part of a variable lies in it, and its values."""


def _pieces(index: Path, key: str, entry: _Entry, parts: Mapping[bytes, _Entry]) -> list[Piece]:
    """The parts of a variable: itself, where it is not partitioned."""
    if not entry.slices:
        return [(tuple(slice(0, length) for length in entry.shape), entry)]
    pieces = []
    try:
        for extents in entry.slices:
            where, part = slices.placed(extents, entry.shape), parts[slices.key(key, extents)]
            if part.shape != tuple(each.stop - each.start for each in where) or part.dtype != entry.dtype:
                raise ValueError("a part has another shape than it says")
            pieces.append((where, part))
        if sum(math.prod(part.shape) for _, part in pieces) != math.prod(entry.shape):
            raise ValueError("its parts do not make it up")
    except (ValueError, KeyError) as error:
        why = error if isinstance(error, ValueError) else "a part is missing"
        raise InterchangeError(
            f"{index}: damaged or truncated: {_shown(key.removesuffix(VALUE))} is partitioned, and {why}; save it again"
        ) from None
    return pieces


def _index(path: Path) -> Path:
    match = VALUES.fullmatch(path.name)
    return path.with_name(f"{match[1]}.index") if match else path


def _numbered(name: str) -> list[tuple[int, str]]:
    """For sorting: layer-10 after layer-9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", name)]


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]


def _check(index: Path, name: str, entry: _Entry) -> None:
    needed = plain.length(entry.dtype, entry.shape)
    try:
        there = entry.values.stat().st_size
    except OSError:
        raise InterchangeError(
            f"{index}: {_shown(name)} lies in {entry.values.name}, which is not beside it; copy both"
        ) from None
    if entry.size != needed or entry.offset + entry.size > there:
        raise InterchangeError(
            f"{index}: damaged or truncated: {_shown(name)} needs {needed} bytes, which {entry.values.name} has not; "
            "copy or save the checkpoint again"
        )


def _load(name: str, entry: _Entry, pieces: Sequence[Piece]) -> Array:
    if not entry.slices:
        return _values(name, entry)
    parts = [(where, _values(name, part)) for where, part in pieces]
    whole: Array = np.zeros(entry.shape, parts[0][1].dtype)
    there = np.zeros(entry.shape, bool)
    for where, part in parts:
        whole[where], there[where] = part, True
    if not there.all():
        raise InterchangeError(f"{entry.values}: damaged: parts of {_shown(name)} overlap; save it again")
    return whole


def _raw(entry: _Entry) -> bytes:
    with entry.values.open("rb") as file:
        file.seek(entry.offset)
        return file.read(entry.size)


def _values(name: str, entry: _Entry) -> Array:
    try:
        raw = _raw(entry)
    except OSError as error:
        raise InterchangeError(f"{entry.values}: {_shown(name)} cannot be read ({error.strerror})") from None
    if len(raw) != entry.size or masked(raw) != entry.checksum:
        raise InterchangeError(
            f"{entry.values}: damaged: {_shown(name)} is not what its checksum says; copy or save it again"
        )
    if entry.dtype in FLOATS:
        return widened(raw, entry.dtype, entry.shape)
    array: Array = np.frombuffer(raw, np.dtype(entry.dtype).newbyteorder("<")).reshape(entry.shape)
    return array


def _entry(raw: bytes) -> _Entry:
    """Of tensorflow/core/protobuf/tensor_bundle.proto, BundleEntryProto."""
    numbers = dict.fromkeys((1, 3, 4, 5, 6), 0)
    shape: list[int] = []
    parts: list[Extents] = []
    for field, value in fields(raw):
        if field == 7 and isinstance(value, bytes):
            parts.append(slices.extents(value))
        elif field == 2 and isinstance(value, bytes):
            sizes = (
                dict(fields(part)).get(1, 0) for key, part in fields(value) if key == 2 and isinstance(part, bytes)
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
    return _Entry(dtype, tuple(shape), numbers[3], numbers[4], numbers[5], numbers[6], tuple(parts))
