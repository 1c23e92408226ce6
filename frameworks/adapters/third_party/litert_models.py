"""keras.layers.GRU converted to LiteRT (TensorFlow Lite), as it is and with weights of 8 bits or float16."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable

import ai_edge_litert
import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

# After TensorFlow's settings: see there.
from frameworks.adapters.third_party import FEW, Arrays, Implementation
from frameworks.adapters.third_party.keras_layers import first, made


def versions() -> dict[str, str]:
    return {"ai-edge-litert": ai_edge_litert.__version__, "tensorflow": tf.__version__, "numpy": np.__version__}


def by(optimise: Callable[[tf.lite.TFLiteConverter], None], **options: object) -> Callable[..., np.ndarray]:
    """A way to convert the layer and run what was written."""

    def run(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
        layer = made(layout, tensors, X, H0, **options)
        given = [first(X), H0]

        inputs = [keras.Input(batch_shape=each.shape, dtype=each.dtype.name) for each in given]
        model = keras.Model(inputs, layer(inputs[0], initial_state=inputs[1]))
        with warnings.catch_warnings(), _silent():
            warnings.simplefilter("ignore")
            converter = tf.lite.TFLiteConverter.from_keras_model(model)
            optimise(converter)
            interpreter = Interpreter(model_content=converter.convert())
        interpreter.allocate_tensors()
        for entry in interpreter.get_input_details():
            (one,) = (each for each in given if each.ndim == len(entry["shape"]))
            interpreter.set_tensor(entry["index"], one)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).transpose(1, 0, 2)

    return run


@contextlib.contextmanager
def _silent():
    """The converter prints to file descriptors."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def plain(converter: tf.lite.TFLiteConverter) -> None:
    pass


def int8(converter: tf.lite.TFLiteConverter) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def float16(converter: tf.lite.TFLiteConverter) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def implementations() -> list[Implementation]:
    implementations = []
    for layout, more in (("keras", ""), ("keras-reset-before", "reset_after=False, ")):
        for what, optimise, expected in (
            ("", plain, ""),
            (", weights of 8 bits", int8, "its weights are rounded to 8 bits where they are many"),
            (", weights in float16", float16, "its weights are rounded to float16"),
        ):
            name = f"LiteRT of keras.layers.GRU({more}unroll=True){what}"
            implementations.append(
                Implementation(
                    name,
                    "tf.lite.TFLiteConverter, ai_edge_litert's Interpreter",
                    layout,
                    by(optimise, unroll=True),
                    without_gradients="it computes no gradients",
                    not_run={"float64": "LiteRT's products have no float64"},
                    entries=FEW if optimise != int8 else (*FEW, "wide"),
                    expected=expected,
                )
            )
    return implementations
