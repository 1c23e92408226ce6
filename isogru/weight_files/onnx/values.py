"""What the nodes of an ONNX graph make of weights that stand in the file, before a layer takes them.

Exporters leave the cutting and joining of gates to the graph: PyTorch's default one does so wherever a matrix has more
than 8,192 elements. Shapes are known at once; values are computed when they are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isogru.weight_files.onnx.tensors import DTYPES, INTEGERS, Leaf
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import FLOATS

Read = Callable[[Leaf], Array]
MOST_PIECES = 1000
MOST_INDICES = 2**20
GROWTH = 4
"""A result has at most so many times the elements of the pieces that it is made of, and MOST_INDICES."""


class UnknownError(Exception):
    """Weights that cannot be told from the file alone, and why: "computed by Add"."""


@dataclass(frozen=True)
class Value:
    """A tensor of the file, or one that is computed of some."""

    shape: tuple[int, ...]
    dtype: str
    leaves: tuple[Leaf, ...]
    compute: Callable[[Read], Array]
    did: tuple[str, ...] = ()
    """What was done, in words."""
    moves: bool = True
    """Whether each of its elements is one of a leaf's, at another place."""

    def load(self) -> Array:
        """Its values. Raises InterchangeError."""
        # Each piece once, though three gates are cut from it.
        arrays = {leaf.at: leaf.load() for leaf in dict.fromkeys(self.leaves)}
        return self.compute(lambda leaf: arrays[leaf.at])

    @property
    def note(self) -> str:
        """What was done to get it, and of what."""
        return (
            f"{', '.join(self.did)} ({', '.join(dict.fromkeys(leaf.name for leaf in self.leaves))})" if self.did else ""
        )


def of_leaf(leaf: Leaf) -> Value:
    """A tensor as it stands."""
    return Value(leaf.shape, leaf.dtype, (leaf,), lambda read: read(leaf))


def constant(array: Array) -> Value:
    """Numbers that no tensor holds."""
    return Value(array.shape, array.dtype.name, (), lambda read: array, moves=False)


@dataclass(frozen=True)
class Call:
    """A node: what goes in, and which of its outputs is asked for."""

    inputs: Sequence[Value | None]
    attributes: Mapping[str, Any]
    """AttributeProtos by name."""
    output: int = 0
    outputs: int = 1

    def has(self, number: int) -> bool:
        return number < len(self.inputs) and self.inputs[number] is not None

    def given(self, number: int) -> Value:
        value = self.inputs[number] if self.has(number) else None
        if value is None:
            raise ValueError("an input is missing")
        return value

    def integers(self, number: int, name: str) -> list[int] | None:
        """Axes, lengths, bounds: an input in newer operator sets, an attribute in older ones."""
        if not self.has(number):
            return list(self.attributes[name].ints) if name in self.attributes else None
        value = self.given(number)
        if value.dtype not in INTEGERS or math.prod(value.shape) > MOST_INDICES:
            raise ValueError("these are no axes, lengths or bounds")
        return [int(n) for n in value.load().reshape(-1)]

    def integer(self, name: str, default: int) -> int:
        return int(self.attributes[name].i) if name in self.attributes else default


def applied(op: str, call: Call) -> Value:
    """What an operator makes. Raises UnknownError for one that is not followed, and for what does not fit it."""
    if op not in OPERATORS:
        raise UnknownError(f"is computed by {op}")
    try:
        made = OPERATORS[op](call)
    except (ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError, MemoryError, ZeroDivisionError):
        raise UnknownError(f"is computed by a {op} that does not fit what it is given") from None
    if len(made.leaves) > MOST_PIECES:
        raise UnknownError(f"is computed of more than {MOST_PIECES} pieces")
    if math.prod(made.shape) > GROWTH * sum(math.prod(leaf.shape) for leaf in made.leaves) + MOST_INDICES:
        raise UnknownError(f"is computed by a {op} that makes {made.shape} of less")
    return made


def moved(value: Value, op: str, move: Callable[[Array], Array]) -> Value:
    """The same elements at other places. Raises ValueError or IndexError where the shape does not allow it."""
    # A view of one zero has the shape and no memory, and gives views.
    shape = move(np.broadcast_to(np.int8(0), value.shape)).shape
    did = (*(word for word in value.did if word != op), op)
    return replace(value, shape=shape, compute=lambda read: move(value.compute(read)), did=did)


def _transpose(call: Call) -> Value:
    axes = call.integers(1, "perm")
    return moved(call.given(0), "Transpose", lambda array: np.transpose(array, axes))


def _unsqueeze(call: Call) -> Value:
    axes = tuple(call.integers(1, "axes") or ())
    return moved(call.given(0), "Unsqueeze", lambda array: np.expand_dims(array, axes))


def _squeeze(call: Call) -> Value:
    axes = call.integers(1, "axes")
    return moved(call.given(0), "Squeeze", lambda array: np.squeeze(array, None if axes is None else tuple(axes)))


def _reshape(call: Call) -> Value:
    value, lengths = call.given(0), call.integers(1, "shape") or []
    if not call.integer("allowzero", 0):
        lengths = [length or value.shape[axis] for axis, length in enumerate(lengths)]
    return moved(value, "Reshape", lambda array: array.reshape(lengths))


def _slice(call: Call) -> Value:
    value = call.given(0)
    starts, ends = call.integers(1, "starts") or [], call.integers(2, "ends") or []
    axes = call.integers(3, "axes") or list(range(len(starts)))
    steps = call.integers(4, "steps") or [1] * len(starts)
    cut = [slice(None)] * len(value.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cut[axis] = slice(start, end, step)
    return moved(value, "Slice", lambda array: array[tuple(cut)])


def _split(call: Call) -> Value:
    value, axis = call.given(0), call.integer("axis", 0)
    whole = value.shape[axis]
    lengths = call.integers(1, "split")
    if lengths is None:
        each = -(-whole // call.outputs)
        lengths = [each] * call.outputs
    start = sum(lengths[: call.output])
    cut = [slice(None)] * len(value.shape)
    cut[axis] = slice(start, start + lengths[call.output])
    return moved(value, "Split", lambda array: array[tuple(cut)])


def _gather(call: Call) -> Value:
    value, indices = call.given(0), call.given(1)
    axis = range(len(value.shape))[call.integer("axis", 0)]
    rows = np.array(call.integers(1, "indices"), np.int64).reshape(indices.shape)
    if rows.size and not -value.shape[axis] <= rows.min() <= rows.max() < value.shape[axis]:
        raise IndexError("an index is out of range")
    shape = value.shape[:axis] + rows.shape + value.shape[axis + 1 :]
    compute = value.compute
    return replace(
        value, shape=shape, compute=lambda read: np.take(compute(read), rows, axis), did=(*value.did, "Gather")
    )


def _concat(call: Call) -> Value:
    parts = [call.given(number) for number in range(len(call.inputs))]
    first = parts[0]
    axis = range(len(first.shape))[call.attributes["axis"].i]
    others = {(part.shape[:axis], part.shape[axis + 1 :], part.dtype, len(part.shape)) for part in parts}
    if len(others) != 1:
        raise ValueError("the parts do not fit each other")
    length = sum(part.shape[axis] for part in parts)
    did = dict.fromkeys(word for part in parts for word in part.did if word != "Concat")
    return Value(
        (*first.shape[:axis], length, *first.shape[axis + 1 :]),
        first.dtype,
        tuple(leaf for part in parts for leaf in part.leaves),
        lambda read: np.concatenate([part.compute(read) for part in parts], axis),
        (*did, "Concat"),
        all(part.moves for part in parts),
    )


def _identity(call: Call) -> Value:
    return call.given(0)


def _constant_of_shape(call: Call) -> Value:
    shape = tuple(call.integers(0, "shape") or ())
    if math.prod(shape) > MOST_INDICES or min(shape, default=0) < 0:
        raise ValueError("too large")
    element = call.given(1).load() if call.has(1) else np.zeros(1, np.float32)
    return replace(constant(np.broadcast_to(element.reshape(()), shape)), did=("ConstantOfShape",))


def _cast(call: Call) -> Value:
    value, dtype = call.given(0), DTYPES[call.attributes["to"].i]
    if dtype not in ("float64", "float32", "float16", "bfloat16") or value.dtype not in (*FLOATS, *INTEGERS):
        raise UnknownError(f"is computed by a Cast from {value.dtype} to {dtype}")
    if dtype == value.dtype:
        return value
    compute = value.compute
    return replace(
        value,
        dtype=dtype,
        compute=lambda read: _rounded(compute(read), dtype),
        did=(*value.did, f"Cast from {value.dtype} to {dtype}"),
        moves=False,
    )


def _rounded(array: Array, dtype: str) -> Array:
    """To the nearest value of a dtype, ties to even, as float32 or float64."""
    with np.errstate(all="ignore"):
        if dtype != "bfloat16":
            return array.astype(dtype).astype("float64" if dtype == "float64" else "float32")
        single = np.ascontiguousarray(array, np.float32)
        bits = single.view(np.uint32)
        nearest = ((bits + (0x7FFF + ((bits >> 16) & 1))) & np.uint32(0xFFFF0000)).astype(np.uint32).view(np.float32)
        rounded: Array = np.where(np.isnan(single), single, nearest)
        return rounded


def _dequantise(call: Call) -> Value:
    """A scale for the whole tensor, for each place along an axis, or for each block along one."""
    value, scale = call.given(0), call.given(1)
    block, to = call.integer("block_size", 0), call.integer("output_dtype", 0)
    axis = range(len(value.shape))[call.integer("axis", 1)] if math.prod(scale.shape) != 1 else 0
    length = value.shape[axis] if value.shape else 1

    def spread(array: Array) -> Array:
        if array.size == 1:
            return array.reshape(())
        if block:
            return np.take(array, np.arange(length) // block, axis)
        return array.reshape([length if n == axis else 1 for n in range(len(value.shape))])

    zero = call.given(2) if call.has(2) else None
    return dequantised(value, scale, zero, spread, DTYPES[to] if to else scale.dtype)


def dequantised(
    value: Value, scale: Value, zero: Value | None, spread: Callable[[Array], Array], dtype: str = "float32"
) -> Value:
    """Integers times scales that are spread to fit them: (x - x_zero_point) * x_scale, onnx.ai, DequantizeLinear, opset
    25. Raises ValueError for what does not fit.
    """
    pieces = [scale] if zero is None else [scale, zero]
    if value.dtype not in INTEGERS or scale.dtype not in FLOATS or dtype not in FLOATS:
        raise ValueError("not integers with a scale")
    for piece in pieces:
        if np.broadcast_shapes(spread(np.broadcast_to(np.int8(0), piece.shape)).shape, value.shape) != value.shape:
            raise ValueError("the scales do not fit")

    def compute(read: Read) -> Array:
        integers = value.compute(read).astype(np.int64)
        if zero is not None:
            integers = integers - spread(zero.compute(read).astype(np.int64))
        wide = "float64" if scale.dtype == "float64" else "float32"
        return _rounded(integers.astype(wide) * spread(scale.compute(read)), dtype)

    leaves = tuple(leaf for piece in (value, *pieces) for leaf in piece.leaves)
    return Value(value.shape, dtype, leaves, compute, (*value.did, f"dequantised from {value.dtype}"), moves=False)


OPERATORS: Mapping[str, Callable[[Call], Value]] = {
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DequantizeLinear": _dequantise,
    "Gather": _gather,
    "Identity": _identity,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
