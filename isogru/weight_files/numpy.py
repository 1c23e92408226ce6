"""NumPy's .npz and .npy, and files of several arrays one after the other, as Equinox saves the leaves of a tree."""

from __future__ import annotations

import io
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from isogru.weight_files.contents import Contents, Tensor
from shared_spec.errors import InterchangeError
from shared_spec.files.whole import whole
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import widened

KIND = "a file of NumPy arrays"
ENDINGS = (".npz", ".npy", ".eqx")
WRITTEN = (".npz", ".eqx")
MAGIC = b"\x93NUMPY"
DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    SyntaxError,
    TypeError,
    KeyError,
    RecursionError,
    MemoryError,
    RuntimeError,  # Of zipfile, where a member is encrypted.
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)
"""What NumPy and zipfile raise on what is none of their files."""


class ObjectsError(Exception):
    """An array of Python objects."""


def recognises(head: bytes, path: Path) -> bool:
    """An array by its magic, with a line of JSON before it or not, or a zip archive of nothing but arrays."""
    if _start(head) is not None:
        return True
    if not head.startswith(b"PK") or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGED:
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def read(path: Path) -> Contents:
    """The arrays of an archive by their names, those of a row by their numbers: "0", "1", ..."""
    try:
        with path.open("rb") as file:
            start = _start(file.read(4096))
        tensors = _archive(path) if start is None else _row(path, start)
    except ObjectsError:
        raise InterchangeError(
            f"{path}: holds Python objects, which are pickles, and no pickle is read; save the arrays where it was "
            "made, with numpy.savez(FILE, **arrays), or *arrays of a list"
        ) from None
    except DAMAGED as error:
        raise InterchangeError(f"{path}: damaged or truncated ({error})") from None
    return Contents(path, KIND, tensors, ordered=start is not None)


def _start(head: bytes) -> int | None:
    """Where the first array begins: at once, or behind a line of JSON with hyperparameters, as Equinox' documentation
    saves models. None where none does.
    """
    if head.startswith(MAGIC):
        return 0
    line, end, rest = head.partition(b"\n")
    return len(line) + len(end) if line.startswith(b"{") and rest.startswith(MAGIC) else None


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if reader is None:
        raise ValueError(f"version {version} of NumPy's format is not read")
    with warnings.catch_warnings(action="ignore"):  # NumPy warns of headers that Python 2 might have written.
        shape, fortran, dtype = reader(file)
    if dtype.hasobject:
        raise ObjectsError
    return shape, fortran, dtype


def _checked(path: Path, name: str, size: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """The bytes that an array takes. A header that announces more than there is, is refused before memory is taken."""
    needed = dtype.itemsize
    for length in shape:
        needed *= length
    if needed > size:
        raise InterchangeError(f"{path}: array {name} announces {needed} bytes, and {size} are there")
    return needed


def _array(raw: bytes, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]) -> Array:
    order: Literal["F", "C"] = "F" if fortran else "C"
    if _name(dtype) == "bfloat16":
        return widened(raw, "bfloat16", (len(raw) // 2,)).reshape(shape, order=order)
    array: Array = np.frombuffer(raw, dtype).reshape(shape, order=order)
    return array.astype(_wide(dtype)) if dtype.kind == "f" else array


def _name(dtype: np.dtype[Any]) -> str:
    """The dtype's name. NumPy has no bfloat16, and saves those of JAX and MLX as two bytes of no kind."""
    return "bfloat16" if dtype.str[1:] == "V2" else dtype.name


def _wide(dtype: np.dtype[Any]) -> str:
    return "float64" if dtype.itemsize >= 8 else "float32"


def _archive(path: Path) -> dict[str, Tensor]:
    tensors = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            with archive.open(info) as file:
                shape, fortran, dtype = _header(file)
            _checked(path, name, info.file_size, shape, dtype)

            def load(
                member: str = info.filename, shape: tuple[int, ...] = shape, fortran: bool = fortran, dtype: Any = dtype
            ) -> Array:
                try:
                    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
                        _header(file)
                        return _array(file.read(), shape, fortran, dtype)
                except DAMAGED as error:
                    raise InterchangeError(f"{path}: array {member} is damaged or truncated ({error})") from None

            if name in tensors:
                raise InterchangeError(f"{path}: there are two arrays of the name {name}")
            tensors[name] = Tensor(shape, _name(dtype), load)
    return tensors


def _row(path: Path, first: int) -> dict[str, Tensor]:
    """Arrays that follow each other, as numpy.save into one open file writes them."""
    tensors: dict[str, Tensor] = {}
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(first)
        while file.tell() < size:
            shape, fortran, dtype = _header(file)
            start = file.tell()
            needed = _checked(path, str(len(tensors)), size - start, shape, dtype)
            file.seek(needed, io.SEEK_CUR)

            def load(
                start: int = start,
                needed: int = needed,
                shape: tuple[int, ...] = shape,
                fortran: bool = fortran,
                dtype: Any = dtype,
            ) -> Array:
                with path.open("rb") as file:
                    file.seek(start)
                    return _array(file.read(needed), shape, fortran, dtype)

            tensors[str(len(tensors))] = Tensor(shape, _name(dtype), load)
    return tensors


def write(path: Path, tensors: Mapping[str, Array], metadata: dict[str, str]) -> None:
    """A new .npz by names, or for .eqx the arrays one after the other, in the order given."""
    with whole(path) as beside:
        if path.suffix == ".npz":
            _write_archive(beside, tensors)
        else:
            with beside.open("wb") as file:
                for array in tensors.values():
                    np.save(file, np.ascontiguousarray(array))


def _write_archive(path: Path, tensors: Mapping[str, Array]) -> None:
    """As numpy.savez does, which takes all arrays at once, and none of the name "file"."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in tensors.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def fill(template: Path, path: Path, tensors: Mapping[str, Array]) -> None:
    """The template with some arrays replaced."""
    given = read(template)
    write(path, {name: tensors[name] if name in tensors else t.load() for name, t in given.tensors.items()}, {})
