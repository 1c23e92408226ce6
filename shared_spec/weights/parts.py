"""What a tensor of a layer is made of: parts, which are parameters of the cell, and its shape in symbols."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Size = tuple[str, ...]
"""The length of an axis as a sum of terms: ("h", "h", "h") is 3h, ("d", "h") is d + h, ("d*h", "h") is dh + h; "1"
counts rows that are stacked.
"""


@dataclass(frozen=True)
class Part:
    """A parameter within a tensor, as it is or negated."""

    name: str
    negated: bool = False


@dataclass(frozen=True)
class Tensor:
    """One tensor of a layer: parts joined along `axis`, each turned first where `transpose` or `turned` is true. Where
    `stacked`, such rows along a new first axis; where `blocks`, such rows one below the other.
    """

    rows: tuple[tuple[Part, ...], ...]
    shape: tuple[Size, ...]
    axis: int = 0
    transpose: bool = False
    stacked: bool = False
    blocks: bool = False
    turned: bool = False
    """Each matrix is transposed in memory alone: its values in the order of its transpose, under its own shape."""
    flat: bool = False
    """The values of every part one after the other, in one vector."""

    @property
    def parts(self) -> Iterator[Part]:
        return (part for row in self.rows for part in row)


def show(shape: tuple[Size, ...]) -> str:
    """A symbolic shape as text, such as ``(3h, d)``."""
    return f"({', '.join(map(_show, shape))}{',' if len(shape) == 1 else ''})"


def _show(size: Size) -> str:
    counts = Counter(size)
    terms = [str(n) if term == "1" else f"{n if n > 1 else ''}{term.replace('*', '')}" for term, n in counts.items()]
    return " + ".join(terms)


def symbols(size: Size) -> set[str]:
    """The symbols that stand in it: {"d", "h"}."""
    return {symbol for term in size for symbol in term.split("*")}


def length(size: Size, known: Mapping[str, int]) -> int:
    """The number that it stands for."""
    return sum(math.prod(known[symbol] for symbol in term.split("*")) for term in size)


def solve(size: Size, given: int, known: Mapping[str, int], symbol: str) -> int | None:
    """The number from 1 on that `symbol` must be, the others being known; None where no whole number will do."""
    low, high = 1, given
    while low < high:
        middle = (low + high) // 2
        if length(size, {**known, symbol: middle}) < given:
            low = middle + 1
        else:
            high = middle
    return low if length(size, {**known, symbol: low}) == given else None
