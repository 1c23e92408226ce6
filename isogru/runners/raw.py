"""Arrays as the simplest file that a program can read and write: one line of JSON, then their bytes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec

from isogru.weight_files import plain
from isogru.weight_files.contents import Contents
from isogru.weight_files.plain import SIZES, Plain
from shared_spec.errors import InterchangeError
from shared_spec.files.interchange import Case
from shared_spec.files.whole import write_whole

KIND = "a raw file"
ALIGNED = 64
"""The data of a case begin at a multiple of this many bytes: the line is filled up with spaces."""
LONGEST = 65536
"""Bytes of the line."""


class Header(msgspec.Struct):
    """The line of a result: shapes by name, in the order in which the arrays follow."""

    arrays: dict[str, list[int]]
    dtype: str = ""
    """That which was asked for, where it is not said."""


def write_case(path: Path, case: Case, dtype: str) -> None:
    """A case: the sizes first, so that a program needs to read no JSON; arrays in the order X, H0, dH where gradients
    are asked for, parameters as their cell has them.
    """
    T, n, d = case.arrays["X"].shape
    names = [name for name in ("X", "H0", "dH", *case.cell.parameters) if name in case.arrays]
    header = {
        "T": T,
        "n": n,
        "d": d,
        "h": case.arrays["H0"].shape[1],
        "gradients": int("dH" in case.arrays),
        "dtype": dtype,
        "cell": case.cell.name,
        "arrays": {name: list(case.arrays[name].shape) for name in names},
    }
    line = json.dumps(header).encode()
    line += b" " * (-(len(line) + 1) % ALIGNED) + b"\n"
    write_whole(path, line + b"".join(plain.memory(case.arrays[name].astype(dtype)) for name in names))


def read(path: Path, dtype: str) -> Contents:
    """The arrays of a result by name, not yet read. Raises InterchangeError where the line or the length is wrong."""
    with path.open("rb") as file:
        line = file.readline(LONGEST)
    if not line.startswith(b"{") or not line.endswith(b"\n"):
        raise InterchangeError(
            f'{path.name}: does not begin with a line of JSON, such as {{"arrays": {{"H": [7, 3, 4]}}}}'
        )
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InterchangeError(f"{path.name}: its first line is not as it should be ({error})") from None
    of = header.dtype or dtype
    if of not in SIZES:
        raise InterchangeError(f"{path.name}: dtype {of!r} is not read; write {dtype}")
    at, arrays = len(line), {}
    for name, shape in header.arrays.items():
        if any(length < 0 for length in shape):
            raise InterchangeError(f"{path.name}: {name} has shape {tuple(shape)}")
        needed = math.prod(shape) * SIZES[of]
        arrays[name] = Plain(tuple(shape), of, ((at, needed),))
        at += needed
    size = path.stat().st_size
    if at != size:
        raise InterchangeError(
            f"{path.name}: has {size - len(line)} bytes after its first line, which says {at - len(line)}"
        )
    return Contents(path, KIND, {name: array.tensor(path, name) for name, array in arrays.items()})
