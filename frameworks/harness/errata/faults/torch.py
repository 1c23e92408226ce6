"""Wrong wirings by hand in PyTorch."""

from __future__ import annotations

import torch

from frameworks.torch import cells, layers


def gru_turned(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    Z = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = torch.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = (1 - Z) * H + Z * C
    return H, {"Z": Z, "R": R, "C": C}


def gru_reset_only_blending(X, H, *, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    R = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = torch.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = R * H + (1 - R) * C
    return H, {"R": R, "C": C}


def gru_update_only_overwriting(X, H, *, W_xz, W_hz, b_z, W_xh, W_hh, b_h):
    Z = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)
    C = torch.tanh(X @ W_xh + H @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    H = C
    return H, {"Z": Z, "C": C}


FAULTS = {
    "gru_turned": (cells.gru, gru_turned),
    "gru_reset_only_blending": (cells.gru_reset_only, gru_reset_only_blending),
    "gru_update_only_overwriting": (cells.gru_update_only, gru_update_only_overwriting),
}

CONCISE = "torch.nn.GRU(num_inputs, num_hiddens)"
concise = layers.gru
