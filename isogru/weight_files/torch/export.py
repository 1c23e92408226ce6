"""torch.export archives (.pt2): weights are members of raw memory, and a JSON says what each is."""

from __future__ import annotations

import msgspec

from isogru.weight_files.contents import Contents, Tensor
from isogru.weight_files.torch.archives import Archive, Laid
from isogru.weight_files.torch.names import said
from shared_spec.errors import InterchangeError
from shared_spec.readings.arithmetic import Array

KIND = "a torch.export archive"

# torch/_export/serde/schema.py, 2.13, ScalarType.
DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8_e4m3fn",
    30: "float8_e5m2", 34: "uint32", 35: "uint64",
}  # fmt: skip
STRIDED = 7


class _Int(msgspec.Struct):
    as_int: int


class _Meta(msgspec.Struct):
    dtype: int
    sizes: list[_Int]
    strides: list[_Int]
    storage_offset: _Int
    layout: int = STRIDED


class _Payload(msgspec.Struct):
    path_name: str
    use_pickle: bool = False
    tensor_meta: _Meta | None = None


class _Config(msgspec.Struct):
    config: dict[str, _Payload]


def models(archive: Archive, what: str) -> dict[str, str]:
    """The models of an archive, by name -> the member that lists its `what`: "weights" or "constants"."""
    start, end = f"data/{what}/", f"_{what}_config.json"
    members = [name for name in archive.sizes if name.startswith(start) and name.endswith(end)]
    return {name.removeprefix(start).removesuffix(end): name for name in members}


def read(archive: Archive) -> Contents:
    """The weights, and constants such as buffers that are not in the state dict; with the model's name before each
    where there are several models.
    """
    archive.little_endian()
    tensors: dict[str, Tensor] = {}
    weights = models(archive, "weights")
    for what in ("weights", "constants"):
        for model, member in models(archive, what).items():
            try:
                listed = msgspec.json.decode(archive.read(member), type=_Config).config
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                raise archive.damaged(f"its member {said(member)}: {error}") from None
            for name, payload in listed.items():
                full = f"{model}.{name}" if len(weights) > 1 else name
                if payload.path_name.startswith("tensor_") or what == "weights":
                    tensors.setdefault(full, _tensor(archive, full, payload, f"data/{what}"))
    return Contents(archive.path, KIND, tensors)


def _tensor(archive: Archive, name: str, payload: _Payload, folder: str) -> Tensor:
    meta = payload.tensor_meta
    shape = tuple(size.as_int for size in meta.sizes) if meta else ()
    if payload.use_pickle or meta is None or meta.layout != STRIDED or meta.dtype not in DTYPES:

        def refuse() -> Array:
            raise InterchangeError(
                f"{archive.path}: {said(name)} is of a kind that is not read; export a model of plain tensors"
            )

        return Tensor(shape, "unknown", refuse)
    strides = tuple(stride.as_int for stride in meta.strides)
    laid = Laid(f"{folder}/{payload.path_name}", DTYPES[meta.dtype], meta.storage_offset.as_int, shape, strides)
    laid.check(archive, name)
    return Tensor(shape, laid.dtype, lambda: laid.load(archive))
