"""The code that kept references and verdicts rest on, told by digests of whole folders: a rule that moves into another
file of one of them changes the digest too.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import shared_spec

SPECIFICATION = Path(shared_spec.__file__).parent
READ = (".py", ".toml", ".txt")
"""The endings of files that are code, or data that code reads."""


def files(folder: Path, *, deep: bool = True) -> list[Path]:
    """The files of a folder that count, those of its own folders too unless `deep` is false."""
    return sorted(file for file in (folder.rglob("*") if deep else folder.glob("*")) if file.suffix in READ)


def digest(chosen: Iterable[Path]) -> str:
    """Identifies the contents of these files, and their names."""
    sha = hashlib.sha256()
    for file in chosen:
        content = file.read_bytes()
        sha.update(f"{file.parent.name}/{file.name} {len(content)}\n".encode() + content)
    return sha.hexdigest()[:12]


@functools.cache
def judge() -> str:
    """Identifies everything that a verdict rests on beside the case and the result: this folder, the equations with
    their readings, the oracle, and the language model.
    """
    chosen = [*files(Path(__file__).parent), *files(SPECIFICATION, deep=False)]
    for name in ("readings", "language_model"):
        chosen += files(SPECIFICATION / name)
    return digest(chosen)
