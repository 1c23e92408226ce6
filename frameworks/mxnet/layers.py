"""MXNet's own layers, with the shared weights put in through shared_spec/layouts.toml, as forwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mxnet import gluon, nd, np
from mxnet.numpy import ndarray

from frameworks.mxnet.cells import Forward
from shared_spec.weights.layouts import Layout, Part, layout
from shared_spec.weights.packing import with_second


def pack(layout: Layout, parameters: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """The layer's own tensors, from parameters by their spec names; differentiable."""

    held = with_second(layout, parameters, np.zeros_like)

    def value(part: Part) -> ndarray:
        return -held[part.name] if part.negated else held[part.name]

    packed = {}
    for name, tensor in layout.tensors.items():
        rows = []
        for row in tensor.rows:
            arrays = [value(part).T if tensor.transpose else value(part) for part in row]
            rows.append(np.concatenate(arrays, tensor.axis))
        packed[name] = np.stack(rows) if tensor.stacked else rows[0]
    return packed


def gru() -> Forward:
    return _forward(gluon.rnn.GRU, layout("gluon"))


def rnn() -> Forward:
    return _forward(gluon.rnn.RNN, layout("gluon-rnn"), activation="tanh")


def _forward(layer_type: type[gluon.HybridBlock], layout: Layout, **options: Any) -> Forward:
    def forward(X: ndarray, H0: ndarray, parameters: Mapping[str, ndarray]) -> tuple[ndarray, ndarray]:
        layer = layer_type(H0.shape[-1], **options)
        # Not layer(X, H0), which takes weights from the layer's own Parameters: no gradient would reach ours, and
        # layer.initialize() fails in float64 ("Check failed: outputs[i]->dtype() == out_types[i]", _npi_uniform).
        H, (final,) = layer.hybrid_forward(nd, X, [H0[None]], **pack(layout, parameters))
        return H, final[0]

    return forward


# Whether a training step with one is compiled as a whole.
COMPILED = False
BOTH = ("float32", "float64")
# The cell that each layer claims to equal: its constructor and the dtypes that it runs in.
LAYERS = {"gru_reset_after": (gru, BOTH), "rnn": (rnn, BOTH)}
