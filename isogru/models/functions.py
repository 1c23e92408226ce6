"""The functions of a layer, where they are not sigmoid and tanh: relu, Keras' hard_sigmoid, and what else is told."""

from __future__ import annotations

from collections.abc import Mapping

from shared_spec.readings.arithmetic import Array, Plain
from shared_spec.readings.functions import function as function

USUAL: Mapping[str, str] = {"gate": "sigmoid", "candidate": "tanh"}
"""What a cell of the specification has."""


class Arithmetic(Plain):
    """Plain, with other functions in the place of sigmoid and tanh. Raises KeyError for one that is not known."""

    def __init__(self, gate: str, candidate: str) -> None:
        chosen = {"sigmoid": function(gate), "tanh": function(candidate)}
        if chosen["sigmoid"] is None or chosen["tanh"] is None:
            raise KeyError(gate if chosen["sigmoid"] is None else candidate)
        self._functions = chosen

    def function(self, name: str, x: Array) -> Array:
        """What stands for sigmoid or tanh."""
        activation = self._functions[name]
        assert activation is not None
        return activation(x)
