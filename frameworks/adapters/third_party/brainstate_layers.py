"""brainstate.nn.GRUCell, whose weights are packed as TensorFlow 1 packs them, but for an update gate turned round."""

from __future__ import annotations

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from frameworks.adapters.third_party import Arrays, Implementation
from frameworks.jax import runtime

runtime.setup()


def versions() -> dict[str, str]:
    return {module.__name__: module.__version__ for module in (brainstate, jax, np)}


def turned(array: np.ndarray) -> np.ndarray:
    """With the update gate, the second half, negated: 1 - sigmoid(a) is sigmoid(-a)."""
    h = array.shape[-1] // 2
    return np.concatenate([array[..., :h], -array[..., h:]], axis=-1)


def unroll(weights: tuple, X: jax.Array, H0: jax.Array) -> jax.Array:
    cell = brainstate.nn.GRUCell(X.shape[-1], H0.shape[-1])
    cell.init_state(len(H0))
    of_gates, of_candidate = ({"weight": weights[i], "bias": weights[i + 1]} for i in (0, 2))
    cell.Wrz.weight.value, cell.Wh.weight.value, cell.h.value = of_gates, of_candidate, H0
    return jnp.stack([cell.update(X_t) for X_t in X])


def given(tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> list:
    gates = [turned(tensors[f"gates/{name}"]) for name in ("kernel", "bias")]
    candidate = [tensors[f"candidate/{name}"] for name in ("kernel", "bias")]
    return [tuple(jnp.asarray(array) for array in (*gates, *candidate)), jnp.asarray(X), jnp.asarray(H0)]


def run(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    with brainstate.environ.context(precision=X.dtype.itemsize * 8):
        return np.asarray(unroll(*given(tensors, X, H0)))


def gradients(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray, dH: np.ndarray) -> dict[str, np.ndarray]:
    with brainstate.environ.context(precision=X.dtype.itemsize * 8):
        _, pull = jax.vjp(unroll, *given(tensors, X, H0))
        of_weights, of_x, of_start = pull(jnp.asarray(dH))
    kernels, biases = [np.asarray(each) for each in of_weights[::2]], [np.asarray(each) for each in of_weights[1::2]]
    return {
        "gates/kernel": turned(kernels[0]),
        "gates/bias": turned(biases[0]),
        "candidate/kernel": kernels[1],
        "candidate/bias": biases[1],
        "X": np.asarray(of_x),
        "H0": np.asarray(of_start),
    }


def implementations() -> list[Implementation]:
    called = "brainstate.nn.GRUCell, step by step"
    dtypes = ("float32", "float64")
    return [
        Implementation(
            "brainstate.nn.GRUCell",
            called,
            "tf1",
            run,
            gradients,
            dtypes=dtypes,
            entries=("ordinary", "one_step", "one_unit"),
        )
    ]
