"""Two files of weights, whole models: are they the same, layer by layer?"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from isogru.models.functions import USUAL, Arithmetic
from isogru.models.layer import Layer, check_sizes
from isogru.models.naming import one_way, stripped
from shared_spec.errors import UserError
from shared_spec.readings.arithmetic import PLAIN, Array, Plain
from shared_spec.weights import same
from shared_spec.weights.convert import PROBE
from shared_spec.weights.layouts import Layout
from shared_spec.weights.packing import unpack
from shared_spec.weights.same import DIFFERENT, ROUNDED, SAME, Comparison, Side

_NO_NAME = re.compile(r"(?:\w+_)?cell(?:_\d+)?|forward(?:_\w+)?")
"""A level of a place that says of which class or direction a layer is, and not which layer."""
WORST_LAST = (SAME, ROUNDED, DIFFERENT)


@dataclass(frozen=True)
class Pair:
    """A layer of one file and its partner in the other."""

    one: Layer
    other: Layer
    comparison: Comparison

    @property
    def title(self) -> str:
        """Both layers, as a line begins."""
        return f"{self.one.title} and {self.other.title}"

    def record(self) -> dict[str, object]:
        """For machines."""
        layers = {side: _told(layer) for side, layer in (("one", self.one), ("other", self.other))}
        return {**layers, **asdict(self.comparison), "sentence": self.comparison.sentence}


@dataclass(frozen=True)
class ModelComparison:
    """Whole models against each other: the pairs, and one verdict for all."""

    pairs: tuple[Pair, ...]

    @property
    def verdict(self) -> str:
        """The worst of the pairs'."""
        return max((pair.comparison.verdict for pair in self.pairs), key=WORST_LAST.index)

    @property
    def sentence(self) -> str:
        """One sentence for all."""
        if len(self.pairs) == 1:
            return self.pairs[0].comparison.sentence
        worst = [pair for pair in self.pairs if pair.comparison.verdict == self.verdict]
        measured = f"states measured with each layer's weights on {PROBE}"
        if self.verdict == DIFFERENT:
            return f"different: {len(worst)} of {len(self.pairs)} layers, such as {worst[0].title} ({measured})"
        conditions = dict.fromkeys(c for pair in self.pairs for c in pair.comparison.conditions)
        asked = "; ".join([*conditions, "the layers are connected alike"])
        rounding, how = ("", "") if self.verdict == SAME else (" but for rounding", f" ({measured})")
        return f"the same function{rounding}, layer by layer, if {asked}: {len(self.pairs)} layers{how}"

    def lines(self, most: int | None) -> list[str]:
        """What is said: a line for each pair where there are several, with so many parameters, and one for all."""
        if len(self.pairs) == 1:
            return [self.pairs[0].comparison.said(most)]
        alone = ((pair.title, replace(pair.comparison, conditions=())) for pair in self.pairs)
        return [*(f"{title}: {each.said(most, measured=False)}" for title, each in alone), self.sentence]

    def record(self) -> dict[str, object]:
        """For machines: of one pair its own fields, and of all pairs `layers`."""
        layers = [pair.record() for pair in self.pairs]
        alone = layers[0] if len(layers) == 1 else {}
        return {**alone, "verdict": self.verdict, "sentence": self.sentence, "layers": layers}


def _told(layer: Layer) -> dict[str, object]:
    return {
        "file": str(layer.contents.path),
        "layer": layer.title,
        "layout": layer.layout.name,
        "notes": list(layer.notes),
        "unsaid": list(layer.unsaid.values()),
    }


def told(ones: Sequence[Layer], others: Sequence[Layer], given: Sequence[str]) -> list[tuple[Layer, Layer]]:
    """Partners as the user tells them, "A=B" with both as `isogru layers` prints them, and no others. Raises UserError
    for what no layer is called.
    """
    partners = []
    for text in given:
        sides = [(text[:at], text[at + 1 :]) for at, letter in enumerate(text) if letter == "="]
        if not sides:
            raise UserError(f"{text!r} names no pair; write --pair A=B, with both as isogru layers prints them")
        # A place may have the sign in it.
        fitting = [(one, other) for a, b in sides for one in _called(ones, a) for other in _called(others, b)]
        if len(fitting) != 1:
            a, b = sides[0]
            side, name = (ones, a) if len(_called(ones, a)) != 1 else (others, b)
            there = ", ".join(layer.title for layer in side)
            raise UserError(
                f"{side[0].contents.path}: {'several layers are' if _called(side, name) else 'no layer is'} called "
                f"{name!r}; there are {there}"
            )
        partners += fitting
    for side in zip(*partners, strict=True):
        if twice := [layer for i, layer in enumerate(side) if layer in side[:i]]:
            raise UserError(f"{twice[0].contents.path}: {twice[0].title} stands in two pairs; give it one partner")
    return partners


def _called(layers: Sequence[Layer], name: str) -> list[Layer]:
    """The layers of a title; where there are none, those of a label or place."""
    own = [layer for layer in layers if layer.title == name]
    return own or [layer for layer in layers if name in (layer.label, stripped(layer.position.place))]


def pairs(ones: Sequence[Layer], others: Sequence[Layer], prefixes: tuple[str, str]) -> list[tuple[Layer, Layer]]:
    """Partners: by place and label where both files have the same, or the same last names, and what is left in order.
    Raises UserError for unequal numbers.

    `prefixes` are what the options that choose layers of the one and of the other begin with: "--", "--to-".
    """
    if len(ones) != len(others):
        many, start = (ones, prefixes[0]) if len(ones) > len(others) else (others, prefixes[1])
        places = list(dict.fromkeys(layer.position.place for layer in many))
        by_place = f"{start}prefix {shlex.quote(places[0])}"
        example = f"{start}layer {shlex.quote(many[0].label)}" if len(places) == 1 or not places[0] else by_place
        raise UserError(
            f"{_counted(ones)}, {_counted(others)}: say which of the {len(many)} are meant, such as {example}"
        )
    named = max((_by_name(ones, others, key) for key in _NAMES), key=len)
    if len(named) < len(ones):
        # One name alone may be chance.
        named = {i: j for i, j in named.items() if ones[i].sizes == others[j].sizes}
    left = iter(other for i, other in enumerate(others) if i not in named.values())
    return [(one, others[named[i]] if i in named else next(left)) for i, one in enumerate(ones)]


def _by_name(
    ones: Sequence[Layer], others: Sequence[Layer], key: Callable[[Layer], tuple[object, ...]]
) -> dict[int, int]:
    """Which of the ones has the name of which of the others, and of nobody else."""
    names = [[key(layer) for layer in side] for side in (ones, others)]
    return {
        i: names[1].index(name) for i, name in enumerate(names[0]) if names[0].count(name) == names[1].count(name) == 1
    }


def in_order(partners: Sequence[tuple[Layer, Layer]]) -> bool:
    """Whether some of several layers are partners for no other reason than their order."""
    return len(partners) > 1 and any(all(key(one) != key(other) for key in _NAMES) for one, other in partners)


def _whole_name(layer: Layer) -> tuple[object, ...]:
    return layer.position.place, layer.label


def _last_name(layer: Layer) -> tuple[object, ...]:
    """The last name of a place, as encoder is of "module.encoder.", "params/encoder/" and "encoder/forward_layer/cell",
    number and direction.
    """
    levels = re.split("[./]", stripped(one_way(layer.position.place)))
    while len(levels) > 1 and _NO_NAME.fullmatch(levels[-1]):
        levels.pop()
    return levels[-1], layer.position.number or 0, bool(layer.position.reverse)


_NAMES = (_whole_name, _last_name)


def _counted(layers: Sequence[Layer]) -> str:
    named = ", ".join(layer.title for layer in layers[:8])
    several = "1 layer" if len(layers) == 1 else f"{len(layers)} layers"
    return f"{layers[0].contents.path} has {several} ({named}{', ...' if len(layers) > 8 else ''})"


def compare(one: Layer, other: Layer) -> Comparison:
    """Two layers: weights, functions, placement of the reset gate and direction, as far as the files settle them."""
    check_sizes(one, other)
    reasons, conditions = _beside(one, other)
    tensors, others = one.tensors(), other.tensors()
    sides = (_side(one, other), _side(other, one))
    comparison = same.compare(
        one.layout, tensors, other.layout, others, sides=sides, reasons=reasons, conditions=conditions
    )
    if comparison.verdict == DIFFERENT and comparison.differences:
        for layer, given, rest, their in ((one, tensors, other, others), (other, others, one, tensors)):
            if names := scrambled(layer.layout, given, rest.layout, their):
                told = (
                    f"{' and '.join(layer.names.get(name, name) for name in names)} of {layer.contents.path} "
                    f"{'has' if len(names) == 1 else 'have'} the right values in the wrong order, as safetensors "
                    "writes a transposed view; save numpy.ascontiguousarray(a.T) instead"
                )
                return replace(comparison, reasons=(*comparison.reasons, told))
    return comparison


def is_scrambled(one: Layer, other: Layer) -> bool:
    """Whether a tensor of one of two layers holds another order of the right values."""
    tensors, others = one.tensors(), other.tensors()
    return bool(
        scrambled(one.layout, tensors, other.layout, others) or scrambled(other.layout, others, one.layout, tensors)
    )


def _side(layer: Layer, other: Layer) -> Side:
    functions = {**USUAL, **layer.functions}
    for key in set(functions) - set(layer.functions):
        # What a file does not say is taken to be as in the other.
        functions[key] = other.functions.get(key, functions[key])
    reverse = bool(layer.position.reverse) and other.position.reverse is False
    try:
        arithmetic: Plain = Arithmetic(functions["gate"], functions["candidate"])
    except KeyError as error:
        raise UserError(
            f"{layer.contents.path}: {layer.title} has the function {error}, which isogru does not know"
        ) from None
    name = f"{layer.contents.path} ({layer.layout.name})"
    return Side(name, PLAIN if functions == USUAL else arithmetic, reverse, layer.roundoffs, layer.worked_out)


def _beside(one: Layer, other: Layer) -> tuple[list[str], list[str]]:
    """What differs beside the weights, and what nobody says."""
    reasons, conditions = [], []
    names = {"gate": "the gates use", "candidate": "the candidate state uses"}
    for key, verb in names.items():
        a, b = one.functions.get(key), other.functions.get(key)
        if a and b and a != b:
            reasons.append(f"{verb} {a} in {one.contents.path}, {b} in {other.contents.path}")
        for known, layer in ((b, one), (a, other)):
            if layer.functions.get(key) is None and known not in (None, USUAL[key]):
                conditions.append(f"{verb} {known} in {layer.contents.path} too, which does not say so")
    a, b = one.settings.get("clip", "none"), other.settings.get("clip", "none")
    if a != b:
        reasons.append(f"clip is {a} in {one.contents.path}, {b} in {other.contents.path}")
    directions = (one.position.reverse, other.position.reverse)
    if None not in directions and directions[0] != directions[1]:
        first, last = (one, other) if directions[1] else (other, one)
        reasons.append(f"{first.title} runs from the first step to the last, {last.title} from the last to the first")
    for layer, partner in ((one, other), (other, one)):
        if layer.position.reverse is None and partner.position.reverse:
            how = layer.layout.settings.get("reverse")
            conditions.append(f"{layer.title} runs from the last step to the first{f' ({how})' if how else ''}")
    asked = [_asked(one, other), _asked(other, one)]
    if asked[0] == asked[1] and asked[0]:
        conditions.append(f"both have {' and '.join(asked[0])}, which the files do not say")
    else:
        for layer, texts in zip((one, other), asked, strict=True):
            if texts:
                conditions.append(f"{layer.contents.path} has {' and '.join(texts)}, which it does not say")
    return reasons, list(dict.fromkeys(conditions))


def _asked(layer: Layer, partner: Layer) -> list[str]:
    """What a layer does not say, but for functions of which its partner says that they are others."""
    usual = {**USUAL, **partner.functions} == USUAL
    return list(dict.fromkeys(text for key, text in layer.unsaid.items() if usual or key not in USUAL))


def scrambled(layout: Layout, tensors: Mapping[str, Array], other: Layout, others: Mapping[str, Array]) -> list[str]:
    """Which tensors hold another order of the right values, as safetensors.numpy.save_file (0.8.0) writes the memory of
    a transposed view: those that put right make the layers' matrices alike. Empty where that is not it.
    """
    flat = [name for name, array in tensors.items() if array.ndim == 2 and 1 not in array.shape]
    theirs = {key: array for key, array in unpack(other, others, copied=False).items() if key.startswith("W_")}
    as_they_are = unpack(layout, tensors, copied=False)
    if all(key in as_they_are and np.array_equal(as_they_are[key], array) for key, array in theirs.items()):
        return []
    for n in range(1, len(flat) + 1):
        for names in itertools.combinations(flat, n):
            right = {name: tensors[name].reshape(tensors[name].shape[::-1]).T for name in names}
            ours = unpack(layout, {**tensors, **right}, copied=False)
            if all(np.array_equal(ours[key], theirs[key]) for key in theirs if key in ours):
                return list(names)
    return []
