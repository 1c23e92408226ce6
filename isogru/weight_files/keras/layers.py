"""The recurrent layers of a Keras file: what its configuration says of them, matched with the weights that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isogru.weight_files.contents import Described, Foreign
from isogru.weight_files.keras.config import FOREIGN, LAYOUTS, Layer, Step, function, policy_of
from isogru.weight_files.keras.hdf5 import Hdf5
from isogru.weight_files.keras.units import Unit, distinct, units


@dataclass(frozen=True)
class Layers:
    """What a file has of recurrent layers."""

    described: tuple[Described, ...]
    foreign: tuple[Foreign, ...]
    names: Mapping[str, str]
    """A dataset that belongs to one -> its name among the tensors."""


@dataclass(frozen=True)
class _Entry:
    """A layer as it is known: from the configuration, from its weights, or from both."""

    layer: Layer | None
    unit: Unit | None
    place: str = ""


def layers_of(file: Hdf5, configured: Sequence[Layer], *, keras: int) -> Layers:
    """Those of the configuration first, in its order; then those that only the weights show."""
    entries = _entries(file, configured)
    names: dict[str, str] = {}
    described: list[Described] = []
    foreign: list[Foreign] = []
    for entry in entries:
        if entry.unit:
            names.update({dataset: f"{entry.place}/{role}" for role, dataset in entry.unit.tensors.items()})
        what = _configured(entry.layer, entry.unit, keras) if entry.layer else _by_shapes(entry.unit)
        if isinstance(what, str):
            foreign.append(Foreign(entry.place, what))
        elif what and entry.unit:
            layout, reverse, settings = what
            tensors = {role: f"{entry.place}/{role}" for role in entry.unit.tensors}
            # Without a configuration only a Bidirectional tells that a layer goes backwards.
            wrapped = entry.layer.is_second if entry.layer else reverse
            described.append(Described(entry.place, layout, tensors, reverse, settings=settings, wrapped=wrapped))
    return Layers(tuple(described), tuple(foreign), names)


def _entries(file: Hdf5, configured: Sequence[Layer]) -> list[_Entry]:
    loose = units(file)
    pairs: list[tuple[Layer | None, Unit | None]] = []
    met: list[Mapping[str, object]] = []
    for layer, unit in zip(configured, _matched(file, configured, loose), strict=True):
        # A layer that stands in two models has its weights in the file once.
        if unit or layer.config not in met:
            pairs.append((layer, unit))
            met.append(layer.config)
        own = "/".join(_path(file, layer.route) or ("/",))
        loose = [
            other for other in loose
            if other is not unit and (layer.kind in LAYOUTS or not "/".join((*other.parts, "")).startswith(f"{own}/"))
        ]  # fmt: skip
    pairs += [(None, unit) for unit in loose]
    places = distinct(layer.place if layer else unit.place if unit else "" for layer, unit in pairs)
    return [_Entry(layer, unit, place) for place, (layer, unit) in zip(places, pairs, strict=True)]


def _matched(file: Hdf5, configured: Sequence[Layer], loose: Sequence[Unit]) -> list[Unit | None]:
    """The weights of each layer, None where the file has none of it."""
    at = {unit.parts: unit for unit in loose if not unit.top}
    matches: dict[int, Unit] = {}
    for i, layer in enumerate(configured):
        path = _path(file, layer.route)
        if path and (unit := at.get((*path, "cell")) or at.get(path)):
            matches[i] = unit
    for top in dict.fromkeys(unit.top for unit in loose if unit.top):
        mine = [i for i, layer in enumerate(configured) if layer.top == top]
        theirs = [unit for unit in loose if unit.top == top]
        for i in list(mine):
            # By the layer's own name, where just one has it; what is left, by order.
            named = [unit for unit in theirs if configured[i].place.rpartition("/")[2] in unit.parts[1:]]
            if len(named) == 1:
                matches[i] = named[0]
                mine.remove(i)
                theirs = [unit for unit in theirs if unit is not named[0]]
        if len(mine) == len(theirs):
            matches.update(zip(mine, theirs, strict=True))
    return [matches.get(i) for i in range(len(configured))]


def _path(file: Hdf5, route: Sequence[Step]) -> tuple[str, ...] | None:
    """The levels of the groups along a route, None where the file has not all of them."""
    path: tuple[str, ...] = ()
    for step in route:
        if isinstance(step, str):
            names = (step, "_layer_checkpoint_dependencies") if step == "layers" else (step,)
            part = next((name for name in names if "/".join((*path, name)) in file.groups), None)
        else:
            part = _numbered(file, path, *step)
        if part is None:
            return None
        path = (*path, part)
    return path


def _numbered(file: Hdf5, path: tuple[str, ...], kind: str, index: int, count: int) -> str | None:
    """The group of a list's layer: "gru", "gru_1", "gru_2". Some versions of Keras 2 leave numbers out."""
    regular = [kind, *(f"{kind}_{i}" for i in range(1, count))]
    there = [name for name in regular if "/".join((*path, name)) in file.groups]
    if len(there) < count:
        start = "/".join((*path, kind))
        numbers = [name[len(start) + 1 :] for name in file.groups if name.startswith(f"{start}_")]
        all_of_it = [kind] * (start in file.groups) + [
            f"{kind}_{n}" for n in sorted(filter(str.isdecimal, numbers), key=int)
        ]
        if len(all_of_it) == count:
            return all_of_it[index]
    return regular[index] if regular[index] in there else None


_What = tuple[str, bool, dict[str, str]]
"""A layout, whether it goes backwards, and what is known of its settings."""


def _by_shapes(unit: Unit | None) -> _What | str | None:
    """What weights alone tell. Without a bias nothing tells where a GRU's reset gate stands."""
    if unit is None:
        return None
    h, bias = unit.size, unit.shapes.get("bias")
    if unit.gates == 4:
        return FOREIGN["LSTM"]
    layouts = {(2, 3 * h): "keras", (3 * h,): "keras-reset-before", (6 * h,): "keras-cudnn"}
    if unit.gates == 1:
        layouts = {(h,): "keras-rnn"}
    if unit.gates not in (1, 3) or bias not in layouts:
        return None
    layout = layouts[bias]
    known = {"time": "second", "use_bias": "True"}
    if unit.gates == 3:
        known["reset_after"] = str(layout != "keras-reset-before")
    if layout == "keras-cudnn":
        known |= {"candidate": "tanh", "gate": "sigmoid"}
    return layout, unit.backward, known


def _configured(layer: Layer, unit: Unit | None, keras: int) -> _What | str:
    """What the configuration tells, if the weights have the shapes for it."""
    config, kind = layer.config, layer.kind
    if kind in FOREIGN:
        return FOREIGN[kind]
    if kind not in LAYOUTS:
        return f"a layer of the class {kind}, whose code is not in the file"
    if "output_dim" in config and "units" not in config:
        return f"a {kind} of Keras 1, which has other weights; load it with Keras 2 and save it again"
    if unit is None:
        return f"a {kind} of which the file has no weights; build the model before it is saved"
    layout, gates, h = LAYOUTS[kind], 3, unit.size
    use_bias = bool(config.get("use_bias", True))
    # Before there was reset_after, in Keras 2.1.5, the reset gate stood before the product.
    reset_after = bool(config.get("reset_after", unit.shapes.get("bias") == (2, 3 * h)))
    known = {"time": "second", **layer.said, "use_bias": str(use_bias)}
    if (policy := policy_of(config)).startswith("mixed_"):
        known["policy"] = policy
    functions = {"candidate": config.get("activation", "tanh"), "gate": config.get("recurrent_activation", "sigmoid")}
    if layout == "keras":
        layout, bias = ("keras", (2, 3 * h)) if reset_after else ("keras-reset-before", (3 * h,))
    elif layout == "keras-cudnn":
        reset_after, bias = True, (6 * h,)
    else:
        gates, bias = 1, (h,)
        del functions["gate"]
    if gates == 3:
        known["reset_after"] = str(reset_after)
    if unit.gates != gates or config.get("units") != h or unit.shapes.get("bias") != (bias if use_bias else None):
        shapes = ", ".join(f"{role} {shape}" for role, shape in unit.shapes.items())
        return f"a {kind} whose weights have not the shapes that its configuration says ({shapes})"
    return layout, layer.reverse, {**known, **{name: function(value, keras=keras) for name, value in functions.items()}}
