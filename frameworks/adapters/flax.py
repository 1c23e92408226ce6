"""flax.linen.GRUCell and SimpleCell, by a tree of parameters, and flax.nnx.GRUCell, by nnx.update."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from flax.traverse_util import unflatten_dict

from frameworks.jax import runtime

BOTH = ("float32", "float64")
LAYOUTS = {"flax-linen": BOTH, "flax-nnx": BOTH, "flax-rnn": BOTH}

runtime.setup()


def versions() -> dict[str, str]:
    return {module.__name__: module.__version__ for module in (flax, jax, np)}


def run(layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    tree = unflatten_dict({name: jnp.asarray(array) for name, array in tensors.items()}, sep=".")
    dtypes = {"dtype": X.dtype, "param_dtype": X.dtype}
    if layout == "flax-nnx":
        cell = nnx.GRUCell(X.shape[-1], H0.shape[-1], **dtypes, rngs=nnx.Rngs(0))
        # Strict: a parameter of the cell that no tensor fills would keep its random start.
        state = nnx.state(cell, nnx.Param)
        assert set(nnx.to_flat_state(state).paths) == {tuple(name.split(".")) for name in tensors}
        nnx.update(cell, tree)
        return np.asarray(unroll(cell, jnp.asarray(X), jnp.asarray(H0)))
    cell_type = linen.GRUCell if layout == "flax-linen" else linen.SimpleCell
    layer = linen.RNN(cell_type(H0.shape[-1], **dtypes), time_major=True)
    return np.asarray(apply(layer, {"params": {"cell": tree}}, jnp.asarray(X), jnp.asarray(H0)))


@nnx.jit
def unroll(cell: nnx.GRUCell, X: jax.Array, H0: jax.Array) -> jax.Array:
    return nnx.RNN(cell, time_major=True)(X, initial_carry=H0)


@functools.partial(jax.jit, static_argnums=0)
def apply(layer: linen.RNN, variables: dict, X: jax.Array, H0: jax.Array) -> jax.Array:
    return layer.apply(variables, X, initial_carry=H0)
