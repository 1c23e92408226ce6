"""Exercise 2 as types: sweeps, their trials, and what a training step costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from reports.pages.parts import Number, Part, about


class Curves(Part, frozen=True):
    """Perplexities by epoch."""

    train: Sequence[Number]
    val: Sequence[Number]


class Trial(Part, frozen=True):
    """A training of a sweep."""

    framework: str
    implementation: str
    threads: str
    dtype: str
    device: str
    cell: str
    task: str
    num_steps: int
    num_hiddens: int
    lr: float
    batch_size: int
    clip_norm: float
    num_train: int
    num_val: int
    start: str
    seed: int
    epochs: int
    status: str
    why: str
    seconds: float
    cpu_seconds: float
    text: Annotated[str, about("what it predicts")]
    train: Annotated[Number, about("the last perplexity")]
    val: Number
    curves: Curves


class Otherwise(Part, frozen=True):
    """What a sweep would take by the cost law of another lane."""

    framework: str
    implementation: str
    threads: str
    cpu_seconds: float
    times: Annotated[float, about("as much as it took")]


class Sweep(Part, frozen=True):
    """A sweep: its trials, those that ended best, and what it took."""

    name: str
    framework: str
    command: str
    asked: int
    trials: Sequence[Trial]
    best: Sequence[Trial]
    settings: Sequence[str]
    cpu_seconds: float
    otherwise: Sequence[Otherwise]


class Point(Part, frozen=True):
    """A trial that a cost law was fitted to: seconds of a training step."""

    num_steps: int
    num_hiddens: int
    measured: float
    fitted: float


class Law(Part, frozen=True):
    """What a training step costs in one lane, by its sizes."""

    framework: str
    implementation: str
    cell: str
    dtype: str
    device: str
    threads: str
    coefficients: Mapping[str, float]
    off: Annotated[tuple[float, float], about("by what factor a trial is off: the middle one, the worst")]
    points: Sequence[Point]


class SideBySide(Part, frozen=True):
    """Two lanes that have run the same trainings."""

    lanes: tuple[str, str]
    trainings: int
    apart: Annotated[tuple[float, float], about("their validation perplexities, relatively: in the middle, at most")]
    times: float


class Sweeps(Part, frozen=True):
    """Exercise 2."""

    sweeps: Sequence[Sweep] = ()
    laws: Sequence[Law] = ()
    side_by_side: Sequence[SideBySide] = ()
