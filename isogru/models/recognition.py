"""Which recurrent layers a file holds: those that it describes, and those that names and shapes tell.

Every layout is tried on every name. A layer is where all matrices of a layout stand under one place, with shapes that
fit one d and one h, and all of its biases or none. Where layouts share tensors, the one that explains more of them
wins; where two explain as much and are different functions, both are kept, and the caller has to choose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from isogru.models.derived import put_together
from isogru.models.layer import Layer
from isogru.models.naming import Position, direction, positions, stripped
from isogru.weight_files.contents import Contents, Described, Foreign
from shared_spec.errors import InterchangeError, UserError
from shared_spec.readings.floats import FLOATS
from shared_spec.weights import layouts
from shared_spec.weights.layouts import Layout
from shared_spec.weights.parts import Tensor

_BIAS = re.compile(r"(?:\w*bias|b\w{0,3}(?::0)?$)[^./]*$")

DESCRIBED, BY_NAMES, IN_ORDER, AS_TOLD = (
    "described by the file",
    "by names and shapes",
    "by shapes, in order",
    "as told",
)


@dataclass(frozen=True)
class Recognised:
    """The layers of a file, each as the readings of it that fit: one, unless the file leaves it open."""

    layers: tuple[tuple[Layer, ...], ...]
    foreign: tuple[Foreign, ...]
    passed_over: tuple[str, ...]
    """Tensors of the file that are no part of any of these, nor of those that are not judged."""


def recognise(contents: Contents, units: int = 0) -> Recognised:
    """All recurrent layers of a file, in the file's order where it has one, else in that of their places. Where `units`
    are said, those that have so many.
    """
    contents = put_together(contents)
    described = [_described(contents, each) for each in contents.described]
    claimed = {name for layer in described for name in layer.names.values()}
    left = [name for name in contents.tensors if name not in claimed]
    alternatives = _alternatives(candidates(contents, _known(units), left))
    if not described and not alternatives:
        alternatives = [readings for readings in in_order(contents) if readings]
    alternatives.sort(key=lambda readings: _order(contents, readings[0]))
    layers = [*((layer,) for layer in described), *(tuple(readings) for readings in alternatives)]
    if described and alternatives and contents.ordered:
        layers.sort(key=lambda readings: _first(contents, readings[0]))
    claimed |= {name for readings in alternatives for name in readings[0].names.values()}
    # Of what the file itself says is none of ours, the tensors are named no further.
    claimed |= {name for each in contents.foreign for name in contents.tensors if _under(name, each.place)}
    told, of_them = foreigners(contents, claimed)
    passed_over = tuple(name for name in contents.tensors if name not in claimed | of_them)
    return Recognised(tuple(layers), (*contents.foreign, *told), passed_over)


def _under(name: str, place: str) -> bool:
    return name.startswith(place) and name[len(place) : len(place) + 1] in ("/", ".")


def _known(units: int) -> list[Layout]:
    """Every layout, those of the specification last."""
    known = {**layouts.layouts(), **layouts.own()}.values()
    return [layout.of_units(units) if units else layout for layout in known]


def _described(contents: Contents, each: Described) -> Layer:
    layout = layouts.layout(each.layout)
    settings = {key: value for key, value in each.settings.items() if key not in ("reset_after", "use_bias")}
    # Weights alone do not say that a Keras layer goes backwards, but for the two of a Bidirectional.
    unsaid = layout.package == "keras" and not each.reverse and "candidate" not in settings
    reverse = direction(each.place) if unsaid else each.reverse
    position = Position(each.place, None, reverse)
    # Where only a name says that it goes backwards, it is one of two.
    wrapped = each.wrapped or unsaid
    layer = Layer(contents, layout, position, each.tensors, DESCRIBED, each.row, settings, True, wrapped)
    try:
        layer.sizes  # noqa: B018
    except UserError as error:
        raise InterchangeError(f"{contents.path}: {each.place}: {error}") from None
    return layer


def candidates(contents: Contents, known: Iterable[Layout], names: Iterable[str]) -> list[Layer]:
    """Every layer that some layout makes of these names, by itself."""
    names = list(names)
    return [layer for layout in known for layer in _of_layout(contents, layout, names)]


def grouped(layout: Layout, names: Iterable[str]) -> dict[Position, dict[str, str]]:
    """What names can be of one layout: by position, the layout's own names -> those of the file."""
    groups: dict[Position, dict[str, str]] = {}
    for name in names:
        for position, own in positions(layout, name):
            groups.setdefault(position, {}).setdefault(own, name)
    return groups


def matrices(layout: Layout) -> set[str]:
    """The tensors that hold a matrix, which no layer lacks."""
    return {own for own, t in layout.tensors.items() if any(part.name.startswith("W_") for part in t.parts)}


def _of_layout(contents: Contents, layout: Layout, names: Sequence[str]) -> list[Layer]:
    layers = []
    for position, own in grouped(layout, names).items():
        biases = set(layout.tensors) - matrices(layout)
        lacks = not biases <= set(own)
        if not matrices(layout) <= set(own) or (lacks and (layout.biased or biases & set(own))):
            continue
        given = {name: own[name] for name in layout.tensors if name in own}
        rows = _rows(contents, layout, given)
        for row in rows:
            reverse = bool(row) if len(rows) > 1 else position.reverse
            where = Position(position.place, position.number, reverse)
            layer = Layer(contents, layout, where, given, BY_NAMES, row)
            if fits(layer) and not (layer.missing and _other_biases(layer, names)):
                layers.append(layer)
    return layers


def _rows(contents: Contents, layout: Layout, given: Mapping[str, str]) -> list[int | None]:
    """Directions along the first axis: ONNX' tensors hold one or two."""
    stacked = [own for own in given if layout.tensors[own].stacked and len(layout.tensors[own].rows) == 1]
    if len(stacked) == len(given) and all(contents.tensors[given[own]].shape[:1] == (2,) for own in stacked):
        return [0, 1]
    return [None]


def _order(contents: Contents, layer: Layer) -> tuple[object, ...]:
    """Places in the file's own order where it has one; under one place by number, forward before reverse."""
    if not contents.ordered or layer.position.number is None:
        return layer.order if not contents.ordered else (_first(contents, layer), layer.order)
    place = layer.position.place
    return next(i for i, name in enumerate(contents.tensors) if name.startswith(place)), layer.order


def _first(contents: Contents, layer: Layer) -> int:
    own = set(layer.names.values())
    return next(i for i, name in enumerate(contents.tensors) if name in own)


def _other_biases(layer: Layer, names: Sequence[str]) -> bool:
    """Whether biases stand beside a layer's matrices under names that its layout does not have: then it is no layer
    without bias.
    """
    place, used = layer.position.place, set(layer.names.values())
    beside = (name.removeprefix(place) for name in names if name.startswith(place) and name not in used)
    return any(_BIAS.match(name) for name in beside)


def fits(layer: Layer) -> bool:
    """Whether the shapes are those of one d and one h."""
    try:
        layer.sizes  # noqa: B018
    except UserError:
        return False
    return True


def _alternatives(layers: list[Layer]) -> list[list[Layer]]:
    """Candidates that share tensors, together; of these only those that explain most, and only one of those that say
    the same.
    """
    groups: list[list[Layer]] = []
    for layer in layers:
        used = {(name, layer.row) for name in layer.names.values()}
        together = [g for g in groups if any(used & {(n, o.row) for n in o.names.values()} for o in g)]
        groups = [g for g in groups if g not in together]
        groups.append([*(o for g in together for o in g), layer])
    return [_best(group) for group in groups]


def _best(group: list[Layer]) -> list[Layer]:
    said = group[0].contents.metadata
    most = max(len(layer.names) for layer in group)
    best = [layer for layer in group if len(layer.names) == most]
    written = [layer for layer in best if layer.layout.name in (said.get("layout"), said.get("cell"))]
    best = written or best
    kept: list[Layer] = []
    for layer in best:
        if not any(_says_the_same(other, layer) for other in kept):
            kept.append(layer)
    return kept


def _packed(layer: Layer) -> dict[str, Tensor]:
    """How each tensor of the file is packed."""
    return {name: layer.layout.tensors[own] for own, name in layer.names.items()}


def _says_the_same(one: Layer, other: Layer) -> bool:
    """Whether two readings give one function, and the first asks for all that the second does."""
    return (
        one.layout.cell == other.layout.cell
        and _packed(one) == _packed(other)
        and set(other.layout.settings) <= set(one.layout.settings)
    )


def in_order(contents: Contents) -> list[list[Layer]]:
    """Layers of a file of numbered tensors without names: by shapes, a layout's tensors one after the other."""
    names = list(contents.tensors)
    if not all(name.removeprefix("arr_").isdigit() for name in names):
        return []
    layers: list[list[Layer]] = []
    start = 0
    while start < len(names):
        readings = []
        for layout in layouts.layouts().values():
            if not layout.in_order:
                continue
            bare = [own for own in layout.tensors if own in matrices(layout)]
            for owns in (list(layout.tensors), bare)[: 1 if layout.biased else 2]:
                given = dict(zip(owns, names[start : start + len(owns)], strict=False))
                position = Position(f"{len(layers)}", None, None)
                layer = Layer(contents, layout, position, given, IN_ORDER)
                if len(given) == len(owns) and _floats(contents, given) and fits(layer):
                    readings.append(layer)
        if readings:
            layers.append(_best(readings))
            start += len(layers[-1][0].names)
        else:
            start += 1
    return layers


def _floats(contents: Contents, given: Mapping[str, str]) -> bool:
    return all(contents.tensors[name].dtype in FLOATS for name in given.values())


def foreigners(contents: Contents, claimed: set[str]) -> tuple[list[Foreign], set[str]]:
    """LSTMs, told by four blocks where a GRU has three; and their tensors."""
    foreigners, tensors = {}, set[str]()
    left = [name for name in contents.tensors if name not in claimed]
    for known in map(layouts.layout, ("torch", "torch-cell", "keras", "gluon")):
        for position, own in grouped(known, left).items():
            for name in (own[o] for o in own if any(p.name.startswith("W_h") for p in known.tensors[o].parts)):
                shape = contents.tensors[name].shape
                if len(shape) == 2 and max(shape) == 4 * min(shape):
                    foreigners[position.place] = Foreign(stripped(position.place) or name, "an LSTM")
                    tensors |= set(own.values())
    return list(foreigners.values()), tensors


def as_told(contents: Contents, layout: Layout, names: Mapping[str, str]) -> Layer:
    """A layer whose tensors were named one by one. Raises UserError for a name that neither has, and for shapes that do
    not fit.
    """
    for own, name in names.items():
        if own not in layout.tensors:
            raise UserError(f"{layout.name} has no tensor {own}; it has {', '.join(layout.tensors)}")
        if name not in contents.tensors:
            raise UserError(f"{contents.path}: no tensor {name}; there are {some(list(contents.tensors))}")
    if missing := [own for own in layout.tensors if own in matrices(layout) and own not in names]:
        raise UserError(f"{layout.name} needs {missing[0]} too: --name {missing[0]}=...")
    place = next(iter(names.values()))
    layer = Layer(contents, layout, Position("", None, direction(place)), dict(names), AS_TOLD)
    try:
        layer.sizes  # noqa: B018
    except UserError as error:
        raise InterchangeError(f"{contents.path}: {error}") from None
    return layer


def some(names: Sequence[str]) -> str:
    """The first of many names."""
    return f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else "none"
