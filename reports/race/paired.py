"""Two programs timed in turns: how much longer one takes, with an interval, from pairs.

In each pass both were timed within minutes, so that what the machine did meanwhile fell on both. The logarithms of the
ratios of a pass are taken as a sample; Student's t gives the interval of their mean (Student 1908).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from shared_spec.race.decisions import Ratio

# Student's t, two-sided, 95%, by degrees of freedom; beyond the last it is at most that.
T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)


def ratio(seconds: Mapping[int, float], other: Mapping[int, float]) -> Ratio:
    """Of times by pass, those passes in which both have one. Raises ValueError where there is none."""
    logs = [math.log(seconds[number] / other[number]) for number in seconds if number in other]
    if not logs:
        raise ValueError("no pass has both")
    mean = statistics.fmean(logs)
    if len(logs) == 1:
        return Ratio(math.exp(mean), 0.0, math.inf)
    half = _t(len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def unpaired(seconds: Sequence[float], other: Sequence[float]) -> Ratio:
    """The same of two samples that were taken on different days or machines (Welch 1947)."""
    ours, theirs = ([math.log(value) for value in values] for values in (seconds, other))
    mean = statistics.fmean(ours) - statistics.fmean(theirs)
    if min(len(ours), len(theirs)) == 1:
        return Ratio(math.exp(mean), 0.0, math.inf)
    parts = [statistics.variance(values) / len(values) for values in (ours, theirs)]
    if not sum(parts):
        return Ratio(math.exp(mean), math.exp(mean), math.exp(mean))
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (ours, theirs), strict=True)
    )
    half = _t(freedom) * math.sqrt(sum(parts))
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of a sample and the ends of its 95% confidence interval; infinities where there is one value only."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return mean, -math.inf, math.inf
    half = _t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def _t(freedom: float) -> float:
    return T_95[min(max(int(freedom + 1e-9), 1), len(T_95)) - 1]
