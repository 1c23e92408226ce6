"""keras.layers.GRU, both ways, on the backend that KERAS_BACKEND names: gradients by that backend's own autodiff."""

from __future__ import annotations

import warnings

import numpy as np

# It says at each import that it is a backend for tests; and JAX has float64 only where it is told before it starts.
import keras  # isort: skip

from frameworks.adapters.third_party import Arrays, Implementation

BACKEND = keras.backend.backend()
PRECISIONS = ("float32", "float64", "float16", "bfloat16")

if BACKEND == "jax":
    from frameworks.jax import runtime

    runtime.setup()
elif BACKEND == "tensorflow":
    from frameworks.tensorflow import runtime

    runtime.setup()
else:
    import torch

    torch.set_num_threads(1)


def versions() -> dict[str, str]:
    module = __import__(BACKEND)
    return {"keras": keras.__version__, BACKEND: str(module.__version__), "numpy": np.__version__}


def made(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray, **options: object) -> keras.layers.GRU:
    """The layer, with these weights."""
    layer = keras.layers.GRU(
        H0.shape[-1],
        reset_after=layout == "keras",
        return_sequences=True,
        dtype=X.dtype.name,
        # The default needs a QR decomposition, which torch does not have in half precision on a CPU.
        recurrent_initializer="zeros",
        **options,
    )
    layer.build((X.shape[1], X.shape[0], X.shape[2]))
    for variable in layer.weights:
        variable.assign(tensor(tensors[variable.name]))
    return layer


def tensor(values: np.ndarray) -> object:
    if BACKEND == "torch":
        from frameworks.adapters import torch as adapter

        return adapter.tensor(values)
    return keras.ops.convert_to_tensor(values)


def to_numpy(values: object) -> np.ndarray:
    if BACKEND == "torch":
        from frameworks.adapters import torch as adapter

        return adapter.to_numpy(values)
    return np.asarray(values)


def by(**options: object) -> dict[str, object]:
    """A way to make the layer as `run` and `gradients`."""

    def run(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
        layer = made(layout, tensors, X, H0, **options)
        return to_numpy(layer(tensor(first(X)), initial_state=tensor(H0))).transpose(1, 0, 2)

    def gradients(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray, dH: np.ndarray) -> dict[str, np.ndarray]:
        layer = made(layout, tensors, X, H0, **options)
        given = [tensor(first(X)), tensor(H0)]
        gradients = PULLED[BACKEND](layer, *given, tensor(first(dH)))
        arrays = [to_numpy(each) for each in gradients]
        return dict(zip(("X", "H0", *(v.name for v in layer.weights)), [first(arrays[0]), *arrays[1:]], strict=True))

    return {"run": run, "gradients": gradients}


def first(array: np.ndarray) -> np.ndarray:
    """Time and batch exchanged."""
    return np.ascontiguousarray(array.transpose(1, 0, 2))


def pulled_by_tensorflow(layer: keras.layers.GRU, X: object, H0: object, dH: object) -> list:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch([X, H0])
        H = layer(X, initial_state=H0)
    return tape.gradient(H, [X, H0, *(variable.value for variable in layer.weights)], output_gradients=dH)


def pulled_by_torch(layer: keras.layers.GRU, X: object, H0: object, dH: object) -> list:
    X.requires_grad_(), H0.requires_grad_()
    layer(X, initial_state=H0).backward(dH)
    return [X.grad, H0.grad, *(variable.value.grad for variable in layer.weights)]


def pulled_by_jax(layer: keras.layers.GRU, X: object, H0: object, dH: object) -> list:
    import jax

    def forward(X: object, H0: object, weights: list) -> object:
        return layer.stateless_call(weights, layer.non_trainable_variables, X, initial_state=H0)[0]

    _, pull = jax.vjp(forward, X, H0, [variable.value for variable in layer.trainable_variables])
    of_x, of_start, of_weights = pull(dH)
    return [of_x, of_start, *of_weights]


PULLED = {"tensorflow": pulled_by_tensorflow, "torch": pulled_by_torch, "jax": pulled_by_jax}


def implementations() -> list[Implementation]:
    implementations = []
    for layout, more in (("keras", ""), ("keras-reset-before", "reset_after=False")):
        for unrolled in ("", "unroll=True"):
            settings = ", ".join(each for each in (more, unrolled) if each)
            name = f"keras.layers.GRU({settings})"
            entries = ("ordinary", "zero_start", "large_weights", "one_step", "one_unit", "saturated")
            implementations.append(
                Implementation(
                    name,
                    f"{name} on {BACKEND}",
                    layout,
                    **by(unroll=bool(unrolled)),
                    dtypes=PRECISIONS,
                    entries=entries if unrolled or BACKEND != "tensorflow" else (),
                )
            )
    return implementations


warnings.filterwarnings("ignore", module="keras")
