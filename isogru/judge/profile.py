"""A profile: where and when the states of one result are off, small enough to be drawn and to be kept in a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isogru.judge.comparison import Comparison, significant
from shared_spec.readings.arithmetic import Array

MOST_STEPS = 128
MOST_CELLS = 32
"""Longer axes are drawn in blocks, each with its largest value: nothing that is outside gets lost."""


@dataclass(frozen=True)
class Curves:
    """Against time, one value for each block of steps: the element with the largest ratio in it."""

    block: int
    difference: tuple[float, ...]
    """From one step of the specification, taken from the result's own previous state."""
    bound: tuple[float, ...]
    """What rounding allows there."""
    from_oracle: tuple[float, ...]
    """The largest distance from the float64 oracle's own trajectory."""


@dataclass(frozen=True)
class Heat:
    """The largest ratio of difference to bound over two axes, in blocks."""

    axes: tuple[str, str]
    blocks: tuple[int, int]
    ratio: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Profile:
    curves: Curves
    heat: tuple[Heat, ...]


def of_states(by_step: Comparison, by_oracle: Comparison) -> Profile:
    """The profile of states (T, n, h) held against one step each, and against the oracle's trajectory."""
    T, ratio = len(by_step.ratio), by_step.ratio
    worst, steps = ratio.reshape(T, -1).argmax(axis=1), np.arange(T)
    block, from_oracle = blocks(by_oracle.difference.reshape(T, -1).max(axis=1))
    # The step with the largest ratio stands for its block.
    top = [int(start + np.argmax(by_step.by_step[start : start + block])) for start in _starts(T, block)]
    curves = Curves(
        block,
        _short(by_step.difference.reshape(T, -1)[steps, worst][top]),
        _short(by_step.allowed.reshape(T, -1)[steps, worst][top]),
        from_oracle,
    )
    return Profile(curves, (_heat(("time", "unit"), ratio.max(axis=1)), _heat(("batch", "unit"), ratio.max(axis=0))))


def blocks(curve: Array) -> tuple[int, tuple[float, ...]]:
    """A curve over time in the blocks of a profile: their length, and the largest value in each."""
    block = -(-len(curve) // MOST_STEPS)
    return block, _short(np.maximum.reduceat(curve, _starts(len(curve), block)))


def _heat(axes: tuple[str, str], ratio: Array) -> Heat:
    rows, columns = (-(-size // MOST_CELLS) for size in ratio.shape)
    pooled = np.maximum.reduceat(ratio, _starts(ratio.shape[0], rows), axis=0)
    pooled = np.maximum.reduceat(pooled, _starts(ratio.shape[1], columns), axis=1)
    return Heat(axes, (rows, columns), tuple(_short(row) for row in pooled))


def _starts(size: int, block: int) -> list[int]:
    return list(range(0, size, block))


def _short(values: Array | Sequence[float]) -> tuple[float, ...]:
    """Three significant digits: enough to draw."""
    return tuple(significant(value, 3) for value in values)
