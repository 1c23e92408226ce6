"""What is entered for a race, what a start of it costs, and the smallest budget that it can be run in."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shared_spec import frameworks as known
from shared_spec import machine
from shared_spec.race import blocks, decisions
from shared_spec.race.blocks import TWICE, Block
from shared_spec.race.definition import Race
from shared_spec.race.rows import Header, Row

SETUP = 1.0
"""Seconds that a contender takes at the least to be judged, once its framework is imported."""
FEWEST = 4
"""Blocks that a start is to have: of fewer none is left out of their mean at either end."""
RESTLESS = 2.5
"""How many times as much blocks differ as starts do: 2.0, 3.1 and 3.5 times in races on two cores of a virtual machine,
where the logarithm of the ratio of two times differed by 0.05 to 0.11 from block to block, and by 0.026 to 0.032 from
start to start.
"""
LATER = 0.7
"""What another start is taken to need on a CPU of the time of the first, in which contenders are made ready one after
another: of 36 on two cores the middle one took 0.58 of it, 29 of them 0.7 or less.
"""
FIRST_TURNS = 8
"""How many turns a start may have, before it is known how long one takes."""


@dataclass(frozen=True)
class Entry:
    """What is entered for the blocks of a workload: a row of a framework, or one of them again."""

    framework: str
    row: Row
    is_double: bool = False
    """Whether it is raced a second time, under another name, as a control."""

    @property
    def name(self) -> str:
        return blocks.name(self.framework, self.row.implementation) + (TWICE if self.is_double else "")

    def spins_on(self, device: str) -> bool:
        """Whether its threads go on spinning while they wait for work on a device; for a GPU's they hardly wait."""
        return device == "cpu" and known.framework(self.framework).spins


@dataclass
class Costs:
    """What a start of a workload took: seconds to begin and to end, and of a block; and how many turns there were."""

    begin: float = 0.0
    end: float = 0.0
    block: float = 0.0
    turns: int = FIRST_TURNS

    @property
    def least(self) -> float:
        """Of a start with one block."""
        return self.begin + self.end + self.block

    @property
    def enough(self) -> int:
        """The blocks of a start beyond which another start says more for its time: the root of what a start costs in
        blocks, by how much more blocks differ than starts do (Kalibera and Jones 2013).
        """
        return max(FEWEST, math.ceil(RESTLESS * math.sqrt((self.begin + self.end) / max(self.block, 1e-9))))

    @property
    def usual(self) -> float:
        """Of a start with as many."""
        return self.begin + self.end + self.enough * self.block


def share(left: float, costs: Sequence[Costs], started: int) -> tuple[float, bool]:
    """Seconds of what is left of the budget that the next start of these workloads may take, when so many starts have
    been made; and whether more are to be had than it takes to say anything, so that it need not end by then.
    """
    least = max(decisions.LEAST - started, 1)
    affordable = int(left // max(sum(each.usual for each in costs), 1e-9))
    return left / max(affordable, least), affordable > least


def nearest_to_ranks(left: float, costs: Mapping[str, Costs], done: Sequence[Block], device: str) -> list[str]:
    """Of these workloads, by what a start of each takes, those that are to have the next start. Where what is left of
    the budget does not bring all to as many starts as ranks take, those that it does, the cheapest first; where it
    brings none, all.
    """
    started = Counter(workload for _, workload in {(block.start, block.workload) for block in done})
    needed = {
        workload: (decisions.LEAST - count) * of.least * (LATER if device == "cpu" and count == 1 else 1.0)
        for workload, of in costs.items()
        if (count := started[workload]) < decisions.LEAST
    }
    if sum(needed.values()) <= left:
        return list(costs)
    cheapest = sorted(needed, key=lambda workload: needed[workload])
    sums = itertools.accumulate(needed[workload] for workload in cheapest)
    within = {workload for workload, total in zip(cheapest, sums, strict=True) if total <= left}
    return [workload for workload in costs if workload in within] or list(costs)


def least_budget(race: Race, headers: Mapping[str, Header]) -> float:
    """Seconds that one block of each contender takes at the least, to import each framework and to start them
    included.
    """
    planned = [row.workload for header in headers.values() for row in header.plan]
    # One of each workload races twice.
    contenders = len(planned) + len(set(planned))
    return sum(header.import_ for header in headers.values()) + contenders * (SETUP + race.seconds)


def costs_of(done: Sequence[Block]) -> dict[str, Costs]:
    """What the last start of each workload took, by the moments of its blocks: of a race that goes on nothing else is
    known. What came before its first block was to begin it, and the end of what ran before, which stands for its own.
    """
    costs: dict[str, Costs] = {}
    before = 0.0
    for block in done:
        took, before = block.at - before, block.at
        of = costs.setdefault(block.workload, Costs())
        if block.number == 1:
            of.begin, of.block = took, 0.0
        else:
            if block.number == 2:
                of.begin = max(of.begin - took, 0.0)
            of.block = took
    return costs


def lost_doubles(of_start: Sequence[Block], entries: Callable[[str], Sequence[Entry]]) -> set[tuple[str, str]]:
    """Workloads and doubles that were lost in a start of a race that goes on, of which no row says so: the double is
    not in the last block, though the contender that it repeats is. `entries` gives what was to be in the start, by
    workload. Of one that was lost after its last turn nothing is known.
    """
    lost = set()
    for workload in {block.workload for block in of_start}:
        there = [{*block.seconds} for block in of_start if block.workload == workload]
        doubles = {entry.name for entry in entries(workload) if entry.is_double}
        doubles |= {name for name in set().union(*there) if name.endswith(TWICE)}
        lost |= {(workload, name) for name in doubles - there[-1] if name.removesuffix(TWICE) in there[-1]}
    return lost


def at_once(race: Race) -> int:
    """How many contenders may be at work at once outside of their turns: as many as there are cores. On a GPU they
    take one each, of those that a race has threads for.
    """
    return machine.cores() if race.device == "cpu" else race.threads


def undecided(done: Sequence[Block], workload: str, entries: Sequence[Entry]) -> list[Entry]:
    """Of those entered for a workload the ones of which these blocks do not tell yet how they stand."""
    alone = [each for each in entries if not each.is_double]
    times = blocks.times(done, workload, [each.name for each in alone])
    decision = decisions.decide([times[each.name] for each in alone])
    left = {alone[i].name for i in decisions.undecided(decision)}
    return [each for each in entries if each.name.removesuffix(TWICE) in left]
