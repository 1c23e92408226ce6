"""Parameters to a layer's tensors and back, bit for bit: only whole values are moved, and signs turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.readings.arithmetic import Array
from shared_spec.weights.layouts import Layout, Part, Size, Tensor, show

A = TypeVar("A")


def pack(layout: Layout, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The layer's tensors, contiguous, from parameters by their spec names; second biases not given are zero.

    Raises UserError for a parameter that the layer has no place for, or that is missing.
    """
    if homeless := [name for name in parameters if name not in layout.holds]:
        raise UserError(f"{layout.name} has no {homeless[0]}; it has {', '.join(layout.holds)}")
    if missing := [name for name in layout.holds if name not in {**parameters, **layout.second}]:
        raise UserError(f"{missing[0]} is missing; {layout.name} has {', '.join(layout.holds)}")

    held = with_second(layout, parameters, np.zeros_like)

    def value(part: Part) -> Array:
        return -held[part.name] if part.negated else held[part.name]

    packed = {}
    for name, tensor in layout.tensors.items():
        rows = []
        for row in tensor.rows:
            parts = [value(part).T if tensor.transpose else value(part) for part in row]
            rows.append(np.concatenate(parts, tensor.axis))
        # NumPy joins transposed arrays into a transposed one, whose memory safetensors would write in the wrong order.
        packed[name] = np.ascontiguousarray(np.stack(rows) if tensor.stacked else rows[0])
    return packed


def with_second(layout: Layout, parameters: Mapping[str, A], zeros_like: Callable[[A], A]) -> dict[str, A]:
    """The parameters, and zero for each second bias of the layer that is not among them: the cells have one bias where
    some layers have two. Of any framework's arrays; `zeros_like` is its own.
    """
    zeros = {two: zeros_like(parameters[one]) for two, one in layout.second.items() if two not in parameters}
    return {**zeros, **parameters}


def summed(layout: Layout, held: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters that the cell sees, in float64, from what a layer holds: of two biases their sum, and zero for
    what it does not have.
    """
    found = {name: array.astype(np.float64) for name, array in held.items()}
    for second, first in layout.second.items():
        if second in found:
            found[first] = found[first] + found.pop(second)
    zero = np.zeros(found["b_h"].shape)
    return {name: found.get(name, zero) for name in cell(layout.cell).parameters}


def unpack(layout: Layout, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters and second biases that the tensors of a layer hold, by their spec names.

    Raises UserError for a tensor that is missing, superfluous or of a wrong shape.
    """
    if wrong := [name for name in layout.tensors if name not in tensors]:
        raise UserError(f"tensor {wrong[0]} is missing; {layout.name} has {expected(layout)}")
    if wrong := [name for name in tensors if name not in layout.tensors]:
        raise UserError(f"tensor {wrong[0]} is none of {layout.name}; it has {expected(layout)}")
    lengths = sizes(layout, {name: array.shape for name, array in tensors.items()})
    found: dict[str, Array] = {}
    for name, tensor in layout.tensors.items():
        for row, whole in zip(tensor.rows, tensors[name] if tensor.stacked else [tensors[name]], strict=True):
            start = 0
            for part in row:
                length = lengths[_symbols(layout, part)[tensor.axis if not tensor.transpose else 1 - tensor.axis]]
                piece = np.take(whole, range(start, start + length), tensor.axis)
                piece = -piece if part.negated else piece
                found[part.name] = np.ascontiguousarray(piece.T if tensor.transpose else piece)
                start += length
    return {name: found[name] for name in layout.holds}


def expected(layout: Layout) -> str:
    """The layer's tensors with their shapes, such as ``weight_ih_l0 (3h, d), ...``."""
    return ", ".join(f"{name} {show(tensor.shape)}" for name, tensor in layout.tensors.items())


def sizes(layout: Layout, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The numbers behind the symbols: {"d": ..., "h": ...}. Raises UserError for a shape that does not fit."""
    known = {"1": 1}
    for name, tensor in layout.tensors.items():
        given = shapes[name]
        fits = len(given) == len(tensor.shape)
        for length, size in zip(given, tensor.shape, strict=False):
            unknown = [symbol for symbol in size if symbol not in known]
            rest = length - sum(known[symbol] for symbol in size if symbol in known)
            if unknown and rest > 0 and len(set(unknown)) == 1 and rest % len(unknown) == 0:
                known[unknown[0]] = rest // len(unknown)
            elif unknown or rest:
                fits = False
        if not fits:
            raise UserError(f"{name} has shape {given}, should be {_should_be(tensor, known)}{_hint(tensor, given)}")
    return {symbol: length for symbol, length in known.items() if symbol != "1"}


def _symbols(layout: Layout, part: Part) -> tuple[str, ...]:
    return cell(layout.cell).parameters[layout.second.get(part.name, part.name)]


def _should_be(tensor: Tensor, known: Mapping[str, int]) -> str:
    if not all(symbol in known for size in tensor.shape for symbol in size):
        return show(tensor.shape)
    return f"{show(tensor.shape)} = {tuple(_length(size, known) for size in tensor.shape)}"


def _length(size: Size, known: Mapping[str, int]) -> int:
    return sum(known[symbol] for symbol in size)


def _hint(tensor: Tensor, given: tuple[int, ...]) -> str:
    two_directions = tensor.stacked and len(tensor.rows) == 1 and len(given) == len(tensor.shape) and given[0] == 2
    return "; one direction is converted at a time: take [0:1], then [1:2]" if two_directions else ""
