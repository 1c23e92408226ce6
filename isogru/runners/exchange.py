"""What a program is given and gives back: a case and a result in one of three formats. A result is what its shapes say;
whatever it says of itself beyond that is not read.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from isogru.runners import raw
from isogru.weight_files import numpy as npz
from isogru.weight_files import safetensors
from isogru.weight_files.contents import Contents, Reader
from shared_spec.errors import InterchangeError
from shared_spec.files.interchange import Case, write_case
from shared_spec.oracle import shapes_of_result
from shared_spec.quantities import TRACE
from shared_spec.readings.arithmetic import Array

SAFETENSORS, NPZ, RAW = "safetensors", "npz", "raw"
FORMATS = (SAFETENSORS, NPZ, RAW)
"""Which are the endings of the files too."""


def give(path: Path, case: Case, *, format: str, dtype: str) -> None:
    """Write a case, its arrays in that dtype."""
    case = case.held_in(dtype)
    if format == SAFETENSORS:
        write_case(path, case, dtype=dtype)
    elif format == RAW:
        raw.write_case(path, case, dtype)
    else:
        npz.write(path, {name: array.astype(dtype) for name, array in case.arrays.items()}, {})


def sizes(case: Case) -> dict[str, tuple[int, ...]]:
    """The shape of everything that a result of a case may hold."""
    T, n, d = case.arrays["X"].shape
    numbers = {"T": T, "n": n, "d": d, "h": case.arrays["H0"].shape[1]}
    wanted = ("H", "final", "grad.") if "dH" in case.arrays else ("H", "final")
    return {
        name: tuple(numbers[symbol] for symbol in symbols)
        for name, symbols in shapes_of_result(case.cell).items()
        if name.startswith(wanted) and not name.startswith(TRACE)
    }


def take(path: Path, case: Case, *, format: str, dtype: str) -> dict[str, Array]:
    """The arrays of a result. Raises InterchangeError for one that is not there, is no such file, or holds something
    else than the case asks for. Nothing is loaded before its shape is known to be right.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:
        raise InterchangeError("no result was written") from None
    if not stat.S_ISREG(mode):
        raise InterchangeError(f"{path.name} is no regular file")
    contents = _opened(path, format, dtype)
    wanted = sizes(case)
    if foreign := next((name for name in contents.tensors if name not in wanted), None):
        raise InterchangeError(f"{path.name}: {foreign} is no part of a result; there should be {', '.join(wanted)}")
    if missing := next((name for name in wanted if name != "final" and name not in contents.tensors), None):
        raise InterchangeError(f"{path.name}: {missing} is missing; there should be {', '.join(wanted)}")
    arrays: dict[str, Array] = {}
    for name, tensor in contents.tensors.items():
        if tensor.shape != wanted[name]:
            symbols = ", ".join(shapes_of_result(case.cell)[name])
            raise InterchangeError(
                f"{path.name}: {name} has shape {tensor.shape}, should be ({symbols}) = {wanted[name]}"
            )
        if tensor.dtype != dtype:
            raise InterchangeError(f"{path.name}: {name} is {tensor.dtype}, should be {dtype}")
        arrays[name] = np.array(tensor.load())
    return {"final": arrays["H"][-1].copy()} | arrays


def _opened(path: Path, format: str, dtype: str) -> Contents:
    """Raises InterchangeError where it is not of that format, or is damaged."""
    if format == RAW:
        return raw.read(path, dtype)
    reader: Reader = {SAFETENSORS: safetensors, NPZ: npz}[format]
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise InterchangeError(f"{path.name} is empty")
    if not reader.recognises(head, path):
        raise InterchangeError(f"{path.name} is no file of that format; --format says which it is")
    return reader.read(path)


def largest(case: Case, dtype: str) -> int:
    """The bytes of the arrays of a case and its result, the larger of both."""
    size = np.dtype(dtype).itemsize
    of_result = sum(int(np.prod(shape)) for shape in sizes(case).values())
    return size * max(of_result, sum(array.size for array in case.arrays.values()))


def without_cotangent(case: Case) -> Case:
    """A case of which no gradients are asked."""
    arrays: Mapping[str, Array] = {name: array for name, array in case.arrays.items() if name != "dH"}
    return Case(case.name, case.cell, arrays)
