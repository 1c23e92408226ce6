"""Whole models from one layout to another: which layer becomes which, under which names, and whether each is exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isogru.models import places
from isogru.models.functions import USUAL, Arithmetic
from isogru.models.layer import Layer, check_sizes
from isogru.models.naming import Position, names, numbered
from isogru.models.recognition import matrices
from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import HALVES, rounded
from shared_spec.weights import convert
from shared_spec.weights.convert import IMPOSSIBLE, Cost, Plan
from shared_spec.weights.layouts import Layout
from shared_spec.weights.packing import summed, unpack


@dataclass(frozen=True)
class Converted:
    """One layer, converted."""

    layer: Layer
    plan: Plan
    names: Mapping[str, str]
    """The target's own names of its tensors -> the names to write."""
    title: str
    """What the layer becomes, as a line names it."""


@dataclass(frozen=True)
class Conversion:
    """Whole models, converted."""

    layers: tuple[Converted, ...]
    tensors: Mapping[str, Array]
    """By the names to write."""

    @property
    def cost(self) -> Cost | None:
        """That of the layer that costs most; None where nothing is lost."""
        costs = [each.plan.cost for each in self.layers if each.plan.cost is not None]
        return max(costs, key=lambda cost: cost.error) if costs else None

    def record(self) -> dict[str, object]:
        """For machines: of one layer its own fields, and of all layers `layers`."""
        layers: list[dict[str, object]] = [
            {**each.plan.record(), "layer": each.layer.title, "becomes": each.title} for each in self.layers
        ]
        alone = layers[0] if len(layers) == 1 else {}
        return {**alone, "layers": layers}


def to_layout(
    layers: Sequence[Layer], target: Layout, *, prefix: str = "", labels: Sequence[str] = (), bias: bool = True
) -> Conversion:
    """Layers into a layout that says how tensors are named: one alone under the layout's names, several as a stack.

    `prefix` comes before the names, `labels` say which layer each becomes, such as l1_reverse. Without `bias` the
    layers have none. Raises UserError where layers cannot be one stack, or a bias that is not zero has no place.
    """
    positions = places.of(layers, target, prefix, labels)
    converted = []
    for layer, position in zip(layers, positions, strict=True):
        if numbered(target):
            named = names(target, position)
        else:
            named = {own: f"{position.place}{own}" for own in target.tensors}
        converted.append(_converted(layer, target, named, position, bias))
    return Conversion(tuple(converted), _gathered(converted))


def into(layers: Sequence[Layer], templates: Sequence[Layer]) -> Conversion:
    """Layers into those of a file that is there, one each, under that file's names and in its dtypes."""
    converted = []
    for layer, template in zip(layers, templates, strict=True):
        layout = template.layout
        ways = {True: "the last step to the first", False: "the first step to the last"}
        ours, theirs = layer.position.reverse, template.position.reverse
        if None not in (ours, theirs) and bool(ours) != bool(theirs):
            raise UserError(
                f"{layer.contents.path}: {layer.title} runs from {ways[bool(ours)]}, and {template.title} of "
                f"{template.contents.path} from {ways[bool(theirs)]}: it would be another function; choose layers with "
                "--layer and --to-layer, or --prefix and --to-prefix"
            )
        check_sizes(layer, template)
        made = _converted(layer, layout, template.names, template.position, True, template)
        _no_homeless(layer, made.plan, template.missing, f"{template.contents.path}: {template.title}")
        _check_held(layer, template, made)
        converted.append(made)
    return Conversion(tuple(converted), _gathered(converted, templates))


def _check_held(layer: Layer, template: Layer, made: Converted) -> None:
    """Raises UserError where a template does not hold the values as they are."""
    for own, name in template.names.items():
        tensor, array = template.contents.tensors[name], made.plan.tensors[own]
        if tensor.note:
            raise UserError(
                f"{template.contents.path}: {name} is {tensor.note}, which cannot be filled; save the template with "
                "plain weights"
            )
        if tensor.dtype in (array.dtype.name, "float64"):
            continue
        with np.errstate(over="ignore"):
            known = tensor.dtype in ("float64", "float32", *HALVES)
            held = rounded(array.astype(np.float64), tensor.dtype) if known else array
        if not np.array_equal(held, array):
            raise UserError(
                f"{layer.contents.path}: {layer.title} is {array.dtype}, and {name} of {template.contents.path} holds "
                f"{tensor.dtype}, which would round it; save the template in {array.dtype}"
            )


def _converted(
    layer: Layer,
    target: Layout,
    named: Mapping[str, str],
    position: Position,
    bias: bool,
    template: Layer | None = None,
) -> Converted:
    plan = convert.plan(layer.layout, layer.tensors(), target)
    # Into a file of the same narrow dtype nothing is widened: it is written as it was read.
    alike = template is not None and template.dtypes == layer.dtypes
    notes = layer.made if alike else layer.notes
    plan = replace(plan, notes=(*notes, *plan.notes), conditions=_conditions(layer, target, position, template))
    plan = _functions(layer, target, plan, template)
    if layer.wide not in target.dtypes:
        only = " and ".join(target.dtypes)
        plan = replace(
            plan, notes=(*plan.notes, f"{target.layer} runs in {only} alone, and these weights are {layer.wide}")
        )
    if not bias:
        absent = tuple(own for own in target.tensors if own not in matrices(target))
        _no_homeless(layer, plan, absent, f"{target.name} without bias")
        named = {own: name for own, name in named.items() if own not in absent}
    title = f"{next(iter(named.values()))}{', ...' if len(named) > 1 else ''}"
    return Converted(layer, plan, named, title)


def _no_homeless(layer: Layer, plan: Plan, absent: Sequence[str], where: str) -> None:
    for own in absent:
        if own in plan.tensors and plan.tensors[own].any():
            raise UserError(
                f"{where} has no {own}, and {layer.title} of {layer.contents.path} has a bias that is not zero: it "
                "would be another function; make the target with biases"
            )


def _conditions(layer: Layer, target: Layout, position: Position, template: Layer | None) -> tuple[str, ...]:
    """What must hold of source and target beside the weights."""
    said = []
    functions = {**USUAL, **layer.functions}
    if layer.unsaid:
        asked = " and ".join(dict.fromkeys(layer.unsaid.values()))
        said.append(f"{layer.contents.path} has {asked}, which it does not say")
    settings = template.unsaid if template is not None else {k: v for k, v in target.settings.items() if k != "reverse"}
    if functions == USUAL:
        texts = list(dict.fromkeys(settings.values()))
    else:
        texts = [text for key, text in settings.items() if key not in USUAL]
        texts += [f"{functions[key]} for its {key}" for key in USUAL if key in settings]
    if texts:
        said.append(f"the target ({target.layer}) has {' and '.join(texts)}")
    told = bool(position.reverse) and (template is not None or numbered(target) or places.two_rows(target))
    if layer.position.reverse and not told:
        how = target.settings.get("reverse")
        said.append(f"the target of {layer.title} runs from the last step to the first{f' ({how})' if how else ''}")
    return tuple(said)


def _functions(layer: Layer, target: Layout, plan: Plan, template: Layer | None) -> Plan:
    """The plan, made impossible where the target's functions are fixed and are others than the source's."""
    ours = {**USUAL, **layer.functions}
    theirs = {**ours, **{key: name for key, name in USUAL.items() if key not in target.settings}}
    if template is not None:
        theirs |= template.functions
    if ours == theirs or plan.cost is not None:
        return plan
    exact = summed(layer.layout, unpack(layer.layout, layer.tensors()))
    try:
        states = [
            convert.states(cell(layer.layout.cell), exact, Arithmetic(f["gate"], f["candidate"]))
            for f in (ours, theirs)
        ]
    except KeyError as error:
        raise UserError(
            f"{layer.contents.path}: {layer.title} has the function {error}, which isogru does not know"
        ) from None
    differ = [
        f"the {key} uses {ours[key]} in {layer.title}, {theirs[key]} in {target.name}"
        for key in USUAL
        if ours[key] != theirs[key]
    ]
    off = float(np.abs(states[0] - states[1]).max())
    cost = Cost(off, "the weights as they are", {"the weights as they are": off})
    return replace(plan, verdict=IMPOSSIBLE, notes=tuple(differ), cost=cost)


def _gathered(converted: Sequence[Converted], templates: Sequence[Layer] = ()) -> dict[str, Array]:
    """The tensors by the names to write; two directions of one tensor stacked. Raises UserError for one name twice."""
    tensors: dict[str, Array] = {}
    for i, each in enumerate(converted):
        row = templates[i].row if templates else None
        for own, name in each.names.items():
            array = each.plan.tensors[own]
            if row is not None and each.plan.target.tensors[own].stacked:
                whole = tensors.get(name, templates[i].contents.tensors[name].load())
                tensors[name] = np.concatenate([whole[:row], array, whole[row + 1 :]])
            elif name not in tensors:
                tensors[name] = array
            elif each.layer.position.reverse and places.two_rows(each.plan.target) and len(tensors[name]) == 1:
                tensors[name] = np.concatenate([tensors[name], array])
            else:
                raise UserError(f"two layers would be written as {name}; tell them apart with --to-layer")
    return tensors
