"""torch.nn.GRU as people run it: as it is, compiled, exported, scripted, packed, quantised; and its cell in `scan`."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch._higher_order_ops.scan import scan

from frameworks.adapters import torch as adapter
from frameworks.adapters.third_party import FEW, Arrays, Implementation, of_adapter
from frameworks.adapters.torch import made, tensor, to_numpy

Unroll = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
PRECISIONS = ("float32", "float64", "float16", "bfloat16")

torch.set_num_threads(1)
versions = adapter.versions


class Whole(torch.nn.Module):
    """Inputs and start to all states, which is what compilers and exporters take."""

    def __init__(self, layer: torch.nn.GRU) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, X: torch.Tensor, H0: torch.Tensor) -> torch.Tensor:
        return self.layer(X, H0[None])[0]


def compiled(layer: torch.nn.GRU, X: torch.Tensor, H0: torch.Tensor) -> torch.Tensor:
    torch._dynamo.reset()
    # Without it torch.compile leaves the layer alone, and it runs as it is.
    with torch._dynamo.config.patch(allow_rnn=True):
        return torch.compile(Whole(layer), fullgraph=True)(X, H0)


def exported(layer: torch.nn.GRU, X: torch.Tensor, H0: torch.Tensor) -> torch.Tensor:
    whole = Whole(layer)
    module = torch.export.export(whole, (X.detach(), H0.detach())).module()
    # The exported module has parameters of its own: gradients go to those that it was made of.
    own = dict(whole.named_parameters())
    return torch.func.functional_call(module, {name: own[name] for name, _ in module.named_parameters()}, (X, H0))


def decomposed(layer: torch.nn.GRU, X: torch.Tensor, H0: torch.Tensor) -> torch.Tensor:
    whole = Whole(layer)
    program = torch.export.export(whole, (X.detach(), H0.detach())).run_decompositions()
    own = dict(whole.named_parameters())
    module = program.module()
    return torch.func.functional_call(module, {name: own[name] for name, _ in module.named_parameters()}, (X, H0))


def scripted(layer: torch.nn.GRU, X: torch.Tensor, H0: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(Whole(layer))(X, H0)


def packed(layer: torch.nn.GRU, X: torch.Tensor, H0: torch.Tensor) -> torch.Tensor:
    lengths = torch.full((X.shape[1],), len(X))
    H, _ = layer(torch.nn.utils.rnn.pack_padded_sequence(X, lengths), H0[None])
    return torch.nn.utils.rnn.pad_packed_sequence(H)[0]


def batch_first(layer: torch.nn.GRU, X: torch.Tensor, H0: torch.Tensor) -> torch.Tensor:
    layer.batch_first = True
    return layer(X.transpose(0, 1), H0[None])[0].transpose(0, 1)


def scanned(cell: torch.nn.GRUCell, X: torch.Tensor, H0: torch.Tensor) -> torch.Tensor:
    def step(H: torch.Tensor, X_t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        H = cell(X_t, H)
        return H, H.clone()

    return scan(step, H0, X, dim=0)[1]


def compiled_scan(cell: torch.nn.GRUCell, X: torch.Tensor, H0: torch.Tensor) -> torch.Tensor:
    torch._dynamo.reset()
    return torch.compile(scanned, fullgraph=True)(cell, X, H0)


def by(unroll: Unroll) -> dict[str, Callable[..., object]]:
    """A way to unroll a layer as `run` and `gradients`."""

    def run(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return to_numpy(unroll(made(layout, tensors, X, H0), tensor(X), tensor(H0)))

    def gradients(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray, dH: np.ndarray) -> dict[str, np.ndarray]:
        layer, given = made(layout, tensors, X, H0), {"X": tensor(X), "H0": tensor(H0)}
        unroll(layer, *(each.requires_grad_() for each in given.values())).backward(tensor(dH))
        return {name: to_numpy(each.grad) for name, each in {**given, **dict(layer.named_parameters())}.items()}

    return {"run": run, "gradients": gradients}


def quantised(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    whole = Whole(made(layout, tensors, X, H0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(whole, {torch.nn.GRU}, dtype=torch.qint8)
        return to_numpy(quantised(tensor(X), tensor(H0)))


def halved(layout: str, tensors: Arrays, X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    whole = Whole(made(layout, tensors, X, H0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(whole, {torch.nn.GRU}, dtype=torch.float16)
        return to_numpy(quantised(tensor(X), tensor(H0)))


def autocast(layer: torch.nn.GRU, X: torch.Tensor, H0: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return layer(X, H0[None])[0]


def reloaded(layer: torch.nn.GRU, X: torch.Tensor, H0: torch.Tensor) -> torch.Tensor:
    """What torch.save of an exported program gives back."""
    whole, file = Whole(layer), io.BytesIO()
    torch.export.save(torch.export.export(whole, (X.detach(), H0.detach())), file)
    file.seek(0)
    module, own = torch.export.load(file).module(), dict(whole.named_parameters())
    return torch.func.functional_call(module, {name: own[name] for name, _ in module.named_parameters()}, (X, H0))


def implementations() -> list[Implementation]:
    def gru(name: str, unroll: Unroll, **facts: object) -> Implementation:
        return Implementation(name, name, "torch", **{**by(unroll), "dtypes": PRECISIONS, **facts})

    def cell(name: str, unroll: Unroll, **facts: object) -> Implementation:
        return replace(gru(name, unroll, **facts), layout="torch-cell")

    int8 = "torch.ao.quantization.quantize_dynamic(nn.GRU, qint8)"
    half = "torch.ao.quantization.quantize_dynamic(nn.GRU, float16)"
    rounds = "its weights are rounded to {}, its states are kept in float32"
    without = "it computes no gradients"
    return [
        *of_adapter(adapter),
        gru("torch.nn.GRU on a packed sequence", packed),
        gru("torch.nn.GRU, batch_first", batch_first),
        gru("torch.jit.script(nn.GRU)", scripted),
        gru("torch.export(nn.GRU)", exported, entries=FEW),
        gru("torch.export(nn.GRU), saved and loaded", reloaded, entries=FEW, dtypes=("float32", "float64")),
        gru("torch.export(nn.GRU).run_decompositions()", decomposed, entries=FEW),
        gru("torch.compile(nn.GRU), allow_rnn", compiled, entries=FEW, dtypes=("float32", "float64")),
        cell("torch's scan over nn.GRUCell", scanned, entries=FEW),
        cell("torch.compile of scan over nn.GRUCell", compiled_scan, entries=FEW, dtypes=("float32", "float64")),
        gru("torch.nn.GRU in autocast to bfloat16", autocast, dtypes=("float32",), expected="it asks for bfloat16"),
        Implementation(int8, int8, "torch", quantised, without_gradients=without, expected=rounds.format("8 bits")),
        Implementation(half, half, "torch", halved, without_gradients=without, expected=rounds.format("float16")),
    ]
