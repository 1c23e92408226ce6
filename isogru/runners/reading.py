"""Which recurrent layers a module holds: its weights as those of a file, recognised through the layouts."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from isogru.models.derived import put_together
from isogru.models.functions import USUAL
from isogru.models.layer import Layer
from isogru.models.recognition import candidates, recognise, some
from isogru.runners.arrays import taken
from isogru.weight_files.contents import Contents, Described, Tensor
from shared_spec.errors import InterchangeError, UserError
from shared_spec.readings.arithmetic import Array
from shared_spec.weights import layouts


@dataclass(frozen=True)
class Asked:
    """What is said of a module beside the module."""

    variables: Any = None
    """Of Flax linen, whose modules hold no weights."""
    layout: str = ""
    batch_first: bool | None = None
    dtype: str = ""
    """Of its states, where that is not the dtype of its weights."""


def contents(title: str, kind: str, tensors: Mapping[str, Any], described: Iterable[Described] = ()) -> Contents:
    """The tensors of a module by their names, of any framework's arrays, not yet read."""
    return Contents(
        Path(title), kind, {name: _tensor(name, array) for name, array in tensors.items()}, tuple(described)
    )


def dtype_of(array: Any) -> str:
    """As NumPy names it, such as float32 or bfloat16."""
    kind = getattr(array, "dtype", None)
    return str(getattr(kind, "name", kind)).removeprefix("torch.").removeprefix("<dtype: '").removesuffix("'>")


def _tensor(name: str, array: Any) -> Tensor:
    return Tensor(tuple(int(n) for n in array.shape), dtype_of(array), functools.partial(_read, name, array))


def _read(name: str, array: Any) -> Array:
    try:
        return taken(array, name)
    except Exception as error:  # Each framework has its own for an array without values, such as one on "meta".
        raise InterchangeError(f"the weight {name} cannot be read: {str(error).splitlines()[0]}") from None


def layers(model: Contents, asked: Asked, package: str) -> list[Layer]:
    """The layers of a module that is nothing but them, each with one reading, where there is one in a layout of its own
    package. Raises UserError for any other module, and where its names leave open which layout they have.
    """
    model = put_together(model)
    recognised = recognise(model)
    if asked.layout:
        wanted = layouts.layout(asked.layout)
        chosen = candidates(model, [wanted], model.tensors)
        if not chosen:
            raise UserError(f"{model.path}: its weights ({some(list(model.tensors))}) are none of {wanted.name}")
        return chosen
    if recognised.foreign and not recognised.layers:
        raise UserError(f"{model.path} is {recognised.foreign[0].what}, which is not judged")
    if not recognised.layers:
        raise UserError(
            f"{model.path}: no recurrent layer was recognised by the names of its weights ({some(list(model.tensors))})"
            "; name them as a layout does (isogru layouts), or check a function of arrays, with cell="
        )
    if recognised.passed_over or recognised.foreign:
        places = dict.fromkeys(readings[0].title for readings in recognised.layers)
        raise UserError(
            f"{model.path} holds more than a recurrent layer ({some(list(recognised.passed_over))}); check the layer "
            f"by itself ({', '.join(places)})"
        )
    made = []
    for readings in recognised.layers:
        first = readings[0]
        own = [layout for layout in layouts.layouts().values() if layout.package == package]
        read = candidates(first.contents, own, first.names.values())
        again = [layer for layer in read if set(layer.names.values()) == set(first.names.values())]
        if len(readings) == 1 and not first.described and again:
            made.append(again[0])
            continue
        if len(readings) > 1:
            ways = ", ".join(f'layout="{layer.layout.name}" ({layer.layout.layer})' for layer in readings)
            raise UserError(f"{model.path} can be read in {len(readings)} ways, which are different functions: {ways}")
        made.append(first)
    return made


def alone(model: Contents, asked: Asked, package: str) -> Layer:
    """The one layer of a module. Raises UserError where it has several."""
    there = layers(model, asked, package)
    if len(there) > 1:
        raise UserError(
            f"{model.path} holds {len(there)} recurrent layers ({', '.join(layer.title for layer in there)}); check "
            "each by itself"
        )
    return there[0]


def with_functions(layer: Layer, functions: Mapping[str, Any]) -> Layer:
    """The layer, its functions said: {"gate": jax.nn.sigmoid, "candidate": "tanh"}. Raises UserError for others than a
    cell of the specification has.
    """
    named = {key: _name(function) for key, function in functions.items()}
    if other := [key for key, name in named.items() if name != USUAL[key]]:
        told = " and ".join(f"{key} {named[key]}" for key in other)
        raise UserError(f"{layer.contents.path} has the functions {told}; the cells have sigmoid and tanh alone")
    return replace(layer, settings={**layer.settings, **named}, described=True)


def _name(function: Any) -> str:
    return function if isinstance(function, str) else str(getattr(function, "__name__", function))


def one_dtype(layer: Layer) -> str:
    """The dtype of a layer's weights. Raises UserError where there are several."""
    if len(layer.dtypes) > 1:
        raise UserError(f"{layer.contents.path} has weights in {' and '.join(layer.dtypes)}; convert it to one of them")
    return layer.dtypes[0]


def same_arrays(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two lots of tensors are the same to the bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
