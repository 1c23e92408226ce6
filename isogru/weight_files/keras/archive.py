"""Keras' `.keras`: a zip archive of the configuration and the weights, of which the weights are read where they lie."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isogru.weight_files.keras.hdf5 import SMALL, Part, most_unpacked
from isogru.weight_files.keras.walk import said, shown
from shared_spec.errors import InterchangeError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
FAULTS = (OSError, ValueError, LookupError, RuntimeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)
FIXED_HEADER = 30
"""Bytes of a member's own header, before its name. APPNOTE.TXT 4.3.7."""


@dataclass(frozen=True)
class Archive:
    """A `.keras` file, opened."""

    config: Any
    metadata: Mapping[str, str]
    weights: Part
    """An HDF5 file."""


def is_archive(path: Path) -> bool:
    """Whether it is a zip archive with Keras' members."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {CONFIG, WEIGHTS} <= set(archive.namelist())
    except FAULTS:
        return False


def opened(path: Path) -> Archive:
    """Reads the configuration, and finds the weights. Raises InterchangeError for a damaged archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {info.filename: info for info in archive.infolist()}
            if len(infos) < len(archive.namelist()):
                raise InterchangeError(f"{path}: damaged: it has two members of one name; save the model again")
            for info in infos.values():
                _check(path, info)
            config = json.loads(archive.read(infos[CONFIG]))
            about = json.loads(archive.read(infos[METADATA])) if METADATA in infos else {}
            weights = infos[WEIGHTS]
            packed = None if weights.compress_type == zipfile.ZIP_STORED else archive.read(weights)
        metadata = {str(key): str(value) for key, value in about.items()} if isinstance(about, dict) else {}
        start = _start(path, weights)
    except FAULTS as error:
        raise InterchangeError(f"{path}: damaged or truncated ({said(error)}); save the model again") from None
    return Archive(config, metadata, Part(path, start, weights.file_size, packed))


def replaced(path: Path, weights: bytes | bytearray) -> bytes:
    """The archive with other weights."""
    memory = io.BytesIO()
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(memory, "w") as copy:
            for info in archive.infolist():
                copy.writestr(info, weights if info.filename == WEIGHTS else archive.read(info))
    except FAULTS as error:
        raise InterchangeError(f"{path}: damaged or truncated ({said(error)}); save the model again") from None
    return memory.getvalue()


def _check(path: Path, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 1:
        raise InterchangeError(f"{path}: {shown(info.filename)} is encrypted; save the model without a password")
    limit = SMALL if info.filename in (CONFIG, METADATA) else most_unpacked(info.compress_size)
    if info.file_size > limit:
        raise InterchangeError(
            f"{path}: {shown(info.filename)} unpacks from {info.compress_size} to {info.file_size} bytes, "
            "which no model does; save the model again"
        )


def _start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's content begins, after a header whose length is in it."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(FIXED_HEADER)
        start = info.header_offset + FIXED_HEADER + sum(int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
        size = info.file_size if info.compress_type == zipfile.ZIP_STORED else info.compress_size
        if header[:4] != b"PK\x03\x04" or start + size > file.seek(0, io.SEEK_END):
            raise ValueError(f"{shown(info.filename)} is not where the archive says")
    return start
