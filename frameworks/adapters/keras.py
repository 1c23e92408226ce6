"""keras.layers.GRU, both ways, and SimpleRNN, by set_weights; and the GRUCell of TensorFlow 1, by assign."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

# Before all else: what TensorFlow reads while it is imported, and Keras's backend.
from frameworks.tensorflow import runtime

import keras  # isort: skip
import numpy as np
import tensorflow as tf

BOTH = ("float32", "float64")
LAYOUTS = {"keras": BOTH, "keras-reset-before": BOTH, "tf1": BOTH, "keras-rnn": BOTH}

runtime.setup()


def versions() -> dict[str, str]:
    return dict(runtime.versions())


def run(layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    if layout == "tf1":
        return unroll(tensors, X, H0)
    h, options = H0.shape[-1], {"return_sequences": True, "dtype": X.dtype.name}
    match layout:
        case "keras":
            layer = keras.layers.GRU(h, **options)
        case "keras-reset-before":
            layer = keras.layers.GRU(h, reset_after=False, **options)
        case _:
            layer = keras.layers.SimpleRNN(h, **options)
    batch_first = keras.ops.convert_to_tensor(X.transpose(1, 0, 2))
    layer.build(batch_first.shape)
    layer.set_weights([tensors[variable.name] for variable in layer.weights])
    H = layer(batch_first, initial_state=keras.ops.convert_to_tensor(H0))
    return keras.ops.convert_to_numpy(H).transpose(1, 0, 2)


def unroll(tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    cell, _ = tf1_cell(tensors, X, H0)
    return states(cell, tf.constant(X), tf.constant(H0)).numpy()


def tf1_gradients(
    layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray, dH: np.ndarray
) -> dict[str, np.ndarray]:
    cell, variables = tf1_cell(tensors, X, H0)
    given = {"X": tf.constant(X), "H0": tf.constant(H0)}
    with tf.GradientTape() as tape:
        tape.watch(list(given.values()))
        H = states(cell, *given.values())
    gradients = tape.gradient(H, {**given, **variables}, output_gradients=tf.constant(dH))
    return {name: tf.convert_to_tensor(array).numpy() for name, array in gradients.items()}


def states(cell: object, X: tf.Tensor, H: tf.Tensor) -> tf.Tensor:
    states = []
    for X_t in X:
        H, _ = cell(X_t, H)
        states.append(H)
    return tf.stack(states)


def tf1_cell(tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> tuple:
    """The cell, with these weights, and its variables by the names of the tensors."""
    # tf.compat.v1.nn.rnn_cell.GRUCell is this class; with Keras 3 installed, that name refuses.
    from tensorflow.python.keras.layers.legacy_rnn.rnn_cell_impl import GRUCell

    with warnings.catch_warnings():
        # All of it is deprecated.
        warnings.simplefilter("ignore")
        cell = GRUCell(H0.shape[-1], kernel_initializer="zeros", dtype=X.dtype.name)
        cell.build((None, X.shape[-1]))
    # Their names are gates/kernel:0 and so on, behind the name of the cell where it has one.
    variables = {"/".join(variable.name.removesuffix(":0").split("/")[-2:]): variable for variable in cell.variables}
    assert set(variables) == set(tensors)
    for name, variable in variables.items():
        variable.assign(tensors[name])
    return cell, variables
