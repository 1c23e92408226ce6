"""What each state owes to each input: the derivatives of all states with respect to all inputs, as norms.

By the chain rule dH_t/dX_k = J_t J_{t-1} ... J_{k+1} B_k, where J_t = dH_t/dH_{t-1} and B_k = dH_k/dX_k are those of
one step (Pascanu et al. 2013, arXiv:1211.5063, section 2) and come from the gradient reading. The norm is Frobenius':
unlike the largest singular value it needs no iteration, and like it, it is zero only where every derivative is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from shared_spec.cells import Cell
from shared_spec.readings import gradient
from shared_spec.readings.arithmetic import Array


def influence(
    cell: Cell, X: Array, H0: Array, parameters: Mapping[str, Array], *, columns: slice = slice(None)
) -> Array:
    """The Frobenius norm of dH_t/dX_k, an array (T, T, n) by t, k and row of the batch; X (T, n, d), H0 (n, h). With
    `columns`, of these columns of X alone.

    Zero for k > t, and elsewhere only where H_t does not depend on X_k to first order, to the last bit.
    """
    T, n, d = X.shape
    h = H0.shape[1]
    norms = np.zeros((T, T, n), X.dtype)
    # dH_t/dX_k of every k up to t. No equation mixes rows, so that h copies of each row give the derivatives of its h
    # units in one step back.
    derivatives = np.empty((T, n, h, len(range(d)[columns])), X.dtype)
    units = np.tile(np.eye(h, dtype=X.dtype), (n, 1))
    H = H0
    for t, X_t in enumerate(X):
        states, pull = gradient.step(cell, np.repeat(X_t, h, 0), np.repeat(H, h, 0), parameters, ("X", "H"))
        of_step = pull(units)
        derivatives[:t] = of_step["H"].reshape(n, h, h) @ derivatives[:t]
        derivatives[t] = of_step["X"][:, columns].reshape(n, h, -1)
        norms[t, : t + 1] = _norm(derivatives[: t + 1])
        H = states[::h]
    return norms


def _norm(matrices: Array) -> Array:
    """Of matrices (..., h, d). Scaled, since squares underflow: what is faint must not be called none."""
    largest = np.abs(matrices).max(axis=(-2, -1))
    scaled = matrices / np.where(largest > 0, largest, 1)[..., None, None]
    norm: Array = largest * np.sqrt((scaled * scaled).sum(axis=(-2, -1)))
    return norm
