"""A folder where a file is asked for: what to name instead."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

PYTREE = "_METADATA"
"""What Orbax writes into the folder of a tree of arrays."""
STEP = "_CHECKPOINT_METADATA"
"""What it writes into the folder of a step, which holds such trees."""
INDEX = "variables/variables.index"
MOST = 1000
"""Entries of a folder that are looked at."""


def said(path: Path, endings: Sequence[str]) -> str:
    """What a folder is and what to do, as the end of a sentence; files with one of these endings can be named."""
    if tree := orbax(path):
        return f"an Orbax checkpoint, which is not read; {remedy(tree)}"
    return f"a directory; name a file of weights{_inside(path, endings)}"


def orbax(path: Path) -> Path | None:
    """The tree of arrays in a folder that Orbax wrote, of a manager's steps the last; None where there is none."""
    if is_tree(path):
        return path
    steps = [step for step in _listed(path, "*") if step.name.isdecimal()]
    for step in [path, *sorted(steps, key=lambda step: int(step.name[:9]), reverse=True)]:
        if (step / STEP).is_file() and (trees := sorted(_listed(step, f"*/{PYTREE}"))):
            return trees[0].parent
    return None


def is_tree(path: Path) -> bool:
    """Whether Orbax wrote a tree of arrays into this folder."""
    return (path / PYTREE).is_file()


def remedy(tree: Path) -> str:
    """How to get a file that is read out of what Orbax wrote, as a command."""
    restored = f"o.StandardCheckpointer().restore({json.dumps(str(tree.resolve()))})"
    code = (
        "import flax.serialization as f, orbax.checkpoint as o; "
        f'open("model.msgpack", "wb").write(f.to_bytes({restored}))'
    )
    return f"write its arrays to model.msgpack where Orbax and Flax are installed: python -c {shlex.quote(code)}"


def _inside(path: Path, endings: Sequence[str]) -> str:
    saved = path / INDEX
    files = [saved] if saved.exists() else [each for each in _listed(path, "*") if each.name.endswith(tuple(endings))]
    # Of a TensorFlow checkpoint the index, and the last one.
    best = max(files, key=lambda file: (file.suffix == ".index", len(file.name), file.name), default=None)
    return f", such as {best}" if best else ""


def _listed(path: Path, pattern: str) -> list[Path]:
    try:
        return [each for _, each in zip(range(MOST), path.glob(pattern), strict=False)]
    except OSError:
        return []
