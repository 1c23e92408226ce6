"""Whether a folder is the pack: its version, its digests, and that its numbers are those that this isogru computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isogru.pack import files
from isogru.pack.candidates import named
from isogru.pack.files import FORMAT, INDEX, Index
from shared_spec.errors import InterchangeError
from shared_spec.files import door, tensors


def check(folder: Path) -> Index:
    """Raises InterchangeError, with the file and the remedy, for a folder that is no pack, one of another version, one
    with a file too few, too many or changed in a single bit, and one whose expected values are not this isogru's.
    """
    file, remedy = folder / INDEX, f"write it anew with isogru pack -o {folder}"
    raw = door.content(file, f"name the folder of a pack, or {remedy}")
    index = door.decoded(raw, Index, file, remedy)
    if index.format != FORMAT:
        raise InterchangeError(f"{file}: its format is {index.format!r}, this isogru reads {FORMAT}; {remedy}")
    if files.encoded(index) != raw:
        raise InterchangeError(f"{file}: damaged: it is not what its digest says; {remedy}")
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()} - {INDEX}
    if missing := sorted(set(index.files) - there):
        raise InterchangeError(f"{folder / missing[0]}: is missing; {remedy}")
    if more := sorted(there - set(index.files)):
        raise InterchangeError(f"{folder / more[0]}: is no file of the pack; take it away")
    for name, digest in index.files.items():
        if files.digest(door.content(folder / name)) != digest:
            raise InterchangeError(f"{folder / name}: damaged: it is not what {INDEX} says; {remedy}")
    for member in index.cases:
        _check_numbers(folder / f"{member.name}.safetensors", member.name, remedy)
    return index


def _check_numbers(file: Path, name: str, remedy: str) -> None:
    """What is given must be the very same. What is expected rests on the machine's exp and tanh: it must be within what
    float64 allows.
    """
    held, _ = tensors.read(file, FORMAT, "pack")
    golden = named(name)
    own = files.arrays(golden)
    if other := sorted(set(held) ^ set(own)):
        raise InterchangeError(f"{file}: {other[0]} is not in both, this file and what isogru computes; {remedy}")
    for key, array in golden.case.arrays.items():
        if not np.array_equal(held[key], array.astype(np.float32)):
            raise InterchangeError(f"{file}: {key} is not that of the case {name}; {remedy}")
    expected = {key: held[f"expected.{key}"] for key in golden.expected}
    if golden.ratio(expected, "float64") > 1:
        raise InterchangeError(f"{file}: what is expected is not what this isogru computes; {remedy}")
