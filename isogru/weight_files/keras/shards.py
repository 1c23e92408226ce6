"""Keras' weights in several files: an index NAME.weights.json, and the shards beside it, each an HDF5 file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from isogru.weight_files.keras.hdf5 import SMALL, Found, Hdf5, Part, opened
from isogru.weight_files.keras.walk import shown
from shared_spec.errors import InterchangeError

MAP = "weight_map"
"""What in the index says which shards hold the weights of a layer."""


def is_index(head: bytes, path: Path) -> bool:
    """Whether a file is such an index. Other packages write theirs with the same word, and other files in it."""
    if not head.lstrip().startswith(b"{") or not path.name.endswith(".json") or path.stat().st_size > SMALL:
        return False
    try:
        return any(name.endswith(".h5") for name in _shards(json.loads(path.read_bytes())))
    except (ValueError, RecursionError, OSError):
        return False


def joined(path: Path) -> Hdf5:
    """All shards as one file. Raises InterchangeError for one that is missing, damaged, or in another folder."""
    groups: dict[str, dict[str, Any]] = {}
    datasets: dict[str, Found] = {}
    before = 0
    for name in _shards(json.loads(path.read_bytes())):
        if Path(name).name != name:
            raise InterchangeError(f"{path}: the shard {shown(name)} is not in the index' own folder; put it there")
        file = path.with_name(name)
        if not file.is_file():
            raise InterchangeError(f"{path}: the shard {shown(name)} is not beside it; copy all files of the model")
        shard = opened(file, Part(file, 0, file.stat().st_size))
        for group, attributes in shard.groups.items():
            groups[group] = {**attributes, **groups.get(group, {})}
        for dataset, header in shard.datasets.items():
            if dataset in datasets:
                raise InterchangeError(f"{path}: damaged: two shards have {shown(dataset)}; save the model again")
            # Written one after the other: what lies in a later shard was written later.
            datasets[dataset] = replace(header, address=before + header.address)
        before += shard.part.size
    return Hdf5(path, Part(path, 0, before), groups, datasets)


def _shards(index: Any) -> list[str]:
    """The names of the shards, each once. Raises ValueError for what is no index."""
    weight_map = index.get(MAP) if isinstance(index, dict) else None
    if not isinstance(weight_map, dict):
        raise ValueError("no index of shards")
    names = [name for value in weight_map.values() for name in (value if isinstance(value, list) else [value])]
    if not all(isinstance(name, str) for name in names):
        raise ValueError("a shard has no name")
    return list(dict.fromkeys(names))
