"""Keras's own layers, with the shared weights put in through shared_spec/layouts.toml, as forwards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf
from tensorflow import Tensor

from frameworks.tensorflow.cells import Forward
from shared_spec.weights.layouts import Layout, Part, layout
from shared_spec.weights.packing import with_second


def pack(layout: Layout, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The layer's own tensors, from parameters by their spec names; differentiable."""

    held = with_second(layout, parameters, tf.zeros_like)

    def value(part: Part) -> Tensor:
        return -held[part.name] if part.negated else held[part.name]

    packed = {}
    for name, tensor in layout.tensors.items():
        rows = []
        for row in tensor.rows:
            arrays = [tf.transpose(value(part)) if tensor.transpose else value(part) for part in row]
            rows.append(tf.concat(arrays, tensor.axis))
        packed[name] = tf.stack(rows) if tensor.stacked else rows[0]
    return packed


@functools.cache
def gru() -> Forward:
    return _forward(functools.partial(keras.layers.GRU, reset_after=False), layout("keras-reset-before"))


@functools.cache
def gru_reset_after() -> Forward:
    return _forward(functools.partial(keras.layers.GRU, reset_after=True), layout("keras"))


@functools.cache
def rnn() -> Forward:
    return _forward(keras.layers.SimpleRNN, layout("keras-rnn"))


def _forward(layer_type: Callable[..., keras.layers.RNN], layout: Layout) -> Forward:
    @functools.cache
    def build(d: int, h: int, dtype: str) -> keras.layers.RNN:
        # Zeros instead of the layer's own random start cost nothing; the shared weights take their place.
        start = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
        layer = layer_type(h, return_sequences=True, return_state=True, dtype=dtype, **start)
        layer.build((None, None, d))
        return layer

    def forward(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        layer, packed = build(X.shape[-1], H0.shape[-1], X.dtype.name), pack(layout, parameters)
        weights = [packed[variable.name] for variable in layer.trainable_variables]
        # Keras takes and gives (n, T, ...).
        (H, final), _ = layer.stateless_call(
            weights, layer.non_trainable_variables, tf.transpose(X, (1, 0, 2)), initial_state=H0
        )
        return tf.transpose(H, (1, 0, 2)), final

    return forward


# Whether a training step with one is compiled as a whole.
COMPILED = False
BOTH = ("float32", "float64")
# The cell that each layer claims to equal: its constructor and the dtypes that it runs in.
LAYERS = {"gru": (gru, BOTH), "gru_reset_after": (gru_reset_after, BOTH), "rnn": (rnn, BOTH)}
