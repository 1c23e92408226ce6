"""Files of arrays, states or inputs: read as files of weights are, and what to do with one that holds bare numbers."""

from __future__ import annotations

import json
from pathlib import Path

from isogru import weight_files
from isogru.weight_files.contents import Contents
from shared_spec.errors import InterchangeError


def read(path: Path, shape: str, name: str) -> Contents:
    """Opens a file of arrays. `shape` is what the array that is wanted has, such as "7, 3, 4", and `name` what it is.

    Raises InterchangeError, for numbers without shape and dtype with the line of Python that saves them as .npy.
    """
    try:
        return weight_files.read(path)
    except weight_files.UnknownKindError as error:
        if not (loaded := _loaded(path, error.head, shape, name)):
            raise
        first, _, rest = shape.partition(", ")
        second, _, last = rest.partition(", ")
        more = f", with {second}, {first}, {last} where the batch comes first" if last and second != "1" else ""
        more = ", with the number of sequences for the 1" if shape.startswith("-1, 1,") else more
        told = f"{path}: no file of arrays: it says neither shape nor dtype"
        raise InterchangeError(f"{told}; save it as .npy: {_line(path.with_suffix('.npy'), loaded)}{more}") from None


def _line(path: Path, loaded: str) -> str:
    modules = [name for name in ("json", "numpy", "pathlib", "scipy.io") if f"{name}." in loaded or name == "numpy"]
    return f"import {', '.join(modules)}; numpy.save({json.dumps(str(path))}, {loaded})"


def _loaded(path: Path, head: bytes, shape: str, name: str) -> str:
    """An expression that loads it; empty where nothing is known of its kind. Numbers in a text are read as float64,
    whatever the text is: their digits tell what they are numbers of. Bare bytes are taken for float32.
    """
    file = json.dumps(str(path))
    if head.lstrip()[:1] in (b"[", b"{"):
        text = f"json.loads(pathlib.Path({file}).read_text())"
        return f"numpy.array({text}, 'float64')" if head.lstrip()[:1] == b"[" else ""
    if weight_files.is_text(head):
        numbers = head.lstrip()[:1] in b"+-.0123456789#"
        delimiter = ", delimiter=','" if b"," in head else ""
        return f"numpy.loadtxt({file}{delimiter}).reshape({shape})" if numbers else ""
    if head.startswith(b"MATLAB 5.0"):
        return f"scipy.io.loadmat({file})[{name!r}]"
    return f"numpy.fromfile({file}, '<f4').reshape({shape})" if path.suffix in RAW else ""


RAW = (".bin", ".raw", ".dat", ".f32", "")
"""Endings of files that are nothing but numbers."""
