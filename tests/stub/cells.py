"""One cell, by hand. Gradients are the oracle's: a stub is there to be driven, and proves nothing."""

from __future__ import annotations

import numpy as np

from shared_spec import oracle
from shared_spec.cells import cell


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    with np.errstate(over="ignore"):
        Z = sigmoid(X @ W_xz + H @ W_hz + b_z)
        R = sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = np.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "R": R, "C": C}


CELLS = {"gru": gru}
COMPILERS = {}


def with_gates(step):
    raise NotImplementedError("a stub keeps no gates: it runs cases without a trace")


def unroll(step):
    def forward(X, H0, parameters):
        H, states = H0, []
        for X_t in X:
            H, _ = step(X_t, H, **parameters)
            states.append(H)
        return np.stack(states), H

    return forward


def gradients(forward, *, compiled):
    def pulled_back(X, H0, parameters, dH):
        H, final = forward(X, H0, parameters)
        unrolled = oracle.Unrolled(cell("gru"), X, H0, parameters, {"X", *parameters})
        return H, final, unrolled.backward(dH)

    return pulled_back
