"""The chapter's own way to train, as Zhang et al., Dive into Deep Learning, sections 9.3, 9.5, 9.6 and 10.2, have it in
PyTorch, in words of our own: what the other lanes are raced against.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from frameworks import RichForward
from frameworks.torch.cells import CELLS, Forward, Step, unroll
from frameworks.torch.language_model import OUTPUT, zero_state
from frameworks.torch.layers import BOTH, LAYERS
from shared_spec.frameworks import native_cells


def scratch(step: Step) -> Forward:
    """From scratch: one step after another, and of each a product with W_hq."""

    def loss(parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        X, H, of_cell, W_hq, b_q = _given(parameters, inputs)
        states = []
        for X_t in X:
            H, _ = step(X_t, H, **of_cell)
            states.append(H)
        return _cross_entropy(torch.stack([H @ W_hq + b_q for H in states], 1), targets)

    return RichForward(unroll(step), loss=loss, batches=batches)


def concise(build: Callable[[], Forward]) -> Forward:
    """Concise: PyTorch's own layer, and a linear layer of all its states."""
    layer = build()

    def loss(parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        X, H0, of_cell, W_hq, b_q = _given(parameters, inputs)
        H, _ = layer(X, H0, of_cell)
        return _cross_entropy(functional.linear(H, W_hq.T, b_q).swapaxes(0, 1), targets)

    return RichForward(layer, loss=loss, batches=batches)


def batches(rows: np.ndarray, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets (n, T) of rows (count, T + 1), which the loader takes one by one and puts together."""
    tokens = torch.tensor(rows, dtype=torch.int64)
    return iter(DataLoader(TensorDataset(tokens[:, :-1], tokens[:, 1:]), batch_size))


def _given(parameters: Mapping[str, Tensor], inputs: Tensor) -> tuple:
    """One-hot inputs (T, n, v), the zero state, the parameters of the cell, W_hq and b_q."""
    of_cell = {name: value for name, value in parameters.items() if name not in OUTPUT}
    W_hq, b_q = (parameters[name] for name in OUTPUT)
    X = functional.one_hot(inputs.to(b_q.device).T, len(b_q)).type(b_q.dtype)
    return X, zero_state(parameters, len(inputs)), of_cell, W_hq, b_q


def _cross_entropy(O: Tensor, targets: Tensor) -> Tensor:
    """The mean over logits (n, T, v) and targets (n, T)."""
    return functional.cross_entropy(O.reshape(-1, O.shape[-1]), targets.to(O.device).reshape(-1))


# The implementations by their names: the cell that each claims to equal, its constructor and the dtypes it runs in. Of
# cells that no layer computes the chapter has none, and each training costs time.
CHAPTER = {
    "chapter-scratch": {name: (functools.partial(scratch, CELLS[name]), BOTH) for name in native_cells()},
    "chapter-concise": {name: (functools.partial(concise, build), dtypes) for name, (build, dtypes) in LAYERS.items()},
}
