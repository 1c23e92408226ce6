"""What tensors could be whose names no layout has, as the options that would say so: by the gates and sides that names
tell, else by their shapes alone.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from isogru.models.naming import natural, stripped
from isogru.models.recognition import some
from isogru.weight_files.contents import Contents
from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.readings.floats import FLOATS
from shared_spec.weights import layouts
from shared_spec.weights.layouts import Layout
from shared_spec.weights.packing import sizes

MOST, MOST_WAYS = 40, 200
"""How many tensors, and how many ways to give a layout's tensors those of a file, are looked at."""

_GATES = {"z": "z|u|update", "r": "r|reset", "h": "h|n|c|g|cand|candidate|new|hat"}
_WHERE = r"(?P<place>(?:.*[./_:\-])?)"
_END = r"(?:[._](?:weight|kernel))?(?::0)?"
_BIAS = r"[._]bias(?::0)?"
# Of each way to name nine matrices and vectors: those of the input, of the state, the first bias and the second.
_WAYS = (
    (
        rf"(?:w|W){{}}{_END}", rf"(?:u|U|r|R){{}}{_END}", rf"(?:b|bs|bx|bi|bias){{}}|(?:w|W){{}}{_BIAS}",
        rf"(?:c|bh|bu|br|b2){{}}|(?:u|U|r|R){{}}{_BIAS}",
    ),
    (
        rf"(?:w|W)_?(?:i|x){{}}{_END}", rf"(?:w|W)_?h{{}}{_END}",
        rf"(?:b|bias|b_?i|b_?x){{}}|(?:w|W)_?(?:i|x){{}}{_BIAS}", rf"b_?h{{}}|(?:w|W)_?h{{}}{_BIAS}",
    ),
    (
        rf"(?:i|x)2?{{}}{_END}", rf"h2?{{}}{_END}", rf"(?:b|bias){{}}|(?:i|x)2?{{}}{_BIAS}", rf"h2?{{}}{_BIAS}",
    ),
)  # fmt: skip
_OF_STATE = re.compile(r"hh|h2h|recurrent|hidden|state|(?:^|[._])[uU](?:$|[._])")
_OF_INPUT = re.compile(r"ih|xh|i2h|x2h|input|(?:^|[._])[wW](?:$|[._])")
TURNS = "H = Z * H + (1 - Z) * C is meant; where Z and 1 - Z are exchanged, negate the weights and the bias of Z first"


def could_be(contents: Contents, known: Sequence[Layout], source: str, name: str) -> str:
    """What tensors could be, and the options `source` and `name` that say so; empty where nothing can be said."""
    floats = [n for n, t in contents.tensors.items() if t.dtype in FLOATS and 1 <= len(t.shape) <= 3]
    if not 2 <= len(floats) <= MOST:
        return ""
    return _gates_apart(contents, floats, known, source, name) or _by_shapes(contents, floats, known, source, name)


def _gates_apart(contents: Contents, floats: Sequence[str], known: Sequence[Layout], source: str, name: str) -> str:
    """Of GRUs that have a matrix and a vector for each gate, in the names of equations: of the first of them."""
    for way in _WAYS:
        parts = [{gate: _named(pattern, letters, floats) for gate, letters in _GATES.items()} for pattern in way]
        layers = []
        for place in parts[0]["z"]:
            # What has another place is another layer's: encoder.b_z is no bias of decoder.W_z.
            there = [{gate: names.get(place, []) for gate, names in part.items()} for part in parts]
            held = [{gate: names[0] for gate, names in part.items() if len(names) == 1} for part in there]
            if all(len(part) == len(_GATES) for part in held[:2]) and (
                told := _told(contents, held, known, source, name)
            ):
                layers.append((place, held, told))
        if layers:
            _, held, told = layers[0]
            used = {each for part in held for each in part.values()}
            left = [each for each in floats if each not in used]
            unused = f"; no option uses {some(left)}" if left else ""
            start = "the gates of a GRU stand apart"
            if len(layers) > 1:
                places = ", ".join(stripped(place) or "no place" for place, _, _ in layers)
                start = f"the gates of {len(layers)} GRUs stand apart ({places}), and one is read at a time"
            return f"; by their names {start}: {told}{unused}; {TURNS}"
    return ""


def _told(
    contents: Contents, held: Sequence[Mapping[str, str]], known: Sequence[Layout], source: str, name: str
) -> str:
    """The options that read these tensors; empty where their shapes are none of a GRU."""
    of_input, of_state, _, second = held
    shapes = [contents.tensors[of_input[gate]].shape for gate in _GATES]
    squares = {contents.tensors[of_state[gate]].shape for gate in _GATES}
    if len(set(shapes)) > 1 or len(squares) > 1 or any(len(shape) != 2 for shape in (shapes[0], *squares)):
        return ""
    h = squares.pop()[0]
    linear = _is_linear(of_input["z"])

    def ways(*, turned: bool) -> list[tuple[str, str]]:
        return [
            (_reset(layout), _options(layouts.layout(layout), held, source, name))
            for layout in _of_gates(turned, two=bool(second))
            if layout in {each.name for each in known}
        ]

    told = ways(turned=shapes[0][0] == h and (shapes[0][1] != h or linear))
    if not told:
        return ""
    (reset, options), *rest = told
    other = f", or if it acts {rest[0][0]} it, {rest[0][1]}" if rest else ""
    doubt = ""
    if shapes[0] == (h, h) and not linear:
        # Nothing tells H @ W from W @ H then. The other placement of the reset gate has the same names.
        turned = next((options for where, options in ways(turned=True) if where == reset), "")
        way = f"say {turned}" if turned else "transpose them"
        doubt = f"; its matrices are square, and are taken for (d, h): where they are (h, d), {way}"
    return f"if its reset gate acts {reset} the product, say {options}{other}{doubt}"


def _named(pattern: str, letters: str, floats: Sequence[str]) -> dict[str, list[str]]:
    """The tensors of a name, by their place."""
    gate = f"_?(?:{letters})"
    whole = re.compile(f"{_WHERE}(?:{pattern.replace('{}', gate)})", re.DOTALL)
    places: dict[str, list[str]] = {}
    for each in floats:
        if match := whole.fullmatch(each):
            places.setdefault(match["place"], []).append(each)
    for place, named in places.items():
        # b_h is the bias of the gate h before it is a second bias.
        if len(set(map(len, named))) > 1:
            places[place] = sorted(named, key=len)[:1]
    return places


def _is_linear(name: str) -> bool:
    """Whether a matrix is that of a Linear layer, which is (h, d)."""
    return name.endswith(("weight", "weight:0"))


def _of_gates(turned: bool, *, two: bool) -> tuple[str, ...]:
    """Layouts with a tensor for each gate, the likelier first; where there are two biases, those that have two."""
    if turned:
        return ("nnlib",) if two else ("nnlib-reset-before", "nnlib")
    return ("burn", "burn-reset-before") if two else ("gru", "gru_reset_after")


def _reset(layout: str) -> str:
    return layouts.reset_of(cell(layouts.layout(layout).cell))


def _options(layout: Layout, held: Sequence[Mapping[str, str]], source: str, name: str) -> str:
    """The options that say which tensor is which."""
    pairs = []
    for own, tensor in layout.tensors.items():
        part = tensor.rows[0][0].name
        kind = next(i for i, start in ((0, "W_x"), (1, "W_h"), (3, "b_h."), (2, "b_")) if re.match(start, part))
        if (given := held[kind].get(part[-1])) is not None:
            pairs.append(f"{name} {shlex.quote(f'{own}={given}')}")
    return f"{source} {layout.name} {' '.join(pairs)}"


def _by_shapes(contents: Contents, floats: Sequence[str], known: Sequence[Layout], source: str, name: str) -> str:
    told = []
    for layout in known:
        if len(layout.tensors) > 4 or layout.name in layouts.own():
            continue
        ways = list(itertools.islice(_assigned(contents, layout, floats), MOST_WAYS))
        if not ways:
            continue
        fitting = {own: list(dict.fromkeys(way[own] for way in ways)) for own in layout.tensors}
        # Several tensors of one shape: which of them it is, the file does not tell.
        open_ones = [f"{own} is one of {some(names)}" for own, names in fitting.items() if len(names) > 1]
        options = " ".join(f"{name} {shlex.quote(f'{own}={given}')}" for own, given in ways[0].items())
        doubt = f", where {'; '.join(open_ones)}" if open_ones else ""
        told.append((len(ways) > 1, f"{source} {layout.name} {options}", doubt))
    if not told:
        return f"; a name that is not known is told by {source} LAYOUT {name} TENSOR=NAME"
    told.sort(key=lambda each: each[0])
    (_, options, doubt), *rest = told
    more = f" (or as {', '.join(options.split()[1] for _, options, _ in rest[:3])})" if rest else ""
    return f"; by their shapes they could be {options}{more}{doubt}"


def _alike(name: str, own: str) -> bool:
    """Whether the last part of a name begins with the layout's own."""
    return re.split(r"[./:]", name)[-1].startswith(own)


def _side(text: str) -> str:
    """Whether a name is of the input's product or of the state's; empty where it does not tell."""
    is_state, is_input = bool(_OF_STATE.search(text)), bool(_OF_INPUT.search(text))
    return "state" if is_state and not is_input else "input" if is_input and not is_state else ""


def _assigned(contents: Contents, layout: Layout, floats: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Ways to give each tensor of a layout one of the file's, in their order, with shapes that fit. What a name says of
    a side is believed.
    """
    owns = list(layout.tensors)
    fitting = []
    for own in owns:
        tensor = layout.tensors[own]
        names = [name for name in floats if len(contents.tensors[name].shape) == len(tensor.shape)]
        parts = {part.name for row in tensor.rows for part in row}
        of_state = {bool(re.fullmatch("W_h.|b_h.", part)) for part in parts}
        side = "" if len(of_state) > 1 else "state" if True in of_state else "input"
        names = [name for name in names if not side or _side(name) in ("", side)]
        # One by one as they are counted: kernel0, recurrent_kernel1 and bias2 are a layer's, bias10 is another's.
        alike = sorted((n for n in names if _alike(n, own)), key=natural)
        fitting.append(alike + [n for n in names if not any(_alike(n, each) for each in owns)])
    for chosen in itertools.islice(itertools.product(*fitting), 5_000):
        if len(set(chosen)) == len(chosen):
            shapes = {own: contents.tensors[name].shape for own, name in zip(owns, chosen, strict=True)}
            try:
                sizes(layout, shapes)
            except UserError:
                continue
            yield dict(zip(owns, chosen, strict=True))
