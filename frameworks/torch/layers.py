"""PyTorch's own layers, with the shared weights put in through shared_spec/layouts.toml, as forwards."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from frameworks.torch.cells import Forward
from shared_spec.weights.layouts import Layout, Part, layout
from shared_spec.weights.packing import with_second


def pack(layout: Layout, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The layer's own tensors, from parameters by their spec names; differentiable."""

    held = with_second(layout, parameters, torch.zeros_like)

    def value(part: Part) -> Tensor:
        return -held[part.name] if part.negated else held[part.name]

    packed = {}
    for name, tensor in layout.tensors.items():
        rows = []
        for row in tensor.rows:
            arrays = [value(part).T if tensor.transpose else value(part) for part in row]
            rows.append(torch.cat(arrays, tensor.axis))
        packed[name] = torch.stack(rows) if tensor.stacked else rows[0]
    return packed


def gru() -> Forward:
    return _forward(torch.nn.GRU, layout("torch"))


def rnn() -> Forward:
    return _forward(torch.nn.RNN, layout("torch-rnn"))


def _forward(layer_type: type[torch.nn.RNNBase], layout: Layout) -> Forward:
    def forward(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        # On "meta" the layer's own random start costs nothing; the shared weights take its place.
        layer = layer_type(X.shape[-1], H0.shape[-1], device="meta")
        H, final = functional_call(layer, pack(layout, parameters), (X, H0[None]))
        return H, final[0]

    return forward


# Whether a training step with one is compiled as a whole.
COMPILED = False
BOTH = ("float32", "float64")
# The cell that each layer claims to equal: its constructor and the dtypes that it runs in.
LAYERS = {"gru_reset_after": (gru, BOTH), "rnn": (rnn, BOTH)}
