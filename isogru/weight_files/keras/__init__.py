"""Keras' `.keras`, `.weights.h5`, weights in shards, and the legacy `.h5` of Keras 1 to 3. Keras is not loaded."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isogru.weight_files import HEAD
from isogru.weight_files.contents import Contents, Tensor
from isogru.weight_files.keras import archive as archives
from isogru.weight_files.keras import config as configuration
from isogru.weight_files.keras import layers as of_layers
from isogru.weight_files.keras import shards
from isogru.weight_files.keras.hdf5 import SIGNATURE, Found, Hdf5, Part, opened
from isogru.weight_files.keras.units import OPTIMIZER
from isogru.weight_files.keras.walk import said, shown
from shared_spec.errors import InterchangeError
from shared_spec.files.whole import write_patched, write_whole
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import FLOATS

KIND = "a Keras file"
ENDINGS = (".keras", ".weights.h5", ".weights.json", ".h5", ".hdf5")
WRITTEN = (".keras", ".weights.h5", ".h5", ".hdf5")


@dataclass(frozen=True)
class _Opened:
    contents: Contents
    file: Hdf5
    datasets: Mapping[str, str]
    """The name of a tensor -> the dataset."""
    archive: bool


def recognises(head: bytes, path: Path) -> bool:
    """HDF5 by its signature, a zip archive with Keras' configuration and weights, or an index of shards."""
    archive = head.startswith(b"PK") and archives.is_archive(path)
    return head.startswith(SIGNATURE) or archive or shards.is_index(head, path)


def read(path: Path) -> Contents:
    """The weights of recurrent layers as PLACE/kernel, PLACE/recurrent_kernel and PLACE/bias, others by their paths.

    A file with a configuration describes each recurrent layer; one of weights alone those that their shapes settle.
    The state of an optimizer is left out.
    """
    return _open(path).contents


def fill(template: Path, path: Path, tensors: Mapping[str, Array]) -> None:
    """The template, whole, with some tensors replaced. Out of a `.keras`, a `.weights.h5` can be made too."""
    with template.open("rb") as file:
        if shards.is_index(file.read(HEAD), template):
            raise InterchangeError(
                f"{template}: the index of weights in several files, which are not filled; let the model save its "
                'weights into one, with model.save_weights("model.weights.h5")'
            )
    given = _open(template)
    endings = (".keras", ".weights.h5") if given.archive else (".weights.h5", ".h5", ".hdf5")
    if not path.name.endswith(endings):
        raise InterchangeError(
            f"{path}: out of {template} comes a file that ends in {' or '.join(endings)}; name such a one"
        )
    if not given.archive and path.name.endswith(".weights.h5") == ("layer_names" in _top(given.file)):
        raise InterchangeError(
            f"{path}: Keras reads {template}'s kind of file by its ending; name the output as {template.name} ends"
        )
    if not given.archive:
        write_patched(template, path, _pieces(template, given, tensors))
        return
    content = bytearray(given.file.part.read(0, given.file.part.size))
    for at, raw in _pieces(template, given, tensors):
        content[at : at + len(raw)] = raw
    write_whole(path, archives.replaced(template, content) if path.name.endswith(".keras") else bytes(content))


def _pieces(template: Path, given: _Opened, tensors: Mapping[str, Array]) -> Iterator[tuple[int, bytes]]:
    """Where in the HDF5 file the new values lie, and their bytes."""
    for name, array in tensors.items():
        if name not in given.datasets:
            has = ", ".join(map(shown, given.datasets))
            raise InterchangeError(f"{template}: it has no {shown(name)}; it has {has}")
        dataset = given.file.datasets[given.datasets[name]]
        if raw := _exact(template, name, array, dataset):
            yield dataset.pieces[0][0], raw


def _open(path: Path) -> _Opened:
    with path.open("rb") as raw:
        head = raw.read(HEAD)
    sharded = shards.is_index(head, path)
    archive = None if head.startswith(SIGNATURE) or sharded else archives.opened(path)
    if sharded:
        file, about, layers = shards.joined(path), dict[str, str](), list[configuration.Layer]()
    elif archive:
        file, about = opened(path, archive.weights), dict(archive.metadata)
        layers = _layers(path, archive.config, keras=_major(about, 3))
    else:
        file = opened(path, Part(path, 0, path.stat().st_size))
        about = {k: v for k, v in {**_top(file), **file.groups[""]}.items() if k in ("keras_version", "backend")}
        try:
            config = json.loads(file.groups[""].get("model_config", "null"))
        except (ValueError, RecursionError) as error:
            raise InterchangeError(
                f"{path}: damaged: its model_config is no JSON ({said(error)}); save it again"
            ) from None
        layers = _layers(path, config, keras=_major(about, 1))
    inventory = of_layers.layers_of(file, layers, keras=_major(about, 3 if archive or sharded else 1))
    tensors: dict[str, Tensor] = {}
    datasets: dict[str, str] = {}
    for dataset, entry in file.datasets.items():
        name = inventory.names.get(dataset, dataset)
        if entry.dtype not in FLOATS or OPTIMIZER.search(dataset):
            continue
        if name in tensors:
            raise InterchangeError(
                f"{path}: damaged: there are two tensors of the name {shown(name)}; save the model again"
            )
        tensors[name] = Tensor(entry.shape, entry.dtype, functools.partial(file.load, dataset))
        datasets[name] = dataset
    stored = any(name.endswith("vars") for name in file.groups)
    kind = KIND if archive or stored or _top(file) else "an HDF5 file"
    # A model that is a class of its own is saved in the order of its attributes' names.
    ordered = bool(layers) or not stored or not {"layers", "_layer_checkpoint_dependencies"}.isdisjoint(file.groups)
    contents = Contents(path, kind, tensors, inventory.described, inventory.foreign, about, ordered)
    return _Opened(contents, file, datasets, archive is not None)


def _layers(path: Path, config: Any, *, keras: int) -> list[configuration.Layer]:
    try:
        return configuration.layers(config, keras=keras)
    except (AttributeError, TypeError, KeyError, ValueError, RecursionError) as error:
        raise InterchangeError(
            f"{path}: its configuration cannot be read ({said(error)}); save the model again"
        ) from None


def _top(file: Hdf5) -> Mapping[str, Any]:
    """What the group of a legacy file's layers says."""
    return next((file.groups[name] for name in ("model_weights", "") if "layer_names" in file.groups.get(name, {})), {})


def _major(about: Mapping[str, str], default: int) -> int:
    """The version of Keras that wrote the file: 1, 2 or 3. Keras 1 did not say."""
    number = about.get("keras_version", "").partition(".")[0]
    return int(number) if number.isdecimal() and len(number) < 3 else default


def _exact(template: Path, name: str, array: Array, dataset: Found) -> bytes:
    """The values as the template stores them. What its dtype cannot hold is refused, not rounded."""
    dtype = dataset.dtype
    if np.shape(array) != dataset.shape:
        raise InterchangeError(f"{template}: {shown(name)} is {dataset.shape} there, and {np.shape(array)} is given")
    if dtype not in ("float32", "float64", "float16"):
        raise InterchangeError(
            f"{template}: {shown(name)} is {dtype}; only a template of float32 and float64 is filled"
        )
    with np.errstate(over="ignore"):
        narrow = np.asarray(array).astype(dtype)
    if not np.array_equal(narrow, np.asarray(array), equal_nan=True):
        raise InterchangeError(
            f"{template}: {shown(name)} is {dtype} there, and does not hold these {np.asarray(array).dtype} values; "
            "give narrower ones, or a template of that dtype"
        )
    return narrow.astype(narrow.dtype.newbyteorder(dataset.order)).tobytes()
