"""Exercise 1 as types: gates, what they let through, and what a trained model remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import UNSET, UnsetType

from reports.pages.parts import Number, Part, about

Triangle = Annotated[
    Sequence[Sequence[float]], about("an influence (T, T) up to its diagonal: row t holds k = 0 ... t")
]


class GatesAt(Part, frozen=True):
    """Gates put to 0 or 1; null is anything."""

    Z: int | None
    R: int | None
    latex: Annotated[str, about("of the state that they leave; empty where both are anything")]


class Answer(Part, frozen=True):
    """Gates before t', at it and after it, and what the states after t' owe to inputs."""

    before: GatesAt
    at: GatesAt
    after: GatesAt
    own: Annotated[float, about("the least influence of X_t'")]
    earlier: Annotated[float, about("the largest of an input before it")]
    later: float
    wrong: Annotated[Sequence[str], about("what is wrong with it; nothing where it works")]


class RightAnswer(Answer, frozen=True):
    """An answer that works."""

    more: Annotated[int, about("corners that it covers and no answer before it")]


class TurnedAnswer(Answer, frozen=True):
    """An answer in a cell whose update gate may be turned round."""

    cell: str
    map: Triangle


class GatesCell(Part, frozen=True):
    """A cell, and the answers to the exercise in it."""

    name: str
    equation: str
    latex: str
    corners: int
    works: int
    kinds: Annotated[Sequence[GatesAt], about("the different cells that its corners make")]
    answers: Sequence[RightAnswer]


class Span(Part, frozen=True):
    """The least and the largest value of each gate."""

    when: str
    Z: tuple[float, float]
    R: tuple[float, float]


class Independence(Part, frozen=True):
    """In how many draws of what should not matter the states were the same, and with another X_t' others."""

    draws: int
    same: int
    changed: int
    alone: Annotated[bool, about("whether they are what the forced cell gives of X_t' alone")]


class Turns(Part, frozen=True):
    """One setting of the update gates in cells that turn either way."""

    at: int
    after: int
    cells: Sequence[TurnedAnswer]


class Polarity(Part, frozen=True):
    """All such settings, and how many work in none of the cells, in one, in both."""

    rows: Sequence[Turns]
    works_in: Sequence[int]


class Degree(Part, frozen=True):
    """What preactivations of a size keep of X_t' up to the end, and let in of other inputs, against it."""

    size: float
    kept: float
    lost: float
    others: float


class Layers(Part, frozen=True):
    """How many layouts there are, and which layers turn the update gate round."""

    all: int
    turned: Sequence[str]


class Passed(Part, frozen=True):
    """A training that was passed over."""

    label: str
    case: str
    dtype: str
    why: str


class Reach(Part, frozen=True):
    """The distance at which an influence has fallen to a share; null where it has not within the window."""

    share: float
    trained: float | None
    moved: float | None
    start: float | None


class Ends(Part, frozen=True):
    """Of all values of a gate the shares that lie near an end."""

    shut: float
    open: float


class Distance(Part, frozen=True):
    """An influence by distance, as a share of that at distance 0."""

    trained: Sequence[Number]
    moved: Sequence[Number]
    start: Sequence[Number]


class Memory(Part, frozen=True, kw_only=True):
    """What a trained model remembers or, where there is none, the command that trains one."""

    there: bool
    passed: Sequence[Passed]
    command: str | UnsetType = UNSET
    case: str | UnsetType = UNSET
    label: str | UnsetType = UNSET
    dtype: str | UnsetType = UNSET
    device: str | UnsetType = UNSET
    verdict: Annotated[str, about("empty where it has not been judged yet")] | UnsetType = UNSET
    perplexity: Number | UnsetType = UNSET
    epochs: int | UnsetType = UNSET
    units: int | UnsetType = UNSET
    corpus: str | UnsetType = UNSET
    windows: int | UnsetType = UNSET
    text: Annotated[Sequence[str], about("of the first window, token by token")] | UnsetType = UNSET
    map: Triangle | UnsetType = UNSET
    distance: Distance | UnsetType = UNSET
    reach: Sequence[Reach] | UnsetType = UNSET
    gates: Mapping[str, Ends] | UnsetType = UNSET


class Gates(Part, frozen=True):
    """Exercise 1."""

    norm: str
    steps: int
    at: Annotated[int, about("t', counted from 1")]
    shut: Annotated[float, about("a preactivation at which a gate is exactly 1")]
    cells: Sequence[GatesCell]
    map: Triangle
    gates: Sequence[Span]
    independence: Independence
    corners: Sequence[Answer]
    polarity: Polarity
    degrees: Sequence[Degree]
    layers: Layers
    memory: Memory
