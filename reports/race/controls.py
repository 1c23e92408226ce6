"""The controls of a race: whether the race itself can be believed. One that fails, and nothing is ranked.

What is allowed is what tests/simulated has tried: that each turn meets the machine at another speed, the lowest
of which is half of the highest, and that one block in ten has another program beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from reports.race import statements
from reports.race.records import FAILED_CONTROL, PASSED, UNKNOWN, Control
from shared_spec.race import blocks, decisions
from shared_spec.race.blocks import TWICE, Block
from shared_spec.race.decisions import Times

DRIFT = 0.35
"""Of the loop that is always the same, or on a GPU of all contenders together, from one block to the next: the
deviation of the logarithm.
"""
DISTURBED = 0.1
"""Of the blocks, those in which another process was at work."""
NORMAL = 1.4826
"""The deviation of a normal distribution over its median distance from the centre."""


def judge(of: Sequence[Block], *, device: str) -> list[Control]:
    """The controls of all the blocks of a race on a device. None where there are no blocks."""
    return [*(_doubles(of)), _drift(of, device), _busy(of)] if of else []


def _doubles(of: Sequence[Block]) -> Iterator[Control]:
    """The contender that raced twice, in each workload."""
    for workload, times in _times(of):
        twice = [name for name in times if name.endswith(TWICE)]
        if not twice:
            yield Control("twice", workload, UNKNOWN, "no contender raced twice")
        for again in twice:
            yield _double(workload, again, times)


def _times(of: Sequence[Block]) -> Iterator[tuple[str, Mapping[str, Times]]]:
    """Seconds of each contender of each workload."""
    for workload in dict.fromkeys(block.workload for block in of):
        names = dict.fromkeys(name for block in of if block.workload == workload for name in block.seconds)
        yield workload, blocks.times(of, workload, list(names))


def _double(workload: str, again: str, times: Mapping[str, Times]) -> Control:
    name = again.removesuffix(TWICE)
    starts = set(times[again])
    # Beside all that were there as often: how much starts differ is known of all together.
    there = [each for each in times if starts <= set(times[each])]
    kept = {each: {start: times[each][start] for start in starts} for each in there}
    what = f"{name} against itself"
    if name not in kept:
        return Control("twice", workload, UNKNOWN, f"{what}: it was not there as often as its other self")
    decision = decisions.decide([kept[each] for each in there])
    if not decision.is_enough:
        return Control("twice", workload, UNKNOWN, f"{what}: it takes {decisions.LEAST} starts to say anything")
    pair = decision.pairs[there.index(again)][there.index(name)]
    words = f"{what}: {statements.in_words(pair)}"
    if (pair.is_slower or pair.is_faster) and not pair.is_equivalent:
        return Control("twice", workload, FAILED_CONTROL, f"{words}: one program is not faster than itself")
    return Control("twice", workload, PASSED if pair.is_equivalent else UNKNOWN, words)


def _drift(of: Sequence[Block], device: str) -> Control:
    """How much the loop changed from each block to the next of the same start. The loop runs on the host, which has
    little to do with what is timed on a GPU: there it is what all contenders have in common.
    """
    pairs = [
        (before, after)
        for before, after in itertools.pairwise(of)
        if (before.start, before.workload) == (after.start, after.workload)
    ]
    if not pairs:
        return Control("drift", "", UNKNOWN, "no two blocks follow each other")
    loop = _typical([np.log(after.calibration / before.calibration) for before, after in pairs])
    words, typical, told = f"a loop that is always the same changes by {loop:.1%} from block to block", loop, ""
    if device != "cpu":
        typical = _typical([_together(before, after) for before, after in pairs])
        words = f"all contenders together change by {typical:.1%} from block to block"
        told = f"; a loop of the host by {loop:.1%}"
    # The loop is one thread: what holds up two of them at once shows in the contenders alone.
    if (apart := _from_start_to_start(of)) is not None:
        told += f"; all contenders of a workload together by up to {apart:.0%} from start to start"
    if typical > DRIFT:
        failed = f"{words}, more than {DRIFT:.0%}: the machine's speed is not steady{told}"
        return Control("drift", "", FAILED_CONTROL, failed)
    return Control("drift", "", PASSED, words + told)


def _typical(changes: Sequence[float]) -> float:
    return NORMAL * float(np.median(np.abs(changes)))


def _together(before: Block, after: Block) -> float:
    """The mean change of the logarithm of those times that both blocks have."""
    both = before.seconds.keys() & after.seconds.keys()
    return float(np.mean([np.log(after.seconds[name] / before.seconds[name]) for name in both]))


def _from_start_to_start(of: Sequence[Block]) -> float | None:
    """How much longer those contenders took, on the average, that every start has, in their slowest start than in their
    fastest: the largest of all workloads. None where no workload has two starts.
    """
    largest = None
    for _, times in _times(of):
        starts = {start for by_start in times.values() for start in by_start}
        there = [by_start for by_start in times.values() if starts <= set(by_start)]
        typical = [[np.log(np.nanmedian(by_start[start])) for start in starts] for by_start in there]
        if len(starts) > 1 and typical:
            apart = float(np.expm1(np.ptp(np.mean(typical, axis=0))))
            largest = max(apart, largest or 0.0)
    return largest


def _busy(of: Sequence[Block]) -> Control:
    """In how many blocks something else was at work, and what."""
    watched = [block for block in of if block.watched]
    unwatched = len(of) - len(watched)
    if not watched:
        return Control(
            "busy", "", UNKNOWN, f"nobody looked at what else was at work in {unwatched} blocks: only Linux tells that"
        )
    disturbed = [block for block in watched if block.busy]
    cores: dict[str, float] = {}
    for block in disturbed:
        for name, taken in block.busy.items():
            cores[name] = cores.get(name, 0.0) + taken / len(watched)
    busiest = sorted(cores, key=lambda name: -cores[name])[:3]
    by = ", ".join(f"{name} ({cores[name]:.2f} cores on the average)" for name in busiest)
    words = f"in {len(disturbed)} of {len(watched)} blocks another process was at work" + (f": {by}" if by else "")
    words += f"; nobody looked in {unwatched} more" if unwatched else ""
    failed = len(disturbed) > DISTURBED * len(watched)
    return Control("busy", "", FAILED_CONTROL if failed else UNKNOWN if unwatched else PASSED, words)
