"""flax.linen.GRUCell and SimpleCell, by a tree of parameters, and flax.nnx.GRUCell, by nnx.update."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from frameworks.jax import runtime

BOTH = ("float32", "float64")
LAYOUTS = {"flax-linen": BOTH, "flax-nnx": BOTH, "flax-rnn": BOTH}

runtime.setup()


def versions() -> dict[str, str]:
    return {module.__name__: module.__version__ for module in (flax, jax, np)}


def run(layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    layer, tree = made(layout, tensors, X, H0)
    return np.asarray(unroll(layer, tree, jnp.asarray(X), jnp.asarray(H0)))


def gradients(
    layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray, dH: np.ndarray
) -> dict[str, np.ndarray]:
    layer, tree = made(layout, tensors, X, H0)
    of_tree, *given = pulled(layer, tree, *(jnp.asarray(array) for array in (X, H0, dH)))
    gradients = {**flatten_dict(of_tree, sep="."), **dict(zip(("X", "H0"), given, strict=True))}
    return {name: np.asarray(array) for name, array in gradients.items()}


def made(layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> tuple:
    """What is the same for all weights, and a tree of these."""
    tree = unflatten_dict({name: jnp.asarray(array) for name, array in tensors.items()}, sep=".")
    dtypes = {"dtype": X.dtype, "param_dtype": X.dtype}
    if layout == "flax-nnx":
        # Its shapes alone: a start that is random is compiled for each of them, for seconds, and thrown away.
        cell = nnx.eval_shape(lambda: nnx.GRUCell(X.shape[-1], H0.shape[-1], **dtypes, rngs=nnx.Rngs(0)))
        graph, state = nnx.split(cell)
        # Strict: a parameter of the cell that no tensor fills would keep its random start.
        state = nnx.filter_state(state, nnx.Param)
        assert set(nnx.to_flat_state(state).paths) == {tuple(name.split(".")) for name in tensors}
        return graph, tree
    cell_type = linen.GRUCell if layout == "flax-linen" else linen.SimpleCell
    return linen.RNN(cell_type(H0.shape[-1], **dtypes), time_major=True), tree


@functools.partial(jax.jit, static_argnums=0)
def unroll(layer: Any, tree: dict, X: jax.Array, H0: jax.Array) -> jax.Array:
    if isinstance(layer, linen.RNN):
        return layer.apply({"params": {"cell": tree}}, X, initial_carry=H0)
    return nnx.RNN(nnx.merge(layer, nnx.State(tree)), time_major=True)(X, initial_carry=H0)


@functools.partial(jax.jit, static_argnums=0)
def pulled(layer: Any, tree: dict, X: jax.Array, H0: jax.Array, dH: jax.Array) -> tuple:
    _, pull = jax.vjp(functools.partial(unroll, layer), tree, X, H0)
    return pull(dH)
