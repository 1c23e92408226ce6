"""TorchScript archives, and state dicts of dynamically quantised layers, read as records: torch.load(weights_only=True)
reads neither. No code of theirs is run.

A quantised layer keeps its weights packed, one `CellParamsBase` for each layer and direction. They are given under the
names that the layer had before it was quantised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from isogru.weight_files.contents import Contents, Tensor
from isogru.weight_files.torch.archives import Archive, bare, is_tensor, tensor
from isogru.weight_files.torch.frozen import described
from isogru.weight_files.torch.names import inside, leaves, named, said
from isogru.weight_files.torch.records import Record, parse
from shared_spec.errors import InterchangeError

SCRIPT = "a TorchScript archive"
QUANTIZED = "a PyTorch checkpoint of a quantised model"

CELL = "__torch__.torch.classes.rnn.CellParamsBase"
LINEAR = "__torch__.torch.classes.quantized.LinearPackedParamsBase"
# `ScriptObject` is what a packed weight is in a state dict; its own class is then a text beside its state.
PACKED = "torch.ScriptObject"

_IN_LAYER = re.compile(r"(?P<layer>.*?)\.?_all_weight_values\.(?P<index>\d+)\.param")
_IN_CELL = re.compile(r"(?P<cell>.*?)\.?_packed_weight_(?P<which>ih|hh)")
# A TorchScript GRU keeps its weights a second time, as a list.
_TWICE = "_flat_weights"


def read_script(archive: Archive) -> Contents:
    """The parameters and buffers of a TorchScript module, by their names in it, and the constants of its code."""
    archive.little_endian()
    try:
        objects = leaves(parse(archive.read("data.pkl")).root, _inside_module, lambda value: True)
        # A frozen module has constants alone, which have lost their names; the code calls them so.
        constants = list(parse(archive.read("constants.pkl")).root)
    except (ValueError, TypeError) as error:
        raise archive.damaged(error) from None
    tensors = _tensors(archive, {".".join(path): value for path, value in objects.items()}, "data")
    names = {f"CONSTANTS.c{number}": value for number, value in enumerate(constants) if is_tensor(value)}
    tensors |= {name: tensor(archive, name, value, "constants") for name, value in names.items()}
    return Contents(archive.path, SCRIPT, tensors, described(archive, set(names)) if names else ())


def read_quantized(archive: Archive, root: Any) -> Contents:
    """The tensors of a state dict that has packed weights in it."""
    archive.little_endian()
    try:
        objects, part = named(leaves(root, _inside_records, _has_weights), _is_matrix)
    except ValueError as error:
        raise InterchangeError(f"{archive.path}: {error}") from None
    return Contents(archive.path, QUANTIZED, _tensors(archive, objects, "data"), part=part)


def _inside_module(value: Any) -> Iterable[tuple[Any, Any]] | None:
    if isinstance(value, Record) and isinstance(value.state, dict):
        return ((key, inner) for key, inner in value.state.items() if key != _TWICE)
    if isinstance(value, Record) and value.kind.startswith("torch.jit._pickle."):
        return _inside_module(value.arguments[0]) if value.arguments else None
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, (list, tuple)) else None


def _inside_records(value: Any) -> Iterable[tuple[Any, Any]] | None:
    return None if isinstance(value, Record) else inside(value)


def _has_weights(value: Any) -> bool:
    return is_tensor(value) or _packed(value) is not None


def _is_matrix(value: Any) -> bool:
    if is_tensor(value):
        arguments = bare(value).arguments
        return len(arguments) > 2 and bool(arguments[2]) and "Byte" not in str(arguments[0])
    return _has_weights(value)


def _packed(value: Any) -> tuple[str, Any] | None:
    """The class and the state of packed weights."""
    if not isinstance(value, Record) or not isinstance(value.state, tuple):
        return None
    if value.kind == PACKED and len(value.state) == 2:
        return value.state[1], value.state[0]
    return (
        (value.kind, value.state[0] if len(value.state) == 1 else value.state) if value.kind in (CELL, LINEAR) else None
    )


def _listed(value: Any) -> Any:
    """A list, whose type TorchScript writes around it."""
    return value.arguments[0] if isinstance(value, Record) and value.arguments else value


def _tensors(archive: Archive, objects: dict[str, Any], folder: str) -> dict[str, Tensor]:
    """Those that are tensors, and those that are unpacked from others."""
    tensors: dict[str, Tensor] = {}

    def put(name: str, record: Any, note: str = "") -> None:
        if name in tensors:
            raise InterchangeError(f"{archive.path}: there are two tensors of the name {said(name)}; rename one")
        if is_tensor(record):
            tensors[name] = tensor(archive, name, record, folder, note)

    layers = _layers(objects)
    for name, value in objects.items():
        packed = _packed(value)
        if packed is None:
            put(name, value)
            continue
        kind, state = packed
        try:
            if kind == CELL:
                parts, note = _cell(state)
                for part, record in parts.items():
                    put(_called(name, part, layers), record, note if part.startswith("weight") else "")
            elif kind == LINEAR:
                weight, bias = state
                cell = _IN_CELL.fullmatch(name)
                start = _dotted(cell["cell"]) if cell else f"{name}."
                end = f"_{cell['which']}" if cell else ""
                put(f"{start}weight{end}", weight)
                put(f"{start}bias{end}", bias)
        except (TypeError, ValueError, IndexError, AttributeError, KeyError):
            raise archive.damaged(f"the packed weights {said(name)} are of a form that is not known") from None
    return tensors


def _cell(state: Any) -> tuple[dict[str, Any], str]:
    """The weights and biases of one layer and direction, and what was done to them."""
    kind, biases, _, _, linears = state
    # Each is the packed weights of torch.nn.Linear: a weight and a bias.
    (weight_ih, bias_ih), (weight_hh, bias_hh) = (_linear(each) for each in _listed(linears))
    if kind == "quantized_dynamic":
        bias_ih, bias_hh = _listed(biases)
        note = ""
    elif kind == "quantized_fp16":
        note = "rounded to float16 when it was quantised"
    else:
        raise ValueError
    return {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias_ih, "bias_hh": bias_hh}, note


def _linear(record: Any) -> Any:
    packed = _packed(record)
    if packed is None:
        raise TypeError
    return packed[1]


def _layers(objects: dict[str, Any]) -> dict[str, int | None]:
    """How many directions each quantised layer has. None where its file does not tell.

    A state dict does not say. The input of the second layer does: it is one state wide, or two.
    """
    cells: dict[str, list[Any]] = {}
    for name, value in objects.items():
        if match := _IN_LAYER.fullmatch(name):
            cells.setdefault(match["layer"], []).append(value)
    directions: dict[str, int | None] = {}
    for layer, values in cells.items():
        bidirectional = objects.get(f"{_dotted(layer)}bidirectional")
        if bidirectional is not None:
            directions[layer] = 2 if bidirectional is True else 1
        elif len(values) % 2:
            directions[layer] = 1
        else:
            directions[layer] = _directions(values)
    return directions


def _directions(cells: list[Any]) -> int | None:
    try:
        shapes = [_shapes(cell) for cell in cells[:3]]
        (_, d), (_, h) = shapes[0]
        if len(cells) > 2:
            return 2 if shapes[2][0][1] == 2 * h else 1
        second = shapes[1][0][1]
        return None if d == h else 2 if second == d else 1
    except (TypeError, ValueError, IndexError, AttributeError):
        return None


def _shapes(cell: Any) -> list[tuple[int, int]]:
    packed = _packed(cell)
    if packed is None:
        raise TypeError
    parts, _ = _cell(packed[1])
    return [tuple(bare(parts[name]).arguments[2]) for name in ("weight_ih", "weight_hh")]


def _called(name: str, part: str, directions: dict[str, int | None]) -> str:
    """The name before quantisation: "gru._all_weight_values.3.param" -> "gru.weight_ih_l1_reverse"."""
    match = _IN_LAYER.fullmatch(name)
    if match is None:
        return f"{name}.{part}_l0"
    layer, index = match["layer"], int(match["index"])
    if (each := directions[layer]) is None:
        # Two cells are two layers or two directions: each is given by itself.
        return f"{name.removesuffix('.param')}.{part}_l0"
    return f"{_dotted(layer)}{part}_l{index // each}{'_reverse' if index % each else ''}"


def _dotted(prefix: str) -> str:
    return f"{prefix}." if prefix else ""
