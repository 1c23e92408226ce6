"""The records of one result: what was found of each quantity, where its trace diverges, and what its charts show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import UNSET, UnsetType

from isogru.judge.comparison import ORDER
from reports.pages.parts import Dtype, Number, Part, Seconds, Status, Verdict, about, one_of, require

Basis = Annotated[
    str,
    one_of("step", "equation", "twins", "text"),
    about("the bound is that of one step, of one equation, of what the oracle's twins stray, or of a prediction"),
]


class Deviation(Part, frozen=True):
    """What is known of a quantity wherever it is held against something: its worst element."""

    quantity: Annotated[str, about("such as H, grad.W_xz, loss, trace.R")]
    verdict: Verdict
    index: Annotated[Sequence[int], about("of the worst element")]
    value: Annotated[float | None, about("there, as computed; null stands for infinity")]
    should_be: Annotated[float | None, about("there, as the specification has it; null stands for infinity")]
    difference: Annotated[float | None, about("of the two; null stands for infinity")]
    ulp: Annotated[
        float | None,
        about("the difference in units in the last place of what it should be; null stands for infinity"),
    ]
    bound: Annotated[float | None, about("what is allowed there; null stands for infinity")]
    ratio: Annotated[float | None, about("difference / bound; up to 1 is equal; null stands for infinity")]
    basis: Basis
    outside: Annotated[int, about("elements with a ratio above 1")]
    first_outside: Annotated[int | None, about("the first of them along the first axis: time, training step or epoch")]
    last_outside: int | None


class Finding(Deviation, frozen=True, kw_only=True):
    """One quantity: its worst element, and the largest differences from the float64 oracle rounded to the dtype."""

    max_absolute: Number
    max_relative: Number
    max_ulp: Number
    # A report of an earlier isogru has neither.
    undetermined: Annotated[int, about("elements of which nothing can be said in this precision")] | UnsetType = UNSET
    first_undetermined: Annotated[Sequence[int] | None, about("the first of them")] | UnsetType = UNSET


class Local(Deviation, frozen=True, kw_only=True):
    """One quantity of a trace held against its own inputs."""

    undetermined: Annotated[int, about("elements of which nothing can be said in this precision")] | UnsetType = UNSET
    first_undetermined: Annotated[Sequence[int] | None, about("the first of them")] | UnsetType = UNSET
    by_step: Annotated[
        Sequence[Number], about("the largest ratio in each block of time steps; empty for what has no time")
    ]
    inherits: Annotated[bool, about("right given its inputs, but its inputs were wrong")]


class Divergence(Part, frozen=True):
    """Where a trace diverges by itself."""

    first_forward: str | None
    first_backward: str | None
    explains: Annotated[
        bool, about("whether the trace, a run of its own, shows what is wrong with the one that is judged")
    ]
    forward: Sequence[Local]
    backward: Sequence[Local]


class Curves(Part, frozen=True):
    """Error of H against time, one value for each block of steps."""

    block: Annotated[int, about("steps in a block")]
    difference: Annotated[
        Sequence[Number],
        about(
            "from one step of the specification, from the result's own previous state, at the element with the "
            "largest ratio"
        ),
    ]
    bound: Annotated[Sequence[Number], about("of the same element")]
    from_oracle: Annotated[Sequence[Number], about("the largest distance from the float64 oracle's trajectory")]


class Heat(Part, frozen=True):
    """The largest ratio of error to bound over two axes."""

    axes: Sequence[Annotated[str, one_of("time", "unit", "batch")]]
    blocks: Annotated[Sequence[int], about("steps, rows or units in a block")]
    ratio: Sequence[Sequence[Number]]


class Result(Part, frozen=True):
    """One job, and what became of it."""

    id: Annotated[str, about("label/dtype/case")]
    framework: str
    case: str
    implementation: str
    dtype: Dtype
    device: str
    cell: str
    lane: str
    status: Status
    why: Annotated[str, about("why there is no verdict")]
    mend: Annotated[str, about("the command that runs it again, where it should be")]
    setup: Annotated[int | None, about("its place in setups")]
    # What follows is there where there is a verdict.
    unit_roundoff: Annotated[float, about("measured")] | UnsetType = UNSET
    seconds: Annotated[Mapping[str, Seconds], about("wall-clock times of a training")] | UnsetType = UNSET
    findings: Sequence[Finding] | UnsetType = UNSET
    divergence: Divergence | UnsetType | None = UNSET
    curves: Curves | UnsetType | None = UNSET
    heat: Sequence[Heat] | UnsetType = UNSET
    worst_equation: Annotated[str | None, about("the quantity whose equation fits worst")] | UnsetType = UNSET
    sentence: Annotated[str, about("the worst finding in words")] | UnsetType = UNSET
    note: Annotated[str, about("how it came by its states, where it says so")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Raises ValueError for a verdict without what it rests on."""
        if self.status in ORDER:
            require(self, VERDICT_NEEDS, f"a result that is {self.status}")

    @property
    def reason(self) -> str:
        """Why there is no verdict, else the worst finding in words."""
        return self.why or self.sentence or ""

    @property
    def deviations(self) -> list[Deviation]:
        """What was found of each quantity, of its trace too; nothing where there is no verdict."""
        traced = [*self.divergence.forward, *self.divergence.backward] if self.divergence else []
        return [*(self.findings or ()), *traced]


VERDICT_NEEDS = ("findings", "divergence", "sentence")
"""The fields that a result with a verdict has."""
