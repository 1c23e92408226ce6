"""PyTorch's files: state dicts and checkpoints by `torch.load(weights_only=True)`; TorchScript and .pt2 as data alone.

A file that would take more, such as a pickled module, is refused: to load it is to run what it says.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isogru.weight_files import needs
from isogru.weight_files.contents import Contents, Tensor
from isogru.weight_files.plain import SIZES
from isogru.weight_files.torch import export, script
from isogru.weight_files.torch.archives import ERRORS, EXPANDED, Archive, dtype_of
from isogru.weight_files.torch.names import inside, leaves, named, said
from isogru.weight_files.torch.records import Parsed, Stored, parse
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files.whole import whole
from shared_spec.readings.arithmetic import Array

KIND = "a PyTorch checkpoint"
ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".pt2")
WRITTEN = (".pt", ".pth", ".bin", ".ckpt")

# The number that torch.save wrote before PyTorch 1.6, as a pickle.
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
BEFORE_EXPORT_2_8 = "serialized_state_dict.pt"
SAVE = "in the program that made it, torch.save(model.state_dict(), FILE)"


def recognises(head: bytes, path: Path) -> bool:
    """A zip archive with PyTorch's own padding or members, or the number that older files begin with."""
    if head.startswith(LEGACY):
        return True
    if not head.startswith(b"PK\x03\x04"):
        return False
    # PyTorch aligns what it stores by an extra field "FB"; a truncated file still has its first.
    name = int.from_bytes(head[26:28], "little")
    if head[30 + name : 32 + name] == b"FB":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ERRORS:
        return False
    return any(name.endswith("/data.pkl") or name == BEFORE_EXPORT_2_8 for name in names)


def read(path: Path) -> Contents:
    """The tensors by their names in the model's state dict. Nothing that the file holds is run."""
    if _is_legacy(path):
        return _contents(path, _loaded(path, path, mmap=False))
    archive = Archive(path)
    if export.models(archive, "weights"):
        return export.read(archive)
    if BEFORE_EXPORT_2_8 in archive.sizes:
        inner = io.BytesIO(archive.read(BEFORE_EXPORT_2_8))
        _checked(Archive(path, inner))
        inner.seek(0)
        return _contents(path, _loaded(path, inner, mmap=False), export.KIND)
    if "data.pkl" not in archive.sizes:
        raise InterchangeError(f"{path}: an archive of PyTorch without a state dict in it; {SAVE}")
    if "constants.pkl" in archive.sizes:
        return script.read_script(archive)
    parsed = _checked(archive)
    if script.PACKED in parsed.names and all(_is_torchs(name) for name in parsed.names):
        return script.read_quantized(archive, parsed.root)
    return _contents(path, _loaded(path, path, mmap=True))


def _is_legacy(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(LEGACY)) == LEGACY


def _is_torchs(name: str) -> bool:
    return name == "collections.OrderedDict" or re.fullmatch(r"torch\.(_utils\._rebuild_\w+|\w+)", name) is not None


def _checked(archive: Archive) -> Parsed:
    """What the pickle describes. Raises InterchangeError where it announces more than is stored: torch.load would give
    the memory that lies behind.
    """
    try:
        parsed = parse(archive.read("data.pkl"))
    except ValueError as error:
        raise archive.damaged(error) from None
    for each in parsed.stored:
        _check(archive, each)
    return parsed


def _check(archive: Archive, stored: Stored) -> None:
    try:
        _, _, key, _, elements = stored.identity
        there = archive.sizes.get(f"data/{key}")
        needed = elements * SIZES[dtype_of(stored)]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise archive.damaged("its pickle names a storage of a kind that is not known") from None
    if there is None or not 0 <= needed <= there:
        raise archive.damaged(f"a storage announces {needed} bytes, and {max(there or 0, 0)} are there")


def _loaded(path: Path, source: Path | io.BytesIO, *, mmap: bool) -> Any:
    """What torch.load gives. Raises InterchangeError, with a remedy."""
    torch = needs("torch", path, KIND)
    if tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2]) < (2, 6):
        # CVE-2025-32434
        raise UserError(f"{path}: torch {torch.__version__} may run what a file says; pip install --upgrade torch")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            name = str(source) if isinstance(source, Path) else source
            return torch.load(name, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # What a damaged pickle makes torch raise is of any kind.
        text = str(error)
    match = re.search(r"Unsupported global: GLOBAL (\S+)", text) or re.search(
        r"Trying to load unsupported GLOBAL (\S+)", text
    )
    if match:
        raise InterchangeError(
            f"{path}: it holds an object of the class {said(match[1])}, and to load it would run code; {SAVE}"
        )
    reason = text.rpartition("WeightsUnpickler error: ")[2].partition("\n")[0]
    if reason and ("weights_only" in text or "Weights only" in text):
        raise InterchangeError(f"{path}: torch.load(weights_only=True) refuses it ({said(reason)}); {SAVE}")
    # torch's own message would go on to say how to load it all the same.
    text = "its pickle cannot be read" if text.startswith("Weights only") else text.partition("\n")[0]
    raise InterchangeError(f"{path}: damaged or truncated ({said(text)}); save the weights again")


def _contents(path: Path, root: Any, kind: str = KIND) -> Contents:
    places, part = _places(path, root)
    return Contents(path, kind, {name: _tensor(path, name, value) for name, value in places.items()}, part=part)


def _places(path: Path, root: Any) -> tuple[dict[str, Any], str]:
    """The tensors by name, and which part of the file has them."""
    torch = needs("torch", path, KIND)

    def tensor(value: Any) -> bool:
        return isinstance(value, torch.Tensor)

    def matrix(value: Any) -> bool:
        return tensor(value) and value.dim() > 0 and value.dtype != torch.uint8

    try:
        return named(leaves(root, inside, tensor), matrix)
    except ValueError as error:
        raise InterchangeError(f"{path}: {error}") from None


def _tensor(path: Path, name: str, value: Any) -> Tensor:
    dtype = str(value.dtype).removeprefix("torch.")
    shape = (value.size(0),) if value.is_nested else tuple(value.shape)
    if not value.is_quantized:
        return Tensor(shape, dtype, lambda: _array(path, name, value))
    scales = str(value.qscheme()).removeprefix("torch.")
    return Tensor(shape, "float32", lambda: _array(path, name, value), f"dequantised: {dtype}, {scales}")


def _array(path: Path, name: str, value: Any) -> Array:
    torch = needs("torch", path, KIND)
    kind = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
    if kind != "strided" or value.device.type != "cpu":
        kind = kind if kind != "strided" else f"on the device {value.device.type}"
        raise InterchangeError(f"{path}: {said(name)} is no plain tensor but {kind}; save it dense, on the cpu")
    if value.numel() * value.element_size() > max(value.untyped_storage().nbytes(), EXPANDED):
        raise InterchangeError(f"{path}: {said(name)} announces {value.numel()} elements, and has few; save it again")
    try:
        wide = value.detach().dequantize() if value.is_quantized else value.detach().resolve_conj().resolve_neg()
        if wide.is_floating_point() and wide.dtype != torch.float64:
            wide = wide.float()
        array: Array = np.ascontiguousarray(wide.numpy()) if wide.dim() else wide.numpy()
    except Exception as error:  # torch has no array for a few dtypes, and says so in several ways.
        raise InterchangeError(f"{path}: {said(name)} is of dtype {value.dtype}, which is not read ({error})") from None
    # It may be the file itself, mapped: a copy would take the memory twice.
    array.flags.writeable = False
    return array


def write(path: Path, tensors: Mapping[str, Array], metadata: dict[str, str]) -> None:
    """A new state dict, as torch.load(weights_only=True) and load_state_dict read it. Metadata have no place in it."""
    torch = needs("torch", path, KIND)
    if path.suffix == ".pt2":
        raise InterchangeError(f"{path}: a .pt2 holds a program, and these are weights alone; write a .pt")
    _save(path, {name: _from(torch, path, name, array) for name, array in tensors.items()})


def fill(template: Path, path: Path, tensors: Mapping[str, Array]) -> None:
    """The template with some tensors replaced, everything else in it as it was. Raises InterchangeError where a dtype
    of the template cannot hold the values.
    """
    torch = needs("torch", template, KIND)
    if (kind := read(template).kind) != KIND:
        raise InterchangeError(f"{template}: {kind}, which is not filled; fill the state dict of the model in float32")
    root = _loaded(template, template, mmap=not _is_legacy(template))
    places, _ = _places(template, root)
    for name, array in tensors.items():
        if name not in places:
            raise InterchangeError(f"{template}: has no tensor {said(name)}; it has {said(', '.join(places))}")
        into, given = places[name], _from(torch, path, name, array)
        if into.is_quantized or tuple(into.shape) != tuple(given.shape):
            what = "quantised" if into.is_quantized else f"of the shape {tuple(into.shape)}, not {tuple(given.shape)}"
            raise InterchangeError(f"{template}: {said(name)} is {what}; use a template of the same layers in float32")
        try:
            # In place, so that tied tensors stay tied. The file is mapped for this process alone.
            with torch.no_grad():
                into.copy_(given)
        except RuntimeError as error:
            raise InterchangeError(
                f"{template}: {said(name)} cannot be filled ({error}); use another template"
            ) from None
    for name, array in tensors.items():
        held = _array(template, name, places[name])
        if not np.array_equal(held, np.asarray(array), equal_nan=held.dtype.kind == "f"):
            raise InterchangeError(
                f"{template}: {said(name)} ({places[name].dtype}) cannot hold these values exactly, or shares "
                "its memory with another tensor; use a template in float32 of which all tensors are their own"
            )
    _save(path, root)


def _from(torch: Any, path: Path, name: str, array: Array) -> Any:
    try:
        # A copy where it is read only: torch warns that it could be written to.
        native = np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
        return torch.from_numpy(native)
    except TypeError:
        raise InterchangeError(f"{path}: {said(name)} is of dtype {array.dtype}, which PyTorch does not have") from None


def _save(path: Path, root: Any) -> None:
    # To a file that is open: torch gives a path's ending to the folder in the archive.
    with whole(path) as beside, beside.open("wb") as file:
        needs("torch", path, KIND).save(root, file)
