"""The operations that limit a cell, each alone and as fast as JAX does it, each waiting for the one before."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import Array


@functools.partial(jax.jit, static_argnames="count")
def products(H: Array, W: Array, *, count: int) -> Array:
    """H (n, h) <- the first h columns of H W, W (h, k), so many times."""
    h = H.shape[1]
    return jax.lax.fori_loop(0, count, lambda _, H: (H @ W)[:, :h], H)


@functools.partial(jax.jit, static_argnames="count")
def functions(x: Array, *, count: int) -> Array:
    """x <- tanh(x), so many times."""
    return jax.lax.fori_loop(0, count, lambda _, x: jnp.tanh(x), x)


@functools.partial(jax.jit, static_argnames="count")
def sums(a: Array, b: Array, *, count: int) -> Array:
    """a <- a + b, so many times: two arrays read, one written."""
    return jax.lax.fori_loop(0, count, lambda _, a: a + b, a)
