"""The operations that limit a cell, each alone and as fast as MXNet does it, each waiting for the one before."""

from __future__ import annotations

from mxnet import np, npx
from mxnet.numpy import ndarray


def products(H: ndarray, W: ndarray, *, count: int) -> ndarray:
    """H (n, h) <- the first h columns of H W, W (h, k), so many times."""
    h, transposed = H.shape[1], W.T.copy()
    for _ in range(count):
        H = npx.fully_connected(H, transposed, no_bias=True, num_hidden=len(transposed))
        if len(transposed) > h:
            H = H[:, :h]
    return H


def functions(x: ndarray, *, count: int) -> ndarray:
    """x <- tanh(x), so many times."""
    for _ in range(count):
        x = npx.activation(x, act_type="tanh")
    return x


def sums(a: ndarray, b: ndarray, *, count: int) -> ndarray:
    """a <- a + b, so many times: two arrays read, one written."""
    a = np.array(a)
    for _ in range(count):
        a += b
    return a
