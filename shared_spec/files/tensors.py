"""Files of named arrays with metadata, by safetensors: opened with care, written whole. No pickle is ever read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from shared_spec.errors import InterchangeError
from shared_spec.files import door
from shared_spec.files.whole import whole
from shared_spec.readings import floats
from shared_spec.readings.arithmetic import Array

DTYPES = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")
"""safetensors' names of the dtypes that NumPy has."""


def metadata(path: Path, format: str, kind: str) -> dict[str, str]:
    """The metadata of a file of this format. Raises InterchangeError for one that is not there, damaged, of a newer
    format, or of another kind.
    """
    door.check(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise InterchangeError(f"{path}: damaged, truncated or not a {kind} file ({error})") from None
    given = metadata.get("format", "")
    if given == format:
        return metadata
    family, _, _ = format.rpartition("/")
    if given.startswith(f"{family}/"):
        raise InterchangeError(f"{path}: format {given} is newer than {format}, which this isogru reads; update isogru")
    raise InterchangeError(f"{path}: not a {kind} file: its format is {given or 'not given'}, should be {format}")


def read(path: Path, format: str, kind: str, *, narrow: bool = False) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays of a file of this format, and its metadata. Where it may hold bfloat16, as a `narrow` one, that is
    widened to float32.
    """
    header = metadata(path, format, kind)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            # Asked of the header: NumPy has no bfloat16 and no float8 to load one as.
            dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            read = (*DTYPES, "BF16") if narrow else DTYPES
            if foreign := next((name for name, dtype in dtypes.items() if dtype not in read), None):
                raise InterchangeError(
                    f"{path}: {foreign} is of dtype {dtypes[foreign]}, which a {kind} file does not hold; save it in "
                    "float32"
                )
            arrays = {name: file.get_tensor(name) for name, dtype in dtypes.items() if dtype != "BF16"}
        return arrays | (_bfloat16(path) if len(arrays) < len(dtypes) else {}), header
    except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
        raise InterchangeError(f"{path}: damaged, truncated or not a {kind} file ({error})") from None


def _bfloat16(path: Path) -> dict[str, Array]:
    """Those arrays that are of bfloat16, as float32."""
    given: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(door.content(path))  # type: ignore[no-untyped-call]
    return {
        name: floats.widened(tensor["data"], "bfloat16", tuple(tensor["shape"]))
        for name, tensor in given
        if tensor["dtype"] == "BF16"
    }


def write(path: Path, arrays: Mapping[str, Array], metadata: dict[str, str]) -> None:
    """Writes arrays and metadata, whole or not at all."""
    # safetensors writes the memory of a transposed or strided array in the wrong order, without a word.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with whole(path) as beside:
        # Made here, with the rights that other files have: safetensors gives them to the owner alone.
        beside.touch()
        mode = beside.stat().st_mode
        try:
            safetensors.numpy.save_file(contiguous, beside, metadata)
        except safetensors.SafetensorError as error:
            raise InterchangeError(f"{path}: cannot be written: {error}") from None
        beside.chmod(mode)


def digest(arrays: Mapping[str, Any], *texts: str) -> str:
    """Identifies arrays by name, shape, dtype and value, and texts."""
    sha = hashlib.sha256("\n".join(texts).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.shape} {array.dtype}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()[:16]
