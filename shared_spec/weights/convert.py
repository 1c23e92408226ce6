"""Weights from one layer's layout to another's, and first of all whether the other can hold the same function.

Two bias vectors that are added to each other count as their sum: b_z + b_hz, b_r + b_hr. Not so the bias inside the
product with the reset gate: what R * (H @ W_hh + b_hh) has of it moves with R, and no constant takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shared_spec.cells import Cell, cell
from shared_spec.errors import UserError
from shared_spec.readings import value
from shared_spec.readings.arithmetic import PLAIN, Array, Plain
from shared_spec.weights.layouts import Layout, reset_of
from shared_spec.weights.packing import pack, pack_away, summed, unpack

EXACT, FOLDED, IMPOSSIBLE = "exact", "exact after folding", "impossible"
INNER = "b_hh"
GATED = ("gru", "gru_reset_after")

# What an impossible conversion would cost is measured, with the weights at hand, on this problem.
STEPS, SEQUENCES, SEED = 64, 16, 20
PROBE = f"T = {STEPS}, n = {SEQUENCES}, X and the argument of H0 = tanh(...) drawn from N(0, 1)"


@dataclass(frozen=True)
class Fold:
    """A second bias added to the first."""

    second: str
    first: str
    rounding: float
    """The largest rounding error of the sums; 0 where every sum is exact."""


@dataclass(frozen=True)
class Cost:
    """The least that an impossible conversion costs, of the ways tried."""

    error: float
    """The largest absolute difference of a state between source and target, measured on PROBE."""
    way: str
    tried: Mapping[str, float]


@dataclass(frozen=True)
class Plan:
    """What converting certain weights amounts to, and the converted weights."""

    source: Layout
    target: Layout
    verdict: str
    folded: tuple[Fold, ...]
    notes: tuple[str, ...]
    """Why it is impossible, or why it is exact where one would not expect it."""
    cost: Cost | None
    tensors: Mapping[str, Array]
    conditions: tuple[str, ...] = ()
    """What must hold for both to be the same function, which the weights do not tell."""

    @property
    def sentence(self) -> str:
        """The verdict as one sentence."""
        notes = [*self.notes, *([f"the same function if {' and '.join(self.conditions)}"] if self.conditions else [])]
        if self.cost is not None:
            return (
                f"impossible: {'; '.join(self.notes)}. The smallest error it would cost, of the ways tried: states "
                f"up to {self.cost.error:.2g} off, with {self.cost.way} (measured with these weights on {PROBE})"
            )
        if not self.folded:
            return "; ".join(["exact: every value is kept to the bit", *notes])
        pairs = " and ".join(f"{fold.second} into {fold.first}" for fold in self.folded)
        worst = max(fold.rounding for fold in self.folded)
        rounding = f"one rounding each, {worst:.1e} at most" if worst else "each sum without rounding"
        return f"{FOLDED}: {'; '.join([f'{pairs}, {rounding}', *notes])}"

    def record(self) -> dict[str, object]:
        """For machines."""
        return {
            "from": self.source.name,
            "to": self.target.name,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "folded": [vars(fold) for fold in self.folded],
            "notes": list(self.notes),
            "conditions": list(self.conditions),
            "cost": None if self.cost is None else {**vars(self.cost), "probe": PROBE},
        }


def plan(source: Layout, tensors: Mapping[str, Array], target: Layout) -> Plan:
    """How the tensors of one layout become those of another: exactly, after folding, or not at all.

    The decision looks at the values. Tensors are float32 or float64 and keep their dtype.
    Raises UserError for tensors that do not fit their layout, and for cells of which neither can stand for the other.
    """
    of, to = cell(source.cell), cell(target.cell)
    if of.name != to.name and {of.name, to.name} != set(GATED):
        raise UserError(
            f"{source.name} computes {of.name} and {target.name} {to.name}: no weights make the one into the other"
        )
    given = unpack(source, tensors, copied=False)
    # What the caller does not keep may go as soon as its part of the target is made: a large layer is not held twice.
    del tensors
    parameters, folded = _fold(source, given, target)
    inner = parameters.pop(INNER, None) if INNER in of.parameters else None
    parameters |= {name: given[name] for name in source.second if name in target.second}
    zeros = [name for name in target.second if name not in source.second]

    obstacles, notes = [], []
    with_inner = inner is not None and bool(inner.any())
    if of.name != to.name:
        if is_diagonal(parameters["W_hh"]):
            notes.append("W_hh is diagonal: the reset gate before or after the product with it is the same")
        else:
            obstacles.append(
                f"the reset gate acts {reset_of(of)} the product with W_hh in {source.name}, "
                f"{reset_of(to)} it in {target.name}"
            )
    has_inner = INNER in to.parameters and INNER not in target.without
    if with_inner and not has_inner:
        obstacles.append(f"{target.name} has no bias inside the product with the reset gate, and b_hh is not zero")
    zero = np.zeros_like(parameters["b_h"])
    if has_inner:
        parameters[INNER] = zero if inner is None else inner
    if not obstacles:
        if zeros:
            notes.append(f"{' and '.join(zeros)} of {target.name} {'are' if len(zeros) > 1 else 'is'} zero")
        verdict = FOLDED if folded else EXACT
        given.clear()
        return Plan(source, target, verdict, folded, tuple(notes), None, pack_away(target, parameters))

    exact = summed(source, given)
    ways = _ways(of, exact, parameters, inner if with_inner and not has_inner else None)
    cost = _cheapest(of, exact, target, ways)
    return Plan(source, target, IMPOSSIBLE, folded, tuple(obstacles), cost, pack(target, ways[cost.way]))


def _fold(source: Layout, given: Mapping[str, Array], target: Layout) -> tuple[dict[str, Array], tuple[Fold, ...]]:
    """The source's parameters, with those second biases added in that the target does not have. A second bias of both
    means the same in both: layouts of one cell share the meaning of b_hh, and of two cells at most one has it so.
    """
    parameters = {name: array for name, array in given.items() if name not in source.second}
    folded = []
    for second, first in source.second.items():
        if second in target.second or not given[second].any():
            continue
        a, b = parameters[first], given[second]
        with np.errstate(over="ignore", invalid="ignore"):
            total = a + b
            # What rounding took off the sum, exactly: Knuth, The Art of Computer Programming 2, 4.2.2, theorem B.
            rest = (a - (total - (total - a))) + (b - (total - a))
        if not np.isfinite(total).all():
            index = int(np.flatnonzero(~np.isfinite(total))[0])
            raise UserError(
                f"{first}[{index}] + {second}[{index}] is beyond {total.dtype}: these biases cannot be folded"
            )
        parameters[first] = total
        folded.append(Fold(second, first, float(np.abs(rest).max())))
    return parameters, tuple(folded)


def is_diagonal(W: Array) -> bool:
    """Whether a square matrix has nothing beside its diagonal."""
    return not (W * (1 - np.eye(len(W), dtype=W.dtype))).any()


def _ways(
    of: Cell, exact: Mapping[str, Array], parameters: Mapping[str, Array], homeless: Array | None
) -> dict[str, dict[str, Array]]:
    """What could be written all the same: the parameters of the target by a description of each way."""
    if homeless is None:
        return {"the weights as they are": dict(parameters)}
    b_h, dtype = parameters["b_h"], homeless.dtype
    mean = _mean_of_reset(of, exact).astype(dtype)
    with np.errstate(over="ignore"):
        biases = {
            "b_hh left out": b_h,
            "b_hh added to b_h": b_h + homeless,
            "b_hh times the mean of R added to b_h": b_h + mean * homeless,
        }
    return {way: {**parameters, "b_h": bias} for way, bias in biases.items() if np.isfinite(bias).all()}


def _problem(exact: Mapping[str, Array]) -> tuple[Array, Array]:
    """X (T, n, d) and H0 (n, h) of PROBE."""
    d, h = exact["W_xh"].shape
    random = np.random.RandomState(SEED)
    return random.standard_normal((STEPS, SEQUENCES, d)), np.tanh(random.standard_normal((SEQUENCES, h)))


def _mean_of_reset(of: Cell, exact: Mapping[str, Array]) -> Array:
    """The mean of R (h,) over the steps and sequences of PROBE."""
    X, H = _problem(exact)
    total = np.zeros(H.shape[1])
    for X_t in X:
        quantities = value.step(of, X_t, H, exact)
        total, H = total + quantities["R"].mean(axis=0), quantities["H"]
    mean: Array = total / len(X)
    return mean


def states(
    the_cell: Cell, parameters: Mapping[str, Array], arithmetic: Plain = PLAIN, *, reverse: bool = False
) -> Array:
    """The states (T, n, h) of a cell with these parameters on PROBE, or from its last step to its first."""
    X, H = _problem(parameters)
    states = []
    # What overflows is infinite here, and the difference of states says so.
    with np.errstate(over="ignore", invalid="ignore"):
        for X_t in X[::-1] if reverse else X:
            H = value.step(the_cell, X_t, H, parameters, arithmetic=arithmetic)["H"]
            states.append(H)
    return np.stack(states[::-1] if reverse else states)


def _cheapest(of: Cell, exact: Mapping[str, Array], target: Layout, ways: Mapping[str, Mapping[str, Array]]) -> Cost:
    truth, to = states(of, exact), cell(target.cell)
    tried = {
        way: float(np.abs(states(to, summed(target, parameters)) - truth).max()) for way, parameters in ways.items()
    }
    best = min(tried, key=lambda way: tried[way])
    return Cost(tried[best], best, tried)
