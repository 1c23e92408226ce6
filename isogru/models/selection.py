"""Which layers of a file are meant: by layout, prefix, label or name; and what to say where none is found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from isogru.models.layer import Layer
from isogru.models.naming import stripped
from isogru.models.recognition import (
    Recognised,
    as_told,
    candidates,
    fits,
    grouped,
    matrices,
    recognise,
    some,
)
from isogru.models.unnamed import could_be
from isogru.weight_files.contents import Contents
from isogru.weight_files.writing import FORMAT
from shared_spec.errors import InterchangeError, UserError
from shared_spec.weights import layouts
from shared_spec.weights.layouts import Layout
from shared_spec.weights.packing import expected, sizes

_PROJECTION = re.compile(r"(?:^|\.)weight_hr_l\d+(?:_reverse)?$")


@dataclass(frozen=True)
class Wish:
    """What the user says of a file, and which options say so: those of the second file have other names."""

    layout: str = ""
    prefix: str = ""
    layers: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    units: int = 0
    """How many units the layers have, where they are said; 0 where they are not."""
    from_option: str = "--from"

    def option(self, name: str) -> str:
        """An option of this file: --prefix, or --to-prefix where the layout's is --to."""
        return f"--to-{name}" if self.from_option == "--to" else f"--{name}"


def select(contents: Contents, wish: Wish) -> list[Layer]:
    """The layers that are meant, each with one reading. Raises UserError with what there is and what to say instead."""
    wanted = layouts.layout(wish.layout) if wish.layout else None
    if wanted is not None and wish.units:
        wanted = wanted.of_units(wish.units)
    _check_metadata(contents, wanted)
    if wish.names:
        if wanted is None:
            raise UserError(
                f"{wish.option('name')} names the tensors of a layout; say of which with {wish.from_option}"
            )
        return [as_told(contents, wanted, wish.names)]
    recognised = recognise(contents, wish.units)
    chosen = [_reading(contents, readings, wanted, wish) for readings in recognised.layers]
    of_layout = [layer for layer in chosen if layer is not None]
    if not of_layout:
        raise InterchangeError(f"{contents.path}: {nothing(contents, recognised, wanted, wish)}")
    if projection := next((name for name in recognised.passed_over if _PROJECTION.search(name)), None):
        raise InterchangeError(f"{contents.path}: {projection} is a projection of an LSTM; no GRU has one")
    return _within(contents, of_layout, wish)


def _check_metadata(contents: Contents, wanted: Layout | None) -> None:
    said = contents.metadata
    format = said.get("format", "")
    if wanted is not None and format == FORMAT and said.get("layout") not in (None, wanted.name):
        raise InterchangeError(f"{contents.path}: says that its layout is {said['layout']}, not {wanted.name}")
    if format.startswith(f"{FORMAT.rpartition('/')[0]}/") and format != FORMAT:
        raise InterchangeError(
            f"{contents.path}: format {format} is newer than {FORMAT}, which this isogru reads; update isogru"
        )


def _reading(contents: Contents, readings: Sequence[Layer], wanted: Layout | None, wish: Wish) -> Layer | None:
    """The one reading of a layer that is wanted; None where it is of another layout."""
    if wanted is not None:
        if readings[0].described and readings[0].layout.name != wanted.name:
            return None
        for layer in readings:
            if layer.layout.name == wanted.name:
                return layer
        # The same tensors may be read in a layout that explains fewer of them, or that says the same.
        names = list(readings[0].names.values())
        again = [layer for layer in candidates(contents, [wanted], names) if layer.row == readings[0].row]
        return again[0] if again else None
    if len(readings) == 1:
        return readings[0]
    place = readings[0].position.place
    if wish.prefix and stripped(place) != stripped(wish.prefix) and not _stands_under(place, wish.prefix):
        return None
    ways = "; ".join(f"{wish.from_option} {layer.layout.name} ({layer.layout.layer})" for layer in readings)
    raise UserError(
        f"{contents.path}: {readings[0].title} ({', '.join(readings[0].names.values())}) can be read in "
        f"{len(readings)} ways, which are different functions, and the file does not say which: {ways}"
    )


def _within(contents: Contents, layers: list[Layer], wish: Wish) -> list[Layer]:
    places = list(dict.fromkeys(layer.position.place for layer in layers))
    if wish.prefix:
        exact = [layer for layer in layers if stripped(layer.position.place) == stripped(wish.prefix)]
        layers = exact or [layer for layer in layers if _stands_under(layer.position.place, wish.prefix)]
        if not layers:
            told = (
                f"there are {', '.join(p for p in places if p)}"
                if any(places)
                else f"leave {wish.option('prefix')} out"
            )
            raise InterchangeError(f"{contents.path}: no recurrent layer stands under {wish.prefix!r}; {told}")
    chosen = []
    for wanted in wish.layers:
        labels = [layer.label for layer in layers]
        exact = [layer for layer in layers if wanted in (layer.label, _gluons(layer))]
        if not exact:
            there = ", ".join(dict.fromkeys(label for label in labels if label))
            told = (
                f"there are {there}"
                if there
                else f"the file holds one layer without a number: leave {wish.option('layer')} out"
            )
            raise InterchangeError(f"{contents.path}: no layer {wanted}; {told}")
        chosen += exact
    return chosen or layers


def _stands_under(place: str, prefix: str) -> bool:
    """Whether a place begins with a prefix, up to a separator: params/fwd2 does not stand under params/fwd."""
    return place.startswith(prefix) and (not prefix[-1].isalnum() or not place[len(prefix) : len(prefix) + 1].isalnum())


def _gluons(layer: Layer) -> str:
    """Gluon's own name of a direction: r0 for l0_reverse."""
    return f"{'r' if layer.position.reverse else 'l'}{layer.position.number}"


# What is said where nothing fits.


def nothing(contents: Contents, recognised: Recognised, wanted: Layout | None, wish: Wish) -> str:
    """Why no layer is there, from the nearest that was found to the furthest."""
    there = list(contents.tensors)
    if not there and not recognised.foreign:
        return f"{contents.kind} without any weights in it; save the model's weights"
    others = dict.fromkeys(layer.layout.name for readings in recognised.layers for layer in readings)
    if wanted is not None and recognised.layers:
        described = [readings[0] for readings in recognised.layers if readings[0].described]
        if described:
            return (
                f"the file itself says that {described[0].title} is {described[0].layout.layer} "
                f"({wish.from_option} {described[0].layout.name}), not {wanted.layer}"
            )
        near = _near(contents, [wanted], wish)
        shapes = f"{near}; these shapes are those of" if near else f"no layer of {wanted.name}; the layers are of"
        return f"{shapes} {' or '.join(others)}"
    known = [wanted] if wanted is not None else list(layouts.layouts().values())
    if recognised.foreign:
        told = f"{recognised.foreign[0].place} is {recognised.foreign[0].what}"
        # One that says what to do says it last.
        return told if "; " in told else f"{told}, which is not judged; no GRU and no RNN is there"
    if near := _near(contents, known, wish):
        return near
    start = (
        "no recurrent layer was recognised"
        if wanted is None
        else f"none of the tensors of {wanted.name}, {expected(wanted)}"
    )
    known = [*known, *layouts.own().values()] if wanted is None else known
    told = could_be(contents, known, wish.from_option, wish.option("name"))
    return f"{start}; there are {some(there)}{told}"


def _near(contents: Contents, known: Sequence[Layout], wish: Wish) -> str:
    """What is wrong with tensors that have the names of a layout."""
    best: tuple[int, str] = (0, "")
    for layout in known:
        for position, own in grouped(layout, contents.tensors).items():
            names = matrices(layout) & set(own)
            if len(names) < min(2, len(matrices(layout))) or len(own) <= best[0]:
                continue
            given = {name: own[name] for name in layout.tensors if name in own}
            layer = Layer(contents, layout, position, given, "")
            wrong = _wrong(layer, set(layout.tensors) - set(own))
            how = f" with {wish.option('units')}" if wrong.endswith("say how many units the layer has") else ""
            best = (len(own), wrong + how)
    return best[1]


def _wrong(layer: Layer, missing: set[str]) -> str:
    layout, place = layer.layout, layer.position.place
    if fits(layer):
        absent = next(own for own in layout.tensors if own in missing) if missing else ""
        return f"tensor {place}{absent} is missing; {layout.name} has {expected(layout)}" if absent else ""
    shapes = layer.shapes
    turned = {
        own: shape[::-1] if len(shape) == 2 and own in matrices(layout) else shape for own, shape in shapes.items()
    }
    try:
        sizes(layer.present, turned)
        first = next(own for own in shapes if own in matrices(layout))
        return (
            f"the matrices are transposed: {layer.names[first]} has shape {shapes[first]}, which {layout.name} has as "
            f"{turned[first]}; transpose each matrix and save copies (numpy.ascontiguousarray(a.T))"
        )
    except UserError:
        pass
    try:
        sizes(layer.present, shapes)
    except UserError as error:
        return f"{place}{error}"
    return ""
