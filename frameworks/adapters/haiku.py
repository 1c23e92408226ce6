"""haiku.GRU, by the dictionary of parameters that its users pass to apply."""

from __future__ import annotations

from collections.abc import Mapping

import haiku
import jax
import jax.numpy as jnp
import numpy as np

from frameworks.jax import runtime

LAYOUTS = {"haiku": ("float32", "float64")}

runtime.setup()


def versions() -> dict[str, str]:
    return {module.__name__: module.__version__ for module in (haiku, jax, np)}


def run(layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray) -> np.ndarray:
    parameters = {"gru": {name: jnp.asarray(array) for name, array in tensors.items()}}
    return np.asarray(apply(parameters, jnp.asarray(X), jnp.asarray(H0)))


def unroll(X: jax.Array, H0: jax.Array) -> jax.Array:
    H, _ = haiku.dynamic_unroll(haiku.GRU(H0.shape[-1]), X, H0)
    return H


apply = jax.jit(haiku.without_apply_rng(haiku.transform(unroll)).apply)


def gradients(
    layout: str, tensors: Mapping[str, np.ndarray], X: np.ndarray, H0: np.ndarray, dH: np.ndarray
) -> dict[str, np.ndarray]:
    parameters = {"gru": {name: jnp.asarray(array) for name, array in tensors.items()}}
    of_parameters, *given = pulled(parameters, *(jnp.asarray(array) for array in (X, H0, dH)))
    gradients = {**of_parameters["gru"], **dict(zip(("X", "H0"), given, strict=True))}
    return {name: np.asarray(array) for name, array in gradients.items()}


@jax.jit
def pulled(parameters: dict, X: jax.Array, H0: jax.Array, dH: jax.Array) -> tuple:
    _, pull = jax.vjp(apply, parameters, X, H0)
    return pull(dH)
