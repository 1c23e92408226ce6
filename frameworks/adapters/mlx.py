"""mlx.nn.GRU and mlx.nn.RNN, by load_weights."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

import mlx.core as mx
import mlx.nn
import numpy as np

LAYOUTS = {"mlx": ("float32",), "mlx-rnn": ("float32",)}
# Its exp, and with it sigmoid, is computed in float32: errors of 2e-8 in an array that is called float64.
NOT_RUN = {"float64": "mlx computes sigmoid in float32 there, and the verdict is different"}

# Its CPU is the only device with float64, and every machine has it.
mx.set_default_device(mx.cpu)


def versions() -> dict[str, str]:
    return {"mlx": version("mlx"), "numpy": np.__version__}


def run(layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    weights = {name: array(tensor) for name, tensor in tensors.items()}
    return to_numpy(unroll(layout, weights, array(X), array(H0)), X.dtype.name)


def gradients(
    layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray, dH: np.ndarray
) -> dict[str, np.ndarray]:
    names = list(tensors)

    def forward(X: mx.array, H0: mx.array, *weights: mx.array) -> list[mx.array]:
        return [unroll(layout, dict(zip(names, weights, strict=True)), X, H0)]

    given = [array(values) for values in (X, H0, *tensors.values())]
    _, gradients = mx.vjp(forward, given, [array(dH)])
    return {name: to_numpy(each, X.dtype.name) for name, each in zip(("X", "H0", *names), gradients, strict=True)}


def unroll(layout: str, weights: Mapping[str, mx.array], X: mx.array, H0: mx.array) -> mx.array:
    layer_type = mlx.nn.GRU if layout == "mlx" else mlx.nn.RNN
    layer = layer_type(X.shape[-1], H0.shape[-1])
    layer.load_weights(list(weights.items()))
    # MLX takes (n, T, d).
    return layer(X.transpose(1, 0, 2), H0).transpose(1, 0, 2)


def array(values: np.ndarray) -> mx.array:
    # Without the dtype, MLX makes float32 of NumPy's float64; and bfloat16 is no dtype of NumPy's.
    plain = values.astype(np.float32) if values.dtype.name == "bfloat16" else values
    return mx.array(plain, dtype=getattr(mx, values.dtype.name))


def to_numpy(values: mx.array, dtype: str) -> np.ndarray:
    if values.dtype == mx.bfloat16:
        return np.array(values.astype(mx.float32)).astype(dtype)
    return np.array(values)
