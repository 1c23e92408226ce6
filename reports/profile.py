"""A profile: where and when the states of one result are off, small enough to be drawn and to be kept in a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.finding import ratios
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


def of_states(H: Array, should_be: Array, allowed: Array, truth: Array) -> Profile:
    """The profile of states H (T, n, h) held against one step each, and against the oracle's `truth`."""
    difference, ratio = ratios(H, should_be, allowed)
    far, _ = ratios(H, truth, np.ones(()))
    T = len(H)
    rows = ratio.reshape(T, -1)
    worst = rows.argmax(axis=1)
    steps = np.arange(T)
    block = -(-T // MOST_STEPS)
    of_steps = _starts(T, block)
    # The step with the largest ratio stands for its block.
    top = [int(s + np.argmax(rows[s : s + block].max(axis=1))) for s in of_steps]
    curves = Curves(
        block,
        _short(difference.reshape(T, -1)[steps, worst][top]),
        _short(np.broadcast_to(allowed, H.shape).reshape(T, -1)[steps, worst][top]),
        _short(np.maximum.reduceat(far.reshape(T, -1).max(axis=1), of_steps)),
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
    return tuple(float(f"{value:.2e}") for value in values)
