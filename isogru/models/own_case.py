"""A case of one's own: the weights of a layer in a file, and an input."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isogru import answers, weight_files
from isogru.models.functions import USUAL
from isogru.models.selection import Wish, select
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
) -> tuple[Case, tuple[str, ...]]:
    """The case, and what is to be said of it. Raises UserError for weights of several layers, or of one that is no
    cell; InterchangeError for arrays that do not fit.
    """
    layers = select(weight_files.read(weights), wish)
    if len(layers) > 1:
        there = ", ".join(layer.title for layer in layers)
        raise UserError(f"{weights}: {len(layers)} layers ({there}); say which one with --prefix or --layer")
    (layer,) = layers
    other = {key: name for key, name in layer.functions.items() if name != USUAL[key]}
    if other or "clip" in layer.settings:
        told = ", ".join(f"{key} {value}" for key, value in {**other, **layer.settings}.items())
        raise UserError(f"{weights}: {layer.title} has {told}; the cells have sigmoid and tanh alone, and no clip")
    backwards = reverse or bool(layer.position.reverse)
    parameters = summed(layer.layout, unpack(layer.layout, layer.tensors()))
    X, H0, dH, ends = (_array(file) for file in (input_file, h0, cotangent, lengths))
    assert X is not None
    if batch_first:
        X, dH = (array if array is None or array.ndim < 3 else array.swapaxes(0, 1) for array in (X, dH))
        assert X is not None
    try:
        the_cell = cell(layer.layout.cell)
        case, notes = answers.problem(name, the_cell, parameters, X, H0, dH, reverse=backwards, lengths=ends)
    except InterchangeError as error:
        others = [str(file) for file in (input_file, h0, cotangent, lengths) if file is not None]
        second = "; where the batch comes first in the arrays, say --time second"
        told = second if not batch_first and (H0 is not None or dH is not None) else ""
        raise InterchangeError(f"{weights} and {', '.join(others)}: {error}{told}") from None
    unsaid = list(dict.fromkeys(layer.unsaid.values()))
    said = (f"{weights} does not say whether it has {' and '.join(unsaid)}: the case has",) if unsaid else ()
    turned = ("it runs from the last step to the first: the case has X turned round",) if backwards else ()
    return case, (*layer.notes, *notes, *said, *turned)


def _array(file: Path | None) -> Array | None:
    """The one array of a file, in float64."""
    if file is None:
        return None
    tensors = weight_files.read(file).tensors
    if len(tensors) != 1:
        raise InterchangeError(f"{file}: {len(tensors)} arrays; save the one that is meant, as .npy")
    array = next(iter(tensors.values())).load()
    if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise InterchangeError(f"{file}: a case holds finite numbers")
    wide: Array = array.astype(np.float64)
    return wide
