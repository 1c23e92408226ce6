"""A stack of layers with one input, as a file: `isogru-stack/1`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import safetensors

from isogru import order
from shared_spec.cells import cell
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files import door, passage, sources, tensors
from shared_spec.files.interchange import DTYPES, Case
from shared_spec.files.sources import Source
from shared_spec.readings.arithmetic import Array

FORMAT = "isogru-stack/1"


class Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One direction of one layer, in the metadata."""

    label: str
    """Such as l1_reverse: its tensors are called l1_reverse.W_xz and so on."""
    level: int
    reverse: bool
    cell: str
    source: Source | None = None


@dataclass(frozen=True)
class Stack:
    """Layers, the first level first and forwards before backwards, each a case; all but those of the first level have
    no input of their own: X (T, n, 0).
    """

    name: str
    X: Array
    """The input (T, n, d), in the order of time."""
    layers: tuple[Case, ...]
    """Each is named by its label."""
    levels: tuple[int, ...]
    """Of each layer, from 0 on."""
    lengths: passage.Lengths = None

    @property
    def depth(self) -> int:
        """How many levels there are."""
        return self.levels[-1] + 1

    def at(self, level: int) -> list[Case]:
        """The layers of a level: one, or both directions."""
        return [case for case, of in zip(self.layers, self.levels, strict=True) if of == level]

    def width(self, level: int) -> int:
        """How many numbers a level gives for each step: those of both directions, one after the other."""
        return sum(case.arrays["H0"].shape[1] for case in self.at(level))

    def held_in(self, dtype: str) -> Stack:
        """The stack that a result in a dtype is of, as Case.held_in has it."""
        whole = Case(self.name, self.layers[0].cell, {"X": self.X}).held_in(dtype)
        return replace(self, X=whole.arrays["X"], layers=tuple(case.held_in(dtype) for case in self.layers))

    def on(self, layer: Case, below: Array) -> Case:
        """A layer with its input (T, n, d), in the order of time, from the level below."""
        X = below.astype(np.float64)
        if layer.lengths is not None:
            X = order.ended(X, layer.lengths)
        return replace(layer, arrays={**layer.arrays, "X": order.turned(X, layer.lengths) if layer.reverse else X})


def is_stack(path: Path) -> bool:
    """Whether a file says that it is a stack; False for whatever else it is."""
    try:
        door.check(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            format: str = (file.metadata() or {}).get("format", "")
            return format.startswith(f"{FORMAT.rpartition('/')[0]}/")
    except (InterchangeError, safetensors.SafetensorError, OSError):
        return False


def write(path: Path, stack: Stack) -> None:
    """Writes a stack, whole or not at all."""
    arrays: dict[str, Array] = {"X": stack.X}
    described = []
    for case, level in zip(stack.layers, stack.levels, strict=True):
        own = {name: array for name, array in case.arrays.items() if name != "X"}
        arrays |= {f"{case.name}.{name}": array for name, array in own.items()}
        described.append(Described(case.name, level, case.reverse, case.cell.name, case.source))
    metadata = {"format": FORMAT, "name": stack.name, "layers": msgspec.json.encode(described).decode()}
    dtype = "float64" if any(case.wide for case in stack.layers) else "float32"
    held = {name: array.astype(dtype) for name, array in arrays.items()}
    tensors.write(path, held, metadata | passage.written(reverse=False, lengths=stack.lengths))


def read(path: Path) -> Stack:
    """Reads a stack. Raises InterchangeError for one that is damaged or of a newer format, or does not fit together."""
    arrays, metadata = tensors.read(path, FORMAT, "stack")
    name = metadata.get("name", path.stem)
    described = door.decoded(metadata.get("layers", ""), list[Described], f"{path}: layers", "write the stack again")
    door.check_texts(path, {"name": name, **{f"label {i}": each.label for i, each in enumerate(described)}})
    for source in (each.source for each in described if each.source is not None):
        sources.check(path, source)
    for key, array in arrays.items():
        if array.dtype.name not in DTYPES or not np.isfinite(array).all():
            raise InterchangeError(
                f"{path}: {key} is {array.dtype}; a stack holds finite numbers of {' or '.join(DTYPES)}"
            )
    X = arrays.get("X")
    if X is None or X.ndim != 3 or not described:
        raise InterchangeError(f"{path}: a stack has X (T, n, d) and layers; write it again")
    _, lengths = passage.read(path, metadata, *X.shape[:2])
    layers: list[Case] = []
    width, known = X.shape[2], {"X"}
    for at, each in enumerate(described):
        before = described[at - 1] if at else None
        if each.level != (0 if before is None else before.level) and (before is None or each.level != before.level + 1):
            raise InterchangeError(
                f"{path}: {each.label} is of level {each.level}, out of order; write the stack again"
            )
        if before is not None and each.level > before.level:
            width = sum(case.arrays["H0"].shape[1] for case in layers if _level(described, case.name) == before.level)
        layers.append(_layer(path, each, arrays, (*X.shape[:2], width), lengths))
        known |= {f"{each.label}.{own}" for own in layers[-1].arrays if own != "X"}
    if len({case.name for case in layers}) < len(layers):
        raise InterchangeError(f"{path}: two layers have one label; write the stack again")
    if superfluous := sorted(set(arrays) - known):
        raise InterchangeError(
            f"{path}: tensor {superfluous[0]} is superfluous; there should be {', '.join(sorted(known))}"
        )
    return Stack(name, X.astype(np.float64), tuple(layers), tuple(each.level for each in described), lengths)


def _level(described: list[Described], label: str) -> int:
    return next(each.level for each in described if each.label == label)


def _layer(
    path: Path, each: Described, arrays: Mapping[str, Array], sizes: tuple[int, ...], lengths: passage.Lengths
) -> Case:
    try:
        the_cell = cell(each.cell)
    except UserError as error:
        raise InterchangeError(f"{path}: {error}") from None
    T, n, d = sizes
    bias = arrays.get(f"{each.label}.b_h", np.zeros(0))
    known = {"d": d, "n": n, "h": len(bias)}
    own = dict(_own(path, each.label, arrays, {"H0": ("n", "h"), **the_cell.parameters}, known))
    return Case(each.label, the_cell, {"X": np.zeros((T, n, 0)), **own}, each.reverse, lengths, each.source)


def _own(
    path: Path,
    label: str,
    arrays: Mapping[str, Array],
    symbols: Mapping[str, tuple[str, ...]],
    known: Mapping[str, int],
) -> Iterator[tuple[str, Array]]:
    for name, shape in symbols.items():
        array = arrays.get(f"{label}.{name}")
        expected = tuple(known[symbol] for symbol in shape)
        if array is None or array.shape != expected or 0 in expected:
            there = "is missing" if array is None else f"has shape {array.shape}"
            raise InterchangeError(f"{path}: {label}.{name} {there}, should be ({', '.join(shape)}) = {expected}")
        yield name, array.astype(np.float64)
