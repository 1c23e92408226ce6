"""Whether a folder is the pack: its version, its digests, that its numbers are those that this isogru computes, and
that its cases kill the mutants that it says, which are all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from isogru.pack import files
from isogru.pack.candidates import Golden, killed, named
from isogru.pack.files import FORMAT, INDEX, Index
from isogru.suites.mutants import mutants
from shared_spec import cells
from shared_spec.errors import InterchangeError
from shared_spec.files import door, tensors
from shared_spec.files.interchange import DTYPES


def check(folder: Path) -> Index:
    """Raises InterchangeError, with the file and the remedy, for a folder that is no pack, one of another version, one
    with a file too few, too many or changed in a single bit, one whose expected values are not this isogru's, and one
    whose cases do not kill what it says that they kill.
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
    goldens = {}
    for member in index.cases:
        goldens[member.name] = _checked(folder / f"{member.name}.safetensors", member.name, remedy)
    _check_kills(file, index, goldens, remedy)
    return index


def _checked(file: Path, name: str, remedy: str) -> Golden:
    """A case with what its file expects, and the bounds there. What is given must be the very same. What is expected
    rests on the machine's exp and tanh: it must be within what float64 allows.
    """
    held, _ = tensors.read(file, FORMAT, "pack")
    golden = named(name)
    own = files.arrays(golden)
    if other := sorted(set(held) ^ set(own)):
        raise InterchangeError(f"{file}: {other[0]} is not in both, this file and what isogru computes; {remedy}")
    if other := sorted(key for key in own if held[key].shape != own[key].shape):
        raise InterchangeError(f"{file}: the shape of {other[0]} is not that of the case {name}; {remedy}")
    for key, array in golden.case.arrays.items():
        if not np.array_equal(held[key], array.astype(np.float32)):
            raise InterchangeError(f"{file}: {key} is not that of the case {name}; {remedy}")
    expected = {key: held[f"expected.{key}"] for key in golden.expected}
    if golden.ratio(expected, "float64") > 1:
        raise InterchangeError(f"{file}: what is expected is not what this isogru computes; {remedy}")
    bounds = {dtype: {key: held[f"bound.{dtype}.{key}"] for key in golden.expected} for dtype in DTYPES}
    return Golden(golden.case, expected, bounds)


def _check_kills(file: Path, index: Index, goldens: Mapping[str, Golden], remedy: str) -> None:
    """Every mutant that there is must be killed by some case, and by each case as many as the index says."""
    for dtype in DTYPES:
        kills = {name: killed(golden, dtype) for name, golden in goldens.items()}
        for member in index.cases:
            count, said = len(kills[member.name]), member.kills.get(dtype)
            if count != said:
                raise InterchangeError(f"{file}: {member.name} kills {count} mutants in {dtype}, not {said}; {remedy}")
        for cell, counts in index.mutants.items():
            every = {mutant.name for mutant in mutants(cells.cell(cell), dtype=dtype)}
            if len(every) != counts.get(dtype):
                raise InterchangeError(f"{file}: {cell} has {len(every)} mutants in {dtype} by now; {remedy}")
            if living := every.difference(*(kills[each.name] for each in index.cases if each.cell == cell)):
                raise InterchangeError(f"{file}: no case kills {min(living)!r} of {cell} in {dtype}; {remedy}")
