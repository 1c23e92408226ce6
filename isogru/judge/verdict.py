"""Case + result -> verdict. No tolerance is typed in by hand: states have the one-step rounding bound, everything else
the distance that the oracle's twins stray.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from isogru.judge import delivered, divergence, ends, profile, states
from isogru.judge.comparison import (
    DIFFERENT,
    EQUAL,
    ORDER,
    SUSPECT,
    TWIN_MULTIPLE,
    UNDETERMINED,
    WORST_CASE,
    Comparison,
    Finding,
    compare,
    worst,
)
from isogru.judge.delivered import Delivered
from isogru.judge.distance import distance
from isogru.judge.divergence import Divergence
from isogru.judge.profile import Profile
from isogru.judge.reference import Reference
from shared_spec.cells import Cell
from shared_spec.errors import UserError
from shared_spec.files.interchange import AnyCase, Case, Origin, Result
from shared_spec.readings import floats
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array

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
    given, result = delivered.of(result), _wide(result)
    told, case = _numbers(case, given), case.held_in(given.dtype)
    steps = states.by_step(case, result, given) if isinstance(case, Case) and "H" in result.arrays else None
    findings, found_profile = [], None
    for quantity, truth in reference.oracle.items():
        if quantity not in result.arrays:  # Of an answer that holds a part.
            continue
        value = result.arrays[quantity]
        if quantity == "text":
            findings.append(_text(value, truth, reference))
            continue
        by_twins = compare(value, truth, TWIN_MULTIPLE * reference.stray[quantity], dtype=given.stored)
        if isinstance(case, Case) and quantity in ("H", "final") and steps is not None:
            own = steps if quantity == "H" else states.final(case, steps, result, given)
            by_twins = by_twins.without(own.overflows | ends.after_chaos(quantity, reference), "", outside=True)
            if quantity == "H":
                found_profile = profile.of_states(own.held, by_twins)
            by_step = _refused(own.held, given).finding(quantity, basis="step")
            finding = _with_bound(by_twins.finding(quantity, basis="twins", worst_case=WORST_CASE), by_step)
        else:
            if isinstance(case, Case):
                by_twins = ends.judged(by_twins, quantity, reference)
                if quantity == "final":
                    by_twins = states.within_span(case, by_twins)
            finding = _refused(by_twins, given).finding(quantity, basis="twins", worst_case=WORST_CASE)
        # From the oracle rounded to the result's own dtype: the best that it could have given.
        own_dtype = given.stored or value.dtype.name
        largest = distance(value, floats.rounded(truth, own_dtype))
        findings.append(
            replace(
                finding,
                max_absolute=largest.absolute,
                max_relative=largest.relative,
                max_ulp=largest.ulp * UNIT_ROUNDOFF[value.dtype.name] / UNIT_ROUNDOFF[own_dtype],
                judged=", ".join(filter(None, (given.explained(steps.sums if steps else given.u), told))),
            )
        )
    local = divergence.of_trace(case, result, reference, given) if isinstance(case, Case) and result.is_traced else None
    return ResultVerdict(result.origin, tuple(findings), local, found_profile)


def _numbers(case: AnyCase, given: Delivered) -> str:
    """On which numbers a result is judged, of a case that holds what float32 does not."""
    if not isinstance(case, Case) or not case.wide:
        return ""
    return f"on the case's numbers{' rounded to float32' if given.dtype == 'float32' else ' in float64'}"


def _wide(result: Result) -> Result:
    """With float16 as float32, which holds it, as it holds bfloat16."""
    arrays = {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in result.arrays.items()}
    return Result(result.origin, arrays)


def _refused(held: Comparison, given: Delivered) -> Comparison:
    """Nothing where all that is allowed would be allowed of zeros too. Zero is right where float32 or float64 has no
    other number for it.
    """
    size = np.abs(held.should_be)
    is_zero = given.stored == "" and not floats.rounded(size, held.dtype).any()
    if size.any() and not is_zero and (size <= held.allowed).all():
        return held.without(np.True_, "the bound is vacuous, zeros would be within it from the first to the last")
    return held


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
