"""MXNet's .params, as mx.nd.save, save_parameters, collect_params().save and export write them; read without MXNet.

The layout is that of NDArray::Save and NDArray::Load, src/ndarray/ndarray.cc of MXNet 1.9.1: a list of arrays, then a
list of names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from isogru.weight_files import plain
from isogru.weight_files.contents import Contents
from isogru.weight_files.plain import Plain, Stream
from shared_spec.errors import InterchangeError
from shared_spec.files.whole import write_pieces
from shared_spec.readings.arithmetic import Array

KIND = "an MXNet parameter file"
ENDINGS = (".params",)

LIST = struct.pack("<QQ", 0x112, 0)
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
"""What an array begins with: V2 added sparse storage, V3 is written under mx.npx.set_np(). The oldest begin with their
number of axes.
"""
DTYPES = {
    0: "float32", 1: "float64", 2: "float16", 3: "uint8", 4: "int32", 5: "int8", 6: "int64", 7: "bool",
    8: "int16", 9: "uint16", 10: "uint32", 11: "uint64", 12: "bfloat16",
}  # fmt: skip
FLAGS = {name: flag for flag, name in DTYPES.items() if flag < 8}
"""Those that MXNet 1.9.1 loads and NumPy has."""
INDICES = {0: 0, 1: 1, 2: 2}
"""How many arrays of indices go with a storage type: dense, by rows, CSR."""
CPU = struct.pack("<ii", 1, 0)


def recognises(head: bytes, path: Path) -> bool:
    """A list of arrays by its magic."""
    return head.startswith(LIST)


def read(path: Path) -> Contents:
    """The arrays by their names, without "arg:" and "aux:" before them; by numbers where the file has no names."""
    return Contents(path, KIND, {name: array.tensor(path, name) for name, array in _arrays(path).items()})


def _arrays(path: Path) -> dict[str, Plain]:
    with path.open("rb") as file:
        stream = Stream(path, file)
        stream.read(len(LIST), "the list of arrays")
        count = stream.several(stream.numbers("Q", "the number of arrays")[0], 4, "arrays")
        arrays = [_array(stream, f"array {number}") for number in range(count)]
        named = stream.several(stream.numbers("Q", "the number of names")[0], 8, "names")
        raw = [stream.read(stream.numbers("Q", "the length of a name")[0], "a name") for _ in range(named)]
        if stream.left:
            raise stream.damaged(f"{stream.left} bytes follow its last name")
    if named not in (0, count):
        raise stream.damaged(f"it has {count} arrays and {named} names")
    names = [_name(stream, text) for text in raw] if named else [str(number) for number in range(count)]
    tensors: dict[str, Plain] = {}
    for name, array in zip(names, arrays, strict=True):
        if name in tensors:
            raise InterchangeError(f"{path}: there are two arrays of the name {name!r}; save them under one name each")
        tensors[name] = array
    return tensors


def _name(stream: Stream, raw: bytes) -> str:
    try:
        return raw.decode().removeprefix("arg:").removeprefix("aux:")
    except UnicodeDecodeError:
        raise stream.damaged(f"the name {raw!r} is not UTF-8") from None


def _array(stream: Stream, what: str) -> Plain:
    (version,) = stream.numbers("I", what)
    storage, held = 0, None
    if version in (V2, V3):
        (storage,) = stream.numbers("i", what)
        if storage not in INDICES:
            raise stream.damaged(f"{what} has storage type {storage}")
        held = _shape(stream, version, what) if storage else None
    shape = _shape(stream, version, what)
    if shape is None:
        return Plain((), "float32", (), "was saved before it had a shape; run the network once, and save it then")
    _, _, flag = stream.numbers("iii", what)
    indices = [(stream.numbers("i", what)[0], _shape(stream, version, what) or ()) for _ in range(INDICES[storage])]
    if unknown := {flag, *(kind for kind, _ in indices)} - set(DTYPES):
        raise stream.damaged(f"{what} is of a dtype with the number {unknown.pop()}")
    count = plain.length(DTYPES[flag], shape if held is None else held)
    start = stream.skip(count, what)
    for kind, sizes in indices:
        stream.skip(plain.length(DTYPES[kind], sizes), what)
    lack = 'is sparse; save what its tostype("default") gives' if storage else ""
    return Plain(shape, DTYPES[flag], ((start, count),), lack)


def _shape(stream: Stream, version: int, what: str) -> tuple[int, ...] | None:
    """None where an array has neither shape nor values: no axes, or under V3, where those are scalars, -1."""
    axes = stream.numbers("i", what)[0] if version in (V1, V2, V3) else version
    if axes == (-1 if version == V3 else 0):
        return None
    if not 0 <= axes <= plain.MOST_AXES:
        raise stream.damaged(f"{what} is said to have {axes} axes")
    shape = stream.numbers(f"{axes}{'q' if version in (V1, V2, V3) else 'I'}", what)
    if any(length < 0 for length in shape):
        raise stream.damaged(f"{what} is said to have the shape {shape}")
    return shape


def write(path: Path, tensors: Mapping[str, Array], metadata: dict[str, str]) -> None:
    """A new file, byte for byte as mx.nd.save writes it, for load_parameters and mx.nd.load.

    Raises InterchangeError for a dtype or shape that MXNet does not have.
    """
    write_pieces(path, _written(path, tensors))


def _written(path: Path, tensors: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    yield LIST + struct.pack("<Q", len(tensors))
    for name, given in tensors.items():
        array = np.asarray(given)
        if array.dtype.name not in FLAGS:
            raise InterchangeError(
                f"{path}: {name!r} is {array.dtype}, which MXNet does not have; give {', '.join(FLAGS)}"
            )
        if not array.ndim:
            raise InterchangeError(
                f"{path}: {name!r} is a number without axes, which MXNet does not save; give it one axis"
            )
        yield struct.pack(f"<Iii{array.ndim}q", V2, 0, array.ndim, *array.shape) + CPU
        yield struct.pack("<i", FLAGS[array.dtype.name])
        yield plain.memory(array)
    yield struct.pack("<Q", len(tensors))
    for name in tensors:
        text = plain.name_as_bytes(path, name)
        yield struct.pack("<Q", len(text)) + text


def fill(template: Path, path: Path, tensors: Mapping[str, Array]) -> None:
    """The template with the values of some arrays replaced, and every other byte as it was."""
    plain.fill(template, path, _arrays(template), tensors)
