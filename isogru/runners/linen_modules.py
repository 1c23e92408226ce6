"""Modules of Flax linen: GRUCell, SimpleCell, and RNN over one, with their variables; cells of one's own with their
names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isogru.runners import jax_trees, reading
from isogru.runners.arrays import is_instance
from isogru.runners.reading import Asked
from isogru.runners.subject import Subject
from isogru.weight_files.contents import Contents
from shared_spec.errors import UserError


def _variables(module: Any, asked: Asked) -> Mapping[str, Any]:
    given = asked.variables
    if given is None and module.scope is not None:
        given = module.variables
    if given is None:
        raise UserError(
            f"{type(module).__qualname__} of Flax linen holds no weights; say variables=, or bind it to them"
        )
    variables: Mapping[str, Any] = given if "params" in given else {"params": given}
    return variables


def _flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return leaves


def _nested(tensors: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in tensors.items():
        *levels, last = name.split(".")
        inner = tree
        for level in levels:
            inner = inner.setdefault(level, {})
        inner[last] = value
    return tree


def contents(module: Any, asked: Asked) -> Contents:
    """Its parameters, levels joined by dots."""
    params = _flat(_variables(module, asked)["params"])
    return reading.contents(type(module).__qualname__, "a module of Flax linen", params)


def subjects(module: Any, asked: Asked) -> list[Subject]:
    """The cell, or the RNN over one. Raises UserError for what is called otherwise."""
    variables = _variables(module, asked)
    layer = reading.alone(contents(module, asked), asked, "flax")
    layered = is_instance(module, "flax.linen", "RNN")
    cell = module.cell if layered else module
    layer = reading.with_functions(layer, functions_of(cell, layer.layout.settings))
    # A bound module has its variables in it, and takes no others.
    bare = module.clone(parent=None) if module.scope is not None else module

    def apply(tensors: Mapping[str, Any], X: Any, H0: Any) -> Any:
        given = {**variables, "params": _nested(tensors)}
        if layered:
            return looped(lambda X, H0: bare.apply(given, X, initial_carry=H0), module, X, H0)
        return jax_trees.scanned(lambda H, x: bare.apply(given, H, x)[0], X, H0)

    arrays = _flat(variables["params"])
    computed = computed_in(cell)
    return [jax_trees.subject(layer, arrays, apply, computed=computed, dtype=asked.dtype)]


def functions_of(cell: Any, settings: Mapping[str, str]) -> dict[str, Any]:
    """The functions of a cell, of those that its layout leaves open."""
    there = {"gate": getattr(cell, "gate_fn", None), "candidate": getattr(cell, "activation_fn", None)}
    return {key: function for key, function in there.items() if key in settings and function is not None}


def computed_in(cell: Any) -> str:
    """What a cell computes in, where it says so; else empty."""
    said = getattr(cell, "dtype", None)
    return "" if said is None else str(getattr(said, "__name__", said))


def looped(run: Any, module: Any, X: Any, H0: Any) -> Any:
    """All states (T, n, h), in the order in which they are computed, of an RNN of Flax with its settings."""
    X = X[::-1] if module.reverse else X
    given = run(X if module.time_major else X.swapaxes(0, 1), H0)
    H = given[1] if module.return_carry else given
    H = H if module.time_major else H.swapaxes(0, 1)
    return H[::-1] if module.reverse and module.keep_order else H
