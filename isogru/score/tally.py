"""What a matrix comes to: how many mutants died, and how surely those die that nobody chose."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from isogru.score import records
from isogru.score.records import ALIVE, EQUIVALENT, KILLED, Matrix

SURE = 0.95
"""How often an interval holds the true share."""
HALVINGS = 60


@dataclass(frozen=True)
class Tally:
    """Mutants, each of one cell, by what became of them."""

    killed: int
    equivalent: int
    alive: int

    @property
    def mutants(self) -> int:
        return self.killed + self.equivalent + self.alive

    @property
    def share(self) -> float:
        """The share killed of those that are not equivalent; 0 where there are none."""
        return self.killed / max(1, self.killed + self.alive)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share lies."""
        return clopper_pearson(self.killed, self.killed + self.alive)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.killed + other.killed, self.equivalent + other.equivalent, self.alive + other.alive)


def outcomes(matrix: Matrix) -> Mapping[tuple[str, str], str]:
    """What became of each mutant of each cell: by its id, and the cell."""
    those: dict[tuple[str, str], list[records.Trial]] = {}
    for trial in matrix.trials:
        those.setdefault((trial.mutant, trial.cell), []).append(trial)
    return {key: records.outcome(trials) for key, trials in those.items()}


def tally(matrix: Matrix, *, drawn: bool | None = None, kind: str = "") -> Tally:
    """How many became what: all, or those that were drawn, or those that were not, and of a kind."""
    of = {each.id: each for each in matrix.mutants}
    counted = Counter(
        outcome
        for (mutant, _), outcome in outcomes(matrix).items()
        if drawn in (None, of[mutant].drawn) and kind in ("", of[mutant].kind)
    )
    return Tally(counted[KILLED], counted[EQUIVALENT], counted[ALIVE])


def alive(matrix: Matrix) -> list[tuple[str, str]]:
    """The mutants that live, with their cell."""
    return [key for key, outcome in outcomes(matrix).items() if outcome == ALIVE]


def clopper_pearson(successes: int, of: int, *, sure: float = SURE) -> tuple[float, float]:
    """The interval of a share, from so many successes: that of Clopper and Pearson 1934, which holds the true share at
    least as often as it says, however few there are.
    """
    tail = (1 - sure) / 2
    low = 0.0 if successes == 0 else _where(lambda p: 1 - _at_most(successes - 1, of, p), tail)
    high = 1.0 if successes == of else 1 - _where(lambda q: 1 - _at_most(of - successes - 1, of, q), tail)
    return low, high


def _where(rising: Callable[[float], float], level: float) -> float:
    """Where a function that rises from 0 to 1 has a value."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < level else (low, middle)
    return low


def _at_most(k: int, n: int, p: float) -> float:
    """The chance of at most k successes out of n."""
    if p in (0.0, 1.0):
        return float(p == 0.0 or k >= n)
    logs = (
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    )
    return math.fsum(math.exp(each) for each in logs)


def percent(share: float) -> str:
    """A share in words, rounded down: what falls short of 99.90% is not said to reach it."""
    return f"{math.floor(1e4 * share) / 100:.2f}%"


def lines(matrix: Matrix) -> list[str]:
    """What is said of a matrix at the end of a run."""
    whole, held_out = tally(matrix), tally(matrix, drawn=True)
    told = [
        f"{matrix.framework} in {matrix.dtype}: {whole.mutants} mutants, {whole.killed} killed, {whole.equivalent} "
        f"equivalent, {whole.alive} alive"
    ]
    if held_out.killed + held_out.alive:
        low, high = held_out.interval
        told.append(
            f"drawn with seed {matrix.seed}: {held_out.killed} of {held_out.killed + held_out.alive} that are not "
            f"equivalent are killed, {percent(held_out.share)} (at 95%: {percent(low)} to {percent(high)})"
        )
    told += [f"alive: {mutant} of {cell}" for mutant, cell in alive(matrix)]
    return told
