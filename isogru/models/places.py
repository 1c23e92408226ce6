"""Where the layers of one file go in another: names that number them as a stack, or places of their own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from isogru.models.layer import Layer
from isogru.models.naming import Position, numbered, stripped
from shared_spec.errors import UserError
from shared_spec.weights.layouts import Layout

_OWN_LEVEL = re.compile(r"[^./]*$")


def of(layers: Sequence[Layer], target: Layout, prefix: str, labels: Sequence[str]) -> list[Position]:
    """Where each layer goes: under the prefix, one alone as the layout names it, several numbered as a stack. Raises
    UserError for labels that are no layers of the layout, or not as many.
    """
    prefix = _ended(prefix)
    if labels and len(labels) != len(layers):
        raise UserError(f"{len(layers)} layers and {len(labels)} times --to-layer; give it once for each layer")
    if labels:
        return [_labelled(label, target, prefix) for label in labels]
    if len(layers) == 1:
        reverse = bool(layers[0].position.reverse) and layers[0].position.number is None and numbered(target)
        return [Position(prefix, 0, reverse)]
    if numbered(target) and all(layer.position.number is None for layer in layers):
        if is_stack(layers):
            return _stacked(layers, prefix)
        return _stacks(layers, target, prefix)
    places = {layer.position.place for layer in layers if layer.position.number is not None}
    positions = []
    for layer in layers:
        place, number, reverse = layer.position.place, layer.position.number, bool(layer.position.reverse)
        # Under its own place, so that an encoder stays an encoder; one stack alone needs none.
        alone = places == {place} and number is not None
        start = _start("", prefix if alone else f"{prefix}{_ended(place)}", target)
        if number is not None and not numbered(target):
            several = len({each.position.number for each in layers if each.position.place == place}) > 1
            label = f"l{number}" if several or not two_rows(target) else ""
            label += "_reverse" if reverse and not two_rows(target) else ""
            start = f"{start}{label}." if label else start
        positions.append(Position(start, number or 0, reverse))
    return positions


def _stacked(layers: Sequence[Layer], prefix: str) -> list[Position]:
    numbers = counted(layers)
    return [Position(prefix, n, bool(each.position.reverse)) for n, each in zip(numbers, layers, strict=True)]


def _stacks(layers: Sequence[Layer], target: Layout, prefix: str) -> list[Position]:
    """Several stacks, as an encoder beside a decoder: each under the place that its layers share, as /encoder/ is of
    /encoder/GRU and /encoder/GRU_1; and each layer that is part of none under its own.
    """
    around = [_OWN_LEVEL.sub("", stripped(layer.position.place)) for layer in layers]
    positions: dict[int, Position] = {}
    for place in dict.fromkeys(around):
        members = [i for i, each in enumerate(around) if each == place]
        stack = [layers[i] for i in members]
        if place.strip("./") and is_stack(stack):
            positions |= dict(zip(members, _stacked(stack, _start(prefix, place, target)), strict=True))
            continue
        for i, layer in zip(members, stack, strict=True):
            start = _start(prefix, _ended(layer.position.place), target)
            positions[i] = Position(start, 0, bool(layer.position.reverse))
    return [positions[i] for i in range(len(layers))]


def _start(prefix: str, place: str, target: Layout) -> str:
    """What comes before the names of layers at a place, its levels joined as the target's package joins them: PyTorch's
    load_state_dict asks for dots.
    """
    own = place.replace("/", ".") if target.package == "torch" else place
    return f"{prefix}{own.lstrip('./')}"


def _ended(place: str) -> str:
    """A place with the separator that ends it."""
    return f"{place}." if place and place[-1].isalnum() else place


def two_rows(target: Layout) -> bool:
    """Whether the layout's tensors hold two directions along their first axis, as ONNX' do."""
    return all(tensor.stacked and len(tensor.rows) == 1 for tensor in target.tensors.values())


def _labelled(label: str, target: Layout, prefix: str) -> Position:
    bare = label.removesuffix("_reverse")
    if not numbered(target):
        return Position(f"{prefix}{label}." if label else prefix, None, label != bare)
    if bare[:1] not in ("l", "r") or not bare[1:].isdigit():
        raise UserError(f"no layer {label!r} in {target.name}; write l0, l0_reverse, l1 and so on")
    return Position(prefix, int(bare[1:]), label != bare or bare[0] == "r")


def counted(stack: Sequence[Layer]) -> list[int]:
    """The number of each layer in a stack, a forward and a reverse layer counting as one."""
    numbers: list[int] = []
    for i, layer in enumerate(stack):
        if i and layer.position.reverse and not stack[i - 1].position.reverse:
            numbers.append(numbers[-1])
        else:
            numbers.append(numbers[-1] + 1 if numbers else 0)
    return numbers


def is_stack(layers: Sequence[Layer]) -> bool:
    """Whether they are what one module with several layers can be: each takes as many inputs as those below it have
    units, all have as many units, and as many directions.
    """
    numbers = counted(layers)
    below = [
        [layer for layer, n in zip(layers, numbers, strict=True) if n == number] for number in range(numbers[-1] + 1)
    ]
    alike = len({layer.sizes["h"] for layer in layers}) == len({len(level) for level in below}) == 1
    return alike and all(
        layer.sizes["d"] == sum(each.sizes["h"] for each in lower)
        for lower, level in itertools.pairwise(below)
        for layer in level
    )
