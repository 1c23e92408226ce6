"""Layers of JAX, as functions of their weights: what Flax' and Equinox' have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from isogru.models.layer import Layer
from isogru.runners import reading
from isogru.runners.arrays import Jax, Leaves, loaded
from isogru.runners.subject import Subject, functional
from shared_spec.errors import UserError
from shared_spec.files.origins import coarser
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF
from shared_spec.readings.floats import HALVES

Apply = Callable[[Mapping[str, Any], Any, Any], Any]
"""(tensors by their names in the module, X (T, n, d), H0 (n, h)) -> H (T, n, h)."""


def subject(layer: Layer, arrays: Mapping[str, Any], apply: Apply, *, computed: str = "", dtype: str = "") -> Subject:
    """A layer that `apply` computes, whose weights are these arrays by their names in the module. `computed` is what it
    says that it computes in, `dtype` what its states are asked to be.
    """
    jax = loaded("jax")
    weights_dtype = reading.one_dtype(layer)
    computed = computed or dtype or weights_dtype
    if "float64" in (computed, dtype) and not jax.config.jax_enable_x64:
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

    kind = Jax(device.platform)
    sizes = layer.sizes

    def hands_on(states: str) -> bool:
        """Whether states of a dtype come out as they went in."""
        given = {
            "X": kind.give(np.zeros((1, 1, sizes["d"])), states),
            "H0": kind.give(np.zeros((1, sizes["h"])), states),
        }
        try:
            H = jax.eval_shape(applied, {**given, **{own: arrays[name] for own, name in names.items()}})
        except UserError:
            raise
        # A scan refuses a state that comes out in another dtype; what else is raised, the cases show.
        except Exception:
            return False
        return bool(H.dtype.name == states)

    if dtype in HALVES and dtype != weights_dtype and not hands_on(dtype) and hands_on(weights_dtype):
        raise UserError(
            f"{layer.contents.path} computes in {weights_dtype}, and {dtype} is asked for; convert the module"
        )
    # A state is kept in the dtype of the weights, as Flax makes the first one, unless the layer makes another of it.
    states = dtype or next((name for name in (weights_dtype, computed) if hands_on(name)), computed)
    products = computed if states in UNIT_ROUNDOFF and computed in coarser(states) else ""
    call, pull = functional(run, kind, states, platform, weights=weights_dtype)
    return Subject(str(layer.contents.path), "jax", layer, states, platform, call, pull, products=products)


def scanned(step: Callable[[Any, Any], Any], X: Any, H0: Any) -> Any:
    """All states (T, n, h) of a cell, step(H (n, h), x (n, d)) -> H."""

    def one(H: Any, x: Any) -> tuple[Any, Any]:
        H = step(H, x)
        return H, H

    return loaded("jax").lax.scan(one, H0, X)[1]
