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
    layer_type = mlx.nn.GRU if layout == "mlx" else mlx.nn.RNN
    layer = layer_type(X.shape[-1], H0.shape[-1])
    layer.load_weights([(name, array(tensor)) for name, tensor in tensors.items()])
    # MLX takes (n, T, d).
    H = layer(array(X.transpose(1, 0, 2)), array(H0))
    return np.array(H).transpose(1, 0, 2)


def array(values: np.ndarray) -> mx.array:
    # Without the dtype, MLX makes float32 of NumPy's float64.
    return mx.array(values, dtype=getattr(mx, values.dtype.name))
