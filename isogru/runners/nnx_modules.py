"""Modules of Flax nnx: GRUCell, and RNN over one; cells of one's own with its names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isogru.runners import jax_trees, reading
from isogru.runners.arrays import is_instance, loaded
from isogru.runners.linen_modules import computed_in, functions_of, looped
from isogru.runners.reading import Asked
from isogru.runners.subject import Subject
from isogru.weight_files.contents import Contents


def _parameters(module: Any) -> dict[str, Any]:
    """Its parameters by their paths, levels joined by dots, as arrays."""
    nnx = loaded("flax.nnx")
    return {".".join(map(str, path)): each[...] for path, each in nnx.to_flat_state(nnx.state(module, nnx.Param))}


def contents(module: Any, asked: Asked) -> Contents:
    """Its parameters, levels joined by dots."""
    return reading.contents(type(module).__qualname__, "a module of Flax nnx", _parameters(module))


def subjects(module: Any, asked: Asked) -> list[Subject]:
    """The cell, or the RNN over one."""
    nnx = loaded("flax.nnx")
    layer = reading.alone(contents(module, asked), asked, "flax")
    layered = is_instance(module, "flax.nnx", "RNN")
    cell = module.cell if layered else module
    layer = reading.with_functions(layer, functions_of(cell, layer.layout.settings))
    graph, params, rest = nnx.split(module, nnx.Param, ...)

    def apply(tensors: Mapping[str, Any], X: Any, H0: Any) -> Any:
        flat = dict(nnx.to_flat_state(params))
        filled = {path: each.replace(tensors[".".join(map(str, path))]) for path, each in flat.items()}
        # A module of its own, with these weights in it.
        made = nnx.merge(graph, nnx.from_flat_state(filled), rest)
        if layered:
            return looped(lambda X, H0: made(X, initial_carry=H0), module, X, H0)
        return jax_trees.scanned(lambda H, x: made(H, x)[0], X, H0)

    computed = computed_in(cell)
    return [jax_trees.subject(layer, _parameters(module), apply, computed=computed, dtype=asked.dtype)]
