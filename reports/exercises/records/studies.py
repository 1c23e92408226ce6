"""Exercises 3 and 4 as types: cells against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from reports.pages.parts import Number, Part, about

Middle = Annotated[tuple[float, Number, Number], about("the mean and the ends of its 95% interval")]


class Trainings(Part, frozen=True):
    """Trainings of one cell at one rate, from several starts."""

    cell: str
    implementation: str
    lr: float
    best: Annotated[bool, about("whether this rate suits the cell best")]
    starts: int
    unfinished: Annotated[Sequence[str], about("why those that did not finish did not")]
    seconds: float | None
    val: Middle | None
    recalled: Middle | None
    clipped: Annotated[int | float, about("steps whose gradient was clipped, of so many steps")]
    steps: int | float
    largest: Annotated[Number, about("norm of a gradient")]
    text: str


class Rate(Part, frozen=True):
    """A rate that was tried, and the validation perplexity that it came to."""

    cell: str
    lr: float
    why: str
    val: Number


class Difference(Part, frozen=True):
    """A cell against another, over the starts that both have finished from."""

    cell: str
    against: str
    value: float
    low: Number
    high: Number
    starts: int
    word: str


class Task(Part, frozen=True):
    """A study on one task in one framework."""

    framework: str
    command: str
    task: str
    delay: int | None
    epochs: int
    asked: int
    there: int
    rows: Sequence[Trainings]
    one_lane: bool
    rates: Sequence[Rate]
    differences: Sequence[Difference]


class Waning(Part, frozen=True):
    """How the gradient of the last step's loss wanes on its way back, at the start and the end of a training."""

    framework: str
    cell: str
    lr: float
    start: Sequence[Number]
    end: Sequence[Number]


class Study(Part, frozen=True):
    """Exercise 3 or 4."""

    command: str
    tasks: Sequence[Task] = ()
    waning: Sequence[Waning] = ()
