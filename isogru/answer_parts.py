"""Which quantity of a result each array of a file is: its name tells, or its shape where that does not.

Axes of length 1 count for nothing: torch's last state is (1, n, h), ONNX' states are (T, 1, n, h), and of one sequence
alone many leave the batch away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from isogru.weight_files.contents import Contents
from shared_spec.errors import InterchangeError
from shared_spec.files.interchange import Case
from shared_spec.oracle import shapes_of_result
from shared_spec.readings.arithmetic import Array

STATES = ("h", "states", "output", "outputs", "y", "hidden_states")
FINAL = ("final", "h_n", "hn", "last", "last_state", "y_h")
"""What people call all states, and the last one; in any case of letters."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """An array of a file, as a part of a result."""

    name: str
    shape: Shape
    """That it is to have, with time or the batch first."""
    by_shape: bool = False
    """Whether its name did not tell what it is."""


def parts(contents: Contents, case: Case) -> dict[str, Part]:
    """By the quantity that each is. Raises InterchangeError for an array that is none, or is what another one is."""
    shapes = {name: tensor.shape for name, tensor in contents.tensors.items()}
    if not shapes:
        raise InterchangeError(f"{contents.path}: holds no array")
    parts: dict[str, Part] = {}
    left = []
    for name, shape in shapes.items():
        quantity = _by_name(name)
        fitted = _fitted(shape, _targets(quantity, case))
        if quantity.startswith("grad."):
            parts[quantity] = Part(name, fitted or shape)
        elif quantity and quantity not in parts and fitted is not None:
            parts[quantity] = Part(name, fitted)
        else:
            left.append(name)
    for name in left:
        quantity, known = _by_shape(shapes[name], case, parts), _by_name(name)
        fitted = _fitted(shapes[name], _targets(quantity, case))
        if fitted is not None:
            parts[quantity] = Part(name, fitted, by_shape=len(shapes) > 1)
        elif known and known not in parts and len(shapes) > 1:
            # What is wrong with its shape is said where the whole result is checked.
            parts[known] = Part(name, shapes[name])
        else:
            raise InterchangeError(f"{contents.path}: {_wrong(name, shapes, case)}")
    return parts


def put(array: Array, part: Part) -> Array:
    """An array with the axes that its part has."""
    return array if array.shape == part.shape else np.ascontiguousarray(array).reshape(part.shape)


def axes(array: Array, *targets: Shape) -> Array:
    """An array with the axes of the first of some shapes that it fits, but for those of length 1; else as it is."""
    fitted = _fitted(array.shape, targets)
    return array if fitted is None else array.reshape(fitted)


def _by_name(name: str) -> str:
    if name.startswith("grad."):
        return name
    last = name.rsplit(".", 1)[-1].lower()
    return "H" if last in STATES else "final" if last in FINAL else ""


def _by_shape(shape: Shape, case: Case, taken: Mapping[str, Part]) -> str:
    """Which of the states and the last one a shape is; of a single step both are, and it is that with its axes."""
    order = ("final", "H") if len(shape) < 3 else ("H", "final")
    fits = [q for q in order if q not in taken and _fitted(shape, _targets(q, case)) is not None]
    return fits[0] if fits else ""


def _targets(quantity: str, case: Case) -> tuple[Shape, ...]:
    """The shapes that a quantity may have: with time first, and where it has time with the batch first."""
    symbols = shapes_of_result(case.cell).get(quantity)
    if symbols is None:
        return ()
    (T, n, d), h = case.arrays["X"].shape, case.arrays["H0"].shape[1]
    sizes = {"T": T, "n": n, "d": d, "h": h}
    shape = tuple(sizes[symbol] for symbol in symbols)
    return (shape, (n, T, *shape[2:])) if symbols[:2] == ("T", "n") else (shape,)


def _fitted(shape: Shape, targets: Iterable[Shape]) -> Shape | None:
    """The first target that a shape is, but for axes of length 1; the shape itself where it is one to the letter."""
    among = tuple(targets)
    if shape in among:
        return shape
    return next((target for target in among if _long(target) == _long(shape)), None)


def _long(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _wrong(name: str, shapes: Mapping[str, Shape], case: Case) -> str:
    (T, n, _), h = case.arrays["X"].shape, case.arrays["H0"].shape[1]
    if len(shapes) > 1:
        return (
            f"{name}, of shape {shapes[name]}, is no part of a result; name all states H, the last one final, and "
            f"gradients grad.X, grad.H0, grad.{next(iter(case.cell.parameters))} and so on"
        )
    told = (
        f"the array has shape {shapes[name]}; all states are (T, n, h) = {(T, n, h)}, or (n, T, h) = {(n, T, h)}, the "
        f"last one (n, h) = {(n, h)}"
    )
    return f"{told}{_mended(shapes[name], (T, n, h))}"


def _mended(shape: Shape, states: Shape) -> str:
    """What makes all states of an array that does not have their shape; empty where that is not known."""
    T, n, h = states
    if shape in ((T + 1, n, h), (n, T + 1, h)):
        return f"; there is one step more: leave out the start state, H[{'' if shape[0] == T + 1 else ':, '}1:]"
    if shape in ((h, n, T), (T, h, n), (n, h, T), (h, T, n)):
        axes = [shape.index(size) for size in states]
        return f"; its axes are in another order: save H.transpose({axes})" if len(set(states)) == 3 else ""
    if np.prod(shape) == np.prod(states):
        return f"; it has as many numbers: save H.reshape{states}, or H.reshape{(n, T, h)} if the batch comes first"
    return ""
