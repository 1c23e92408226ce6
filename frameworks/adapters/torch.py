"""torch.nn.GRU and torch.nn.RNN, and their cells, by load_state_dict."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

BOTH = ("float32", "float64")
LAYOUTS = {"torch": BOTH, "torch-cell": BOTH, "torch-rnn": BOTH, "torch-rnn-cell": BOTH}
TYPES = {
    "torch": torch.nn.GRU,
    "torch-cell": torch.nn.GRUCell,
    "torch-rnn": torch.nn.RNN,
    "torch-rnn-cell": torch.nn.RNNCell,
}


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "numpy": np.__version__}


@torch.inference_mode()
def run(layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    return to_numpy(unroll(made(layout, tensors, X, H0), tensor(X), tensor(H0)))


def gradients(
    layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray, dH: np.ndarray
) -> dict[str, np.ndarray]:
    layer, given = made(layout, tensors, X, H0), {"X": tensor(X), "H0": tensor(H0)}
    unroll(layer, *(each.requires_grad_() for each in given.values())).backward(tensor(dH))
    return {name: to_numpy(each.grad) for name, each in {**given, **dict(layer.named_parameters())}.items()}


def made(layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> torch.nn.Module:
    """The layer, with these weights."""
    layer = TYPES[layout](X.shape[-1], H0.shape[-1], dtype=getattr(torch, X.dtype.name))
    layer.load_state_dict({name: tensor(array) for name, array in tensors.items()})
    return layer


def unroll(layer: torch.nn.Module, X: torch.Tensor, H0: torch.Tensor) -> torch.Tensor:
    if isinstance(layer, torch.nn.RNNCellBase):
        states, H = [], H0
        for X_t in X:
            H = layer(X_t, H)
            states.append(H)
        return torch.stack(states)
    H, _ = layer(X, H0[None])
    return H


def tensor(values: np.ndarray) -> torch.Tensor:
    # torch knows NumPy's dtypes, and bfloat16 is none of them.
    is_half = values.dtype.name == "bfloat16"
    return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16) if is_half else torch.from_numpy(values)


def to_numpy(values: torch.Tensor) -> np.ndarray:
    values = values.detach()
    return values.view(torch.int16).numpy().view("bfloat16") if values.dtype == torch.bfloat16 else values.numpy()
