"""Layers of JAX, as functions of their weights: what Flax' and Equinox' have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from isogru.models.layer import Layer
from isogru.runners import reading
from isogru.runners.arrays import Jax, Leaves, loaded
from isogru.runners.subject import Subject, functional
from shared_spec.errors import UserError

Apply = Callable[[Mapping[str, Any], Any, Any], Any]
"""(tensors by their names in the module, X (T, n, d), H0 (n, h)) -> H (T, n, h)."""


def subject(layer: Layer, arrays: Mapping[str, Any], apply: Apply, *, dtype: str = "") -> Subject:
    """A layer that `apply` computes, whose weights are these arrays by their names in the module."""
    jax = loaded("jax")
    computed = dtype or reading.one_dtype(layer)
    if computed == "float64" and not jax.config.jax_enable_x64:
        raise UserError('JAX has float64 switched off: jax.config.update("jax_enable_x64", True)')
    weights = [arrays[name] for name in layer.names.values()]
    device = next(iter(weights[0].devices())) if hasattr(weights[0], "devices") else jax.devices()[0]
    platform = {"gpu": "cuda"}.get(device.platform, device.platform)
    names = dict(layer.names)

    def applied(leaves: Leaves) -> Any:
        return apply({name: leaves[own] for own, name in names.items()}, leaves["X"], leaves["H0"])

    # As it is used: a loop over steps that is not compiled takes seconds.
    compiled = jax.jit(applied)

    def run(leaves: Leaves) -> Any:
        return compiled({name: leaves[name] for name in ("X", "H0", *names)})

    call, pull = functional(run, Jax(device.platform), computed, platform)
    return Subject(str(layer.contents.path), "jax", layer, computed, platform, call, pull)


def scanned(step: Callable[[Any, Any], Any], X: Any, H0: Any) -> Any:
    """All states (T, n, h) of a cell, step(H (n, h), x (n, d)) -> H."""

    def one(H: Any, x: Any) -> tuple[Any, Any]:
        H = step(H, x)
        return H, H

    return loaded("jax").lax.scan(one, H0, X)[1]
