"""Parameters to a layer's tensors and back, bit for bit: only whole values are moved, and signs turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.readings.arithmetic import Array
from shared_spec.weights.layouts import Layout
from shared_spec.weights.parts import Part, Tensor, length, show, solve, symbols

A = TypeVar("A")


def pack(layout: Layout, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The layer's tensors, contiguous, from parameters by their spec names; second biases not given are zero.

    Raises UserError for a parameter that the layer has no place for, or that is missing.
    """
    return pack_away(layout, dict(parameters))


def pack_away(layout: Layout, held: dict[str, Array]) -> dict[str, Array]:
    """The same, of a dictionary that is emptied: each parameter goes once it is in its tensor, so that a large layer is
    not in memory twice. Raises UserError as `pack` does.
    """
    if homeless := [name for name in held if name not in layout.holds]:
        raise UserError(f"{layout.name} has no {homeless[0]}; it has {', '.join(layout.holds)}")
    if missing := [name for name in layout.holds if name not in {**held, **layout.second}]:
        raise UserError(f"{missing[0]} is missing; {layout.name} has {', '.join(layout.holds)}")
    held.update(with_second(layout, held, np.zeros_like))

    def value(part: Part, tensor: Tensor) -> Array:
        array = _turned(held.pop(part.name), tensor)
        return -array if part.negated else array

    packed = {}
    for name, tensor in layout.tensors.items():
        rows = [_row([value(part, tensor) for part in row], tensor.axis) for row in tensor.rows]
        packed[name] = np.stack(rows) if tensor.stacked else np.concatenate(rows) if tensor.blocks else rows[0]
    return packed


def _row(arrays: list[Array], axis: int) -> Array:
    """Arrays joined along an axis, each let go once it is in its place. Contiguous in C's order: NumPy joins transposed
    arrays into a transposed one, whose memory safetensors would write in the wrong order.
    """
    shape = list(arrays[0].shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    joined = np.empty(shape, np.result_type(*arrays))
    start = 0
    while arrays:
        array = arrays.pop(0)
        joined[(slice(None),) * axis + (slice(start, start + array.shape[axis]),)] = array
        start += array.shape[axis]
    return joined


def _turned(array: Array, tensor: Tensor) -> Array:
    """A parameter as it stands in the tensor."""
    if tensor.transpose:
        array = array.T
    if tensor.turned:
        array = array.T.reshape(array.shape)
    return array.ravel() if tensor.flat else array


def _turned_back(piece: Array, shape: tuple[int, ...], tensor: Tensor) -> Array:
    """The parameter, of that shape, from how it stands in the tensor."""
    if tensor.turned or (tensor.transpose and tensor.flat):
        return piece.reshape(shape[::-1]).T
    if tensor.flat:
        return piece.reshape(shape)
    return piece.T if tensor.transpose else piece


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
    parameters = {name: array.astype(np.float64) for name, array in held.items()}
    for second, first in layout.second.items():
        if second in parameters:
            parameters[first] = parameters[first] + parameters.pop(second)
    zero = np.zeros(parameters["b_h"].shape)
    return {name: parameters.get(name, zero) for name in cell(layout.cell).parameters}


def unpack(
    layout: Layout, tensors: Mapping[str, Array], *, known: Mapping[str, int] | None = None, copied: bool = True
) -> dict[str, Array]:
    """The parameters and second biases that the tensors of a layer hold, by their spec names. `known` are sizes that
    the shapes do not tell, see `sizes`. Where they are not `copied` they may be views of the tensors, for reading.

    Raises UserError for a tensor that is missing, superfluous or of a wrong shape.
    """
    if wrong := [name for name in layout.tensors if name not in tensors]:
        raise UserError(f"tensor {wrong[0]} is missing; {layout.name} has {expected(layout)}")
    if wrong := [name for name in tensors if name not in layout.tensors]:
        raise UserError(f"tensor {wrong[0]} is none of {layout.name}; it has {expected(layout)}")
    lengths = sizes(layout, {name: array.shape for name, array in tensors.items()}, known=known)
    parameters: dict[str, Array] = {}
    for name, tensor in layout.tensors.items():
        for row, whole in zip(tensor.rows, _rows(layout, tensor, tensors[name], lengths), strict=True):
            start = 0
            for part in row:
                shape = tuple(lengths[symbol] for symbol in _symbols(layout, part))
                size = int(np.prod(shape)) if tensor.flat else (shape[::-1] if tensor.transpose else shape)[tensor.axis]
                piece = whole[(slice(None),) * tensor.axis + (slice(start, start + size),)]
                piece = _turned_back(-piece if part.negated else piece, shape, tensor)
                # A copy: a parameter that is the whole tensor is not that tensor.
                parameters[part.name] = np.array(piece, order="C") if copied else piece
                start += size
    return {name: parameters[name] for name in layout.holds}


def _rows(layout: Layout, tensor: Tensor, whole: Array, lengths: Mapping[str, int]) -> list[Array]:
    """The rows that a tensor is made of."""
    if tensor.stacked:
        return list(whole)
    if not tensor.blocks:
        return [whole]
    heights = [lengths[_symbols(layout, row[0])[1 if tensor.transpose else 0]] for row in tensor.rows]
    return np.split(whole, np.cumsum(heights)[:-1])


def expected(layout: Layout) -> str:
    """The layer's tensors with their shapes, such as ``weight_ih_l0 (3h, d), ...``."""
    return ", ".join(f"{name} {show(tensor.shape)}" for name, tensor in layout.tensors.items())


def sizes(
    layout: Layout, shapes: Mapping[str, tuple[int, ...]], *, known: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The numbers behind the symbols: {"d": ..., "h": ...}. `known` are those that are known without the shapes, such
    as {"h": 5} for five units, besides those of the layout: one vector that holds everything has the same length for
    many d and h.

    Raises UserError for a shape that does not fit, and where the shapes leave open what `known` does not tell.
    """
    numbers = {"1": 1, **layout.known, **(known or {})}
    waiting = dict(layout.tensors)
    while waiting:
        before = len(numbers)
        waiting = {name: tensor for name, tensor in waiting.items() if not _settle(name, tensor, shapes[name], numbers)}
        if waiting and len(numbers) == before:
            name, tensor = next(iter(waiting.items()))
            raise UserError(
                f"{name} has shape {shapes[name]}, which {show(tensor.shape)} is for more than one number of units h: "
                "say how many units the layer has"
            )
    return {symbol: number for symbol, number in numbers.items() if symbol != "1"}


def _settle(name: str, tensor: Tensor, given: tuple[int, ...], numbers: dict[str, int]) -> bool:
    """Finds what the shape of one tensor tells, and says whether it has told all."""
    fits, settled, before = len(given) == len(tensor.shape), True, len(numbers)
    for number, size in zip(given, tensor.shape, strict=False):
        unknown = sorted(symbols(size) - numbers.keys())
        if len(unknown) > 1:
            settled = False
        elif unknown and (solved := solve(size, number, numbers, unknown[0])) is not None:
            numbers[unknown[0]] = solved
        elif unknown or length(size, numbers) != number:
            fits = False
    if not fits:
        raise UserError(f"{name} has shape {given}, should be {_should_be(tensor, numbers)}{_hint(tensor, given)}")
    return settled or (len(numbers) > before and _settle(name, tensor, given, numbers))


def _symbols(layout: Layout, part: Part) -> tuple[str, ...]:
    return cell(layout.cell).parameters[layout.second.get(part.name, part.name)]


def _should_be(tensor: Tensor, known: Mapping[str, int]) -> str:
    if not all(symbols(size) <= known.keys() for size in tensor.shape):
        return show(tensor.shape)
    return f"{show(tensor.shape)} = {tuple(length(size, known) for size in tensor.shape)}"


def _hint(tensor: Tensor, given: tuple[int, ...]) -> str:
    two_directions = tensor.stacked and len(tensor.rows) == 1 and len(given) == len(tensor.shape) and given[0] == 2
    return "; one direction is converted at a time: take [0:1], then [1:2]" if two_directions else ""
