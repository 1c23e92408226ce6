"""The recurrent nodes of an ONNX model, by their inputs and attributes: onnx.ai, operators GRU, RNN, LSTM, opset 22."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isogru.weight_files.contents import Described, Foreign, Tensor
from isogru.weight_files.onnx.graph import OWN_DOMAINS, Scope
from isogru.weight_files.onnx.tensors import INTEGERS, Leaf, shown
from isogru.weight_files.onnx.values import UnknownError, Value, dequantised, moved, of_leaf
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import FLOATS

KINDS = ("LSTM", "GRU", "RNN")
DIRECTIONS: Mapping[str, tuple[bool, ...]] = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""Of each row, whether it goes from the last step to the first."""
ACTIVATIONS = {"GRU": {"gate": "sigmoid", "candidate": "tanh"}, "RNN": {"candidate": "tanh"}}
GATES = {"GRU": 3, "RNN": 1}
# By default those of the operators of the same name; there is no operator Affine or ScaledTanh.
ALPHA = {"hardsigmoid": 0.2, "elu": 1.0, "leakyrelu": 0.01, "thresholdedrelu": 1.0, "affine": None, "scaledtanh": None}
BETA = {"hardsigmoid": 0.5, "affine": None, "scaledtanh": None}
RENAMED = {"hardsigmoid": "hard_sigmoid"}


@dataclass
class Layers:
    """What is found, node by node."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    """By name: the initializers, and what the layers need besides."""
    values: dict[str, Value] = field(default_factory=dict)
    """The same, with how they came about."""
    described: list[Described] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    """Of tensors that stand in the file, by where their TensorProto begins."""
    entered: set[Scope] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    places: set[str] = field(default_factory=set)
    again: dict[str, int] = field(default_factory=dict)
    """How often a name was met."""

    def enter(self, scope: Scope) -> None:
        """Takes in the initializers of a graph."""
        if scope not in self.entered:
            self.entered.add(scope)
            for leaf in scope.leaves.values():
                self.stands(leaf, scope.place)

    def stands(self, leaf: Leaf, place: str) -> str:
        """Takes in a tensor that stands in the file: its name, with the place where another has it already."""
        if leaf.at not in self.names:
            name = self.names[leaf.at] = self._free(leaf.name, place, self.tensors)
            self.tensors[name] = Tensor(leaf.shape, leaf.dtype, leaf.load)
            self.values[name] = of_leaf(leaf)
        return self.names[leaf.at]

    def add(self, node: Any, scope: Scope) -> None:
        """Takes in a node, if it is a recurrent one, and before it the initializers of its graph."""
        self.enter(scope)
        own = node.domain in OWN_DOMAINS
        fits = (lambda kind: node.op_type == kind) if own else node.op_type.endswith
        kind = next(filter(fits, KINDS), None)
        if kind is None:
            return
        number = self.counts[kind] = self.counts.get(kind, -1) + 1
        name = node.name or f"{node.op_type}_{number}"
        place = self._free(f"{scope.place}/{name}" if scope.place else name, "", self.places)
        self.places.add(place)
        if kind == "LSTM":
            self.foreign.append(Foreign(place, "an LSTM"))
            return
        try:
            self._describe(kind, own, node, scope, place)
        except UnknownError as error:
            self.foreign.append(Foreign(place, f"{'an' if kind == 'RNN' else 'a'} {kind} {error}"))

    def _free(self, name: str, place: str, taken: Container[str]) -> str:
        """A name that nothing has yet."""
        if place and name in taken:
            name = f"{place}/{name}"
        free = name
        while free in taken:
            # From where it was left off: a thousand nodes may have one name.
            self.again[name] = self.again.get(name, 1) + 1
            free = f"{name} ({self.again[name]})"
        return free

    def pieces(self) -> set[str]:
        """Tensors of the file of which weights are computed, and which no layer takes as they are."""
        taken = {name for each in self.described for name in each.tensors.values()}
        return {
            self.names[leaf.at] for name in taken for leaf in self.values[name].leaves if leaf.at in self.names
        } - taken

    def _describe(self, kind: str, own: bool, node: Any, scope: Scope, place: str) -> None:
        attributes = scope.attributes_of(node)
        direction = attributes["direction"].s.decode(errors="replace") if "direction" in attributes else "forward"
        if direction not in DIRECTIONS:
            raise UnknownError(f"of the direction {shown(direction) or 'nothing'}")
        reverses = DIRECTIONS[direction]
        values = _weights(node, scope)
        if not own:
            values |= _quantised(kind, node, scope, values)
        _check(kind, attributes, values, len(reverses))
        settings = _settings(kind, attributes)
        activations = _activations(kind, attributes, len(reverses))
        layout = "onnx-rnn"
        if kind == "GRU":
            after = bool(attributes["linear_before_reset"].i) if "linear_before_reset" in attributes else False
            settings["linear_before_reset"] = str(int(after))
            layout = "onnx" if after else "onnx-reset-before"
        tensors = {role: self._named(value, place, role) for role, value in values.items()}
        for row, reverse in enumerate(reverses):
            words = activations[row * len(ACTIVATIONS[kind]) :]
            own_settings = dict(zip(ACTIVATIONS[kind], words, strict=False)) | settings
            self.described.append(Described(place, layout, tensors, reverse, row, own_settings))

    def _named(self, value: Value, place: str, role: str) -> str:
        if value.leaves and not value.did:
            return self.stands(value.leaves[0], place)
        name = self._free(f"{place}.{role}", "", self.tensors)
        self.tensors[name] = Tensor(value.shape, value.dtype, value.load, value.note, _narrowest(value))
        self.values[name] = value
        return name


def _weights(node: Any, scope: Scope) -> dict[str, Value]:
    values = {}
    for number, role in enumerate(("W", "R", "B"), 1):
        name = node.input[number] if number < len(node.input) else ""
        if name:
            values[role] = _value(scope, name, role)
        elif role != "B":
            raise UnknownError(f"without {role}")
    return values


def _value(scope: Scope, name: str, role: str) -> Value:
    try:
        return scope.find(name)
    except UnknownError as error:
        raise UnknownError(f"whose {role} {error}") from None


def _check(kind: str, attributes: Mapping[str, Any], values: Mapping[str, Value], directions: int) -> None:
    for role, value in values.items():
        if value.dtype not in FLOATS:
            raise UnknownError(f"whose {role} is {value.dtype}")
    W, R = values["W"].shape, values["R"].shape
    h = int(attributes["hidden_size"].i) if "hidden_size" in attributes else R[-1] if R else 0
    rows = GATES[kind] * h
    right = {"W": (directions, rows, W[-1] if W else 0), "R": (directions, rows, h), "B": (directions, 2 * rows)}
    for role, value in values.items():
        if value.shape != right[role] or h < 1:
            raise UnknownError(f"whose {role} is {value.shape} and should be {right[role]}, by its attributes")


def _settings(kind: str, attributes: Mapping[str, Any]) -> dict[str, str]:
    layout = int(attributes["layout"].i) if "layout" in attributes else 0
    if layout not in (0, 1):
        raise UnknownError(f"of the layout {layout}")
    settings = {"time": ("first", "second")[layout]}
    if "clip" in attributes:
        settings["clip"] = str(np.float32(attributes["clip"].f))
    return settings


def _activations(kind: str, attributes: Mapping[str, Any], directions: int) -> list[str]:
    """Of one direction after the other, each with its numbers, which stand in a row for those that take some."""
    given = (
        [word.decode(errors="replace") for word in attributes["activations"].strings]
        if "activations" in attributes
        else []
    )
    words = [word.lower() for word in given] or [*ACTIVATIONS[kind].values()] * directions
    if len(words) != len(ACTIVATIONS[kind]) * directions:
        raise UnknownError(f"with {len(words)} activations, which should be {len(ACTIVATIONS[kind]) * directions}")
    alphas, betas = (
        iter(attributes[name].floats if name in attributes else ()) for name in ("activation_alpha", "activation_beta")
    )
    named = []
    for word in words:
        numbers = [next(alphas, ALPHA[word])] if word in ALPHA else []
        numbers += [next(betas, BETA[word])] if word in BETA else []
        written = ", ".join(str(np.float32(number)) for number in numbers if number is not None)
        named.append(shown(RENAMED.get(word, word)) + (f"({written})" if written else ""))
    return named


def _quantised(kind: str, node: Any, scope: Scope, values: Mapping[str, Value]) -> dict[str, Value]:
    """Integers with scales beside, as com.microsoft's DynamicQuantizeLSTM has them: W_scale, W_zero_point, R_scale and
    R_zero_point come last, one for each direction or for each row of gates, and W and R may be transposed.
    """
    R, name = values["R"], shown(f"{node.domain}.{node.op_type}")
    if any(values[role].dtype not in INTEGERS for role in "WR") or len(node.input) < 8 or len(R.shape) != 3:
        raise UnknownError(f"of another kind, {name}")
    turned = R.shape[2] == GATES[kind] * R.shape[1]
    tensors = {}
    for role, number in (("W", -4), ("R", -2)):
        scale = _value(scope, node.input[number], f"{role}_scale")
        zero = _value(scope, node.input[number + 1], f"{role}_zero_point") if node.input[number + 1] else None

        def spread(array: Array) -> Array:
            if array.ndim == 2:
                return array[:, None, :] if turned else array[:, :, None]
            return array[:, None, None] if array.ndim == 1 else array

        try:
            value = dequantised(values[role], scale, zero, spread)
            tensors[role] = moved(value, "Transpose", lambda array: array.transpose(0, 2, 1)) if turned else value
        except (ValueError, IndexError):
            raise UnknownError(f"of another kind, {name}, whose scales do not fit") from None
    return tensors


def _narrowest(value: Value) -> str:
    """The narrowest dtype of float16 and bfloat16 that it is cast from; empty where it is of none."""
    cast = [dtype for dtype in ("bfloat16", "float16") if f"Cast from {dtype} to {value.dtype}" in value.did]
    return next(iter(cast), "")
