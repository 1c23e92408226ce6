"""Where the weights of a case come from: the file, its layout and the names of its tensors, as metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from shared_spec.files import door


class Source(msgspec.Struct, frozen=True):
    """One layer of a file of weights."""

    file: str
    """As sentences name it; in a case its name, without its folder."""
    layout: str
    """Of `shared_spec/layouts.toml`."""
    names: dict[str, str]
    """The layout's own names of the tensors that are there -> the names in the file."""
    row: int | None = None
    """Which direction of tensors that hold two, along their first axis."""
    computed: bool = False
    """Whether the layer gives its states in the order in which it computes them though it runs backwards, as Keras'
    go_backwards does.
    """


def written(source: Source | None) -> dict[str, str]:
    """As metadata; nothing where it is not known."""
    return {} if source is None else {"weights": msgspec.json.encode(source).decode()}


def read(path: Path, metadata: Mapping[str, str]) -> Source | None:
    """None where the case does not say it. Raises InterchangeError for what is none, or no line of text."""
    if "weights" not in metadata:
        return None
    source = door.decoded(metadata["weights"], Source, f"{path}: weights", "write the case again")
    check(path, source)
    return source


def check(path: Path, source: Source) -> None:
    """Raises InterchangeError for one that is no line of text; `path` is the file that has it."""
    texts = {"weights' file": source.file, "weights' layout": source.layout}
    door.check_texts(path, texts | {f"name of {own[:20]!r}": name for own, name in source.names.items()})
