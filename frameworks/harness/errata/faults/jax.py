"""Wrong wirings by hand in JAX and Flax."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from frameworks.jax import cells, layers


def gru_turned(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    Z = jax.nn.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = jax.nn.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = jnp.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = (1 - Z) * H + Z * C
    return H, {"Z": Z, "R": R, "C": C}


def gru_reset_only_blending(X, H, *, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    R = jax.nn.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = jnp.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = R * H + (1 - R) * C
    return H, {"R": R, "C": C}


def gru_update_only_overwriting(X, H, *, W_xz, W_hz, b_z, W_xh, W_hh, b_h):
    Z = jax.nn.sigmoid(X @ W_xz + H @ W_hz + b_z)
    C = jnp.tanh(X @ W_xh + H @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    H = C
    return H, {"Z": Z, "C": C}


FAULTS = {
    "gru_turned": (cells.gru, gru_turned),
    "gru_reset_only_blending": (cells.gru_reset_only, gru_reset_only_blending),
    "gru_update_only_overwriting": (cells.gru_update_only, gru_update_only_overwriting),
}

CONCISE = "flax.linen.GRUCell(num_hiddens), scanned over time"
concise = layers.gru
