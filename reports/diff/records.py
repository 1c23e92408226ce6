"""The report as types: what report.json holds, with a description of every part. Its fields stand in the order in which
they are written. reports/report.schema.json is made of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, get_args

from msgspec import UNSET, Meta, UnsetType

from isogru.judge.comparison import ORDER
from reports.diff.quantities import COLUMNS, Difference
from reports.diff.verdicts import Result
from reports.pages.parts import WITHOUT_VERDICT, Dtype, Number, Part, Seconds, Status, about, one_of, require
from reports.race.records import Leaderboard

Format = Literal["isogru-report/1"]
FORMAT: Format = get_args(Format)[0]


class Summary(Part, frozen=True):
    """In a sentence."""

    sentence: str
    statuses: Mapping[str, int]
    texts: Annotated[Sequence[str], about("that models were trained on: where from, and its digest")]
    present: Sequence[str]
    folder: str


class Rule(Part, frozen=True):
    """What decides."""

    twin_multiple: Annotated[float, about("an implementation must lie within so many times the deviation of its twins")]
    worst_case: Annotated[float, about("how many times that rounding could explain at worst")]


class Equation(Part, frozen=True):
    """One of a cell's, as the specification has it."""

    target: str
    text: str


class Cell(Part, frozen=True):
    """A cell of the specification."""

    name: str
    title: str
    digest: str
    equations: Sequence[Equation]
    latex: Sequence[str]


class Listing(Part, frozen=True, kw_only=True):
    """An implementation as its framework lists it."""

    name: str
    cell: str
    lane: str
    dtypes: Sequence[str] | UnsetType = UNSET
    available: bool
    reason: Annotated[str, about("why it cannot run here")]


class Framework(Part, frozen=True, kw_only=True):
    """A framework, and what it was run with."""

    name: str
    command: str
    # A report of an earlier isogru does not say it.
    colour: (
        Annotated[str, Meta(pattern="^[a-z]+$"), about("the colour of the page that it has in charts")] | UnsetType
    ) = UNSET
    status: Annotated[str, one_of("present", "missing", "failed")]
    why: str
    # What follows is there where it is present.
    versions: Mapping[str, str] | UnsetType = UNSET
    switches: Annotated[Mapping[str, str], about("that can change a number")] | UnsetType = UNSET
    machine: Mapping[str, str] | UnsetType = UNSET
    corpus: str | UnsetType = UNSET
    unavailable: (
        Annotated[Sequence[Listing], about("implementations that cannot run here, with the reason")] | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        """Raises ValueError for one that is present without what it was run with."""
        if self.status == PRESENT:
            require(self, PRESENT_NEEDS, "a framework that is present")


PRESENT = "present"
PRESENT_NEEDS = ("versions", "switches", "machine", "corpus", "unavailable")
"""The fields that a framework has that is present."""


class Setup(Part, frozen=True):
    """What results were made with."""

    framework: str
    versions: Mapping[str, str]
    switches: Mapping[str, str]
    results: int


class Field(Part, frozen=True):
    """One field of the matrix."""

    cell: str
    column: Annotated[str, one_of(*COLUMNS)]
    status: Status
    ratio: Annotated[float | None, about("the largest over all cases; null stands for infinity")]
    quantity: Annotated[str | None, about("that has it; null where nothing was judged")]
    case: Annotated[str, about("that has it, or that gives the field its status")]


class Implementation(Part, frozen=True):
    """An implementation in a dtype on a device: a row of the matrix."""

    label: Annotated[str, about("framework/implementation, and the device where it is not the CPU")]
    framework: str
    implementation: str
    lane: str
    dtype: Dtype
    device: str
    status: Status
    results: int
    equal: int
    fields: Sequence[Field]


class Envelope(Part, frozen=True):
    """How far states may be from the oracle's trajectory, by time step."""

    case: str
    dtype: Dtype
    block: int
    twins: Sequence[Number]
    T: int


Triangle = Annotated[
    Sequence[Sequence[Difference]],
    about(
        "of every two labels, below the diagonal: row i has its differences from the labels before it; null stands "
        "for infinity, none for two that share no case"
    ),
]


class Furthest(Part, frozen=True):
    """The two that are furthest apart."""

    a: str
    b: str
    absolute: Number
    case: str


class Distances(Part, frozen=True):
    """One quantity."""

    quantity: str
    worst: Furthest
    absolute: Triangle
    relative: Triangle
    ulp: Triangle


class Pairs(Part, frozen=True):
    """Implementations of a cell in a dtype, each against each, over all cases that both ran."""

    cell: str
    dtype: Dtype
    labels: Sequence[str]
    quantities: Sequence[Distances]
    same_bits: Annotated[
        Sequence[Sequence[str]], about("labels that agree to the bit in every quantity of every case that they share")
    ]
    # A report of an earlier isogru compares all.
    left_out: (
        Annotated[Sequence[str], about("labels that ran too and are compared with no other: there are too many")]
        | UnsetType
    ) = UNSET


class Run(Part, frozen=True):
    """One run of a training."""

    label: str
    framework: str
    lane: str
    status: Status
    perplexity_train: Number
    perplexity_val: Number
    agreeing_train: Annotated[int, about("to how many characters it agrees with the oracle's, written with 8 decimals")]
    agreeing_val: int
    text: Annotated[Sequence[str], about("the continuation of the prefix, character by character")]
    text_differs_at: Sequence[int]
    seconds: Mapping[str, Seconds]
    leaves_envelope_at: Annotated[int | None, about("the first step, counted from 0")]
    digits: Annotated[float, about("to which the loss agrees with the oracle's at every step")]
    loss: Sequence[Number]
    distance: Annotated[Sequence[Number], about("of the loss from the oracle's")]


class Oracle(Part, frozen=True):
    """In float64."""

    perplexity_train: Number
    perplexity_val: Number
    text: Sequence[str]
    loss: Sequence[Number]
    envelope: Annotated[Sequence[Number], about("how far a loss may be from the oracle's")]


class Training(Part, frozen=True):
    """A language model in a dtype."""

    case: str
    cell: str
    dtype: Dtype
    recipe: Mapping[str, str | int | float]
    corpus: str
    steps: int
    clipped_steps: int
    envelope_opens_at: Annotated[int | None, about("the step from which rounding decides")]
    oracle: Oracle
    digits_between_frameworks: float | None
    same_text: bool
    runs: Sequence[Run]


class Precision(Part, frozen=True):
    """What an implementation delivers in a dtype."""

    framework: str
    implementation: str
    dtype: Dtype
    device: str
    asked: Annotated[float, Meta(gt=0), about("unit roundoff of the dtype")]
    roundoff: Annotated[Mapping[str, Annotated[float, Meta(gt=0)]], about("unit roundoff measured, by operation")]
    formats: Annotated[Mapping[str, str], about("the format nearest to it")]
    consequence: Annotated[str, about("of a label that lies; empty where it does not")]


class Layout(Part, frozen=True):
    """How one layer packs the parameters of its cell, and the verdict on the layer itself with converted weights."""

    name: str
    layer: Annotated[str, about("as its users name it")]
    package: str
    cell: str
    gates: Annotated[str, about("in the order in which they are packed")]
    tensors: Annotated[Mapping[str, str], about("shapes, in symbols")]
    transposed: bool
    biases: int
    folded: Sequence[str]
    inner_bias: Annotated[bool, about("whether a bias stands inside the product with the reset gate")]
    reset: Annotated[str, one_of("before", "after", "none"), about("the product with W_hh")]
    update: str
    time: str
    proven: Annotated[str, about("the tox environment that proves it")]
    unproven: Annotated[str, about("why none does")]
    source: Annotated[str, about("of the equations")]
    status: Annotated[str, one_of(*ORDER, *WITHOUT_VERDICT, "unproven")]
    why: str
    results: int
    ratio: Annotated[float | None, about("the largest; null stands for infinity")]
    worst: Annotated[str, about("where that is")]
    versions: Mapping[str, str]


class Report(Part, frozen=True):
    """Everything that the page and the summary show. Written by python -m reports site."""

    format: Format
    rule: Rule
    machine: Annotated[Mapping[str, str], about("that the report was made on")]
    cells: Sequence[Cell]
    frameworks: Sequence[Framework]
    results: Sequence[Result]
    implementations: Sequence[Implementation]
    envelopes: Sequence[Envelope]
    pairs: Sequence[Pairs]
    training: Sequence[Training]
    precision: Sequence[Precision]
    rosetta: Sequence[Layout]
    leaderboard: Leaderboard | None
    setups: Sequence[Setup]
    summary: Summary
