"""The recurrent cells that a Keras file has weights of, by the names and shapes in it alone."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from isogru.weight_files.keras.hdf5 import Hdf5

ROLES = ("kernel", "recurrent_kernel", "bias")
OPTIMIZER = re.compile(r"(^|/)(optimizer|optimizer_weights)(/|$)")

# "gru/gru_cell/kernel:0", with a number where Keras 1 and 2 met a name for the second time.
_NAMED = re.compile(r"(kernel|recurrent_kernel|bias)(?:_\d+)?(?::\d+)?(?:_\d+)?")
_CELL = re.compile(r"(gru|simple_rnn|lstm)_cell(_\d+)?")
_DIRECTION = re.compile(r"/?(?:forward|backward)_layer(?:/|$)")
_AUTOMATIC = re.compile(
    r"(?:forward_|backward_)?(?:gru|simple_rnn|rnn|lstm|\w+_cell|bidirectional|time_distributed|sequential|functional)"
    r"(?:_\d+)?"
)
_LAYERS = ("layers", "_layer_checkpoint_dependencies")
_ATTRIBUTES = (*_LAYERS, "cells", "cell")
"""Levels of a path that Keras makes of attributes, and that are no layer."""


@dataclass(frozen=True)
class Unit:
    """The weights of one recurrent cell."""

    place: str
    tensors: Mapping[str, str]
    """kernel, recurrent_kernel and, where there is one, bias -> the dataset."""
    shapes: Mapping[str, tuple[int, ...]]
    parts: tuple[str, ...]
    """The levels of its path, from the outermost layer on."""
    top: str = ""
    """The outermost layer's name, where the file is a legacy one."""
    address: int = 0

    @property
    def size(self) -> int:
        """h; 0 where the shapes are not those of a recurrent cell."""
        return self.shapes["recurrent_kernel"][0] if self.gates else 0

    @property
    def gates(self) -> int:
        """How many matrices stand side by side: 1 in a simple layer, 3 in a GRU, 4 in an LSTM; 0 where none do."""
        kernel, recurrent = self.shapes["kernel"], self.shapes["recurrent_kernel"]
        if len(kernel) != 2 or len(recurrent) != 2 or kernel[1] != recurrent[1] or not recurrent[0]:
            return 0
        return 0 if kernel[1] % recurrent[0] else kernel[1] // recurrent[0]

    @property
    def backward(self) -> bool:
        """Whether it is a Bidirectional's second layer, as far as names tell."""
        return any(part == "backward_layer" or part.startswith("backward_") for part in self.parts[1:])


def units(file: Hdf5) -> list[Unit]:
    """The cells, in the order in which the file names or writes them."""
    units = list(_legacy(file)) or _stored(file)
    met = collections.Counter(unit.place for unit in units)
    units = [replace(unit, place="/".join(unit.parts)) if met[unit.place] > 1 else unit for unit in units]
    return [replace(unit, place=place) for unit, place in zip(units, distinct(u.place for u in units), strict=True)]


def distinct(places: Iterable[str]) -> list[str]:
    """The same names, with a number after those that have been there before."""
    known: dict[str, None] = {}
    for place in places:
        name, number = place, 2
        while name in known:
            name, number = f"{place}_{number}", number + 1
        known[name] = None
    return list(known)


def _legacy(file: Hdf5) -> Iterator[Unit]:
    """Of `.h5`: the group of each layer has the names of its weights, in the order in which the layer made them."""
    start = next((name for name in ("model_weights", "") if "layer_names" in file.groups.get(name, {})), None)
    for top in dict.fromkeys(file.groups[start]["layer_names"] if start is not None else ()):
        group = f"{start}/{top}" if start else top
        names = list(dict.fromkeys(file.groups.get(group, {}).get("weight_names", ())))
        kinds = [match[1] if (match := _NAMED.fullmatch(name.rpartition("/")[2])) else "" for name in names]
        for i in range(len(names)):
            if tuple(kinds[i : i + 2]) != ROLES[:2]:
                continue
            count = 3 if tuple(kinds[i : i + 3]) == ROLES else 2
            tensors = {role: f"{group}/{name}" for role, name in zip(ROLES[:count], names[i : i + count], strict=True)}
            if not set(tensors.values()) <= file.datasets.keys():
                continue
            parts = tuple(names[i].split("/")[:-1])
            inner = parts[parts.index(top) + 1 :] if top in parts else parts
            layers = inner[:-1] if inner and _CELL.fullmatch(inner[-1]) else inner
            shapes = {role: file.datasets[name].shape for role, name in tensors.items()}
            yield Unit("/".join((top, *layers)), tensors, shapes, (top, *inner), top)


def _stored(file: Hdf5) -> list[Unit]:
    """Of `.keras` and `.weights.h5`: each layer's group holds one called "vars", with datasets "0", "1", "2"."""
    held: dict[str, list[str]] = {}
    for name in file.datasets:
        held.setdefault(name.rpartition("/")[0], []).append(name)
    units = []
    for group, names in held.items():
        around, _, last = group.rpartition("/")
        names.sort()
        keys = [name.rpartition("/")[2] for name in names]
        if last != "vars" or keys not in (["0", "1"], ["0", "1", "2"]) or OPTIMIZER.search(group):
            continue
        tensors, parts = dict(zip(ROLES, names, strict=False)), tuple(around.split("/"))
        shapes = {role: file.datasets[name].shape for role, name in tensors.items()}
        address = min(file.datasets[name].address for name in names)
        unit = Unit(_named(file, parts), tensors, shapes, parts, address=address)
        # Two matrices are anything's; three of a GRU's shapes, or those of what is called a cell, are a cell's.
        if unit.gates and (parts[-1] == "cell" or "cells" in parts or (len(names) == 3 and unit.gates in (3, 4))):
            units.append(unit)
    return _in_order(units)


def _named(file: Hdf5, parts: tuple[str, ...]) -> str:
    """A layer's place by the names that the file gives the layers around it, and by its path where it gives none. In a
    class of one's own a name that Keras made says less than the attribute: it counts what the program made before.
    """
    names, listed = [], False
    for i, part in enumerate(parts):
        listed = listed or part in _LAYERS
        if part != "cell" or i == 0:
            given = file.groups.get("/".join((*parts[: i + 1], "vars")), {}).get("name", "")
            given = given if listed or not _AUTOMATIC.fullmatch(given) else ""
            names += [given or part] if given or part not in _ATTRIBUTES else []
    return "/".join(names) or "/".join(parts)


def _in_order(units: list[Unit]) -> list[Unit]:
    """By the addresses of their headers, since Keras writes the layers of a model in order; but a Bidirectional's
    backward layer is written before its forward one.
    """
    first: dict[str, int] = {}
    pairs = [_DIRECTION.split("/".join(unit.parts))[0] for unit in units]
    for pair, unit in zip(pairs, units, strict=True):
        first[pair] = min(unit.address, first.get(pair, unit.address))
    ordered = sorted(zip(pairs, units, strict=True), key=lambda p: (first[p[0]], p[1].backward, p[1].address))
    return [unit for _, unit in ordered]
