"""Files of one layer's weights: safetensors, whoever wrote them. Checked at the door, written whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors

from shared_spec.errors import InterchangeError, UserError
from shared_spec.files import tensors
from shared_spec.files.interchange import CASE_FORMAT
from shared_spec.oracle import SEQUENCE_SHAPES
from shared_spec.readings.arithmetic import Array
from shared_spec.weights.convert import Plan
from shared_spec.weights.layouts import Layout, layouts
from shared_spec.weights.packing import expected, unpack

FORMAT = "isogru-weights/1"
DTYPES = ("F32", "F64")
FIRST_LAYER = "l0"


def read(path: Path, layout: Layout, *, prefix: str = "", layer: str = "") -> dict[str, Array]:
    """The tensors of a layer, by the names that its layout has for them.

    `prefix` stands before these names in the file, as in a bigger model's; tensors without it are passed over. `layer`
    takes the place of "l0" in them, as in weight_ih_l1_reverse; tensors of other layers are passed over.
    Raises InterchangeError, by name, for what is missing, superfluous, of another dtype, infinite or not a number.
    """
    metadata, names, dtypes = _contents(path)
    ours = {}
    for name in names:
        if name.startswith(prefix):
            ours[name.removeprefix(prefix)] = name
    if prefix and not ours:
        raise InterchangeError(f"{path}: no tensor begins with {prefix!r}; there are {_some(names)}")
    if not prefix:
        _check_metadata(path, metadata, layout)
    if metadata.get("format") == CASE_FORMAT:
        # A case holds a cell's parameters under the specification's names, and a problem.
        ours = {name: full for name, full in ours.items() if name not in SEQUENCE_SHAPES}
    wanted = _wanted(path, layout, list(ours), prefix, layer)
    for name in wanted.values():
        if dtypes[ours[name]] not in DTYPES:
            kind = _dtype(dtypes[ours[name]])
            raise InterchangeError(f"{path}: {ours[name]} is {kind}; float32 and float64 can be converted")
    if len({dtypes[ours[name]] for name in wanted.values()}) > 1:
        raise InterchangeError(f"{path}: tensors of several dtypes; convert all of them to float32 or float64 first")
    found = {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            for own, name in wanted.items():
                found[own] = file.get_tensor(ours[name])
    except (safetensors.SafetensorError, OSError) as error:
        raise InterchangeError(f"{path}: damaged or truncated ({error})") from None
    _check_shapes(path, layout, found)
    for own, array in found.items():
        if not np.isfinite(array).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise InterchangeError(
                f"{path}: {ours[wanted[own]]}{list(index)} is {array[index]}; weights are finite numbers"
            )
    return found


def _check_shapes(path: Path, layout: Layout, tensors: Mapping[str, Array]) -> None:
    try:
        unpack(layout, tensors)
    except UserError as error:
        others = [other for other in layouts().values() if set(other.tensors) == set(tensors) and _fits(other, tensors)]
        hint = f"; these shapes are those of {' or '.join(other.name for other in others)}" if others else ""
        raise InterchangeError(f"{path}: {error}{hint}") from None


def _fits(layout: Layout, tensors: Mapping[str, Array]) -> bool:
    try:
        unpack(layout, tensors)
    except UserError:
        return False
    return True


def write(path: Path, plan: Plan) -> None:
    """Writes converted weights, whole or not at all; the metadata say what they are and what became of them."""
    metadata = {"format": FORMAT, "layout": plan.target.name, "conversion": json.dumps(plan.record())}
    tensors.write(path, plan.tensors, metadata)


def _contents(path: Path) -> tuple[dict[str, str], list[str], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            # Asked of the header: NumPy has no bfloat16 to load one as.
            return file.metadata() or {}, names, {name: file.get_slice(name).get_dtype() for name in names}
    except FileNotFoundError:
        raise InterchangeError(f"{path}: no such file") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise InterchangeError(f"{path}: damaged, truncated or not safetensors ({error})") from None


def _check_metadata(path: Path, metadata: Mapping[str, str], layout: Layout) -> None:
    format = metadata.get("format", "")
    if format == FORMAT and metadata.get("layout") not in (None, layout.name):
        raise InterchangeError(f"{path}: says that its layout is {metadata['layout']}, not {layout.name}")
    if format.startswith(f"{FORMAT.rpartition('/')[0]}/") and format != FORMAT:
        raise InterchangeError(
            f"{path}: format {format} is newer than {FORMAT}, which this isogru reads; update isogru"
        )


def _wanted(path: Path, layout: Layout, names: list[str], prefix: str, layer: str) -> dict[str, str]:
    """The layout's names -> the names in the file."""
    wanted = {own: own.replace(FIRST_LAYER, layer) if layer else own for own in layout.tensors}
    numbered = all(FIRST_LAYER in own for own in layout.tensors)
    if layer and not numbered:
        raise UserError(f"{layout.name} has no layers in its names ({', '.join(layout.tensors)}): leave --layer out")
    missing = [name for name in wanted.values() if name not in names]
    others = _other_layers(layout, names) if numbered else {}
    if missing and missing == list(wanted.values()):
        raise InterchangeError(f"{path}: {_nothing_found(layout, names, prefix, layer, sorted(set(others.values())))}")
    if missing:
        raise InterchangeError(f"{path}: tensor {prefix}{missing[0]} is missing; {layout.name} has {expected(layout)}")
    superfluous = [name for name in names if name not in wanted.values() and not (layer and name in others)]
    if superfluous and superfluous[0] in others:
        layers = ", ".join(sorted({FIRST_LAYER, *others.values()}))
        raise InterchangeError(
            f"{path}: {prefix}{superfluous[0]} is of another layer or direction; one at a time is converted: "
            f"say which with --layer ({layers})"
        )
    if superfluous:
        raise InterchangeError(
            f"{path}: tensor {prefix}{superfluous[0]} is none of {layout.name}, which has {expected(layout)}; "
            "where a bigger model was saved, say with --prefix what stands before these names"
        )
    return wanted


def _other_layers(layout: Layout, names: list[str]) -> dict[str, str]:
    """Names that are the layout's own but for the layer or the direction, each with that: "l1", "l0_reverse", "r0"."""
    found = {}
    for own in layout.tensors:
        pattern = re.escape(own).replace(FIRST_LAYER, r"([lr]\d+(?:_reverse)?)")
        for name in names:
            if match := re.fullmatch(pattern, name):
                found[name] = match[1]
    return {name: layer for name, layer in found.items() if name not in layout.tensors} | {
        name: FIRST_LAYER for name in found if name in layout.tensors
    }


def _nothing_found(layout: Layout, names: list[str], prefix: str, layer: str, layers: list[str]) -> str:
    start = f"none of the tensors of {layout.name}, {expected(layout)}"
    if layer and layers:
        return f"no layer {layer}; there are {', '.join(layers)}"
    first = next(iter(layout.tensors))
    prefixes = sorted({name.removesuffix(first) for name in names if name.endswith(first)})
    if prefixes:
        return f"{start}, stands alone; say which is meant: {', '.join(f'--prefix {prefix}{p}' for p in prefixes)}"
    fitting = [other.name for other in layouts().values() if set(other.tensors) == set(names)]
    if fitting:
        return f"{start}; these are the names of {' or '.join(fitting)}"
    return f"{start}; there are {_some(names)}"


def _dtype(label: str) -> str:
    """safetensors' name of a dtype as NumPy has it, such as bfloat16 for BF16."""
    kinds = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint"}
    kind = label.rstrip("0123456789")
    return f"{kinds.get(kind, kind)}{label.removeprefix(kind)}"


def _some(names: list[str]) -> str:
    return f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else "none at all"
