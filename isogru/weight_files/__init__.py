"""Files of weights, whoever wrote them: a reader for each kind, loaded when such a file is met. No pickle is executed.

`read(path)` knows a file by its content, never by its ending.
"""

from __future__ import annotations

import importlib
import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from isogru.weight_files import folders
from isogru.weight_files.contents import Contents
from shared_spec.errors import InterchangeError, UserError

READERS = ("safetensors", "torch", "onnx", "keras", "numpy", "mxnet", "msgpack", "tensorflow")
"""Modules of this folder, in the order in which they are asked."""

HEAD = 4096
"""How many bytes of a file are looked at to know its kind."""

LARGEST_TEXT = 2**26
"""How many bytes of JSON are read to say how its arrays are saved."""


class UnknownKindError(InterchangeError):
    """A file that no reader knows, with its first bytes."""

    def __init__(self, told: str, head: bytes) -> None:
        super().__init__(told)
        self.head = head


def needs(module: str, path: Path, kind: str) -> Any:
    """A package that a kind of file needs, of the name of its module. Raises UserError, with the line that installs it.

    That names the package itself: "isogru[torch]" is found in a clone alone.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"{path}: {kind}, which takes the package {module} to read; pip install {module}") from None


def module_of(name: str) -> Any:
    """A reader by its name."""
    return importlib.import_module(f"isogru.weight_files.{name}")


def read(path: Path) -> Contents:
    """Opens a file of weights. Raises InterchangeError, in one sentence, for what is none or is damaged."""
    return reader_of(path).read(path)  # type: ignore[no-any-return]


def reader_of(path: Path) -> Any:
    """The module that reads a file, by what the file holds."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        index = path.with_name(f"{path.name}.index")
        raise InterchangeError(f"{path}: no such file{f'; there is {index}' if index.exists() else ''}") from None
    except OSError as error:
        raise InterchangeError(f"{path}: cannot be read ({error.strerror})") from None
    if stat.S_ISDIR(mode):
        endings = [ending for name in READERS for ending in module_of(name).ENDINGS]
        raise InterchangeError(f"{path}: {folders.said(path, endings)}")
    if not stat.S_ISREG(mode):
        raise InterchangeError(f"{path}: no regular file; copy what it gives into one, and name that")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise InterchangeError(f"{path}: cannot be read ({error.strerror})") from None
    if not head:
        raise InterchangeError(f"{path}: empty; save the weights again")
    for name in READERS:
        if (module := module_of(name)).recognises(head, path):
            return module
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise InterchangeError(
            f"{path}: truncated: it begins as a zip archive, such as a .keras, an .npz or a .pt file, and has no end; "
            "copy it or save it again"
        )
    if folders.is_tree(path.parent):
        told = folders.remedy(path.parent)
        raise InterchangeError(f"{path}: a part of an Orbax checkpoint, which is not read; {told}")
    told = _looks_like(head)
    if told.startswith("looks like JSON"):
        told += f": save its arrays by name as .npz{_saved(path)}"
    raise UnknownKindError(f"{path}: {told}; what can be read: {kinds()}", head)


def _saved(path: Path) -> str:
    """The line that saves the arrays of a JSON file, as float32 where that holds them all; empty where it holds more
    than numbers in lists, by name, under several levels of names, or one after the other.
    """
    source, archive = json.dumps(str(path)), json.dumps(str(path.with_suffix(".npz")))
    of = f"json.loads(pathlib.Path({source}).read_text())"
    try:
        tree: Any = json.loads(path.read_text("utf-8")) if path.stat().st_size <= LARGEST_TEXT else None
        arrays = [np.array(leaf) for leaf in _leaves(tree)]
    except (OSError, ValueError, RecursionError):
        return ""
    if not arrays or any(array.dtype.kind not in "if" or not array.ndim for array in arrays):
        return ""
    with np.errstate(over="ignore"):
        dtype = "f" if all(np.array_equal(array, array.astype("f")) for array in arrays) else "d"
    start, array = ": import json, numpy, pathlib; ", f"numpy.array(a, {dtype!r})"
    if isinstance(tree, list):
        return f"{start}numpy.savez({archive}, *[{array} for a in {of}])"
    if not any(isinstance(value, dict) for value in tree.values()):
        return f"{start}numpy.savez({archive}, **{{name: {array} for name, a in {of}.items()}})"
    below = "{k: v for n in a for k, v in flat(a[n], f'{at}.{n}').items()}"
    flat = f"flat = lambda a, at='': {below} if isinstance(a, dict) else {{at[1:]: {array}}}"
    return f"{start}{flat}; numpy.savez({archive}, **flat({of}))"


def _leaves(tree: Any) -> list[Any]:
    """What stands under names, at any level, or one after the other."""
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in (_leaves(value) if isinstance(value, dict) else [value])]
    return tree if isinstance(tree, list) else []


def kinds() -> str:
    """What can be read, in words."""
    return ", ".join(f"{module_of(name).KIND} ({', '.join(module_of(name).ENDINGS)})" for name in READERS)


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a text."""
    try:
        # The last character may be cut in two.
        text = head.decode("utf-8", errors="strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)


def _looks_like(head: bytes) -> str:
    if head.lstrip()[:1] in (b"{", b"["):
        return "looks like JSON, of which no layout is known"
    if head.startswith(b"\x80") and head[1:2] in b"\x02\x03\x04\x05":
        return "a bare pickle, which is never run; in the program that made it, save the state dict or the arrays"
    if head.startswith(b"GGUF"):
        return "a GGUF file, for which there is no GRU"
    if head[4:8] == b"TFL3":
        return (
            "a TensorFlow Lite model, whose GRU is a row of operations and whose weights have no names; take the file "
            "that it was converted from"
        )
    if head.startswith(b"PK"):
        return "a zip archive of a kind that is not known"
    if is_text(head):
        return "text, not weights"
    return "of a kind that is not known"
