"""mxnet.gluon.rnn.GRU and RNN, by Parameter.set_data, and npx.rnn, which takes one vector of parameters."""

from __future__ import annotations

from collections.abc import Mapping

# Before MXNet itself: it silences what MXNet says of NumPy while it is imported.
from frameworks.mxnet import runtime

import numpy  # isort: skip
from mxnet import gluon, init, np, npx  # isort: skip

BOTH = ("float32", "float64")
LAYOUTS = {"gluon": BOTH, "mxnet-fused": BOTH, "gluon-rnn": BOTH}

runtime.setup()


def versions() -> dict[str, str]:
    return dict(runtime.versions())


def run(layout: str, tensors: Mapping[str, numpy.ndarray], X: numpy.ndarray, H0: numpy.ndarray) -> numpy.ndarray:
    d, h, dtype = X.shape[-1], H0.shape[-1], X.dtype.name
    if layout == "mxnet-fused":
        arrays = [np.array(array, dtype=dtype) for array in (X, tensors["parameters"], H0[None])]
        H = npx.rnn(*arrays, state_size=h, num_layers=1, mode="gru", bidirectional=False, state_outputs=True)[0]
        return H.asnumpy()
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
    H, _ = layer(np.array(X, dtype=dtype), [np.array(H0[None], dtype=dtype)])
    return H.asnumpy()
