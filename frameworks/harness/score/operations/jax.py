"""What mutants are made of in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp

EXPONENTS = {8: 8, 11: 5, 24: 8}
FUNCTIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}


def constant(x):
    return jax.lax.stop_gradient(x)


def concatenate(arrays, axis):
    return jnp.concatenate(arrays, axis)


def turned(x):
    return jnp.flip(x, 0)


def exchanged(x):
    return jnp.swapaxes(x, 0, 1)


def reshaped(x, shape):
    return jnp.reshape(x, shape)


def zeros(like, shape):
    return jnp.zeros(shape, like.dtype)


def clipped(x, low, high):
    return jnp.clip(x, low, high)


def function(name):
    return FUNCTIONS.get(name)


def narrowed(x, bits):
    # A cast there and back is what XLA may leave out; this it may not.
    return jax.lax.reduce_precision(x, EXPONENTS[bits], bits - 1) if bits in EXPONENTS else None


def forget():
    jax.clear_caches()
