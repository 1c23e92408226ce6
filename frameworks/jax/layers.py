"""Flax's own layers, with the shared weights put in through shared_spec/layouts.toml, as forwards."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen
from flax.traverse_util import unflatten_dict
from jax import Array

from frameworks.jax.cells import Forward
from shared_spec.weights.layouts import Layout, Part, layout
from shared_spec.weights.packing import with_second


def pack(layout: Layout, parameters: Mapping[str, Array]) -> dict:
    """The layer's own tensors, from parameters by their spec names; differentiable."""

    held = with_second(layout, parameters, jnp.zeros_like)

    def value(part: Part) -> Array:
        return -held[part.name] if part.negated else held[part.name]

    packed = {}
    for name, tensor in layout.tensors.items():
        rows = []
        for row in tensor.rows:
            arrays = [value(part).T if tensor.transpose else value(part) for part in row]
            rows.append(jnp.concatenate(arrays, tensor.axis))
        packed[name] = jnp.stack(rows) if tensor.stacked else rows[0]
    return unflatten_dict(packed, sep=".")


@functools.cache
def gru() -> Forward:
    return _forward(linen.GRUCell, layout("flax-linen"))


@functools.cache
def rnn() -> Forward:
    return _forward(linen.SimpleCell, layout("flax-rnn"))


def _forward(cell_type: type[linen.RNNCellBase], layout: Layout) -> Forward:
    # Outside jit, Flax builds its scan anew at every call, and JAX compiles what it builds.
    @jax.jit
    def forward(X: Array, H0: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        cell = cell_type(H0.shape[-1], dtype=H0.dtype, param_dtype=H0.dtype)
        layer = linen.RNN(cell, time_major=True, return_carry=True)
        final, H = layer.apply({"params": {"cell": pack(layout, parameters)}}, X, initial_carry=H0)
        return H, final

    return forward


# Whether a training step with one is compiled as a whole, as is usual in JAX.
COMPILED = True
BOTH = ("float32", "float64")
# The cell that each layer claims to equal: its constructor and the dtypes that it runs in.
LAYERS = {"gru_reset_after": (gru, BOTH), "rnn": (rnn, BOTH)}
