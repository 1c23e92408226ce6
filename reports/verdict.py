"""Case + result -> verdict. No tolerance is typed in by hand: states have the one-step rounding bound, everything else
the distance that the oracle's twins stray.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from reports.reference import Reference
from shared_spec.cells import Cell
from shared_spec.errors import UserError
from shared_spec.interchange import AnyCase, Case, Origin, Result
from shared_spec.readings import bound
from shared_spec.readings.arithmetic import Array

EQUAL, SUSPECT, DIFFERENT = "equal", "suspect", "different"
ORDER = (EQUAL, SUSPECT, DIFFERENT)

TWIN_MULTIPLE = 10.0
"""How many times as far as its twins an implementation may stray. Twins share NumPy's exp and tanh, which err less than
a unit in the last place; the frameworks' own err by several, and a maximum over four twins is itself uncertain.
"""
WORST_CASE = 100.0
"""Rounding errors add up like a random walk, to about sqrt(k) units; the worst that k of them can do is k. With the
1e4 roundings of a long sum that is 100 times more: beyond this times what is allowed, rounding explains nothing.
"""
NARROW = 1e-3
"""A training's envelope is narrow while twins agree on the loss to a thousandth: after that they agree on nothing."""


@dataclass(frozen=True)
class Finding:
    """What was found of one quantity: its worst element, and the largest differences from the float64 oracle."""

    quantity: str
    verdict: str
    index: tuple[int, ...]
    value: float
    should_be: float
    difference: float
    bound: float
    ratio: float
    """difference / bound at the worst element; up to 1 is equal."""
    basis: str
    """"step" for the one-step bound, "twins" for what twins stray, "text" for a prediction."""
    max_absolute: float
    max_relative: float
    max_ulp: float

    def sentence(self, origin: Origin) -> str:
        """Such as ``H[3,7,2] = 0.4121, should be 0.4127 (6.0e-4 off, bound 1.1e-6) [gru · jax/scratch · ...]``."""
        where = f"{self.quantity}[{','.join(map(str, self.index))}]" if self.index else self.quantity
        return (
            f"{where} = {self.value:.7g}, should be {self.should_be:.7g} "
            f"({self.difference:.1e} off, bound {self.bound:.1e}) [{origin.label}]"
        )


@dataclass(frozen=True)
class Verdict:
    """The verdict on one result: that of its worst quantity."""

    origin: Origin
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        return worst(finding.verdict for finding in self.findings)

    @property
    def worst_finding(self) -> Finding:
        return max(self.findings, key=lambda f: (ORDER.index(f.verdict), f.ratio))


def is_narrow(stray: Array, loss: Array) -> Array:
    """At which steps of a training the twins' envelope is narrow, (steps,)."""
    narrow: Array = stray <= NARROW * np.abs(loss)
    return narrow


def worst(verdicts: Iterable[str]) -> str:
    """The worst of several verdicts."""
    return max(verdicts, key=ORDER.index)


def judge(case: AnyCase, result: Result, reference: Reference) -> Verdict:
    """Hold a result against the case's cell. The result must hold what the case asks for (interchange.check_result)."""
    findings = []
    for quantity, truth in reference.oracle.items():
        value = result.arrays[quantity]
        if quantity == "text":
            findings.append(_text(value, truth, reference))
            continue
        finding = _by_twins(quantity, value, truth, reference.stray[quantity])
        if isinstance(case, Case) and quantity in ("H", "final"):
            finding = _with_bound(finding, _by_step(case, result, quantity))
        # Held against the oracle rounded to the result's own dtype: the best that it could have given.
        largest = differences(value, truth.astype(value.dtype))
        findings.append(
            replace(
                finding,
                max_absolute=largest["absolute"],
                max_relative=largest["relative"],
                max_ulp=largest["ulp"],
            )
        )
    return Verdict(result.origin, tuple(findings))


def claiming(case: Case, cell: Cell) -> Case:
    """The same problem, as one of another cell: what a result would have to be if it claimed that cell.

    Parameters that only one of the two cells has count as zero. Raises UserError where one is not.
    """
    for name in set(case.cell.parameters) - set(cell.parameters):
        if case.arrays[name].any():
            raise UserError(
                f"case {case.name} has {name} not zero, and {cell.name} has no {name}: nothing can be said of "
                f"that claim; use a case where {name} is zero, such as gru_reset_after-no_inner_bias"
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
        arrays = {name: arrays[name] for name in ("H", "final")}
    origin = replace(result.origin, cell=cell.name, spec_digest=cell.digest, case_digest=other.digest)
    return other, Result(origin, arrays)


def _by_step(case: Case, result: Result, quantity: str) -> Finding:
    """One step of the spec from the implementation's own previous state, which is known exactly, and its bound."""
    H = result.arrays["H"].astype(np.float64)
    X, before = case.arrays["X"], np.concatenate([case.arrays["H0"][None], H[:-1]])
    if quantity == "final":
        X, before, H = X[-1], before[-1], result.arrays["final"].astype(np.float64)
    should_be, allowed = bound.step(case.cell, X, before, case.parameters, u=result.origin.unit_roundoff)
    return _compare(quantity, H, should_be, allowed, basis="step", worst_case=1.0)


def _by_twins(quantity: str, value: Array, truth: Array, stray: Array) -> Finding:
    allowed = np.broadcast_to(TWIN_MULTIPLE * stray, truth.shape)
    return _compare(quantity, value.astype(np.float64), truth, allowed, basis="twins", worst_case=WORST_CASE)


def _with_bound(by_twins: Finding, by_step: Finding) -> Finding:
    """Of a state: outside the rigorous bound is different; inside it, but outside the twins' spread, suspect."""
    if by_step.verdict == DIFFERENT or by_twins.verdict == EQUAL:
        return by_step
    return replace(by_twins, verdict=SUSPECT)


def _compare(
    quantity: str, value: Array, should_be: Array, allowed: Array, *, basis: str, worst_case: float
) -> Finding:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        difference = np.abs(value - should_be)
        # A value that is no number, or overflowed, is as wrong as can be, unless the truth overflows too.
        difference = np.where(np.isfinite(difference), difference, np.where(value == should_be, 0.0, np.inf))
        ratio = np.where(difference == 0, 0.0, difference / allowed)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    top = float(ratio[at])
    verdict = EQUAL if top <= 1 else SUSPECT if top <= worst_case else DIFFERENT
    return Finding(
        quantity=quantity,
        verdict=verdict,
        index=tuple(int(i) for i in at),
        value=float(value[at]),
        should_be=float(should_be[at]),
        difference=float(difference[at]),
        bound=float(allowed[at]),
        ratio=top,
        basis=basis,
        max_absolute=0.0,
        max_relative=0.0,
        max_ulp=0.0,
    )


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
        bound=0.0,
        ratio=0.0 if same else np.inf,
        basis="text",
        max_absolute=float(len(wrong)),
        max_relative=0.0,
        max_ulp=0.0,
    )


def differences(a: Array, b: Array) -> dict[str, float]:
    """The largest absolute and relative differences of two arrays, and in units in the last place of the coarser."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    if np.array_equal(x, y):
        return {"absolute": 0.0, "relative": 0.0, "ulp": 0.0}
    coarse = np.float32 if np.float32 in (a.dtype, b.dtype) else np.float64
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        size = np.maximum(np.abs(x), np.abs(y))
        absolute = np.where(x == y, 0.0, np.abs(x - y))
        # Where both are 0 nothing is divided: 0 / tiny.
        relative = absolute / np.where(size == 0, 1.0, size)
        ulp = absolute / np.spacing(size.astype(coarse)).astype(np.float64)
    found = {"absolute": absolute.max(), "relative": relative.max(), "ulp": ulp.max()}
    # NaN is as far away as can be.
    return {name: float(value) if np.isfinite(value) else np.inf for name, value in found.items()}
