"""equinox.nn.GRUCell, by eqx.tree_at."""

from __future__ import annotations

from collections.abc import Mapping

import equinox
import jax
import jax.numpy as jnp
import numpy as np

from frameworks.jax import runtime

LAYOUTS = {"equinox": ("float32", "float64")}

runtime.setup()


def versions() -> dict[str, str]:
    return {module.__name__: module.__version__ for module in (equinox, jax, np)}


def run(layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    return np.asarray(unroll(made(tensors, X, H0), jnp.asarray(X), jnp.asarray(H0)))


def gradients(
    layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray, dH: np.ndarray
) -> dict[str, np.ndarray]:
    gradients = pulled(made(tensors, X, H0), *(jnp.asarray(array) for array in (X, H0, dH)))
    of_cell = {name: getattr(gradients[0], name) for name in tensors}
    return {name: np.asarray(array) for name, array in {**of_cell, "X": gradients[1], "H0": gradients[2]}.items()}


def made(tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> equinox.nn.GRUCell:
    """The cell, with these weights."""
    # Its shapes alone: a start that is random is compiled for each of them, for a second, and thrown away.
    cell = equinox.filter_eval_shape(
        equinox.nn.GRUCell, X.shape[-1], H0.shape[-1], dtype=X.dtype, key=jax.random.key(0)
    )
    names = list(tensors)
    values = [jnp.asarray(tensors[name]) for name in names]
    return equinox.tree_at(lambda cell: [getattr(cell, name) for name in names], cell, values)


@equinox.filter_jit
def unroll(cell: equinox.nn.GRUCell, X: jax.Array, H0: jax.Array) -> jax.Array:
    def step(H: jax.Array, X_t: jax.Array) -> tuple[jax.Array, jax.Array]:
        # The cell knows no batch.
        H = jax.vmap(cell)(X_t, H)
        return H, H

    _, H = jax.lax.scan(step, H0, X)
    return H


@equinox.filter_jit
def pulled(cell: equinox.nn.GRUCell, X: jax.Array, H0: jax.Array, dH: jax.Array) -> tuple:
    _, pull = equinox.filter_vjp(unroll, cell, X, H0)
    return pull(dH)
