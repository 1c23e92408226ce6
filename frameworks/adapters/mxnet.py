"""mxnet.gluon.rnn.GRU and RNN, by Parameter.set_data, and npx.rnn, which takes one vector of parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

# Before MXNet itself: it silences what MXNet says of NumPy while it is imported.
from frameworks.mxnet import runtime

import numpy  # isort: skip
from mxnet import autograd, gluon, init, np, npx  # isort: skip

BOTH = ("float32", "float64")
LAYOUTS = {"gluon": BOTH, "mxnet-fused": BOTH, "gluon-rnn": BOTH}
HALVES = ()

runtime.setup()


def versions() -> dict[str, str]:
    return dict(runtime.versions())


def run(layout: str, tensors: Mapping[str, numpy.ndarray], X: numpy.ndarray, H0: numpy.ndarray) -> numpy.ndarray:
    forward, _ = made(layout, tensors, X, H0)
    return forward(np.array(X, dtype=X.dtype), np.array(H0, dtype=X.dtype)).asnumpy()


def gradients(
    layout: str, tensors: Mapping[str, numpy.ndarray], X: numpy.ndarray, H0: numpy.ndarray, dH: numpy.ndarray
) -> dict[str, numpy.ndarray]:
    forward, weights = made(layout, tensors, X, H0)
    given = {"X": np.array(X, dtype=X.dtype), "H0": np.array(H0, dtype=X.dtype)}
    for leaf in given.values():
        leaf.attach_grad()
    with autograd.record():
        H = forward(*given.values())
    H.backward(np.array(dH, dtype=X.dtype))
    return {name: leaf.grad.asnumpy() for name, leaf in {**given, **weights()}.items()}


def made(
    layout: str, tensors: Mapping[str, numpy.ndarray], X: numpy.ndarray, H0: numpy.ndarray
) -> tuple[Callable[..., np.ndarray], Callable[[], dict[str, np.ndarray]]]:
    """X (T, n, d) and H0 (n, h) to all states, of a layer with these weights; and the arrays that hold those."""
    d, h, dtype = X.shape[-1], H0.shape[-1], X.dtype.name
    if layout == "mxnet-fused":
        vector = np.array(tensors["parameters"], dtype=dtype)
        vector.attach_grad()
        settings = {"state_size": h, "num_layers": 1, "mode": "gru", "bidirectional": False, "state_outputs": True}
        return lambda X, H0: npx.rnn(X, vector, H0[None], **settings)[0], lambda: {"parameters": vector}
    if layout == "gluon":
        layer = gluon.rnn.GRU(h, input_size=d, dtype=dtype)
    else:
        layer = gluon.rnn.RNN(h, activation="tanh", input_size=d, dtype=dtype)
    parameters = {name.removeprefix(layer.prefix): parameter for name, parameter in layer.collect_params().items()}
    assert set(parameters) == set(tensors)
    for name, parameter in parameters.items():
        parameter.cast(dtype)
        # The default start fails in float64 ("Check failed: outputs[i]->dtype() == out_types[i]", _npi_uniform).
        parameter.initialize(init=init.Zero())
        parameter.set_data(np.array(tensors[name], dtype=dtype))
    return (
        lambda X, H0: layer(X, [H0[None]])[0],
        lambda: {name: parameter.data() for name, parameter in parameters.items()},
    )
