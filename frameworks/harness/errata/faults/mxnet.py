"""Wrong wirings by hand in MXNet."""

from __future__ import annotations

from mxnet import np, npx

from frameworks.mxnet import cells, layers


def gru_turned(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    Z = npx.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = npx.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = np.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = (1 - Z) * H + Z * C
    return H, {"Z": Z, "R": R, "C": C}


def gru_reset_only_blending(X, H, *, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    R = npx.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = np.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = R * H + (1 - R) * C
    return H, {"R": R, "C": C}


def gru_update_only_overwriting(X, H, *, W_xz, W_hz, b_z, W_xh, W_hh, b_h):
    Z = npx.sigmoid(X @ W_xz + H @ W_hz + b_z)
    C = np.tanh(X @ W_xh + H @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    H = C
    return H, {"Z": Z, "C": C}


FAULTS = {
    "gru_turned": (cells.gru, gru_turned),
    "gru_reset_only_blending": (cells.gru_reset_only, gru_reset_only_blending),
    "gru_update_only_overwriting": (cells.gru_update_only, gru_update_only_overwriting),
}

CONCISE = "mxnet.gluon.rnn.GRU(num_hiddens)"
concise = layers.gru
