"""How files name a layer's tensors: the patterns `saved` of layouts.toml, read to find names and to make them.

`*_l{n}{_reverse}` is torch's: `weight_ih_l1_reverse` has the stem weight_ih, the number 1, and runs backwards. Before
it may stand the place of the layer in a model, up to a separator. Levels are joined by "." or "/", whoever saved them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from shared_spec.weights.layouts import Layout

# What TensorFlow, Flax and checkpoints hang on to a name.
_AFTER = r"(?::0|[./](?:raw_)?value|/\.ATTRIBUTES/VARIABLE_VALUE)?"
# The shortest, so that recurrent_kernel is not "recurrent_" and a kernel.
_PLACE = r"(?P<place>(?:.*?[./_:\-])??)"
_BACKWARDS = re.compile(r"(?:^|[./_\-])(backward|reverse|bwd|bw|r_cell)(?:$|[./_\-\d])")
_FORWARDS = re.compile(r"(?:^|[./_\-])(forward|fwd|fw|l_cell)(?:$|[./_\-\d])")


@dataclass(frozen=True)
class Position:
    """Where a layer stands, as its names tell it."""

    place: str
    """What stands before the tensors' names: "encoder.", or ""."""
    number: int | None
    """Which layer of a stack; None where the names do not number layers."""
    reverse: bool | None
    """Whether it runs from the last step to the first; None where the names do not tell."""


def positions(layout: Layout, name: str) -> list[tuple[Position, str]]:
    """As whose tensor a name can be read: positions, each with the layout's own name of the tensor."""
    readings = []
    stems = {_levels(stem): own for stem, own in _stems_of(layout).items()}
    for pattern in _patterns(layout.saved, tuple(layout.tensors)):
        if match := pattern.fullmatch(name):
            parts = match.groupdict()
            own = stems[_levels(parts["stem"])]
            number = None if parts.get("n") is None else int(parts["n"])
            reverse: bool | None = None
            if "reverse" in parts:
                reverse = bool(parts["reverse"])
            elif parts.get("d"):
                reverse = parts["d"] == "r"
            else:
                reverse = direction(parts["place"])
            readings.append((Position(parts["place"], number, reverse), own))
    return readings


def stripped(place: str) -> str:
    """A place without the separator that ends it: "encoder." is encoder."""
    return place.rstrip("./_:-")


def one_way(place: str) -> str:
    """A place with its word for backwards as that for forwards, so that both directions of a layer have one."""
    return _BACKWARDS.sub(_as_forward, _FORWARDS.sub(_as_forward, place))


def _as_forward(match: re.Match[str]) -> str:
    return match[0].replace(match[1], "forward")


def direction(place: str) -> bool | None:
    """Whether a place says backward (True) or forward (False); None where it says neither."""
    if _BACKWARDS.search(place):
        return True
    return False if _FORWARDS.search(place) else None


def numbered(layout: Layout) -> bool:
    """Whether the layout's own names say which layer of a stack."""
    return "{n}" in layout.saved[0]


def names(layout: Layout, position: Position) -> Mapping[str, str]:
    """The layout's own names -> those of a layer at a position, where the layout numbers its layers."""
    made = {}
    for stem, own in _stems_of(layout).items():
        name = layout.saved[0].replace("*", stem) if numbered(layout) else own
        name = name.replace("{n}", str(position.number or 0))
        name = name.replace("{_reverse}", "_reverse" if position.reverse else "")
        made[own] = position.place + name.replace("{d}", "r" if position.reverse else "l")
    return {own: made[own] for own in layout.tensors}


def _stems_of(layout: Layout) -> Mapping[str, str]:
    return _stems(layout.saved[0], tuple(layout.tensors))


@functools.cache
def _stems(saved: str, owns: tuple[str, ...]) -> Mapping[str, str]:
    """What the first pattern's * stands for -> the layout's own name."""
    pattern = _regex(saved, ".+")
    stems = {}
    for own in owns:
        match = re.fullmatch(pattern, own)
        stems[match["stem"] if match else own] = own
    return stems


@functools.cache
def _patterns(saved: tuple[str, ...], owns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    stems = "|".join(r"[./]".join(map(re.escape, re.split("[./]", stem))) for stem in _stems(saved[0], owns))
    return tuple(re.compile(f"{_PLACE}{_regex(pattern, stems)}{_AFTER}", re.DOTALL) for pattern in saved)


def _regex(saved: str, stems: str) -> str:
    pattern = re.escape(saved)
    for written, read in (
        (r"\*", f"(?P<stem>{stems})"),
        (r"\{n\}", r"(?P<n>\d{1,4})"),
        (r"\{_reverse\}", "(?P<reverse>_reverse)?"),
        (r"\{d\}", "(?P<d>[lr])"),
    ):
        pattern = pattern.replace(written, read)
    return pattern


def _levels(stem: str) -> str:
    return stem.replace("/", ".")


def natural(place: str) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """A key by which gru_2 comes before gru_10, and gru before gru_1, level by level."""
    return tuple(
        tuple(
            (1, int(part), "") if part.isdigit() and len(part) < 10 else (0, 0, part)
            for part in re.findall(r"\d+|\D+", level)
        )
        for level in re.split("[./]", stripped(place))
    )
