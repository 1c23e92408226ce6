"""What somebody computed of a stack, as they saved it: all states of its last layer, the last states of all, more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from isogru import array_files
from isogru.answer_parts import FINAL
from isogru.stacks.problem import Stack
from isogru.weight_files.contents import Contents
from shared_spec.errors import InterchangeError
from shared_spec.files.interchange import DTYPES
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import HALVES


@dataclass(frozen=True)
class StackAnswer:
    """The parts of an answer to a stack."""

    dtype: str
    states: Mapping[int, Array]
    """By level: (T, n, width), in the order of time."""
    finals: Mapping[int, Array] = field(default_factory=dict)
    """Last states (n, h), by the numbers of layers."""
    notes: tuple[str, ...] = field(default=())

    @property
    def arrays(self) -> list[Array]:
        """All that is there."""
        return [*self.states.values(), *self.finals.values()]


def read(path: Path, stack: Stack, *, batch_first: bool = False) -> StackAnswer:
    """An answer to a stack; where T and n are the same, `batch_first` says which comes first.

    Raises InterchangeError for what cannot be one.
    """
    T, n = stack.X.shape[:2]
    contents = array_files.read(path, f"{T}, {n}, {stack.width(stack.depth - 1)}", "H")
    dtypes = sorted({tensor.dtype for tensor in contents.tensors.values()})
    known = (*DTYPES, *HALVES)
    if len(dtypes) != 1 or dtypes[0] not in known:
        told = " and ".join(dtypes) or "no array"
        raise InterchangeError(f"{path}: {told}; save all states in one of {', '.join(known)}")
    states: dict[int, Array] = {}
    finals: dict[int, Array] = {}
    notes, turned = [f"judged in {dtypes[0]}, as the file has it: how it was computed was not measured"], False
    for name, tensor in contents.tensors.items():
        level = _level(name, tensor.shape, stack, states)
        if not finals and (numbers := _finals(name, tensor.shape, stack)):
            finals = _by_layer(tensor.load(), numbers, stack)
            if len(numbers) < len(stack.layers):
                notes.append(f"its shape {tensor.shape} is that of the last layer's last states")
        elif level is None or level in states:
            raise InterchangeError(f"{path}: {_wrong(name, tensor.shape, stack, contents)}")
        else:
            array = tensor.load()
            shape = tensor.shape if len(tensor.shape) == 3 else (T, n, tensor.shape[-1])
            second = shape[:2] != (T, n) or (batch_first and n == T)
            turned |= second
            states[level] = (
                np.ascontiguousarray(array.reshape(shape).swapaxes(0, 1)) if second else array.reshape(shape)
            )
    notes += ["the batch comes first in it"] if turned else []
    return StackAnswer(dtypes[0], states, finals, (*notes, *_covers(stack, states, finals)))


def _level(name: str, shape: tuple[int, ...], stack: Stack, taken: Mapping[int, Array]) -> int | None:
    """Of which level an array holds all states; None where of none."""
    T, n = stack.X.shape[:2]
    label = name.split(".")[0]
    named = [level for level in range(stack.depth) if label == f"l{level}"]
    for level in named or [stack.depth - 1]:
        width = stack.width(level)
        if shape in ((T, n, width), (n, T, width)) or (n == 1 and shape == (T, width)):
            return level
    return None


def _finals(name: str, shape: tuple[int, ...], stack: Stack) -> list[int]:
    """Of which layers an array holds the last states: of all, (layers, n, h), with both directions on an axis of their
    own or the batch first; or of those of the last level, (n, width). None where of none.
    """
    T, n = stack.X.shape[:2]
    top, width = stack.levels.index(stack.depth - 1), stack.width(stack.depth - 1)
    is_named = name.rsplit(".", 1)[-1].lower() in FINAL or name == "1"
    sizes = {case.arrays["H0"].shape for case in stack.layers}
    every = (len(stack.layers), *next(iter(sizes))) if len(sizes) == 1 else ()
    apart = (stack.depth, len(stack.layers) // stack.depth, *every[1:])
    if every and shape in (every, apart, (n, len(stack.layers), every[-1])):
        return list(range(len(stack.layers))) if is_named or shape not in ((T, n, width), (n, T, width)) else []
    # All states of one step, or of one sequence without its axis, have such a shape too.
    is_all = shape == (T, n, width) or (n == 1 and shape[-2] == T)
    if shape in ((n, width), (1, n, width)) and (is_named or not is_all):
        return list(range(top, len(stack.layers)))
    return []


def _by_layer(array: Array, numbers: Sequence[int], stack: Stack) -> dict[int, Array]:
    """The last states of so many layers: one behind the other, or those of the last level side by side."""
    if len(numbers) == len(stack.layers) and array.shape[-1] == stack.layers[0].arrays["H0"].shape[1]:
        n = stack.X.shape[1]
        turned = array.ndim == 3 and array.shape[:2] == (n, len(numbers)) != (len(numbers), n)
        stacked = array.swapaxes(0, 1) if turned else array.reshape(len(numbers), n, array.shape[-1])
        return {number: np.ascontiguousarray(stacked[number]) for number in numbers}
    start, apart = 0, {}
    for number in numbers:
        h = stack.layers[number].arrays["H0"].shape[1]
        apart[number] = np.ascontiguousarray(array.reshape(array.shape[-2:])[:, start : start + h])
        start += h
    return apart


def _wrong(name: str, shape: tuple[int, ...], stack: Stack, contents: Contents) -> str:
    T, n = stack.X.shape[:2]
    width, h = stack.width(stack.depth - 1), stack.layers[-1].arrays["H0"].shape[1]
    what = "the array" if len(contents.tensors) == 1 else name
    below = ", ".join(f"l{level}" for level in range(stack.depth - 1))
    more = f", and all states of the layers below are called {below}" if below else ""
    return (
        f"{what} has shape {shape}; all states of the last layer are {(T, n, width)}, or {(n, T, width)}, the last "
        f"states of all {(len(stack.layers), n, h)}, those of the last layer {(n, width)}{more}"
    )


def _covers(stack: Stack, states: Mapping[int, Array], finals: Mapping[int, Array]) -> list[str]:
    """What is not there, and how what is above it is judged."""
    top = stack.depth - 1
    told = []
    absent = [f"l{level}" for level in range(stack.depth) if level not in states]
    if absent:
        last = ", but for the last ones" if len(finals) == len(stack.layers) else ""
        told.append(f"not there: all states of {', '.join(absent)}{last}")
    blind = [f"l{level}" for level in range(1, top + 1) if level - 1 not in states and (level in states or finals)]
    if blind:
        they = "they are" if len(blind) > 1 else "it is"
        told.append(
            f"what {', '.join(blind)} took from below is not there, so that {they} held against the whole stack, "
            "within what its twins stray"
        )
    return told
