"""The recurrent layers that a Keras configuration names, in the model's order, with what it says of each.

A configuration is data: nothing in it is run, and a class that Keras does not have is known by name alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

LAYOUTS = {
    "GRU": "keras",
    "GRUCell": "keras",
    "CuDNNGRU": "keras-cudnn",
    "SimpleRNN": "keras-rnn",
    "SimpleRNNCell": "keras-rnn",
}
"""Classes that are read -> their layout; a GRU's depends on reset_after."""
FOREIGN = {
    "LSTM": "an LSTM", "LSTMCell": "an LSTM", "CuDNNLSTM": "an LSTM of cuDNN",
    "PeepholeLSTMCell": "an LSTM with peepholes",
    "ConvLSTM1D": "a ConvLSTM1D", "ConvLSTM2D": "a ConvLSTM2D", "ConvLSTM3D": "a ConvLSTM3D",
}  # fmt: skip

Step = str | tuple[str, int, int]
"""One step from a layer to what it holds: an attribute's name; or, within a list, the class in snake case, the how
manieth of that class, and of how many.
"""


@dataclass(frozen=True)
class Layer:
    """A layer of a configuration."""

    kind: str
    """Its class: "GRU"."""
    config: Mapping[str, Any]
    place: str = ""
    """The names of the layers around it and its own: "encoder/bidirectional/forward_gru"."""
    top: str = ""
    """The outermost layer's name, under which legacy files have its weights."""
    route: tuple[Step, ...] = ()
    """How Keras gets from the model to it, which is the path of its weights in `.keras` and `.weights.h5`."""
    reverse: bool = False
    said: Mapping[str, str] = field(default_factory=dict)
    """What the layers around it say: {"merge_mode": "concat", "time": "first"}."""

    @property
    def is_second(self) -> bool:
        """Whether it is a Bidirectional's second layer, whose output that turns round."""
        return "backward_layer" in self.route

    def inner(self, value: Mapping[str, Any], *steps: Step, name: str | None = None) -> Layer:
        """A layer that this one holds."""
        kind, config = value["class_name"], _settings(value)
        if name is None:
            name = str(config.get("name") or value.get("name") or snake(kind))
        place = f"{self.place}/{name}" if self.place else name
        return Layer(kind, config, place, self.top or name, (*self.route, *steps), self.reverse, self.said)

    def turned(self) -> Layer:
        """The same with its own direction and order of axes. A cell has none, and goes as the layer around it."""
        said = {**self.said, "time": "first"} if self.config.get("time_major") else self.said
        return replace(self, reverse=bool(self.config.get("go_backwards", self.reverse)), said=said)


def layers(model: Any, *, keras: int) -> list[Layer]:
    """The recurrent layers of a model's configuration, as written by that major version of Keras.

    Raises RecursionError where it is nested too deeply.
    """
    return list(_within(Layer(model["class_name"], _settings(model)), keras)) if _is_layer(model) else []


def function(value: Any, *, keras: int) -> str:
    """An activation as the configuration names it, its slope and offset with it where the versions of Keras differ."""
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner if isinstance(inner, str) else value.get("registered_name") or value.get("class_name")
    # Keras 1 and 2: clip(0.2 x + 0.5, 0, 1). Keras 3: relu6(x + 3) / 6.
    hard = f"hard_sigmoid({'0.16666667' if keras >= 3 else '0.2'}, 0.5)"
    return {None: "linear", "hard_sigmoid": hard, "__lambda__": "a lambda"}.get(value, str(value))


def policy_of(config: Mapping[str, Any]) -> str:
    """The name of a layer's dtype policy, such as mixed_bfloat16: Keras 3 writes an object, Keras 2 its name or such an
    object.
    """
    value = config.get("dtype")
    inner = value.get("config") if isinstance(value, dict) else None
    name = inner.get("name") if isinstance(inner, dict) else value
    return name if isinstance(name, str) else ""


def snake(kind: str) -> str:
    """A class as Keras names the group of its weights: SimpleRNN -> simple_rnn."""
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W", "", kind))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", parted).lower()


def _is_layer(value: Any) -> bool:
    kind = isinstance(value, dict) and isinstance(value.get("class_name"), str)
    return kind and isinstance(value.get("config"), (dict, list))


def _settings(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Until Keras 2.2.2 a Sequential's configuration was the list of its layers."""
    config: Any = value["config"]
    return {"layers": config} if isinstance(config, list) else config


def _within(node: Layer, keras: int) -> Iterator[Layer]:
    if node.kind == "Bidirectional" and _is_layer(node.config.get("layer")):
        yield from _directions(node, keras)
    elif node.kind == "RNN" and _is_layer(node.config.get("cell")):
        yield from _cells(node.turned(), keras)
    elif node.kind in LAYOUTS or node.kind in FOREIGN or "recurrent_activation" in node.config:
        # The last is a class of one's own that takes a GRU's settings: what it does with them is in its code.
        yield node.turned()
    else:
        for key, value in node.config.items():
            if _is_layer(value):
                yield from _within(node.inner(value, key), keras)
            elif isinstance(value, list):
                yield from _listed(node, key, [item for item in value if _is_layer(item)], keras)


def _listed(node: Layer, key: str, values: list[Any], keras: int) -> Iterator[Layer]:
    """The layers of a list, which Keras counts by their classes."""
    kinds = [snake(value["class_name"]) for value in values]
    for i, (kind, value) in enumerate(zip(kinds, values, strict=True)):
        yield from _within(node.inner(value, key, (kind, kinds[:i].count(kind), kinds.count(kind))), keras)


def _directions(node: Layer, keras: int) -> Iterator[Layer]:
    """The two layers of a Bidirectional: the second is the first turned round, where it is not given."""
    node = replace(node, said={**node.said, "merge_mode": str(node.config.get("merge_mode"))})
    forward: Any = node.config["layer"]
    backward: Any = node.config.get("backward_layer")
    name = str(_settings(forward).get("name", "")).removeprefix("forward_")
    yield from _within(node.inner(forward, "forward_layer", name=f"forward_{name}"), keras)
    if _is_layer(backward):
        own = str(_settings(backward).get("name", ""))
        # Keras 2 writes the name that it was made with, and renames it.
        own = own if keras >= 3 else f"backward_{own.removeprefix('backward_')}"
        yield from _within(node.inner(backward, "backward_layer", name=own), keras)
    else:
        config = _settings(forward)
        other = {**forward, "config": {**config, "go_backwards": not config.get("go_backwards")}}
        yield from _within(node.inner(other, "backward_layer", name=f"backward_{name}"), keras)


def _cells(node: Layer, keras: int) -> Iterator[Layer]:
    """An RNN's cell, which stands under the name of the RNN; or those of a stack, each under its own after that."""
    cell = replace(node.inner(node.config["cell"], "cell"), place=node.place, top=node.top)
    yield from _within(cell, keras)
