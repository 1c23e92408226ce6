"""HDF5, read with care: a process of its own tells what is in the file, and the values are read from where they lie.

No link is followed, no shape is believed that needs more than the file holds, and nothing is unpacked beyond its shape.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from isogru.weight_files import needs
from isogru.weight_files.keras import walk
from isogru.weight_files.keras.walk import said, shown
from isogru.weight_files.plain import SIZES
from shared_spec.errors import InterchangeError
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import widened

SIGNATURE = b"\x89HDF\r\n\x1a\n"
PATIENCE = 60.0
"""Seconds for the process; one for a file of a thousand layers."""
MOST_PACKED = 20
"""How many times its size something packed may have: weights hardly pack at all."""
SMALL = 2**26
"""Bytes to which anything may unpack."""
DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
"""HDF5's numbers of the filters that are undone here."""


@dataclass(frozen=True)
class Part:
    """Where an HDF5 file lies: a file, a stretch of one, or memory."""

    path: Path
    start: int
    size: int
    content: bytes | None = None

    def read(self, at: int, size: int) -> bytes:
        """Raises ValueError where that is not all there."""
        if at < 0 or size < 0 or at + size > self.size:
            raise ValueError("it lies outside the file")
        if self.content is not None:
            return self.content[at : at + size]
        with self.path.open("rb") as file:
            file.seek(self.start + at)
            raw = file.read(size)
        if len(raw) < size:
            raise ValueError("the file is truncated")
        return raw


@dataclass(frozen=True)
class Found:
    """A dataset of the file."""

    shape: tuple[int, ...]
    dtype: str
    """As NumPy names it, or bfloat16; empty for what is no float."""
    order: Literal["<", ">"]
    """< or >: how its bytes go."""
    address: int
    """Of its header. A writer that appends gives them in the order in which it writes."""
    pieces: tuple[tuple[int, ...], ...]
    """Of each: where it lies, its size, which filters were left out, and in chunks where it belongs."""
    part: Part
    """The file that they lie in."""
    chunk: tuple[int, ...] = ()
    filters: tuple[int, ...] = ()

    @property
    def itemsize(self) -> int:
        return SIZES[self.dtype]


@dataclass(frozen=True)
class Hdf5:
    """An HDF5 file, with its groups and datasets by their paths."""

    path: Path
    part: Part
    groups: Mapping[str, Mapping[str, Any]]
    """The path of a group, "" the first -> what its attributes say: text, or a list of texts."""
    datasets: Mapping[str, Found]
    """In the order in which they were written."""

    def load(self, name: str) -> Array:
        """Reads a dataset: widened to float32, or float64 where it was."""
        dataset = self.datasets[name]
        try:
            raw = _unpacked(dataset.part, dataset) if dataset.chunk else _whole(dataset.part, dataset)
            if dataset.order == ">":
                raw = np.frombuffer(raw, f">u{dataset.itemsize}").astype(f"<u{dataset.itemsize}").tobytes()
            return widened(raw, dataset.dtype, dataset.shape)
        except (OSError, ValueError, zlib.error, MemoryError) as error:
            raise InterchangeError(
                f"{self.path}: {shown(name)} cannot be read ({said(error)}); save it again"
            ) from None


def opened(path: Path, part: Part) -> Hdf5:
    """What an HDF5 file has. Raises InterchangeError for a damaged one, and for what leads out of it."""
    needs("h5py", path, "a Keras file")
    told = _told(path, part)
    if "refused" in told:
        raise InterchangeError(f"{path}: {told['refused']}")
    datasets = {name: _found(entry, part) for name, entry in told["datasets"].items()}
    for name, dataset in datasets.items():
        if dataset.dtype:
            _check(path, name, dataset)
    groups = told["groups"]
    for name in [*groups, *datasets]:
        # Keras 2 on Windows gave one group the name of a whole path.
        for i, letter in enumerate(name):
            if letter == "/":
                groups.setdefault(name[:i], {})
    inorder = dict(sorted(datasets.items(), key=lambda item: item[1].address))
    return Hdf5(path, part, groups, inorder)


def most_unpacked(size: int) -> int:
    """To how many bytes something of this size may unpack."""
    return max(SMALL, MOST_PACKED * size)


def _told(path: Path, part: Part) -> dict[str, Any]:
    # Not with the folder of the program among the places for modules: it has a numpy.py of its own.
    command = [sys.executable, "-P", walk.__file__, "-" if part.content is not None else str(path)]
    try:
        process = subprocess.run(
            [*command, str(part.start), str(part.size)],
            input=part.content or b"", capture_output=True, timeout=PATIENCE, check=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        told: dict[str, Any] = json.loads(process.stdout)
    except (subprocess.SubprocessError, OSError, ValueError):
        raise InterchangeError(
            f"{path}: damaged: the library of HDF5 itself fails on it; copy it or save the model again"
        ) from None
    return told


def _found(entry: Mapping[str, Any], part: Part) -> Found:
    pieces = tuple(tuple(piece) for piece in entry["pieces"])
    chunk, filters = tuple(entry.get("chunk", ())), tuple(entry.get("filters", ()))
    return Found(tuple(entry["shape"]), entry["dtype"], entry["order"], entry["address"], pieces, part, chunk, filters)


def _check(path: Path, name: str, dataset: Found) -> None:
    """Refuses a shape that what is stored cannot fill."""
    part, needed = dataset.part, math.prod(dataset.shape) * dataset.itemsize
    if needed > (most_unpacked(part.size) if dataset.filters else part.size):
        raise InterchangeError(f"{path}: damaged: {shown(name)} announces {needed} bytes, and the file has {part.size}")
    if not dataset.chunk and needed and sum(piece[1] for piece in dataset.pieces) != needed:
        raise InterchangeError(
            f"{path}: {shown(name)} needs {needed} bytes, which are not stored; build the model before it is saved"
        )


def _whole(part: Part, dataset: Found) -> bytes:
    return b"".join(part.read(at, size) for at, size, *_ in dataset.pieces)


def _unpacked(part: Part, dataset: Found) -> bytes:
    """A dataset that is stored in pieces. Raises ValueError where one is missing or has another size than it should."""
    counts = [-(-length // step) for length, step in zip(dataset.shape, dataset.chunk, strict=True)]
    size = math.prod(dataset.chunk) * dataset.itemsize
    if len(dataset.pieces) != math.prod(counts):
        raise ValueError(f"of its {math.prod(counts)} pieces, {len(dataset.pieces)} are stored, or can be listed")
    if size * len(dataset.pieces) > most_unpacked(part.size):
        raise ValueError("its pieces need more than the file holds")
    if set(dataset.filters) - {DEFLATE, SHUFFLE, FLETCHER32}:
        raise ValueError(f"it is packed with filter {max(dataset.filters)}, which is not read; save it without")
    whole = np.zeros([count * step for count, step in zip(counts, dataset.chunk, strict=True)], f"V{dataset.itemsize}")
    for at, stored, mask, *corner in dataset.pieces:
        raw = part.read(at, stored)
        for i, kind in reversed(list(enumerate(dataset.filters))):
            if not mask >> i & 1:
                raw = _undone(kind, raw, size, dataset.itemsize)
        if len(raw) != size:
            raise ValueError(f"a piece of it unpacks to other than the {size} bytes that its shape says")
        where = tuple(slice(start, start + step) for start, step in zip(corner, dataset.chunk, strict=True))
        whole[where] = np.frombuffer(raw, whole.dtype).reshape(dataset.chunk)
    return whole[tuple(map(slice, dataset.shape))].tobytes()


def _undone(kind: int, raw: bytes, size: int, itemsize: int) -> bytes:
    if kind == DEFLATE:
        # A checksum that was made before packing takes four bytes.
        return zlib.decompressobj().decompress(raw, size + 5)
    if kind == FLETCHER32:
        return raw[:-4]
    return np.frombuffer(raw, np.uint8).reshape(itemsize, -1).T.tobytes()
