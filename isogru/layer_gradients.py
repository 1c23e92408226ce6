"""Gradients by the names that the layer's own tensors have, such as weight_ih_l0: taken apart as its weights are.

The gradient of a packed tensor is packed as the tensor is. Of two biases that are added each has the gradient of their
sum, so that both are held against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from isogru.judge.comparison import Finding
from isogru.judge.verdict import ResultVerdict
from isogru.weight_files.contents import Contents, Tensor
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files.interchange import Case, Result
from shared_spec.files.sources import Source
from shared_spec.readings.arithmetic import Array
from shared_spec.weights import layouts
from shared_spec.weights.layouts import SECOND_BIASES, Layout
from shared_spec.weights.packing import unpack
from shared_spec.weights.parts import length

GRADIENT = "grad."


def unpacked(contents: Contents, case: Case) -> tuple[Contents, dict[str, Array], list[str]]:
    """The contents with gradients by the specification's names, in the place of those by the layer's; those of second
    biases, {"grad.b_hz": ...}, apart from them; and what is to be said of it.

    Raises InterchangeError for gradients that the case does not ask for, that are there twice, or that do not have
    their tensors' shapes.
    """
    given = {} if case.source is None else _given(contents, case.source)
    if not given or case.source is None:
        return contents, {}, []
    if "dH" not in case.arrays:
        raise InterchangeError(
            f"{contents.path}: {next(iter(given.values()))} is a gradient, and the case has no dH; write it with "
            "--cotangent dH.npy, the gradient that H was given"
        )
    layout = layouts.layout(case.source.layout)
    made = _parameters(contents, case, layout, given)
    others = {name: tensor for name, tensor in contents.tensors.items() if name not in given.values()}
    dtype = contents.tensors[next(iter(given.values()))].dtype
    seconds = {f"{GRADIENT}{two}": made.pop(two) for two in layout.second if two in made}
    gradients = {f"{GRADIENT}{name}": Tensor(array.shape, dtype, _held(array)) for name, array in made.items()}
    if twice := next((name for name in gradients if name in others), None):
        raise InterchangeError(
            f"{contents.path}: {twice} is there by itself, and in {', '.join(given.values())}; leave one of them out"
        )
    are = "is taken as a gradient" if len(given) == 1 else "are taken as gradients"
    note = f"{', '.join(given.values())} {are} of the layer's tensors ({layout.name})"
    return replace(contents, tensors={**others, **gradients}), seconds, [note]


def of_seconds(seconds: Mapping[str, Array], result: Result, on: Callable[[Result], ResultVerdict]) -> list[Finding]:
    """What a verdict says of the gradients of second biases: they are those of the sums that the biases are in."""
    findings = []
    for two, array in seconds.items():
        one = f"{GRADIENT}{SECOND_BIASES[two.removeprefix(GRADIENT)]}"
        arrays = {one: array.astype(next(iter(result.arrays.values())).dtype)}
        findings += [replace(each, quantity=two) for each in on(replace(result, arrays=arrays)).findings]
    return findings


def _held(array: Array) -> Callable[[], Array]:
    return lambda: array


def _given(contents: Contents, source: Source) -> dict[str, str]:
    """The layout's own names -> the file's, of the gradients that are there by the layer's names. Raises
    InterchangeError where one is there twice.
    """
    known = {**{own: own for own in source.names}, **{name: own for own, name in source.names.items()}}
    given: dict[str, str] = {}
    for name in contents.tensors:
        own = known.get(name.removeprefix(GRADIENT).removesuffix(".grad"))
        if own is None:
            continue
        if own in given:
            raise InterchangeError(f"{contents.path}: {given[own]} and {name} are one gradient; leave one of them out")
        given[own] = name
    return given


def _parameters(contents: Contents, case: Case, layout: Layout, given: Mapping[str, str]) -> dict[str, Array]:
    """The gradients of the parameters and second biases that stand in the tensors that are there."""
    row = None if case.source is None else case.source.row
    sizes = {"1": 1, "d": case.arrays["X"].shape[2], "h": case.arrays["H0"].shape[1]}
    arrays = {}
    for own, tensor in layout.tensors.items():
        shape = tuple(length(size, sizes) for size in tensor.shape)
        array = contents.tensors[given[own]].load() if own in given else np.zeros(shape)
        array = array[row : row + 1] if row is not None and tensor.stacked else array
        if array.shape != shape:
            raise InterchangeError(
                f"{contents.path}: {given[own]} has shape {array.shape}, should be {shape}, as the weights have it"
            )
        arrays[own] = array
    try:
        held = unpack(layout, arrays, known={name: sizes[name] for name in ("d", "h")})
    except UserError as error:
        raise InterchangeError(f"{contents.path}: {error}") from None
    there = {part.name for own in given for row_ in layout.tensors[own].rows for part in row_}
    return {name: array for name, array in held.items() if name in there}
