"""One problem judged: several right results of it in both precisions, and what wrong ones are called."""

from __future__ import annotations

import warnings

import numpy as np

from isogru.judge import ends, reference, verdict
from shared_spec.files.interchange import Origin, Result
from shared_spec.readings.floats import UNIT_ROUNDOFF
from tests.false_alarms import implementations, machines
from tests.false_alarms.problems import problem

RESULTS = {"float32": 6, "float64": 2}
"""Of each problem so many right results."""
REASONS = {
    "overflow": "on the way there numbers",
    "chaos": "the problem is chaotic",
    "underflow": "it is that near to zero",
}
REASONS |= {"lost in rounding": ends.LOST, "vacuous bound": "the bound is vacuous"}


def result_of(case, arrays, dtype):
    """What a program would have written that was measured to compute in that precision."""
    spec, u = case.cell, UNIT_ROUNDOFF[dtype]
    origin = Origin(case.name, case.digest, spec.name, spec.digest, "loops", "own", "own", dtype, "cpu", u)
    return Result(origin, arrays)


def judged(seed, number, kind=""):
    """The record of a problem: its kind, cell and sizes, and of each result its form, verdict and why."""
    kind, case = problem(seed, number, kind)
    T, n, d = case.arrays["X"].shape
    sizes = {"T": T, "n": n, "d": d, "h": case.arrays["H0"].shape[1]}
    random, made = np.random.RandomState([seed, number, 1]), []
    # Nothing that judges warns.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dtype, count in RESULTS.items():
            known = reference.get(case, dtype, kept=False)
            for _ in range(count):
                form = implementations.drawn(random, machines.drawn(random, dtype))
                arrays = implementations.Gru(case.cell.name, form).results(case.arrays)
                result_verdict = verdict.judge(case, result_of(case, arrays, dtype), known)
                made.append({"dtype": dtype, "form": form.label, **told(result_verdict)})
    return {"number": number, "kind": kind, "cell": case.cell.name, **sizes, "results": made}


def told(verdict):
    """What there is to say of a verdict."""
    record = {"verdict": verdict.verdict}
    if verdict.verdict == "equal":
        return record
    of = [one for one in verdict.all_findings if one.verdict == verdict.verdict]
    record |= {"quantity": verdict.worst_finding.quantity, "sentence": verdict.worst_finding.sentence(verdict.origin)}
    record["ratio"] = float(min(verdict.worst_finding.ratio, 1e300))
    if verdict.verdict == "undetermined":
        record["why"] = sorted({reason(one.vacuous) for one in of})
    return record


def reason(vacuous):
    """In a word, why nothing is said of a quantity."""
    return next((name for name, begins in REASONS.items() if vacuous.startswith(begins)), "overflow")


def wrong(arrays):
    """Wrong gradients, by name: turned round in sign, doubled, zero."""
    gradients = {name: array for name, array in arrays.items() if name.startswith("grad.")}
    yield "sign turned", {name: -array for name, array in gradients.items()}
    yield "doubled", {name: 2 * array for name, array in gradients.items()}
    yield "zero", {name: np.zeros_like(array) for name, array in gradients.items()}


def missed(seed, number, kind="", dtype="float32"):
    """The wrong gradients that are called equal without a word, as (fault, quantity), where the dtype has another
    number than zero for some of it.
    """
    _, case = problem(seed, number, kind)
    random = np.random.RandomState([seed, number, 1])
    form = implementations.drawn(random, machines.drawn(random, dtype))
    arrays = implementations.Gru(case.cell.name, form).results(case.arrays)
    known = reference.get(case, dtype, kept=False)
    with np.errstate(all="ignore"):
        faults = list(wrong(arrays))
    for fault, gradients in faults:
        result_verdict = verdict.judge(case, result_of(case, {**arrays, **gradients}, dtype), known)
        for one in result_verdict.findings:
            if one.quantity in gradients and one.verdict == "equal":
                with np.errstate(over="ignore"):
                    right = known.oracle[one.quantity].astype(dtype)
                if right.any():
                    yield fault, one.quantity
