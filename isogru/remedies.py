"""What to do about a convention, in the words of the package and by the names of the tensors that somebody has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isogru.blocks import Block, blocks
from isogru.conventions import Convention
from shared_spec.cells import Cell, cell
from shared_spec.errors import UserError
from shared_spec.files.sources import Source
from shared_spec.weights.layouts import Layout, layout, layouts, reset_of

RESETS: Mapping[str, str] = {"keras": "reset_after=True", "keras-reset-before": "reset_after=False"}
"""Of layouts whose shapes tell where the reset gate acts, so that `settings` does not: what the layer is set to."""
OF_RESET = ("reset_before", "reset_after")
OF_AFTER, OF_BEFORE = "reset_after=True or linear_before_reset=1", "reset_after=False or linear_before_reset=0"
FEW = 6
GATES = ("z", "r", "h")


def remedy(convention: Convention, plain: str, source: Source | None, sizes: Mapping[str, int]) -> str:
    """Of a result that was computed otherwise: the `plain` remedy, said of the layer that the weights are of."""
    of = None if source is None else _layout(source.layout)
    if of is None or source is None:
        return plain
    if convention.name.startswith(OF_RESET):
        if setting := RESETS.get(of.name) or of.settings.get("reset"):
            return f"set {setting}, as the layer of {source.file} has it"
        where = reset_of(cell(of.cell))
        elsewhere = OF_AFTER if where == "after" else OF_BEFORE
        return f"write {_candidate(cell(of.cell))}, as {of.layer} has it; elsewhere that is {elsewhere}"
    if convention.functions:
        about = "gate" if "sigmoid" in convention.functions else "candidate"
        usual = "sigmoid in the gates" if about == "gate" else "tanh in the candidate state"
        return f"set {of.settings[about]}" if about in of.settings else f"use {usual}, as {of.layer} does"
    if convention.weights:
        places = blocks(source, sizes)
        if convention.name.startswith("order_"):
            orders: dict[str, list[str]] = {}
            for tensors, how in map(_order, _taken(convention, places)):
                orders.setdefault(how, []).append(tensors)
            read = [f"{_listed(each, how)}{_holds(each, how)}" for how, each in orders.items()]
            return f"read {source.file} in its order: {'; '.join(read)}" if read else plain
        return f"{plain}{_places(convention, places, source.file)}"
    return plain


def of_file(convention: Convention, source: Source | None, sizes: Mapping[str, int]) -> str:
    """Of a file of weights that was written otherwise: what to change in it."""
    places = {} if source is None else blocks(source, sizes)
    if source is None or not places or not convention.weights:
        return convention.remedy
    if not convention.name.startswith("order_"):
        return f"{convention.remedy}{_places(convention, places, source.file)}"
    held = _taken(convention, places)
    if len(convention.takes) > 2:
        return f"put the blocks of {source.file} in order: {'; '.join(_shifted(convention, each) for each in held)}"
    ways: dict[str, list[str]] = {}
    for each in held:
        one, other = sorted((each[gate] for gate in convention.takes), key=_start)
        alike = one.title == other.title and one.span and one.axis
        how = f"{one.axis} {one.span} and {other.span} of " if alike else ""
        ways.setdefault(how, []).append(one.title if alike else f"{one.where} with {other.where}")
    return f"in {source.file} exchange {', '.join(how + _listed(tensors, how) for how, tensors in ways.items())}"


def reset_setting(of: Layout, where: str) -> str:
    """What a layer of the package of a layout is set to so that the reset gate acts "before" or "after" the product;
    empty where it cannot be set.
    """
    for name, each in layouts().items():
        setting = RESETS.get(name) or each.settings.get("reset", "")
        if setting and each.package == of.package and reset_of(cell(each.cell)) == where:
            return setting
    return ""


def build(one: Source | None, other: Source | None, resets: tuple[str, str]) -> str:
    """How one of two layers would have the reset gate where the other has it; empty where neither can be set."""
    ways = []
    for source, where in ((one, resets[1]), (other, resets[0])):
        of = None if source is None else _layout(source.layout)
        if source is not None and of is not None and (setting := reset_setting(of, where)):
            ways.append(f"build the layer of {source.file} with {setting}")
    return ", or ".join(ways)


def _layout(name: str) -> Layout | None:
    try:
        return layout(name)
    except UserError:
        return None


def _candidate(of: Cell) -> str:
    return next((equation.text for equation in of.equations if equation.target == "C"), "it so")


def _taken(convention: Convention, places: Mapping[str, Block]) -> list[dict[str, Block]]:
    """The blocks of the gates that are taken from each other, and of the third one, for each kind of weights."""
    kinds = dict.fromkeys(name[:-1] for name in convention.weights)
    made = [{gate: places[kind + gate] for gate in GATES if kind + gate in places} for kind in kinds]
    return [held for held in made if set(convention.takes) <= held.keys()]


def _start(block: Block) -> int:
    return int(block.span.partition(":")[0] or 0)


def _listed(words: Sequence[str], how: str = " ") -> str:
    last = " and " if how else ", "
    return last.join(filter(None, (", ".join(words[:-1]), words[-1])))


def _holds(tensors: Sequence[str], how: str) -> str:
    return f" {'hold' if len(tensors) > 1 else 'holds'} {how}" if how else ""


def _shifted(convention: Convention, held: Mapping[str, Block]) -> str:
    """What each block holds that should hold another gate."""
    stands = sorted(((held[to], of, to) for to, of in convention.takes.items()), key=lambda item: _start(item[0]))
    return ", ".join(f"{block.where} holds {of} and should hold {to}" for block, of, to in stands)


def _order(held: Mapping[str, Block]) -> tuple[str, str]:
    """Which tensors hold the gates, and where in them; the second is empty where each is named by itself."""
    stands = sorted(held.items(), key=lambda item: _start(item[1]))
    first = stands[0][1]
    if len({block.title for block in held.values()}) > 1 or not first.axis:
        return ", ".join(f"{block.where} is {gate}" for gate, block in stands), ""
    return first.title, ", ".join(f"{gate} in {first.axis} {block.span}" for gate, block in stands)


def _places(convention: Convention, places: Mapping[str, Block], file: str) -> str:
    """Where what a convention changes stands in a file, such as " (in gru.pt: W_hz = weight_hh_l0[4:8].T)"."""
    there: Sequence[str] = [name for name in convention.weights if name in places]
    told: list[str] = []
    for name in there:
        title = places[name].title
        alike = [other for other, block in places.items() if block.title == title]
        said = title if set(alike) <= set(there) else f"{name} = {places[name]}"
        if said not in told:
            told.append(said)
    more = f" and {len(told) - FEW} more" if len(told) > FEW else ""
    return f" (in {file}: {', '.join(told[:FEW])}{more})" if told else ""
