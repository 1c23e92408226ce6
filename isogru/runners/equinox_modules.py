"""Modules of Equinox: equinox.nn.GRUCell, and one's own cells that have its weights. A cell knows no batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isogru.runners import jax_trees, reading
from isogru.runners.arrays import loaded
from isogru.runners.reading import Asked
from isogru.runners.subject import Subject
from isogru.weight_files.contents import Contents
from shared_spec.errors import UserError


def _arrays(module: Any) -> dict[str, Any]:
    """Its arrays by their paths, such as cell.weight_ih."""
    jax, equinox = loaded("jax"), loaded("equinox")
    pairs, _ = jax.tree_util.tree_flatten_with_path(module)
    return {_name(path): leaf for path, leaf in pairs if equinox.is_array(leaf)}


def _name(path: Any) -> str:
    return ".".join(str(next(iter(vars(key).values()), key)) if hasattr(key, "__dict__") else _key(key) for key in path)


def _key(key: Any) -> str:
    for attribute in ("name", "key", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def contents(module: Any, asked: Asked) -> Contents:
    """Its arrays, by their paths."""
    return reading.contents(type(module).__qualname__, "a module of Equinox", _arrays(module))


def subjects(module: Any, asked: Asked) -> list[Subject]:
    """The cell that it is, called as (x (d,), h (h,)) -> h. Raises UserError for what is called otherwise."""
    jax, equinox = loaded("jax"), loaded("equinox")
    layer = reading.alone(contents(module, asked), asked, "equinox")
    if layer.layout.time != "step":
        raise UserError(
            f"{layer.contents.path}: of Equinox' modules cells are judged, (x (d,), h (h,)) -> h, with the weights of "
            "equinox.nn.GRUCell; check one that loops as a function of arrays, with cell="
        )
    arrays = _arrays(module)

    def apply(tensors: Mapping[str, Any], X: Any, H0: Any) -> Any:
        _, treedef = jax.tree_util.tree_flatten(module)
        pairs, _ = jax.tree_util.tree_flatten_with_path(module)
        leaves = [tensors.get(_name(path), leaf) if equinox.is_array(leaf) else leaf for path, leaf in pairs]
        cell = jax.tree_util.tree_unflatten(treedef, leaves)
        return jax_trees.scanned(lambda H, x: jax.vmap(cell)(x, H), X, H0)

    return [jax_trees.subject(layer, arrays, apply, dtype=asked.dtype)]
