"""The blocks of a race: contenders are started, take their turns in shuffled order, and end; then those of which it is
not known yet how they stand are started anew. Imports no framework.

A start has as many blocks as pay: then another start says more for its time, unless none is left to be had.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import structs

from frameworks.harness.busy import Watch, calibrate
from frameworks.harness.contender import Contender
from frameworks.harness.entries import Costs, Entry, at_once, costs_of, lost_doubles, nearest_to_ranks, share, undecided
from frameworks.harness.nursery import LostError
from frameworks.harness.starting import Start
from isogru.judge.comparison import EQUAL
from shared_spec.race import blocks, rows
from shared_spec.race.blocks import TWICE, Block
from shared_spec.race.definition import Race, passes
from shared_spec.race.rows import Header, Outcome

Tell = Callable[[str], None]
START_LIMIT, TURN_LIMIT, END_LIMIT = 600.0, 120.0, 300.0
"""Seconds after which a contender that has not come back is given up: from its start, a turn, its end."""
FIRST_STARTS = 4
"""Into how many what is left of the budget is shared out, before it is known what one costs."""
MOST_BLOCKS = 100
"""Of one start: beyond them another start says more."""


@dataclass
class Blocks:
    """The blocks of one race, those of an earlier try included."""

    race: Race
    headers: Mapping[str, Header]
    """Of each framework, with its whole plan."""
    begin: Callable[[int], Start]
    """A start, by its number."""
    tell: Tell
    costs: dict[str, Costs] = field(init=False)
    """By workload."""
    lost: set[tuple[str, str]] = field(default_factory=set)
    """Workloads and contenders that are not equal or have failed."""
    judged: set[str] = field(default_factory=set)
    """Workloads of which anything has come to its end."""

    def __post_init__(self) -> None:
        self.done = blocks.read(self.race.blocks_file)
        self.costs = costs_of(self.done)
        self._before = max((block.at for block in self.done), default=0.0)
        self._began = time.monotonic()
        self._writer = blocks.Writer(self.race.blocks_file)
        for file in self.race.folder.glob("*.rows"):
            # Of contenders that were killed.
            file.unlink()
        there = passes(self.race)
        self._next = 1 + max((one.number for one in there), default=0)
        for number in sorted({one.number for one in there} | {block.start for block in self.done}):
            self.lost |= lost_doubles([block for block in self.done if block.start == number], self.entries)
            for one in [each for each in there if each.number == number]:
                for row, outcome in one.outcomes.items():
                    self._note(Entry(one.framework, row), outcome)
                if not one.is_done:
                    # What is complete of it counts. It is not gone on with: its processes are no more.
                    rows.Writer(one.path, goes_on=True).write(rows.Done())

    @property
    def gone(self) -> float:
        """Seconds of the budget."""
        return self._before + time.monotonic() - self._began

    @property
    def left(self) -> float:
        return self.race.budget - self.gone

    def run(self) -> None:
        """As many starts as the budget allows, or as are needed to decide everything."""
        while going := self._going():
            self._start(self._next, going)
            self._next += 1

    def entries(self, workload: str) -> list[Entry]:
        """All that may take part in the blocks of a workload: last one of them again, the same in every start."""
        those = [
            Entry(name, row) for name, header in self.headers.items() for row in header.plan if row.workload == workload
        ]
        there = {each.name: each for each in those if (workload, each.name) not in self.lost}
        # Of all that were ever there, so that a loss changes no other's place; "twin" is a seed, of older races too.
        order = self.race.shuffled((each.name for each in those), workload, "twin")
        double = next((name for name in order if name in there and (workload, name + TWICE) not in self.lost), None)
        again = [Entry(there[double].framework, there[double].row, is_double=True)] if double else []
        return [*there.values(), *again]

    def _going(self) -> dict[str, list[Entry]]:
        """What has the next start, by workload."""
        every = dict.fromkeys(row.workload for header in self.headers.values() for row in header.plan)
        paid = filter(self._is_paid, every)
        going = {workload: undecided(self.done, workload, self.entries(workload)) for workload in paid}
        costs = {workload: self.costs.get(workload, Costs()) for workload, those in going.items() if those}
        nearest = nearest_to_ranks(self.left, costs, self.done, self.race.device)
        return {workload: going[workload] for workload in nearest}

    def _is_paid(self, workload: str) -> bool:
        """Whether what is left of the budget is enough for a start of it; the first of all is made in any case."""
        return workload not in self.judged or self.costs.get(workload, Costs()).least < self.left

    def _start(self, start: int, going: Mapping[str, list[Entry]]) -> None:
        writers = {}
        for name, header in self.headers.items():
            of = [e.row for entries in going.values() for e in entries if e.framework == name and not e.is_double]
            if of:
                writers[name] = rows.Writer(self.race.file(name, start), goes_on=False)
                writers[name].header(structs.replace(header, number=start, plan=tuple(of)))
        seconds, is_plenty = self._share(going)
        end = self.gone + seconds
        with self.begin(start) as begun:
            for place, workload in enumerate(going):
                # Those before it took of what was left.
                if place and not self._is_paid(workload):
                    continue
                weights = [self.costs[w].least if w in self.costs else 1.0 for w in list(going)[place:]]
                until = self.gone + (end - self.gone) * weights[0] / sum(weights)
                self._workload(start, workload, begun, going[workload], until, is_plenty, writers)
        for writer in writers.values():
            writer.write(rows.Done())

    def _share(self, going: Mapping[str, list[Entry]]) -> tuple[float, bool]:
        if not all(workload in self.costs for workload in going):
            return self.left / FIRST_STARTS, False
        return share(self.left, [self.costs[workload] for workload in going], len({one.start for one in self.done}))

    def _workload(
        self,
        start: int,
        workload: str,
        begun: Start,
        entries: list[Entry],
        until: float,
        is_plenty: bool,
        writers: Mapping[str, rows.Writer],
    ) -> None:
        """One start of one workload: until then, or for as many blocks as pay where there is plenty of time."""
        costs, began, count = self.costs.setdefault(workload, Costs()), self.gone, 0
        running: dict[str, tuple[Entry, Contender]] = {}
        try:
            self._begin(begun, entries, running, costs.turns, writers)
            costs.begin = self.gone - began
            while running:
                before = self.gone
                self._block(start, workload, count + 1, begun, running, writers)
                count += 1
                costs.block = self.gone - before
                after = self.gone + costs.block + costs.end  # Another block.
                pays = count < costs.enough or (after <= until and self.left - costs.end < costs.least)
                if after > (self.race.budget if is_plenty else until) or not pays or count >= MOST_BLOCKS:
                    break
            before = self.gone
            self._end(running, writers)
            costs.end, costs.turns = self.gone - before, max(count, 1)
        finally:
            for _, contender in running.values():
                contender.close()
        wrong = sum(w == workload for w, _ in self.lost)
        words = f", {wrong} not equal or failed" if wrong else ""
        self.tell(
            f"start {start}: {workload}: {len(entries)} contenders, {count} blocks in {self.gone - began:.0f} s, "
            f"{self.gone:.0f} of {self.race.budget:.0f} s gone{words}"
        )

    def _begin(
        self,
        begun: Start,
        entries: Sequence[Entry],
        running: dict[str, tuple[Entry, Contender]],
        turns: int,
        writers: Mapping[str, rows.Writer],
    ) -> None:
        """Start all: side by side on a GPU, where each of them compiles for ten seconds on a core of its own; on a CPU
        one after another the first time, whose first calls are timed, and where threads spin, which makes two of them
        many times slower than one.
        """
        is_first = not any(entry.row.workload in self.judged for entry in entries)
        awaited: deque[Entry] = deque()
        begun.imports(dict.fromkeys(entry.framework for entry in entries))

        def await_down_to(count: int) -> None:
            while len(awaited) > count:
                entry = awaited.popleft()
                _, contender = running[entry.name]
                try:
                    contender.await_ready(START_LIMIT)
                except LostError as error:
                    self._drop(entry, contender, error, running, writers)

        for entry in entries:
            alone = (is_first and self.race.device == "cpu") or entry.spins_on(self.race.device)
            await_down_to(0 if alone else at_once(self.race) - 1)
            if not entry.is_double:
                writers[entry.framework].write(rows.Begin(entry.row))
            try:
                running[entry.name] = (entry, begun.contender(entry, turns))
            except LostError as error:
                self._come_of(entry, Outcome(failed=str(error)), writers)
                continue
            awaited.append(entry)
            if alone:
                await_down_to(0)
        await_down_to(0)

    def _end(self, running: dict[str, tuple[Entry, Contender]], writers: Mapping[str, rows.Writer]) -> None:
        """End all of them, side by side but for those whose threads spin."""
        left, device = list(running.values()), self.race.device
        while left:
            for _, each in itertools.takewhile(lambda one: not one[0].spins_on(device), left[: at_once(self.race)]):
                each.finish()
            entry, contender = left.pop(0)
            self._over(entry, contender, functools.partial(contender.end, END_LIMIT), running, writers)

    def _block(
        self,
        start: int,
        workload: str,
        number: int,
        begun: Start,
        running: dict[str, tuple[Entry, Contender]],
        writers: Mapping[str, rows.Writer],
    ) -> None:
        calibration = calibrate()
        watch = Watch(begun.sessions)
        seconds = {}
        for name in self.race.shuffled(running, start, workload, number):
            entry, contender = running[name]
            try:
                seconds[name] = contender.turn(TURN_LIMIT)
            except LostError as error:
                self._drop(entry, contender, error, running, writers)
        if seconds:
            block = Block(
                start=start,
                workload=workload,
                number=number,
                seconds=seconds,
                calibration=calibration,
                busy=watch.others(),
                watched=watch.can_look,
                at=self.gone,
            )
            self._writer.write(block)
            self.done.append(block)

    def _drop(
        self,
        entry: Entry,
        contender: Contender,
        error: LostError,
        running: dict[str, tuple[Entry, Contender]],
        writers: Mapping[str, rows.Writer],
    ) -> None:
        """It takes no further part: it has failed, or is not equal."""
        contender.kill()
        self._over(entry, contender, lambda: contender.outcome(str(error)), running, writers)

    def _over(
        self,
        entry: Entry,
        contender: Contender,
        outcome: Callable[[], Outcome],
        running: dict[str, tuple[Entry, Contender]],
        writers: Mapping[str, rows.Writer],
    ) -> None:
        try:
            came = outcome()
        except LostError as error:
            contender.kill()
            came = contender.outcome(str(error))
        self._come_of(entry, came, writers)
        running.pop(entry.name)
        contender.close()

    def _come_of(self, entry: Entry, came: Outcome, writers: Mapping[str, rows.Writer]) -> None:
        if not entry.is_double:
            writers[entry.framework].write(rows.End(entry.row, came))
        elif came.verdict != EQUAL:
            # No row says so.
            self.tell(f"{entry.row.workload}: {entry.name}: {came.failed or came.why}")
        self._note(entry, came)

    def _note(self, entry: Entry, outcome: Outcome) -> None:
        self.judged.add(entry.row.workload)
        if outcome.verdict != EQUAL:
            self.lost.add((entry.row.workload, entry.name))
