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
    layer = TYPES[layout](X.shape[-1], H0.shape[-1], dtype=getattr(torch, X.dtype.name))
    layer.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    if layout.endswith("-cell"):
        states, H = [], torch.from_numpy(H0)
        for X_t in torch.from_numpy(X):
            H = layer(X_t, H)
            states.append(H)
        return torch.stack(states).numpy()
    H, _ = layer(torch.from_numpy(X), torch.from_numpy(H0)[None])
    return H.numpy()
