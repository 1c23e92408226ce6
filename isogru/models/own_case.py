"""A case of one's own: the weights of a layer in a file, and an input."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from isogru import answers, array_files, weight_files
from isogru.models.functions import USUAL
from isogru.models.layer import Layer
from isogru.models.selection import Wish, select
from isogru.stacks import Stack
from isogru.stacks import made as stacks_made
from shared_spec.cells import cell
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files.interchange import Case
from shared_spec.readings.arithmetic import Array
from shared_spec.weights.packing import summed, unpack


def own_case(
    name: str,
    weights: Path,
    wish: Wish,
    input_file: Path,
    h0: Path | None,
    cotangent: Path | None,
    *,
    batch_first: bool = False,
    reverse: bool = False,
    lengths: Path | None = None,
) -> tuple[Case | Stack, tuple[str, ...]]:
    """The case, or of several layers the stack, and what is to be said of it. Raises UserError for layers that are no
    stack, or one that is no cell; InterchangeError for arrays that do not fit.
    """
    layers = select(weight_files.read(weights), wish)
    levels = stacks_made.levels(weights, layers) if len(layers) > 1 else []
    if levels and (cotangent or reverse):
        option = "--cotangent" if cotangent else "--reverse"
        raise UserError(
            f"{weights}: {len(layers)} layers; {option} is of one alone; say which one with --prefix or --layer"
        )
    sizes = (levels[0][0] if levels else layers[0]).sizes
    d, h = sizes["d"], sizes["h"]
    shapes = {"X": f"-1, 1, {d}", "H0": f"{f'{len(layers)}, ' if levels else ''}-1, {h}", "dH": f"-1, 1, {h}"}
    files = (input_file, h0, cotangent, lengths)
    X, H0, dH, ends = (
        _array(file, shape, key) for file, (key, shape) in zip(files, {**shapes, "lengths": "-1"}.items(), strict=True)
    )
    assert X is not None
    if batch_first:
        X, dH = (array if array is None or array.ndim < 3 else array.swapaxes(0, 1) for array in (X, dH))
        assert X is not None

    def one(layer: Layer, X: Array, H0: Array | None) -> tuple[Case, tuple[str, ...]]:
        return _of_layer(name, weights, layer, (X, H0, dH, ends), reverse=reverse)

    try:
        return stacks_made.made(name, levels, X, H0, one) if levels else one(layers[0], X, H0)
    except InterchangeError as error:
        others = [str(file) for file in files if file is not None]
        second = "; where the batch comes first in the arrays, say --time second"
        told = second if not batch_first and (H0 is not None or dH is not None) else ""
        raise InterchangeError(f"{weights} and {', '.join(others)}: {error}{told}") from None


def _of_layer(
    name: str,
    weights: Path,
    layer: Layer,
    arrays: tuple[Array, Array | None, Array | None, Array | None],
    *,
    reverse: bool,
) -> tuple[Case, tuple[str, ...]]:
    """The case of one layer on X, H0, dH and lengths."""
    other = {key: name for key, name in layer.functions.items() if name != USUAL[key]}
    if other or "clip" in layer.settings:
        told = ", ".join(f"{key} {value}" for key, value in {**other, **layer.settings}.items())
        raise UserError(f"{weights}: {layer.title} has {told}; the cells have sigmoid and tanh alone, and no clip")
    backwards = reverse or bool(layer.position.reverse)
    # Keras' own layer gives what it computed first, first; in a Bidirectional it is turned round again.
    of_keras = layer.described and layer.layout.package == "keras" and layer.contents.kind == "a Keras file"
    computed = of_keras and bool(layer.position.reverse) and not layer.wrapped
    # Its name alone: one case is the same file wherever it is made.
    source = msgspec.structs.replace(layer.source, file=weights.name, computed=computed)
    parameters = summed(layer.layout, unpack(layer.layout, layer.tensors()))
    X, H0, dH, ends = arrays
    the_cell = cell(layer.layout.cell)
    case, notes = answers.problem(name, the_cell, parameters, X, H0, dH, reverse=backwards, lengths=ends, source=source)
    unsaid = list(dict.fromkeys(layer.unsaid.values()))
    said = (f"{weights} does not say whether it has {' and '.join(unsaid)}: the case has",) if unsaid else ()
    turned = ("it runs from the last step to the first: the case has X turned round",) if backwards else ()
    return case, (*layer.notes, *notes, *said, *turned)


def _array(file: Path | None, shape: str, name: str) -> Array | None:
    """The one array of a file, in float64; `shape` and `name` are said where the file does not tell it."""
    if file is None:
        return None
    tensors = array_files.read(file, shape, name).tensors
    if len(tensors) != 1:
        raise InterchangeError(f"{file}: {len(tensors)} arrays; save the one that is meant, as .npy")
    array = next(iter(tensors.values())).load()
    if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise InterchangeError(f"{file}: a case holds finite numbers")
    wide: Array = array.astype(np.float64)
    return wide
