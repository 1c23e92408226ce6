"""A stack of one's own: the layers of a file, in their order, and an input."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from isogru.models.layer import Layer
from isogru.models.naming import one_way
from isogru.stacks.problem import Stack
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files.interchange import Case
from shared_spec.readings.arithmetic import Array

OneLayer = Callable[[Layer, Array, Array | None], tuple[Case, tuple[str, ...]]]
"""A layer with its input and its start state -> its case, and what is to be said of it."""


def levels(weights: Path, layers: Sequence[Layer]) -> list[list[Layer]]:
    """The layers by their levels, each one direction or both. Raises UserError where they do not take what those below
    give.
    """
    stacked: list[list[Layer]] = []
    for layer in sorted(layers, key=lambda each: each.order):
        key = (one_way(layer.position.place), layer.position.number)
        last = stacked[-1][0] if stacked else None
        both = last is not None and (one_way(last.position.place), last.position.number) == key
        if both and layer.position.reverse and len(stacked[-1]) == 1:
            stacked[-1].append(layer)
        else:
            stacked.append([layer])
    for below, above in itertools.pairwise(stacked):
        gives = sum(layer.sizes["h"] for layer in below)
        if wrong := next((layer for layer in above if layer.sizes["d"] != gives), None):
            there = ", ".join(layer.title for layer in layers)
            raise UserError(
                f"{weights}: {len(layers)} layers ({there}), which are no stack: {wrong.title} has "
                f"{wrong.sizes['d']} inputs, and what is below gives {gives}; say which one with --prefix or --layer"
            )
    return stacked


def made(
    name: str, of: Sequence[Sequence[Layer]], X: Array, H0: Array | None, one: OneLayer
) -> tuple[Stack, tuple[str, ...]]:
    """The stack, and what is to be said of it. X (T, n, d), H0 (layers, n, h) with a row for each direction of each
    layer, or zero.
    """
    X = X[:, None] if X.ndim == 2 else X
    flat = [(level, layer) for level, layers in enumerate(of) for layer in layers]
    if X.ndim != 3 or X.shape[2] != flat[0][1].sizes["d"]:
        raise InterchangeError(f"the input has shape {X.shape}, should be (T, n, d) with d = {flat[0][1].sizes['d']}")
    T, n, _ = X.shape
    h = {layer.sizes["h"] for _, layer in flat}
    if H0 is not None and (len(h) > 1 or H0.shape != (len(flat), n, *h)):
        raise InterchangeError(f"H0 has shape {H0.shape}, should be (layers, n, h) = {(len(flat), n, *sorted(h))}")
    cases: list[Case] = []
    notes: list[str] = []
    first = None
    for number, (level, layer) in enumerate(flat):
        given = X if level == 0 else np.zeros((T, n, layer.sizes["d"]))
        case, told = one(layer, given, None if H0 is None else H0[number])
        reverse = "_reverse" if layer.position.reverse else ""
        if case.source is not None and case.source.computed:
            raise UserError(
                f"{layer.contents.path}: {layer.title} hands its states on in the order in which it computes them, "
                f"backwards; make the case of one layer: --layer {layer.label}"
            )
        first = first or case
        arrays = {**case.arrays, "X": np.zeros((T, n, 0))}
        cases.append(replace(case, name=f"l{level}{reverse}", arrays=arrays))
        notes += [note for note in told if note not in notes and "X turned round" not in note]
    assert first is not None
    titles = " -> ".join(" and ".join(layer.title for layer in layers) for layers in of)
    said = f"{len(flat)} layers, taken as one stack: {titles}; --layer takes one alone"
    stack = Stack(name, X.astype(np.float64), tuple(cases), tuple(level for level, _ in flat), first.lengths)
    return stack, (said, *notes)
