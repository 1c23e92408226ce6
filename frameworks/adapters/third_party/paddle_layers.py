"""paddle.nn.GRU, by set_state_dict."""

from __future__ import annotations

import numpy as np
import paddle

from frameworks.adapters.third_party import Arrays, Implementation

paddle.set_device("cpu")


def versions() -> dict[str, str]:
    return {"paddlepaddle": paddle.__version__, "numpy": np.__version__}


def made(tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> paddle.nn.GRU:
    """The layer, with these weights."""
    paddle.set_default_dtype(X.dtype.name)
    layer = paddle.nn.GRU(X.shape[-1], H0.shape[-1], time_major=True)
    missing, unexpected = layer.set_state_dict({name: paddle.to_tensor(array) for name, array in tensors.items()})
    own = {name.split(".")[-1] for name in missing}
    assert not unexpected, unexpected
    assert not own & set(tensors), missing
    return layer


def run(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    H, _ = made(tensors, X, H0)(paddle.to_tensor(X), paddle.to_tensor(H0[None]))
    return H.numpy()


def gradients(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray, dH: np.ndarray) -> dict[str, np.ndarray]:
    layer = made(tensors, X, H0)
    given = {name: paddle.to_tensor(array, stop_gradient=False) for name, array in (("X", X), ("H0", H0[None]))}
    H, _ = layer(*given.values())
    paddle.autograd.backward([H], [paddle.to_tensor(dH)])
    gradients = {name: each.grad.numpy() for name, each in {**dict(layer.named_parameters()), **given}.items()}
    of_layer = {name: gradients[name] for name in tensors}
    return {**of_layer, "X": gradients["X"], "H0": gradients["H0"][0]}


def implementations() -> list[Implementation]:
    name = "paddle.nn.GRU"
    return [Implementation(name, name, "paddle", run, gradients, dtypes=("float32", "float64"))]
