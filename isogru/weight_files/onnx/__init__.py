"""ONNX models: every GRU and RNN node with its weights, by the node's inputs; and copies of a model with other weights.

`wire` knows protobuf, `tensors` where data lie, `graph` what stands behind a name, `values` what
nodes compute of weights, `layers` the recurrent nodes.
"""

from __future__ import annotations

import importlib
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isogru.weight_files import needs
from isogru.weight_files.contents import Contents
from isogru.weight_files.onnx import wire
from isogru.weight_files.onnx.graph import Model
from isogru.weight_files.onnx.layers import Layers
from isogru.weight_files.onnx.tensors import EXTERNAL, Leaf, encoded, leaf, shown, texts
from isogru.weight_files.onnx.values import Value
from shared_spec.errors import InterchangeError
from shared_spec.files.whole import write_whole
from shared_spec.readings.arithmetic import Array

KIND = "an ONNX model"
ENDINGS = (".onnx",)
LARGEST = 2**31 - 1
"""Of protobuf, in bytes."""


def recognises(head: bytes, path: Path) -> bool:
    """The fields of a model in protobuf, which has no magic."""
    return wire.begins_like_a_model(head)


def read(path: Path) -> Contents:
    """The initializers by name, and the layers. Where the graph computes the weights of a layer, they are there as
    "/gru/GRU.W", and stand for the initializers of which they are made.
    """
    proto, layers = _opened(path)
    made_of = layers.pieces()
    tensors = {name: tensor for name, tensor in layers.tensors.items() if name not in made_of}
    return Contents(path, KIND, tensors, tuple(layers.described), tuple(layers.foreign), texts(proto.metadata_props))


def fill(template: Path, path: Path, tensors: Mapping[str, Array]) -> None:
    """A copy of a model with other weights, whole or not at all. What the graph only cuts, joins and turns is put where
    it came from; data that lie beside the template are taken into the copy.
    """
    package = needs("onnx", template, KIND)
    _, layers = _opened(template)
    changed: dict[Leaf, Array] = {}
    for name, array in tensors.items():
        if name not in layers.values:
            raise InterchangeError(f"{template}: it has no tensor {shown(name)}; name one that it has")
        value = layers.values[name]
        if value.shape != np.shape(array):
            raise InterchangeError(
                f"{template}: {shown(name)} is {value.shape} and would be filled with {np.shape(array)}; take a model"
                " of that size"
            )
        if not value.moves:
            raise InterchangeError(
                f"{template}: {shown(name)} does not stand in the file, it is computed when the model runs"
                f" ({shown(value.note) or 'a constant'}); export the model with its weights as they are"
            )
        changed |= _put_back(value, np.asarray(array), changed)
    data = {}
    for piece, array in changed.items():
        try:
            data[piece.at] = encoded(array, piece.dtype)
        except ValueError as error:
            raise InterchangeError(f"{template}: {shown(piece.name)} cannot be filled: {error}") from None
    for name, array in tensors.items():
        now = layers.values[name].compute(lambda piece: changed[piece])
        if not np.array_equal(now, array, equal_nan=True):
            raise InterchangeError(
                f"{template}: {shown(name)} shares elements with another tensor, or with itself, that would get other"
                " values; export a model without shared weights"
            )
    filled = _filled(package, template, data)
    try:
        package.checker.check_model(filled)
    except (package.checker.ValidationError, ValueError) as error:
        reason = shown(str(error).strip().partition("\n")[0])
        raise InterchangeError(f"{template}: onnx.checker does not pass it ({reason}); export the model anew") from None
    write_whole(path, filled)


def _opened(path: Path) -> tuple[Any, Layers]:
    """The model without its data, as the package onnx has it, and what is in it."""
    package = needs("onnx", path, KIND)
    decode_error = importlib.import_module("google.protobuf.message").DecodeError
    try:
        proto = package.ModelProto.FromString(wire.rewritten(_memory(path), wire.without_data))
        if not proto.HasField("graph"):
            raise InterchangeError(f"{path}: an ONNX model without a graph; export it anew")
        leaves: dict[int, Leaf] = {}

        def leaf_of(tensor: Any, name: str) -> Leaf:
            at = wire.whereabouts(tensor.doc_string)[0]
            if at not in leaves:
                leaves[at] = leaf(path, tensor, name)
            return leaves[at]

        model, layers = Model(proto, leaf_of, str(path)), Layers()
        layers.enter(model.graph)
        for node, scope in model.nodes():
            layers.add(node, scope)
    except (wire.MalformedError, decode_error, UnicodeDecodeError) as error:
        raise InterchangeError(f"{path}: damaged or truncated ({error}); get it anew") from None
    return proto, layers


def _memory(path: Path) -> memoryview:
    """The file, of which no more is read than is looked at."""
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise InterchangeError(f"{path}: cannot be read ({error})") from None


def _put_back(value: Value, array: Array, changed: Mapping[Leaf, Array]) -> dict[Leaf, Array]:
    """The tensors that a value is made of, with such elements that it becomes the array."""
    pieces = list(dict.fromkeys(value.leaves))
    numbers, arrays, count = {}, [], 0
    for piece in pieces:
        arrays.append(changed[piece] if piece in changed else piece.load())
        numbers[piece] = np.arange(count, count + arrays[-1].size).reshape(piece.shape)
        count += arrays[-1].size
    elements = np.concatenate([old.reshape(-1) for old in arrays]).astype(np.result_type(array, *arrays))
    elements[value.compute(lambda piece: numbers[piece])] = array
    return {piece: elements[numbers[piece]] for piece in pieces}


def _filled(package: Any, template: Path, data: Mapping[int, bytes]) -> bytes:
    total = 0

    def of_tensor(memory: memoryview, first: int, last: int) -> wire.Chunks | None:
        nonlocal total
        raw = data.get(first)
        if raw is None:
            proto = package.TensorProto.FromString(b"".join(wire.without_data(memory, first, last)))
            if proto.data_location != EXTERNAL:
                return None
            raw = leaf(template, proto, proto.name).raw()
        total += len(raw)
        if total > LARGEST:
            raise InterchangeError(
                f"{template}: with the data beside it more than 2 GB, which no one file holds; take less"
            )
        return wire.with_data(memory, first, last, raw)

    return wire.rewritten(_memory(template), of_tensor)
