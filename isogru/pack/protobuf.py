"""A GRU as ONNX' own test data: a model of one node, and its inputs and outputs, as protobuf writes them.

Fields are those of onnx/onnx.proto; few enough that the package onnx, which isogru does not need, is not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from shared_spec.readings.arithmetic import Array

IR_VERSION, OPSET = 8, 14
FLOAT, INT = 1, 2
"""TensorProto.FLOAT, AttributeProto.INT."""
INPUTS, OUTPUTS = ("X", "W", "R", "B", "initial_h"), ("Y", "Y_h")
GATES = "zrh"


def model(shapes: Mapping[str, Sequence[int]], *, hidden_size: int, linear_before_reset: bool) -> bytes:
    """A ModelProto of one GRU that takes INPUTS and gives OUTPUTS, float32, of these shapes."""
    attributes = {"hidden_size": hidden_size, "linear_before_reset": int(linear_before_reset)}
    # The fifth input is the lengths of the sequences, which are all there.
    node = b"".join(_text(1, name) for name in (*INPUTS[:4], "", INPUTS[4]))
    node += b"".join(_text(2, name) for name in OUTPUTS) + _text(3, "gru") + _text(4, "GRU")
    node += b"".join(
        _part(5, _text(1, name) + _number(3, value) + _number(20, INT)) for name, value in attributes.items()
    )
    graph = _part(1, node) + _text(2, "gru")
    graph += b"".join(_part(11, _value(name, shapes[name])) for name in INPUTS)
    graph += b"".join(_part(12, _value(name, shapes[name])) for name in OUTPUTS)
    operators = _text(1, "") + _number(2, OPSET)
    return _number(1, IR_VERSION) + _text(2, "isogru") + _part(7, graph) + _part(8, operators)


def tensor(name: str, array: Array) -> bytes:
    """A TensorProto of float32."""
    dims = b"".join(_number(1, size) for size in array.shape)
    data = np.ascontiguousarray(array, "<f4").tobytes()
    return dims + _number(2, FLOAT) + _text(8, name) + _part(9, data)


def inputs(arrays: Mapping[str, Array], *, reset_after: bool) -> dict[str, Array]:
    """INPUTS from X (T, n, d), H0 (n, h) and the parameters of a cell: gates z, r, h, matrices the other way round."""
    zero = np.zeros_like(arrays["b_z"])
    recurrent = [zero, zero, arrays["b_hh"] if reset_after else zero]
    return {
        "X": arrays["X"],
        "W": np.concatenate([arrays[f"W_x{gate}"].T for gate in GATES])[None],
        "R": np.concatenate([arrays[f"W_h{gate}"].T for gate in GATES])[None],
        "B": np.concatenate([*(arrays[f"b_{gate}"] for gate in GATES), *recurrent])[None],
        "initial_h": arrays["H0"][None],
    }


def _value(name: str, shape: Sequence[int]) -> bytes:
    """A ValueInfoProto."""
    sizes = b"".join(_part(1, _number(1, size)) for size in shape)
    return _text(1, name) + _part(2, _part(1, _number(1, FLOAT) + _part(2, sizes)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _part(field, value.encode())


def _part(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
