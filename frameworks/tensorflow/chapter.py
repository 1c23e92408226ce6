"""The chapter's own way to train, as Zhang et al., Dive into Deep Learning, sections 9.3, 9.5, 9.6 and 10.2, have it in
TensorFlow, in words of our own: what the other lanes are raced against.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf
from tensorflow import Tensor

from frameworks import RichForward
from frameworks.tensorflow.cells import CELLS, Forward, Step, unroll
from frameworks.tensorflow.language_model import OUTPUT, zero_state
from frameworks.tensorflow.layers import BOTH, LAYERS
from shared_spec.frameworks import native_cells


def scratch(step: Step) -> Forward:
    """From scratch: one step after another, and of each a product with W_hq."""

    def loss(parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        X, H, of_cell, W_hq, b_q = _given(parameters, inputs)
        states = []
        for X_t in X:
            H, _ = step(X_t, H, **of_cell)
            states.append(H)
        return _cross_entropy(tf.stack([H @ W_hq + b_q for H in states], 1), targets)

    return RichForward(unroll(step), loss=loss, batches=batches)


def concise(build: Callable[[], Forward]) -> Forward:
    """Concise: Keras' own layer, and a linear layer of all its states."""
    layer = build()

    def loss(parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        X, H0, of_cell, W_hq, b_q = _given(parameters, inputs)
        H, _ = layer(X, H0, of_cell)
        return _cross_entropy(tf.transpose(tf.tensordot(H, W_hq, 1) + b_q, (1, 0, 2)), targets)

    return RichForward(layer, loss=loss, batches=batches)


def batches(rows: np.ndarray, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets (n, T) of rows (count, T + 1), which the loader takes one by one and puts together."""
    return iter(tf.data.Dataset.from_tensor_slices((rows[:, :-1], rows[:, 1:])).batch(batch_size))


def _given(parameters: Mapping[str, Tensor], inputs: Tensor) -> tuple:
    """One-hot inputs (T, n, v), the zero state, the parameters of the cell, W_hq and b_q."""
    of_cell = {name: value for name, value in parameters.items() if name not in OUTPUT}
    W_hq, b_q = (parameters[name] for name in OUTPUT)
    X = tf.one_hot(tf.transpose(inputs), len(b_q), dtype=b_q.dtype)
    return X, zero_state(parameters, len(inputs)), of_cell, W_hq, b_q


def _cross_entropy(O: Tensor, targets: Tensor) -> Tensor:
    """The mean over logits (n, T, v) and targets (n, T)."""
    # Without a dtype Keras would make float32 of them.
    of_all = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype=O.dtype.name)
    return of_all(tf.reshape(targets, (-1,)), tf.reshape(O, (-1, O.shape[-1])))


# The implementations by their names: the cell that each claims to equal, its constructor and the dtypes it runs in. Of
# cells that no layer computes the chapter has none, and each training costs time.
CHAPTER = {
    "chapter-scratch": {name: (functools.partial(scratch, CELLS[name]), BOTH) for name in native_cells()},
    "chapter-concise": {name: (functools.partial(concise, build), dtypes) for name, (build, dtypes) in LAYERS.items()},
}
