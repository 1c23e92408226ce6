"""Case + result -> verdict. No tolerance is typed in by hand: states have the one-step rounding bound, everything else
the distance that the oracle's twins stray.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from isogru.judge import divergence, profile
from isogru.judge.comparison import (
    DIFFERENT,
    EQUAL,
    ORDER,
    SUSPECT,
    TWIN_MULTIPLE,
    UNDETERMINED,
    WORST_CASE,
    Finding,
    compare,
    worst,
)
from isogru.judge.distance import distance
from isogru.judge.divergence import Divergence
from isogru.judge.profile import Profile
from isogru.judge.reference import Reference
from shared_spec.cells import Cell
from shared_spec.errors import UserError
from shared_spec.files.interchange import AnyCase, Case, Origin, Result
from shared_spec.readings import bound
from shared_spec.readings.arithmetic import Array

IN_CACHE = 2**16
"""As many float64 as fit a processor's cache."""
NARROW = 1e-3
"""A training's envelope is narrow while twins agree on the loss to a thousandth: after that they agree on nothing."""


@dataclass(frozen=True)
class ResultVerdict:
    """The verdict on one result: that of its worst quantity."""

    origin: Origin
    findings: tuple[Finding, ...]
    divergence: Divergence | None = None
    """Of a result that holds a trace."""
    profile: Profile | None = None
    """Of a cell over a sequence."""

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        return self.findings + (self.divergence.findings if self.divergence else ())

    @property
    def verdict(self) -> str:
        return worst(finding.verdict for finding in self.all_findings)

    @property
    def worst_finding(self) -> Finding:
        return max(self.all_findings, key=lambda f: (ORDER.index(f.verdict), f.ratio))


def is_narrow(stray: Array, loss: Array) -> Array:
    """At which steps of a training the twins' envelope is narrow, (steps,)."""
    narrow: Array = stray <= NARROW * np.abs(loss)
    return narrow


def judge(case: AnyCase, result: Result, reference: Reference) -> ResultVerdict:
    """Hold a result against the case's cell. The result must hold what the case asks for (interchange.check_result).

    Whatever numbers it holds, infinities and NaN too, nothing here warns.
    """
    with np.errstate(all="ignore"):
        return _judge(case, result, reference)


def _judge(case: AnyCase, result: Result, reference: Reference) -> ResultVerdict:
    findings = []
    found_profile = None
    for quantity, truth in reference.oracle.items():
        if quantity not in result.arrays:  # Of an answer that holds a part.
            continue
        value = result.arrays[quantity]
        if quantity == "text":
            findings.append(_text(value, truth, reference))
            continue
        by_twins = compare(value, truth, TWIN_MULTIPLE * reference.stray[quantity])
        finding = by_twins.finding(quantity, basis="twins", worst_case=WORST_CASE)
        if isinstance(case, Case) and quantity in ("H", "final") and "H" in result.arrays:
            by_step = compare(value, *_step(case, result, quantity))
            finding = _with_bound(finding, by_step.finding(quantity, basis="step"))
            if quantity == "H":
                found_profile = profile.of_states(by_step, by_twins)
        # From the oracle rounded to the result's own dtype: the best that it could have given.
        largest = distance(value, truth.astype(value.dtype))
        findings.append(
            replace(finding, max_absolute=largest.absolute, max_relative=largest.relative, max_ulp=largest.ulp)
        )
    local = divergence.of_trace(case, result, reference) if isinstance(case, Case) and result.is_traced else None
    return ResultVerdict(result.origin, tuple(findings), local, found_profile)


def claiming(case: Case, cell: Cell) -> Case:
    """The same problem, as one of another cell: what a result would have to be if it claimed that cell.

    Parameters that only one of the two cells has count as zero. Raises UserError where one is not.
    """
    for name in set(case.cell.parameters) - set(cell.parameters):
        if case.arrays[name].any():
            other = "; use gru_reset_after-no_inner_bias, where it is zero" if name == "b_hh" else ""
            raise UserError(
                f"case {case.name} has {name} not zero, and {cell.name} has no {name}: nothing can be said of "
                f"that claim{other}"
            )
    arrays = {name: array for name, array in case.arrays.items() if name not in case.cell.parameters}
    sizes = {"d": arrays["X"].shape[2], "h": arrays["H0"].shape[1]}
    for name, symbols in cell.parameters.items():
        arrays[name] = case.arrays[name] if name in case.arrays else np.zeros([sizes[s] for s in symbols])
    return Case(case.name, cell, arrays)


def claim(case: Case, result: Result, cell: Cell) -> tuple[Case, Result]:
    """Case and result as if the result claimed another cell. Gradients are compared where the result has all that
    the other cell asks for, else the states alone.
    """
    other = claiming(case, cell)
    known = {"H", "final", "grad.X", "grad.H0", *(f"grad.{name}" for name in cell.parameters)}
    arrays = {name: array for name, array in result.arrays.items() if name in known}
    missing = {f"grad.{name}" for name in cell.parameters} - set(arrays)
    if missing or "dH" not in case.arrays:
        # Without every gradient the two are compared by their states alone.
        other = replace(other, arrays={name: array for name, array in other.arrays.items() if name != "dH"})
        arrays = {name: arrays[name] for name in ("H", "final") if name in arrays}
    origin = replace(result.origin, cell=cell.name, spec_digest=cell.digest, case_digest=other.digest)
    return other, Result(origin, arrays)


def _step(case: Case, result: Result, quantity: str) -> tuple[Array, Array]:
    """One step of the spec from the implementation's own previous state, which is known exactly, and its bound."""
    H = result.arrays["H"].astype(np.float64)
    X, before = case.arrays["X"], np.concatenate([case.arrays["H0"][None], H[:-1]])
    if quantity == "final":
        X, before = X[-1], before[-1]
        return bound.step(case.cell, X, before, case.parameters, u=result.origin.unit_roundoff)
    # A few steps at a time: a bound holds a dozen arrays at once, and these stay in the cache.
    block = max(1, IN_CACHE // before[0].size)
    parts = [
        bound.step(case.cell, X[t : t + block], before[t : t + block], case.parameters, u=result.origin.unit_roundoff)
        for t in range(0, len(X), block)
    ]
    return np.concatenate([value for value, _ in parts]), np.concatenate([allowed for _, allowed in parts])


def _with_bound(by_twins: Finding, by_step: Finding) -> Finding:
    """Of a state: outside the rigorous bound is different; inside it, but outside the twins' spread, suspect. Where the
    twins say nothing, the bound alone decides; where the bound says nothing, the twins can accuse, but not acquit.
    """
    if by_step.verdict == DIFFERENT or by_twins.verdict in (EQUAL, UNDETERMINED):
        return by_step
    return by_twins if by_step.verdict == UNDETERMINED else replace(by_twins, verdict=SUSPECT)


def _text(value: Array, truth: Array, reference: Reference) -> Finding:
    # Where the twins themselves disagree, on the text or by now on the loss, the problem does not determine the text.
    determined = len(reference.texts) <= 2 and (
        "loss" not in reference.stray or bool(is_narrow(reference.stray["loss"], reference.oracle["loss"])[-1])
    )
    same = tuple(map(int, value)) in reference.texts or not determined
    wrong = np.flatnonzero(value != truth)
    at = int(wrong[0]) if len(wrong) else 0
    return Finding(
        quantity="text",
        verdict=EQUAL if same else DIFFERENT,
        index=(at,),
        value=float(value[at]),
        should_be=float(truth[at]),
        difference=float(len(wrong)),
        ulp=0.0,
        bound=0.0,
        ratio=0.0 if same else np.inf,
        basis="text",
        outside=0 if same else len(wrong),
        first_outside=None if same else at,
        last_outside=None if same else int(wrong[-1]),
        max_absolute=float(len(wrong)),
    )
