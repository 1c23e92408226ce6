"""Races that nobody ran, many at once: log times of programs whose true times are known, and what machines do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shared_spec.race import decisions

TRUE = np.log([1.0, 1.0, 1.01, 1.03, 1.1, 1.1, 1.5])
"""Two pairs of ties, and differences of 1%, 3%, 10% and half as much again."""
MANY = np.concatenate([TRUE, TRUE + 0.2])
"""As many as the lanes of all frameworks."""
NOISE, RESTART = 0.03, 0.005
"""Deviations from turn to turn, and from start to start."""
UNLIKE = {1: 0.03, 4: 0.04, 5: 0.05}
"""Programs that differ more from start to start, and their deviations: 3, 4 and 5 times that of the others, of twelve
turns each.
"""
Array = Any


def _drift(random: np.random.Generator, logs: Array) -> Array:
    """All slow down and speed up, by 5% from block to block."""
    count, _, starts, blocks = logs.shape
    return np.cumsum(random.normal(0, 0.05, (count, 1, starts * blocks)), axis=-1).reshape(count, 1, starts, blocks)


def _outliers(random: np.random.Generator, logs: Array) -> Array:
    """One turn in ten takes twice as long on the average, some ten times."""
    return np.where(random.random(logs.shape) < 0.1, random.exponential(0.7, logs.shape), 0.0)


def _bursts(random: np.random.Generator, logs: Array) -> Array:
    """One block in ten has another program beside it, which half of its turns meet."""
    count, _, starts, blocks = logs.shape
    there = random.random((count, 1, starts, blocks)) < 0.1
    return np.where(there & (random.random(logs.shape) < 0.5), np.log(2), 0.0)


def _gusts(random: np.random.Generator, logs: Array) -> Array:
    """Each turn meets the machine at one of three speeds, of which the lowest is half of the highest: so do cores that
    are shared with other machines.
    """
    return random.choice(np.log([1.0, 1.45, 2.0]), p=[0.4, 0.45, 0.15], size=logs.shape)


def _one_restless(random: np.random.Generator, logs: Array) -> Array:
    """One program is another one after each start: by 3%, where the others are by half a percent."""
    count, _, starts, _ = logs.shape
    shifts = np.zeros(logs.shape)
    shifts[:, :1] = random.normal(0, 0.03, (count, 1, starts, 1))
    return shifts


def _unlike(random: np.random.Generator, logs: Array) -> Array:
    """Three programs are others after each start, each by itself."""
    count, programs, starts, _ = logs.shape
    return _deviations(programs) * random.normal(0, 1, (count, programs, starts, 1))


def _answers(random: np.random.Generator, logs: Array) -> Array:
    """The machine is slower in some starts than in others: by three programs it shows, by each in another measure."""
    count, programs, starts, _ = logs.shape
    return _deviations(programs) * random.normal(0, 1, (count, 1, starts, 1))


def _deviations(programs: int) -> Array:
    return np.array([UNLIKE.get(i, 0.0) for i in range(programs)])[:, None, None]


def _gaps(random: np.random.Generator, logs: Array) -> Array:
    """A third of the turns of three programs were not run."""
    gaps = np.where(random.random(logs.shape) < 1 / 3, np.nan, 0.0)
    gaps[:, 3:] = gaps[..., 0] = 0.0
    return gaps


WEATHER: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "calm": lambda random, logs: 0.0,
    "drift": _drift,
    "outliers": _outliers,
    "bursts": _bursts,
    "gusts": _gusts,
    "one restless": _one_restless,
    "unlike": _unlike,
    "answers": _answers,
    "gaps": _gaps,
}


def races(count: int, weather: str, *, starts: int, blocks: int, true: Array = TRUE, seed: int = 0) -> Array:
    """(count, programs, starts, blocks) log times."""
    random = np.random.default_rng(seed)
    programs = len(true)
    logs = true[:, None, None] + random.normal(0, NOISE, (count, programs, starts, blocks))
    logs = logs + random.normal(0, RESTART, (count, programs, starts, 1))
    return logs + WEATHER[weather](random, logs)


def wrong(logs: Array, true: Array = TRUE, *, stops: bool = False) -> Array:
    """(count,) whether something that is said of any pair is not true: at the end or, where one stops when one likes,
    after any start before.
    """
    errors = np.zeros(len(logs), dtype=bool)
    for starts in range(decisions.LEAST if stops else logs.shape[2], logs.shape[2] + 1):
        mean, half = decisions.intervals(logs[:, :, :starts])
        errors |= (np.abs(mean - (true[:, None] - true)) > half).any(axis=(-1, -2))
    return errors


def decided(logs: Array, true: Array = TRUE, *, apart: float = 0.05) -> Array:
    """(count,) whether the order is known of every pair that differs by so much."""
    mean, half = decisions.intervals(logs)
    differ = np.abs(true[:, None] - true) >= np.log1p(apart)
    return (np.abs(mean) > half)[:, differ].all(axis=-1)


def wrong_where_some_leave(logs: Array, true: Array = TRUE) -> Array:
    """(count,) whether something that is said is not true, after any start, where who is surely far behind is not
    started again.
    """
    return np.array([_one_is_wrong(one, true) for one in logs])


def _one_is_wrong(logs: Array, true: Array) -> bool:
    count, starts, _ = logs.shape
    times: list[dict[int, Array]] = [{} for _ in range(count)]
    going = list(range(count))
    for start in range(starts):
        for i in going:
            times[i][start] = np.exp(logs[i, start])
        decision = decisions.decide(times)
        for i in range(count):
            for j in range(count):
                pair = decision.pairs[i][j]
                if not pair.low * (1 - 1e-12) <= np.exp(true[i] - true[j]) <= pair.high * (1 + 1e-12):
                    return True
        going = decisions.undecided(decision)
    return False
