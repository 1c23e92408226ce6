"""The leaderboard as types: what leaderboard.json holds, and the leaderboard of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, get_args

import msgspec

from isogru.judge.comparison import ORDER
from reports.pages.parts import Part, about, one_of

Format = Literal["isogru-leaderboard/1"]
FORMAT: Format = get_args(Format)[0]
FAILED, UNFINISHED = "failed", "unfinished"
PASSED, FAILED_CONTROL, UNKNOWN = "passed", "failed", "unknown"
SLOWER, FASTER, ALIKE = "slower", "faster", "alike"
SCRATCH = "scratch"
"""The implementation that compiled ones are counted against."""


class Entrant(Part, frozen=True):
    """A framework in this race."""

    name: str
    passes: Annotated[int, about("starts that it was in")]
    import_: Annotated[float, about("seconds to import it")] = msgspec.field(name="import")
    versions: Mapping[str, str]
    switches: Mapping[str, str]


class Step(Part, frozen=True):
    """A product (n, h) (h, k) that waits for the one before."""

    n: int
    h: int
    k: int
    seconds: float
    rate: Annotated[float, about("floating-point operations a second")]


class Limits(Part, frozen=True):
    """What the machine was seen to reach in one precision, by the best framework."""

    dtype: str
    rates: Annotated[
        Mapping[str, float], about("operations a second: product, function; bytes a second: cache, memory")
    ]
    by: Annotated[Mapping[str, str], about("the framework that reached it")]
    steps: Sequence[Step]
    issue: Annotated[Mapping[str, float], about("seconds in which each framework's host issues an operation")]


class Size(Part, frozen=True):
    """T steps of n sequences, d inputs, h units."""

    name: str
    T: int
    n: int
    d: int
    h: int


class Bound(Part, frozen=True):
    """Seconds that a call takes at least on this machine: parts that add up."""

    seconds: float
    compute: Annotated[float, about("products and functions at the machine's best")]
    memory: Annotated[float, about("what inputs and outputs take longer to move")]
    latency: Annotated[float, about("what products that wait for one another take longer")]


class Row(Part, frozen=True):
    """A framework's implementation on a workload."""

    id: Annotated[str, about("the benchmark's name, the same in every framework")]
    framework: str
    implementation: str
    lane: str
    status: Annotated[str, one_of(*ORDER, FAILED, UNFINISHED), about("only what is equal is ranked")]
    why: Annotated[str, about("why it is not ranked; empty where it is")]
    rank: Annotated[
        int | None,
        about("the best place that it can have, 1 the fastest; null where starts are too few, or a control failed"),
    ]
    seconds: Annotated[float | None, about("of a call: the geometric mean over starts")]
    passes: Annotated[Mapping[str, float], about("a call's time in each start, by its number")]
    ratio: Annotated[float | None, about("how many times as long as the fastest, paired by block")]
    low: Annotated[
        float | None, about("its interval, of 95% for all pairs of the table together; null where starts are too few")
    ]
    high: float | None
    percent: Annotated[float | None, about("of the bound")]
    held_back_by: Annotated[
        Annotated[str, one_of("compute", "memory", "latency", "host")] | None,
        about("what takes most of its time; null where most is unexplained"),
    ]
    error: Annotated[
        float | None, about("the largest difference from the oracle, relative to the largest element of its quantity")
    ]
    error_ratio: Annotated[float | None, about("of the worst element to what is allowed")]
    first: Annotated[float | None, about("seconds of the first call, compiling included")]
    issue: Annotated[
        float | None, about("seconds that the host takes to issue a call: the same with next to nothing to compute")
    ]
    break_even: Annotated[
        int | None,
        about("after how many calls compiling has paid, against the scratch lane; null for never, unless `uncounted`"),
    ]
    command: Annotated[str, about("that repeats it")]
    memory: Annotated[int | None, about("bytes at the peak of a call, in a fresh process, above what it had before")]
    last_rank: Annotated[int | None, about("the worst place that it can have; not in earlier versions")] = None
    said: Annotated[str, about("what is known of it beside the fastest, in words")] = ""
    blocks: Annotated[int, about("turns that it had, over all starts")] = 0
    unexplained: Annotated[
        float | None, about("percent of its time that neither arithmetic nor anything that was measured accounts for")
    ] = None
    uncounted: Annotated[
        str, about("why the calls of `break_even` could not be counted; empty where they were; not in earlier versions")
    ] = ""

    @property
    def time(self) -> float:
        """The seconds of a row that is ranked, which has them."""
        if self.seconds is None:
            raise ValueError(f"{self.framework}: {self.id} is {self.status} and has no time")
        return self.seconds


class Table(Part, frozen=True):
    """A workload: one kind of work, on one cell, at one size, in one precision."""

    workload: str
    title: str
    kind: Annotated[str, one_of("step", "forward", "gradient", "training-step", "epoch", "prediction")]
    size: Size
    cell: str
    dtype: str
    series: Annotated[Sequence[str], about("the dimensions whose series it is a point of")]
    bound: Bound | None
    rows: Annotated[Sequence[Row], about("ranked ones first")]


class Change(Part, frozen=True):
    """A row in both leaderboards."""

    framework: str
    id: str
    implementation: str
    before: Annotated[float, about("seconds of a call")]
    now: float
    ratio: Annotated[float, about("now to before")]
    low: Annotated[float | None, about("its 95% confidence interval; null where one of them has one pass")]
    high: float | None
    change: Annotated[str, one_of(SLOWER, FASTER, ALIKE)]


class Against(Part, frozen=True):
    """An earlier leaderboard, or another machine's, side by side."""

    name: str
    machine: Mapping[str, str]
    same_machine: bool
    rows: Sequence[Change]
    gone: Annotated[Sequence[str], about("rows that only it has")]
    new: Annotated[Sequence[str], about("rows that it has not")]
    reversed: Annotated[Sequence[str], about("pairs whose order was beyond doubt in both, and not the same")]


class Control(Part, frozen=True):
    """Whether the race itself can be believed, in one respect."""

    kind: Annotated[
        str,
        about(
            "twice: the same contender under two names is as fast as itself; drift: a loop that is always the same "
            "takes as long, or on a GPU all contenders together; busy: no other process is at work"
        ),
    ]
    workload: Annotated[str, about("that it is of; empty where it is of the whole race")]
    status: Annotated[str, one_of(PASSED, FAILED_CONTROL, UNKNOWN), about("of one that failed nothing is ranked")]
    said: str

    @property
    def is_failed(self) -> bool:
        """Whether nothing is to be ranked."""
        return self.status == FAILED_CONTROL


class Leaderboard(Part, frozen=True):
    """A race: frameworks timed in turns, each proven equal on the very work."""

    format: Format
    name: Annotated[str, about("when it began")]
    machine: Annotated[Mapping[str, str], about("that all passes ran on")]
    device: str
    threads: int
    tf32: Annotated[bool, about("whether a GPU was let cut factors to TF32")]
    corpus: Annotated[str, about("where the text is from, and its digest")]
    passes: Annotated[int, about("how often contenders were started")]
    frameworks: Sequence[Entrant]
    limits: Sequence[Limits]
    tables: Sequence[Table]
    trouble: Annotated[Sequence[str], about("passes that were cut off")]
    against: Against | None
    budget: Annotated[float | None, about("seconds that it was given; null where it was not run in turns")] = None
    seed: Annotated[int | None, about("of the order of turns")] = None
    blocks: Annotated[int, about("turns of all contenders, of all workloads and starts")] = 0
    controls: Annotated[Sequence[Control], about("whether the race itself can be believed")] = ()
