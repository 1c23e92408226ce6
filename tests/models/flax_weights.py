"""Weights of Flax' modules, drawn by NumPy: each initialiser of Flax' own is compiled, for seconds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def variables_of(module, *inputs, seed=0):
    """The variables that module.init(key, *inputs) would give, with other numbers: none of them zero."""
    random = np.random.RandomState(seed)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * random.standard_normal(leaf.shape), leaf.dtype), shapes)
