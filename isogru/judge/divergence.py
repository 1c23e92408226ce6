"""First divergence: where a run parts from its equations by itself, apart from what it inherited.

A trace holds every gate and state of every step, the total cotangent of every state, and the gradients of the same
run. Forward, each equation is evaluated on the run's own inputs to it: its previous state, its own gates. Backward,
each step is taken back from the run's own cotangent of its state. What is outside then is wrong *here*; what is right
given that, but not what the specification would have made of the same previous state, has inherited its error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isogru.judge.comparison import DIFFERENT, EQUAL, SUSPECT, TWIN_MULTIPLE, WORST_CASE, Finding, compare
from isogru.judge.delivered import Delivered
from isogru.judge.profile import blocks
from isogru.judge.reference import Reference, pooled_stray
from shared_spec import oracle
from shared_spec.files.interchange import TRACE, Case, Result
from shared_spec.readings import bound, brittle, floats, gradient
from shared_spec.readings.arithmetic import PLAIN, Array, Plain


@dataclass(frozen=True)
class Local:
    """One quantity held against its own inputs."""

    finding: Finding
    by_step: tuple[float, ...]
    """The largest ratio in each block of steps (see isogru/judge/profile.py); empty for what has no time."""
    inherits: bool
    """Right given its inputs, and yet outside of what it should have been: its inputs were wrong."""

    @property
    def is_wrong(self) -> bool:
        return self.finding.verdict in (SUSPECT, DIFFERENT)


@dataclass(frozen=True)
class Divergence:
    """Quantities in the order in which they are computed: forward by equation, backward from the last step."""

    forward: tuple[Local, ...]
    backward: tuple[Local, ...]

    @property
    def is_wrong(self) -> bool:
        return any(local.is_wrong or local.inherits for local in (*self.forward, *self.backward))

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(local.finding for local in (*self.forward, *self.backward))

    @property
    def first_forward(self) -> Finding | None:
        """The quantity that is wrong by itself at the earliest step; of one step, the equation that comes first."""
        wrong = [local.finding for local in self.forward if local.is_wrong]
        return min(wrong, key=lambda f: f.first_outside or 0, default=None)

    @property
    def first_backward(self) -> Finding | None:
        """The one that is wrong by itself at the latest step, since backward begins there; what has no time is last."""
        wrong = [local.finding for local in self.backward if local.is_wrong]
        return max(wrong, key=lambda f: (f.last_outside or 0) if f.quantity in TIMED else -1, default=None)


TIMED = (f"{TRACE}dH", f"{TRACE}grad.X")


def of_trace(case: Case, result: Result, reference: Reference, delivered: Delivered) -> Divergence:
    """Where the trace of a result diverges. The result must hold one (Result.is_traced)."""
    trace = {name.removeprefix(TRACE): a for name, a in result.arrays.items() if name.startswith(TRACE)}
    before = np.concatenate([case.arrays["H0"][None], trace["H"][:-1].astype(np.float64)])
    return Divergence(
        tuple(_forward(case, trace, before, delivered)),
        tuple(_backward(case, trace, before, delivered, reference)),
    )


def _forward(case: Case, trace: Mapping[str, Array], before: Array, delivered: Delivered) -> list[Local]:
    values = {"X": case.arrays["X"], "H": before, **case.parameters}
    u, stored = delivered.u, delivered.stored
    given_before = bound.quantities(case.cell, case.arrays["X"], before, case.parameters, u=u, stored=stored)
    divergences = []
    for equation in case.cell.equations:
        own = trace[equation.target]
        held = compare(own, *bound.equation(equation, values, u=u, stored=stored), dtype=stored)
        finding = held.finding(f"{TRACE}{equation.target}", basis="equation")
        inherits = finding.verdict == EQUAL and compare(own, *given_before[equation.target]).is_outside
        divergences.append(Local(finding, blocks(held.by_step)[1], inherits))
        values[equation.target] = own.astype(np.float64)
    return divergences


def _backward(
    case: Case, trace: Mapping[str, Array], before: Array, delivered: Delivered, reference: Reference
) -> list[Local]:
    """From the run's own cotangent of each state, one step back: all steps at once, as rows of one batch."""
    (T, n, h), dtype = before.shape, delivered.dtype
    own = trace["dH"].astype(np.float64)
    rows = {"X": case.arrays["X"].reshape(T * n, -1), "H": before.reshape(T * n, h), "dH": own.reshape(T * n, h)}
    truth = _pulled(case, rows, PLAIN, "float64")
    twins = [_pulled(case, rows, brittle.of_twin(dtype, seed), dtype) for seed in range(oracle.TWINS)]

    def expected(pulled: Mapping[str, Array]) -> dict[str, Array]:
        # The cotangent of a state is what the case gives it and what the next step hands back.
        handed_back = pulled["H"].reshape(T, n, h).astype(np.float64)
        dH = case.arrays["dH"] + np.concatenate([handed_back[1:], np.zeros((1, n, h))])
        known = {"dH": dH, "grad.X": pulled["X"].reshape(T, n, -1), "grad.H0": handed_back[0]}
        return known | {f"grad.{name}": pulled[name] for name in case.cell.parameters}

    should_be, strays = expected(truth), [expected(twin) for twin in twins]
    divergences = []
    for name, exact in should_be.items():
        stray = pooled_stray(name, exact, [stray[name] for stray in strays], dtype)
        held = compare(trace[name], exact, TWIN_MULTIPLE * stray)
        finding = held.finding(f"{TRACE}{name}", basis="twins", worst_case=WORST_CASE)
        inherits = finding.verdict == EQUAL and name in reference.oracle and _strays(trace[name], name, reference)
        divergences.append(Local(finding, blocks(held.by_step)[1] if finding.quantity in TIMED else (), inherits))
    return divergences


def _pulled(case: Case, rows: Mapping[str, Array], arithmetic: Plain, dtype: str) -> dict[str, Array]:
    given = {name: floats.rounded(array, dtype) for name, array in {**rows, **case.parameters}.items()}
    parameters = {name: given[name] for name in case.cell.parameters}
    wanted = ("X", "H", *parameters)
    _, pull = gradient.step(case.cell, given["X"], given["H"], parameters, wanted, arithmetic=arithmetic)
    return pull(given["dH"])


def _strays(value: Array, name: str, reference: Reference) -> bool:
    return compare(value, reference.oracle[name], TWIN_MULTIPLE * reference.stray[name]).is_outside
