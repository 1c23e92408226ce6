"""TensorFlow's own GRUs: the cell of TensorFlow 1, and Sonnet's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import sonnet
import tensorflow as tf

from frameworks.adapters import keras as adapter
from frameworks.adapters.third_party import Arrays, Implementation, of_adapter


def versions() -> dict[str, str]:
    return {"tensorflow": tf.__version__, "dm-sonnet": sonnet.__version__, "numpy": np.__version__}


def sonnet_states(cell: sonnet.GRU, X: tf.Tensor, H: tf.Tensor) -> tf.Tensor:
    return sonnet.dynamic_unroll(cell, X, H)[0]


def sonnet_cell(tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> tuple[sonnet.GRU, dict[str, tf.Variable]]:
    """The cell, with the weights of haiku.GRU, which packs them as Sonnet does."""
    # Its start, which is replaced, is drawn.
    tf.random.set_seed(0)
    cell = sonnet.GRU(H0.shape[-1], dtype=tf.as_dtype(X.dtype))
    cell(tf.constant(X[0]), tf.constant(H0))
    variables = {"w_i": cell.input_to_hidden, "w_h": cell.hidden_to_hidden, "b": cell.b}
    for name, variable in variables.items():
        variable.assign(tensors[name])
    return cell, variables


def run(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    cell, _ = sonnet_cell(tensors, X, H0)
    return sonnet_states(cell, tf.constant(X), tf.constant(H0)).numpy()


def gradients(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray, dH: np.ndarray) -> dict[str, np.ndarray]:
    cell, variables = sonnet_cell(tensors, X, H0)
    given = {"X": tf.constant(X), "H0": tf.constant(H0)}
    with tf.GradientTape() as tape:
        tape.watch(list(given.values()))
        H = sonnet_states(cell, *given.values())
    gradients = tape.gradient(H, {**given, **variables}, output_gradients=tf.constant(dH))
    return {name: tf.convert_to_tensor(array).numpy() for name, array in gradients.items()}


def implementations() -> list[Implementation]:
    (tf1,) = (each for each in of_adapter(adapter) if each.layout == "tf1")
    return [
        replace(tf1, gradients=adapter.tf1_gradients),
        Implementation("sonnet.GRU", "sonnet.GRU in sonnet.dynamic_unroll", "haiku", run, gradients, dtypes=tf1.dtypes),
    ]
