"""How fast a workload could be on a machine: its bound, from the cost reading and from what was measured there.

What can be done for all steps at once takes at least as long as its products, or as its memory; what waits for the step
before takes the time of its products one after another, each measured at its shape. On top of it come the functions.
Characters as inputs need no product with W_x: a row of the table is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared_spec.cells import cell
from shared_spec.race.rows import Reached
from shared_spec.race.workloads import PREDICTED, PREFIX, Workload, recipe
from shared_spec.readings import cost

ITEMSIZE = {"float32": 4, "float64": 8}
RATES = ("product", "function", "cache", "memory")


@dataclass(frozen=True)
class Limits:
    """What a machine was seen to reach, in one dtype: the best of all frameworks in one race."""

    rates: Mapping[str, float]
    """Operations a second: "product" and "function"; bytes a second: "memory" and "cache"."""
    by: Mapping[str, str]
    """Which framework reached each."""
    steps: Mapping[tuple[int, int, int], float]
    """Seconds of a product (n, h) (h, k) that waits for the one before, by (n, h, k)."""
    issue: Mapping[str, float]
    """Seconds in which each framework's host issues an operation."""


@dataclass(frozen=True)
class Bound:
    """Seconds that a workload takes at least, in parts that add up."""

    compute: float
    """Products and functions at the machine's best."""
    memory: float
    """What inputs and outputs take longer to move than batched products to compute."""
    latency: float
    """What products of one step take longer, one after another, than as one large product."""

    @property
    def seconds(self) -> float:
        return self.compute + self.memory + self.latency

    def __add__(self, other: Bound) -> Bound:
        return Bound(self.compute + other.compute, self.memory + other.memory, self.latency + other.latency)

    def times(self, count: float) -> Bound:
        return Bound(self.compute * count, self.memory * count, self.latency * count)


def best(measured: Iterable[tuple[str, Reached]]) -> Limits:
    """The best of what several frameworks, perhaps several times, reached."""
    rates: dict[str, float] = {}
    by: dict[str, str] = {}
    steps: dict[tuple[int, int, int], float] = {}
    issue: dict[str, float] = {}
    for framework, reached in measured:
        for name in RATES:
            if (rate := getattr(reached, name)) > rates.get(name, 0.0):
                rates[name], by[name] = rate, framework
        for n, h, k, seconds in reached.step:
            steps[n, h, k] = min(seconds, steps.get((n, h, k), seconds))
        issue[framework] = min(reached.issue, issue.get(framework, reached.issue))
    return Limits(rates, by, steps, issue)


def bound(workload: Workload, limits: Limits) -> Bound:
    """The least time of one call of a workload."""
    T, n = workload.size.T, workload.size.n
    match workload.kind:
        case "step" | "forward":
            return _sequence(workload, limits, T, n, of_model=False, with_gradients=False)
        case "gradient":
            return _sequence(workload, limits, T, n, of_model=False, with_gradients=True)
        case "training-step":
            return _sequence(workload, limits, T, n, of_model=True, with_gradients=True)
        case "prediction":
            return _sequence(workload, limits, PREFIX + PREDICTED - 1, 1, of_model=True, with_gradients=False)
        case _:
            of = recipe(workload, epochs=1)
            step = _sequence(workload, limits, T, n, of_model=True, with_gradients=True)
            validation = _sequence(workload, limits, T, n, of_model=True, with_gradients=False)
            return step.times(of.num_train / n) + validation.times(of.num_val / n)


def _sequence(workload: Workload, limits: Limits, T: int, n: int, *, of_model: bool, with_gradients: bool) -> Bound:
    """T steps of n sequences, of a cell over dense inputs or of the language model over characters."""
    d, h, both_ways = workload.size.d, workload.size.h, 2 if with_gradients else 1
    step = cost.step(cell(workload.cell), {"n": n, "d": d, "h": h})
    # A model's output layer takes the place of the product with the inputs.
    outside = 2 * n * h * d if of_model else step.product_flops - step.recurrent_flops
    # Backward, each product becomes two. That for the state waits for the step after; the others do not.
    batched = T * (outside + (2 * outside + step.recurrent_flops if with_gradients else 0))
    serial = T * step.recurrent_flops * both_ways
    waiting = T * both_ways * sum(limits.steps[shape] for shape in workload.products())
    functions = T * (step.function_calls + (n * d if of_model and with_gradients else 0))
    # Inputs and states are read or written once, and so are their cotangents; characters are next to nothing.
    values = step.parameter_values + T * n * (h if of_model else d + h) * both_ways
    peak = limits.rates["product"]
    moved = values * ITEMSIZE[workload.dtype] / limits.rates["memory"]
    return Bound(
        compute=(batched + serial) / peak + functions / limits.rates["function"],
        memory=max(0.0, moved - batched / peak),
        latency=max(0.0, waiting - serial / peak),
    )


def held_back_by(seconds: float, of: Bound, issue: float | None) -> tuple[str | None, float]:
    """What takes most of a time: compute, latency, host, or memory, whose traffic is counted; None where most is
    unexplained. And the seconds that are unexplained: arrays that are written and read again between operations, for
    one, and operations slower than the best seen here, of which nothing was measured.
    """
    parts = {"compute": of.compute, "latency": of.latency, "memory": of.memory, "host": issue or 0.0}
    unexplained = max(0.0, seconds - sum(parts.values()))
    most = max(parts, key=lambda name: parts[name])
    return (most if parts[most] >= unexplained else None), unexplained
