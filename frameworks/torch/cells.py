"""The cells of shared_spec/cells.toml, by hand in PyTorch: X (n, d), H (n, h) -> the next state (n, h)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Forward = Callable[[Tensor, Tensor, Mapping[str, Tensor]], tuple[Tensor, Tensor]]


def gru(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    Z = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = torch.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    return Z * H + (1 - Z) * C


def gru_reset_after(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h, b_hh):
    Z = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = torch.tanh(X @ W_xh + b_h + R * (H @ W_hh + b_hh))
    return Z * H + (1 - Z) * C


def gru_reset_only(X, H, *, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    R = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)
    return torch.tanh(X @ W_xh + (R * H) @ W_hh + b_h)


def gru_update_only(X, H, *, W_xz, W_hz, b_z, W_xh, W_hh, b_h):
    Z = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)
    C = torch.tanh(X @ W_xh + H @ W_hh + b_h)
    return Z * H + (1 - Z) * C


def rnn(X, H, *, W_xh, W_hh, b_h):
    return torch.tanh(X @ W_xh + H @ W_hh + b_h)


CELLS = {
    "gru": gru,
    "gru_reset_after": gru_reset_after,
    "gru_reset_only": gru_reset_only,
    "gru_update_only": gru_update_only,
    "rnn": rnn,
}


def unroll(step: Callable[..., Tensor]) -> Forward:
    """The step over time: a forward (X (T, n, d), H0 (n, h), parameters) -> (H (T, n, h), final (n, h))."""

    def forward(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        H, states = H0, []
        for X_t in X:
            H = step(X_t, H, **parameters)
            states.append(H)
        return torch.stack(states), H

    return forward


def compiled(step: Callable[..., Tensor]) -> Forward:
    """The step through torch.compile. The loop over time stays in Python: unrolled into one graph, 32 steps take a
    minute to compile.
    """
    return unroll(torch.compile(step, dynamic=True))


COMPILERS = {"compiled": compiled}


def gradients(
    forward: Forward, X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor], dH: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """H, final, and the gradients of "X", "H0" and every parameter, for dH (T, n, h), the cotangent of H."""
    inputs = {"X": X, "H0": H0, **parameters}
    leaves = {name: value.detach().requires_grad_() for name, value in inputs.items()}
    H, final = forward(leaves["X"], leaves["H0"], {name: leaves[name] for name in parameters})
    # A parameter that a cell leaves out has a gradient of zero: the verdict should see that, not an exception.
    found = torch.autograd.grad(H, list(leaves.values()), dH, materialize_grads=True)
    return H, final, dict(zip(leaves, found, strict=True))
