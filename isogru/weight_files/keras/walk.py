"""A program that tells what is in an HDF5 file, as JSON: `python -P walk.py PATH START SIZE`; `-` is stdin.

It is a process of its own since HDF5's library, on a damaged file, may crash or never end, and takes Python with it. It
reads no values: it tells where they lie. It imports nothing of isogru, so as to start fast.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any, BinaryIO

DEEPEST = 64
"""Levels of groups. Keras makes three for each level of layers within layers."""
MOST_PIECES = 4096
MOST_MEMORY = 2**32
SAID = ("model_config", "keras_version", "backend", "layer_names", "weight_names", "name")
"""The attributes of groups that Keras writes and isogru reads."""
FAULTS = (OSError, ValueError, TypeError, LookupError, RuntimeError, OverflowError, MemoryError, EOFError)
"""What h5py raises for a damaged file."""


class RefusedError(Exception):
    """Something that is not followed or not believed."""


class Window(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = path.open("rb"), start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(view)
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def shown(name: str) -> str:
    """A name out of a file, without what a terminal would obey."""
    return name if name.isprintable() else ascii(name)[1:-1]


def said(error: BaseException) -> str:
    """What an error says, in one line."""
    text = str(error.args[0] if error.args else error).strip()
    return shown(text.splitlines()[0][:160]) if text else type(error).__name__


class _Walk:
    """One way through a file."""

    def __init__(self, h5py: Any, size: int) -> None:
        self.h5py, self.size = h5py, size
        self.groups: dict[str, dict[str, Any]] = {}
        self.datasets: dict[str, dict[str, Any]] = {}

    def through(self, file: Any) -> None:
        h5py, seen = self.h5py, dict[int, str]()
        waiting: list[tuple[bytes, Any]] = [(b"", h5py.h5g.open(file.id, b"/"))]
        while waiting:
            place, group = waiting.pop()
            name, address = _name(place), h5py.h5o.get_info(group).addr
            if address in seen or place.count(b"/") > DEEPEST:
                what = f"is {shown(seen[address]) or 'the whole file'} again" if address in seen else "lies too deep"
                raise RefusedError(f"damaged: the group {shown(name)} {what}; save the model again")
            seen[address] = name
            self._add(self.groups, name, self._attributes(h5py.Group(group)))
            for link in list(group):
                inner = place + b"/" + link if place else link
                if group.links.get_info(link).type != h5py.h5l.TYPE_HARD:
                    raise RefusedError(
                        f"{shown(_name(inner))} is a link to another place or file, and none is followed; "
                        "save the model again, into one file"
                    )
                node = h5py.h5o.open(group, link)
                if isinstance(node, h5py.h5g.GroupID):
                    waiting.append((inner, node))
                elif isinstance(node, h5py.h5d.DatasetID) and node.shape is not None:
                    self._add(self.datasets, _name(inner), self._dataset(shown(_name(inner)), node))

    def _add(self, known: dict[str, dict[str, Any]], name: str, value: dict[str, Any]) -> None:
        if name in known:
            raise RefusedError(f"damaged: {shown(name)} is there twice; save the model again")
        known[name] = value

    def _attributes(self, group: Any) -> dict[str, Any]:
        """Those that Keras writes; those in pieces ("weight_names0", "weight_names1", ...) joined."""
        values: dict[str, Any] = {}
        for name in SAID:
            numbered = (f"{name}{i}" for i in itertools.count())
            pieces = [name] if name in group.attrs else list(itertools.takewhile(group.attrs.__contains__, numbered))
            texts: list[str] = []
            for piece in pieces:
                attribute = group.attrs.get_id(piece)
                if attribute.dtype.itemsize * math.prod(attribute.shape or ()) > self.size:
                    raise RefusedError(
                        f"damaged: the attribute {piece} announces more than the file holds; save it again"
                    )
                value = group.attrs[piece]
                texts += [_text(inner) for inner in (value.ravel() if hasattr(value, "ravel") else [value])]
            if pieces:
                values[name] = texts if name.endswith("_names") else "".join(texts)
        return values

    def _dataset(self, name: str, dataset: Any) -> dict[str, Any]:
        h5py, stored, (dtype, order) = self.h5py, dataset.get_create_plist(), self._dtype(dataset)
        if stored.get_external_count() or stored.get_layout() == h5py.h5d.VIRTUAL:
            raise RefusedError(f"{name} lies in another file, and none is followed; save the model into one file")
        told = {"shape": dataset.shape, "dtype": dtype, "order": order, "address": h5py.h5o.get_info(dataset).addr}
        if stored.get_layout() == h5py.h5d.CHUNKED:
            count = dataset.get_num_chunks() if dtype else 0
            told["chunk"] = stored.get_chunk()
            told["filters"] = [stored.get_filter(i)[0] for i in range(stored.get_nfilters())]
            infos = [dataset.get_chunk_info(i) for i in range(count)] if count <= MOST_PIECES else []
            told["pieces"] = [[i.byte_offset, i.size, i.filter_mask, *i.chunk_offset] for i in infos]
        elif stored.get_layout() == h5py.h5d.CONTIGUOUS and (at := dataset.get_offset()) is not None:
            told["pieces"] = [[at, dataset.get_storage_size(), 0]]
        else:
            told["pieces"] = []
        return told

    def _dtype(self, dataset: Any) -> tuple[str, str]:
        """And the order of its bytes. It is one of IEEE's, or two bytes without a type, as which Keras stores bfloat16;
        others are not read.
        """
        types, kind = self.h5py.h5t, dataset.get_type()
        for bits, order in itertools.product((16, 32, 64), ("LE", "BE")):
            if kind.equal(getattr(types, f"IEEE_F{bits}{order}")):
                return f"float{bits}", "<" if order == "LE" else ">"
        return ("bfloat16" if kind.get_class() == types.OPAQUE and kind.get_size() == 2 else ""), "<"


def _name(place: bytes) -> str:
    """A path as text. Keras 2 on Windows wrote whole paths, with backslashes, as names of single groups."""
    return place.decode("utf-8", "surrogateescape").replace("\\", "/")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def tell(path: str, start: int, size: int, content: BinaryIO) -> dict[str, Any]:
    """What is in the file, which is the content where its path is "-"; or under "refused", why not."""
    h5py = importlib.import_module("h5py")
    try:
        source = io.BytesIO(content.read()) if path == "-" else io.BufferedReader(Window(Path(path), start, size))
        with source, h5py.File(source, "r") as file:
            walk = _Walk(h5py, size)
            walk.through(file)
    except RefusedError as refused:
        return {"refused": str(refused)}
    except FAULTS as error:
        return {"refused": f"damaged or truncated ({said(error)}); copy or save it again"}
    return {"groups": walk.groups, "datasets": walk.datasets}


if __name__ == "__main__":
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    json.dump(tell(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.stdin.buffer), sys.stdout)
