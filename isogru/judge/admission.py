"""The admission check before a ranking: the verdict on the very work that is timed, as far as it has been done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isogru.judge import reference, verdict
from isogru.judge.comparison import DIFFERENT, EQUAL, ORDER, four
from isogru.judge.reference import Reference
from shared_spec.files import kept, store, tensors
from shared_spec.files.interchange import AnyCase, Origin, Result, TrainingCase
from shared_spec.language_model import training
from shared_spec.quantities import is_trajectory
from shared_spec.race import workloads
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array

TF32 = 2.0**-11
"""Its unit roundoff."""
LEFT_UNDONE = 0.25
"""How much of its time a call may leave to be waited for, beyond copying: more is work that was not timed."""


@dataclass(frozen=True)
class Admission:
    """Whether work was done right, and how far off it was."""

    verdict: str
    sentence: str
    """Of the worst element; such as why it is not ranked."""
    ratio: float
    """Of the worst element to what is allowed; up to 1 is equal."""
    error: float
    """The largest relative difference of any element from the oracle, of quantities that are not near zero: in units
    of the largest element of each.
    """

    def __or__(self, other: Admission) -> Admission:
        """The worse of two, with the larger error."""
        worse = max(self, other, key=lambda each: (ORDER.index(each.verdict), each.ratio))
        return Admission(worse.verdict, worse.sentence, worse.ratio, max(self.error, other.error))


RIGHT = Admission(EQUAL, "", 0.0, 0.0)


def _different(words: str) -> Admission:
    """What no number says how far off it is."""
    return Admission(DIFFERENT, words, np.inf, np.inf)


def judge(case: AnyCase, origin: Origin, arrays: Mapping[str, Array], *, whole: bool, tf32: bool = False) -> Admission:
    """The verdict on what has been computed of a case: the whole of it, or the epochs of a training that are over.

    A precision coarser than the dtype's label is different, unless TF32 was asked for.
    """
    coarsest = max(UNIT_ROUNDOFF[origin.dtype], TF32 if tf32 and origin.dtype == "float32" else 0.0)
    if origin.unit_roundoff > coarsest:
        words = f"asked for {origin.dtype}, computed with unit roundoff {origin.unit_roundoff:.1e}: the label lies"
        return _different(words)
    if "prefix" in arrays:
        return _prediction(case, arrays)
    rests_on = (origin.unit_roundoff, whole)
    return _kept(
        tensors.digest(arrays, reference.key(case, origin.dtype), origin.label, *map(str, rests_on)),
        lambda: _judge(case, origin, arrays, whole),
    )


def _judge(case: AnyCase, origin: Origin, arrays: Mapping[str, Array], whole: bool) -> Admission:
    part = _part(reference.get(case, origin.dtype), arrays, whole)
    if missing := part.oracle.keys() - arrays.keys():
        return _different(f"{min(missing)} was not computed")
    # Of a coarser format that was asked for, errors grow as its roundings do.
    coarser = max(1.0, origin.unit_roundoff / UNIT_ROUNDOFF[origin.dtype])
    part = replace(part, stray={name: coarser * stray for name, stray in part.stray.items()})
    result_verdict = verdict.judge(case, Result(origin, arrays), part)
    errors = [
        float(np.max(np.abs(arrays[name] - truth)) / np.max(np.abs(truth)))
        for name, truth in part.oracle.items()
        if name != "text" and truth.any()
    ]
    worst = result_verdict.worst_finding
    return Admission(result_verdict.verdict, worst.sentence(origin), four(worst.ratio), four(max(errors)))


def _kept(key: str, judge: Callable[[], Admission]) -> Admission:
    """A verdict, from an earlier pass where that gave the same to the bit: on wide cells it takes seconds."""
    file = store.folder() / "benchmarks" / "judged" / f"{key}.msgpack"
    admission = kept.read(file, Admission)
    if admission is None:
        admission = judge()
        kept.keep(file, admission)
    return admission


def _part(everything: Reference, arrays: Mapping[str, Array], whole: bool) -> Reference:
    """The reference of what should be there by now: all, or trajectories up to where they have come, and no end."""
    if whole:
        return everything
    oracle, stray = {}, {}
    for name, truth in everything.oracle.items():
        if name == "text" or name.startswith("end."):
            continue
        until = len(arrays[name]) if is_trajectory(name) and name in arrays else None
        oracle[name] = truth[:until]
        stray[name] = everything.stray[name][:until]
    return Reference(oracle, stray, everything.texts)


def _prediction(case: AnyCase, arrays: Mapping[str, Array]) -> Admission:
    """Characters, against those of the oracle in either precision: no two are near a tie, which a test shows."""
    assert isinstance(case, TrainingCase)
    count, text = workloads.PREDICTED, [int(token) for token in arrays["text"]]
    if len(text) != count:
        return _different(f"{len(text)} characters, should be {count}")
    right = []
    for dtype in ("float64", "float32"):
        parameters = {name: array.astype(dtype) for name, array in workloads.weights(case.problem).items()}
        right.append(training.predict(case.cell, parameters, arrays["prefix"], count).tolist())
    if text in right:
        return Admission(EQUAL, "every character is the oracle's", 0.0, 0.0)
    at = next(i for i, (a, b) in enumerate(zip(text, right[0], strict=True)) if a != b)
    return _different(f"text[{at}] = {text[at]}, should be {right[0][at]}")


def fresh(fingerprints: Sequence[str]) -> Admission:
    """Whether calls on inputs that differ gave what differs."""
    again = len(fingerprints) - len(set(fingerprints))
    if not again:
        return RIGHT
    return _different(f"gave the same result again, {again} times, for other inputs")


def finished(seconds: Sequence[float], undone: Sequence[float], rested: Sequence[float] = ()) -> Admission:
    """Whether timed calls had done their work when the clock stopped, from how long each took, what seemed to be left
    after it, and what seemed to be left after calls whose results were surely there. The latter is the price of
    looking, unless it is more than the call itself: then the work is done by whoever looks.
    """
    taken, price = float(np.median(seconds)), float(np.median(rested)) if len(rested) else 0.0
    left = float(np.median(undone)) - (price if price <= taken else 0.0)
    if left <= LEFT_UNDONE * taken:
        return RIGHT
    words = f"returned after {taken:.1e} s with {left:.1e} s of work undone: results were not there"
    return Admission(DIFFERENT, words, np.inf, 0.0)
