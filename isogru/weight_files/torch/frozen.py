"""Frozen TorchScript: its weights are constants without names, and the code tells which of them a GRU has.

The code is text in the archive, such as `torch.gru(input, hx, [CONSTANTS.c1, CONSTANTS.c2], False, 1, 0., False, False,
False)`. It is searched for such calls, and not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from isogru.weight_files.contents import Described
from isogru.weight_files.torch.archives import Archive

LONGEST = 2**22
"""All code that is looked at, in bytes. That of a layer is a few thousand."""

_LIST = re.compile(r"^ +(\w+) = \[(CONSTANTS\.c\d+(?:, CONSTANTS\.c\d+)*)\]$", re.MULTILINE)
# torch.gru(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)
_GRU = re.compile(r"torch\.gru\(\w+, \w+, (\w+|\[[\w., ]+\]), (True|False), (\d+), [\w.]+, \w+, (True|False), \w+\)")
_CELL = re.compile(r"torch\.gru_cell\(\w+, \w+((?:, CONSTANTS\.c\d+)+)\)")
_CONSTANT = re.compile(r"CONSTANTS\.c\d+")


def described(archive: Archive, constants: set[str]) -> tuple[Described, ...]:
    """Every GRU layer whose weights are all constants, one for each direction."""
    layers: list[Described] = []
    left = LONGEST
    for name in archive.sizes:
        if name.startswith("code/") and name.endswith(".py") and left > 0:
            code = archive.text(name, left)
            left -= len(code)
            # The list of an `enc` has the name self_enc__flat_weights.
            lists: dict[str, str] = dict(_LIST.findall(code))
            layers += _layers(code, lists, constants)
            layers += _cells(code, constants)
    return tuple(layers)


def _layers(code: str, lists: dict[str, str], constants: set[str]) -> Iterator[Described]:
    for number, (weights, biases, layers, bidirectional) in enumerate(_GRU.findall(code)):
        names = _CONSTANT.findall(lists.get(weights, weights))
        each, directions = 4 if biases == "True" else 2, 2 if bidirectional == "True" else 1
        if len(names) != each * directions * int(layers) or not constants >= set(names):
            continue
        place = (
            weights.removeprefix("self_").removesuffix("__flat_weights") if weights in lists else f"torch.gru.{number}"
        )
        for index in range(len(names) // each):
            which = f"{place}.l{index // directions}{'_reverse' if index % directions else ''}"
            yield _described(which, names[index * each : (index + 1) * each], bool(index % directions))


def _cells(code: str, constants: set[str]) -> Iterator[Described]:
    for number, weights in enumerate(_CELL.findall(code)):
        names = _CONSTANT.findall(weights)
        if len(names) in (2, 4) and constants >= set(names):
            yield _described(f"torch.gru_cell.{number}", names, False)


def _described(place: str, names: list[str], reverse: bool) -> Described:
    tensors = dict(zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), names, strict=False))
    return Described(place, "torch", tensors, reverse=reverse)
