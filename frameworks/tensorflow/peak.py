"""The operations that limit a cell, each alone and as fast as TensorFlow does it, each waiting for the one before."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import Tensor


@tf.function
def products(H: Tensor, W: Tensor, *, count: int) -> Tensor:
    """H (n, h) <- the first h columns of H W, W (h, k), so many times."""
    h = H.shape[1]
    for _ in range(count):
        H = (H @ W)[:, :h]
    return H


@tf.function
def functions(x: Tensor, *, count: int) -> Tensor:
    """x <- tanh(x), so many times."""
    for _ in range(count):
        x = tf.tanh(x)
    return x


@tf.function
def sums(a: Tensor, b: Tensor, *, count: int) -> Tensor:
    """a <- a + b, so many times: two arrays read, one written."""
    # A loop of TensorFlow's own: of an unrolled one Grappler makes a single sum of many.
    for _ in tf.range(count):
        a = a + b
    return a
