"""A race that nobody ran: passes of four frameworks with made-up times, read back from files like any others, and the
leaderboard on them. In it is whatever a leaderboard can hold: ties, rows that are not equal, failed or were cut off,
series of sizes, and every number that may be missing.
"""

from __future__ import annotations

import itertools
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import structs

from reports.race import against, leaderboard
from reports.race.records import Leaderboard
from shared_spec.race import blocks, definition, rows, workloads
from shared_spec.race.blocks import Block
from shared_spec.race.definition import Race
from shared_spec.race.rows import Outcome
from shared_spec.race.workloads import Workload

IMAGE = "<img src=x onerror=alert(1)>"
WHY = f"H[3,0,1] = 0.5, should be 0.25 {IMAGE} | `x`"
LANES = {
    "torch": ("scratch", "compiled", "native", "tuned"),
    "tensorflow": ("scratch", "compiled", "compiled-xla", "native", "tuned"),
    "jax": ("scratch", "compiled", "tuned"),
    "mxnet": ("scratch", "tuned"),
}
SPEED = {"scratch": 9.0, "compiled": 2.5, "compiled-xla": 2.2, "native": 1.8, "tuned": 1.0}
# What there is to time: the chapter's step in both precisions, and the series of both cells.
TIMED = ("training-step-chapter-gru-float32", "training-step-chapter-gru-float64", "forward-one-sequence-gru-float32")
TIMED += ("training-step-chapter-gru_reset_after-float32", "prediction-chapter-gru-float32")
SERIES = ("gru", "gru_reset_after")
FIRST = TIMED[0]
KEPT = ("format", "kind", "status", "held_back_by", "series", "change")
"""Texts of a leaderboard that are words of its format; all others anybody may have written."""
FREE = ("machine", "versions", "switches", "issue")
"""Of these so are the names."""


def board(folder: Path, *, passes: int = 4, timed: tuple[str, ...] | None = None, torch: float = 1.0) -> Leaderboard:
    """The leaderboard: that of everything, or of the workloads named; with torch so much slower."""
    chosen = [w for w in workloads.catalogue() if (w.name in timed if timed else _is_timed(w))]
    all_passes = [_pass(folder, name, number, chosen, torch) for number in range(1, passes + 1) for name in LANES]
    memory = [
        rows.Memory(one.framework, w.name, lane, int(4e6 * SPEED[lane] ** 2))
        for one in all_passes[: len(LANES)]
        for w in chosen
        for lane in LANES[one.framework]
        if (one.framework, lane) != ("torch", "native")  # There is one that was not measured.
    ]
    return leaderboard.build(all_passes, memory, name="2026-01-02T03-04-05")


def side_by_side(folder: Path) -> Leaderboard:
    """The leaderboard of everything, held against an earlier one of the first workload, in which torch was faster."""
    now, before = board(folder / "now"), board(folder / "before", timed=(FIRST,), torch=0.5)
    return structs.replace(now, against=against.compare(now, before))


def everything(race: Race, *, starts: int, of_start: int) -> int:
    """The files of a race of all workloads in all lanes, with so many blocks of each in each start. Gives its rows."""
    definition.begin(race)
    chosen, random = list(workloads.catalogue()), np.random.default_rng(0)
    pairs = [(framework, lane) for framework, lanes in LANES.items() for lane in lanes]
    writer = blocks.Writer(race.blocks_file)
    for start in range(1, starts + 1):
        for framework in LANES:
            _pass(race.folder, framework, start, chosen, 1.0)
        for number, w in itertools.product(range(1, of_start + 1), chosen):
            seconds = {blocks.name(*pair): _seconds(w, *pair, start) * random.lognormal(0, 0.03) for pair in pairs}
            writer.write(Block(start=start, workload=w.name, number=number, seconds=seconds, calibration=0.01))
    return len(chosen) * len(pairs)


def _is_timed(workload: Workload) -> bool:
    return workload.name in TIMED or bool(workload.in_series and workload.cell in SERIES)


def _pass(folder: Path, framework: str, number: int, chosen: list[Workload], torch: float) -> rows.Pass:
    """A pass as a framework would write it. MXNet's are cut off, in a row with another after it."""
    plan = [(w, lane) for w in chosen for lane in LANES[framework]]
    path = rows.file(folder, framework, "cpu", number)
    writer = rows.Writer(path, goes_on=False)
    writer.header(
        rows.Header(
            framework=framework,
            device="cpu",
            threads=2,
            tf32=False,
            number=number,
            plan=tuple(row(w, lane) for w, lane in plan),
            import_=0.6,
            versions={framework: "2.13.0+cpu", "numpy": "2.4.6"},
            switches={"threads": "2", "deterministic": "True"},
            machine={"system": "Linux", "processor": "A processor with a name as long as they are", "cores": "2"},
            corpus="built-in 090b5e7e70c295757f55df93cb0a180b9691891a",
        )
    )
    for place, (w, lane) in enumerate(plan):
        if framework == "mxnet" and place == len(plan) - 2:
            writer.write(rows.Begin(row(w, lane)))
            return rows.read(path)
        outcome = _outcome(w, framework, lane, number)
        if outcome is not None:
            if framework == "torch":
                outcome = structs.replace(outcome, seconds=tuple(torch * seconds for seconds in outcome.seconds))
            writer.write(rows.Begin(row(w, lane)))
            writer.write(rows.End(row(w, lane), outcome))
    writer.write(rows.Limits("float32", _limits(framework, chosen)))
    writer.write(rows.Done())
    return rows.read(path)


def row(w: Workload, implementation: str) -> rows.Row:
    """An implementation's row, in the lane that its name begins with."""
    return rows.Row(w.name, implementation, implementation.split("-")[0])


def _outcome(w: Workload, framework: str, lane: str, number: int) -> Outcome | None:
    """What a row brought; None where it was left out of a pass."""
    of_first = w.name == FIRST
    if of_first and (framework, lane) == ("tensorflow", "compiled"):
        return Outcome(verdict="different", why=WHY, ratio=4.1e5, error=0.5, seconds=(1e-9,))
    if of_first and (framework, lane) == ("jax", "compiled"):
        return Outcome(failed="ended by SIGSEGV: Segmentation fault")
    if of_first and (framework, lane) == ("tensorflow", "native") and number != 2:
        return None  # Not in the first pass, which was cut off.
    seconds = _seconds(w, framework, lane, number)
    outcome = Outcome(verdict="equal", why="worst", ratio=0.07, error=3e-6 * SPEED[lane], seconds=(seconds,) * 3)
    if number == 1:
        # What torch compiles never pays; what JAX does, at once.
        first = {"torch": 15.0, "jax": 0.5}.get(framework, 2.0) if lane != "scratch" else 1.0
        issue = 0.9 * seconds if lane == "scratch" else 1e-5
        outcome = structs.replace(outcome, first=first + seconds, issue=issue)
    if of_first and (framework, lane) == ("tensorflow", "tuned"):
        outcome = structs.replace(outcome, error=None, ratio=None)
    return outcome


def _seconds(w: Workload, framework: str, lane: str, number: int) -> float:
    """So much for each step, whatever its size, and so much for what is in it; JAX and torch, tuned, take the same."""
    size = w.size
    of_framework = {"torch": 1.0, "tensorflow": 1.6, "jax": 1.0, "mxnet": 2.7}[framework]
    arithmetic = size.n * size.h * (size.d + size.h) * 6 / 1e11 * (2 if w.dtype == "float64" else 1)
    step = 4e-6 * SPEED[lane] ** 1.5 * of_framework + arithmetic * SPEED[lane] ** 0.3
    count = 60 if w.kind == "prediction" else size.T
    random = np.random.RandomState(zlib.crc32(f"{w.name} {framework} {lane} {number}".encode()))
    slower = 40.0 if (framework, lane) == ("torch", "compiled") else 1.0
    return float(count * step * slower * np.exp(random.normal(0, 0.03)))


def _limits(framework: str, chosen: list[Workload]) -> rows.Reached:
    """What it reached, in float32 only."""
    best = {"torch": 1.0, "jax": 1.2}.get(framework, 0.5)
    shapes = dict.fromkeys(shape for w in chosen for shape in w.products())
    return rows.Reached(
        product=4.3e12 * best,
        function=2.6e10 * best,
        cache=1.4e12 / best,
        memory=4e11 / best,
        issue=4.5e-6 / best,
        step=tuple((n, h, k, 1e-7 + 2 * n * h * k / (2e12 * best)) for n, h, k in shapes),
    )


def hostile(original: Leaderboard, text: str) -> Leaderboard:
    """The same leaderboard with a text in place of every text that is not a word of the format."""

    def changed(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            free = key in FREE
            return {f"{name} {text}" if free else name: changed(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [changed(inner, key) for inner in value]
        return f"{value} {text}" if isinstance(value, str) and key not in KEPT else value

    return msgspec.convert(changed(msgspec.to_builtins(original)), Leaderboard)
