"""The pack as files: each case in three forms, and pack.json: what there is, what it kills, and digests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from isogru.pack import protobuf
from isogru.pack.candidates import CELLS, Golden, candidates, killed, upwards
from isogru.pack.cover import alone, cover
from isogru.pack.page import PAGE
from isogru.suites.mutants import mutants
from isogru.weight_files import numpy as npz
from shared_spec import cells
from shared_spec.errors import UserError
from shared_spec.files import temporary, tensors
from shared_spec.files.interchange import DTYPES
from shared_spec.files.whole import write_together
from shared_spec.readings.arithmetic import Array

FORMAT = "isogru-pack/1"
INDEX, README = "pack.json", "README.md"


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A case of the pack."""

    name: str
    """Its files are NAME.safetensors, NAME.npz and the folder onnx/NAME."""
    cell: str
    sizes: dict[str, int]
    """T, n, d, h."""
    kills: dict[str, int]
    """By precision, how many mutants."""
    alone: list[str]
    """Those that no other case of the pack kills."""


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """pack.json."""

    format: str
    equations: dict[str, list[str]]
    """By cell."""
    mutants: dict[str, dict[str, int]]
    """By cell and precision, how many there are; all are killed, which is checked."""
    cases: list[Member]
    files: dict[str, str]
    """The SHA-256 of each, and of none other."""
    digest: str = ""
    """The SHA-256 of this file with nothing in the place of this."""


def made() -> dict[str, bytes]:
    """Every file of the pack by its path. Raises UserError where a mutant lives."""
    members, goldens = [], []
    for cell in CELLS:
        every = {each.case.name: each for each in candidates(cell)}
        by_dtype = {dtype: {name: killed(each, dtype) for name, each in every.items()} for dtype in DTYPES}
        sets = {
            name: frozenset(f"{mutant} {dtype}" for dtype in DTYPES for mutant in by_dtype[dtype][name])
            for name in every
        }
        _check_all_are_killed(cell, sets)
        chosen = cover(sets)
        own = alone(sets, chosen)
        for name in chosen:
            kills = {dtype: len(by_dtype[dtype][name]) for dtype in DTYPES}
            members.append(_member(every[name], kills, own[name]))
            goldens.append(every[name])
    contents = {name: content for golden in goldens for name, content in _forms(golden).items()}
    contents[README] = PAGE.encode()
    count = {cell: {dtype: len(mutants(cells.cell(cell), dtype=dtype)) for dtype in DTYPES} for cell in CELLS}
    equations = {cell: [each.text for each in cells.cell(cell).equations] for cell in CELLS}
    digests = {name: digest(content) for name, content in sorted(contents.items())}
    return contents | {INDEX: encoded(Index(FORMAT, equations, count, members, digests))}


def _check_all_are_killed(cell: str, sets: Mapping[str, frozenset[str]]) -> None:
    """Raises UserError for a mutant that no candidate kills: a cover has what there is in them, and no more."""
    every = {f"{mutant.name} {dtype}" for dtype in DTYPES for mutant in mutants(cells.cell(cell), dtype=dtype)}
    if living := every.difference(*sets.values()):
        raise UserError(
            f"no candidate for the pack kills {min(living)} of {cell}; isogru/pack/candidates.py needs another"
        )


def write(folder: Path) -> Index:
    """Write the pack to a folder, whole or not at all. Raises UserError where a mutant lives."""
    contents = made()
    write_together({folder / name: content for name, content in contents.items()})
    return msgspec.json.decode(contents[INDEX], type=Index)


def encoded(index: Index) -> bytes:
    """The bytes of pack.json, with its digest."""
    plain = msgspec.structs.replace(index, digest="")
    whole = msgspec.structs.replace(plain, digest=digest(msgspec.json.encode(plain)))
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def digest(content: bytes) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(content).hexdigest()


def _member(golden: Golden, kills: Mapping[str, int], own: frozenset[str]) -> Member:
    (T, n, d), h = golden.case.arrays["X"].shape, golden.case.arrays["H0"].shape[1]
    names = dict.fromkeys(each.rpartition(" ")[0] for each in sorted(own))
    cell = golden.case.cell.name
    return Member(golden.case.name, cell, {"T": T, "n": n, "d": d, "h": h}, dict(kills), list(names))


def _forms(golden: Golden) -> dict[str, bytes]:
    name, held = golden.case.name, arrays(golden)
    with temporary.folder() as folder:
        tensors.write(folder / "a", held, {"format": FORMAT, "name": name, "cell": golden.case.cell.name})
        npz.write(folder / "a.npz", held, {})
        both = {
            f"{name}.safetensors": (folder / "a").read_bytes(),
            f"{name}.npz": (folder / "a.npz").read_bytes(),
        }
    return both | {f"onnx/{name}/{file}": content for file, content in _onnx(golden).items()}


def arrays(golden: Golden) -> dict[str, Array]:
    """What both files of arrays hold: float32 what is given, float64 what is expected, and the bounds."""
    given = {name: array.astype(np.float32) for name, array in golden.case.arrays.items()}
    bounds = {f"bound.{dtype}.{name}": array for dtype, of in golden.bounds.items() for name, array in of.items()}
    return {**given, **{f"expected.{name}": array for name, array in golden.expected.items()}, **bounds}


def _onnx(golden: Golden) -> dict[str, bytes]:
    """The folder of one of ONNX' backend tests, with bounds beside its outputs: |Y - output_0| <= bound_0."""
    case, H = golden.case, golden.expected["H"]
    reset_after = case.cell.name == "gru_reset_after"
    given = protobuf.inputs(case.arrays, reset_after=reset_after)
    outputs = {"Y": H[:, None], "Y_h": H[-1:]}
    bound = golden.bounds["float32"]["H"].astype(np.float64) + _rounding(H)
    bounds = {"Y": bound[:, None], "Y_h": bound[-1:]}
    shapes = {name: array.shape for name, array in {**given, **outputs}.items()}
    contents = {
        "model.onnx": protobuf.model(shapes, hidden_size=H.shape[2], linear_before_reset=reset_after),
    }
    for kind, those in (("input", given), ("output", outputs), ("bound", bounds)):
        for i, (name, array) in enumerate(those.items()):
            narrow = upwards(array) if kind == "bound" else array.astype(np.float32)
            contents[f"test_data_set_0/{kind}_{i}.pb"] = protobuf.tensor(name, narrow)
    return contents


def _rounding(expected: Array) -> Array:
    """How far the float32 numbers of output_0.pb are from what is expected."""
    off: Array = np.abs(expected.astype(np.float32).astype(np.float64) - expected)
    return off
