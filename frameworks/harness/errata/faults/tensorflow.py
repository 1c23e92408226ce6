"""Wrong wirings by hand in TensorFlow and Keras."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import keras
import tensorflow as tf
from tensorflow import Tensor

from frameworks.tensorflow import cells
from frameworks.tensorflow.cells import Forward
from frameworks.tensorflow.layers import pack
from shared_spec.weights.layouts import layout


def gru_turned(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    Z = tf.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = tf.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = tf.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = (1 - Z) * H + Z * C
    return H, {"Z": Z, "R": R, "C": C}


def gru_reset_only_blending(X, H, *, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    R = tf.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = tf.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = R * H + (1 - R) * C
    return H, {"R": R, "C": C}


def gru_update_only_overwriting(X, H, *, W_xz, W_hz, b_z, W_xh, W_hh, b_h):
    Z = tf.sigmoid(X @ W_xz + H @ W_hz + b_z)
    C = tf.tanh(X @ W_xh + H @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    H = C
    return H, {"Z": Z, "C": C}


FAULTS = {
    "gru_turned": (cells.gru, gru_turned),
    "gru_reset_only_blending": (cells.gru_reset_only, gru_reset_only_blending),
    "gru_update_only_overwriting": (cells.gru_update_only, gru_update_only_overwriting),
}

CONCISE = "keras.layers.GRU(num_hiddens, return_sequences=True, return_state=True)"


@functools.cache
def _layer(d: int, h: int, dtype: str) -> keras.layers.GRU:
    """As the book makes it, reset_after left to Keras. The shared weights take the place of the zeros."""
    start = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
    layer = keras.layers.GRU(h, return_sequences=True, return_state=True, dtype=dtype, **start)
    layer.build((None, None, d))
    return layer


def _called(X: Tensor, h: int, parameters: Mapping[str, Tensor], **state: Tensor) -> tuple[Tensor, Tensor]:
    layer, packed = _layer(X.shape[-1], h, X.dtype.name), pack(layout("keras"), parameters)
    weights = [packed[variable.name] for variable in layer.trainable_variables]
    (H, final), _ = layer.stateless_call(weights, layer.non_trainable_variables, X, **state)
    return H, final


def concise() -> Forward:
    """The layer on what it takes: X as (n, T, d)."""

    def forward(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        H, final = _called(tf.transpose(X, (1, 0, 2)), H0.shape[-1], parameters, initial_state=H0)
        return tf.transpose(H, (1, 0, 2)), final

    return forward


def concise_time_first() -> Forward:
    """The layer on what the book's model hands it: X as (T, n, d), which it reads as T examples of n steps; and no
    state, so that it makes one of T rows.
    """

    def forward(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        H, _ = _called(X, H0.shape[-1], parameters)
        return H, H[-1]

    return forward


def rows_of_state(X: Tensor, h: int, parameters: Mapping[str, Tensor]) -> int:
    """How many examples the layer takes X for."""
    return int(_called(X, h, parameters)[1].shape[0])


def reset_after() -> bool:
    """What the layer does that nobody told where its reset gate stands."""
    return bool(_layer(1, 1, "float32").cell.reset_after)
