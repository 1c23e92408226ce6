"""keras.layers.GRU, both ways, and SimpleRNN, by set_weights."""

from __future__ import annotations

from collections.abc import Mapping

# Before all else: what TensorFlow reads while it is imported, and Keras's backend.
from frameworks.tensorflow import runtime

import keras  # isort: skip
import numpy as np

BOTH = ("float32", "float64")
LAYOUTS = {"keras": BOTH, "keras-reset-before": BOTH, "keras-rnn": BOTH}

runtime.setup()


def versions() -> dict[str, str]:
    return dict(runtime.versions())


def run(layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> np.ndarray:
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
