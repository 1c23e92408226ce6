"""Trainings as data: the oracle's curve with its twins' envelope, and each run's distance from it."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from isogru.judge import reference
from isogru.judge.comparison import TWIN_MULTIPLE, significant
from isogru.judge.distance import distance
from isogru.judge.reference import Reference
from isogru.judge.verdict import is_narrow
from reports.diff.collect import Collection, Row
from reports.diff.records import Oracle, Run, Training
from reports.pages.parts import number, numbers
from shared_spec.files.interchange import TrainingCase
from shared_spec.readings.arithmetic import Array

SHOWN = ("loss", "text", "perplexity.train", "perplexity.val")
"""Quantities of a training."""
MOST_DIGITS = 8
"""Decimals of a perplexity that a report shows."""


def trainings(collection: Collection) -> Iterator[Training]:
    """One record for each language model and dtype."""
    by_case: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in collection.rows:
        if row.verdict is not None and isinstance(collection.cases[row.job.case], TrainingCase):
            by_case[row.job.case, row.job.dtype].append(row)
    for (name, dtype), rows in sorted(by_case.items(), key=lambda item: item[0]):
        case = collection.cases[name]
        assert isinstance(case, TrainingCase)
        yield _training(case, dtype, rows)


def _training(case: TrainingCase, dtype: str, rows: list[Row]) -> Training:
    known = reference.get(case, dtype)
    truth, stray = known.oracle["loss"], known.stray["loss"]
    narrow = is_narrow(stray, truth)
    # Weights at the end are most of a result.
    arrays = [{name: array for name, array in row.arrays().items() if name in SHOWN} for row in rows]
    losses: dict[str, list[Array]] = defaultdict(list)
    for row, of_row in zip(rows, arrays, strict=True):
        losses[row.job.framework].append(of_row["loss"].astype(np.float64))
    runs = [_run(case, row, of_row, known) for row, of_row in zip(rows, arrays, strict=True)]
    recipe = case.problem.recipe
    return Training(
        case=case.name,
        cell=case.cell.name,
        dtype=dtype,
        recipe=asdict(recipe),
        corpus=f"{case.problem.corpus_source} {case.problem.corpus_sha1}",
        steps=len(truth),
        clipped_steps=int(np.sum(known.oracle["norm"] > recipe.clip_norm)),
        envelope_opens_at=None if narrow.all() else int(np.argmin(narrow)),
        oracle=Oracle(
            perplexity_train=number(_perplexity(known.oracle, "train")),
            perplexity_val=number(_perplexity(known.oracle, "val")),
            text=_characters(case, known.oracle["text"]),
            loss=_short(truth, 6),
            envelope=_short(TWIN_MULTIPLE * stray, 3),
        ),
        digits_between_frameworks=digits_between(losses),
        same_text=len({tuple(run.text) for run in runs}) == 1,
        runs=runs,
    )


def digits_between(losses: Mapping[str, Sequence[Array]]) -> float | None:
    """To how many digits any two curves of two frameworks agree; None of one framework. The two that are furthest apart
    at a step are the least of one framework and the largest of another: no loss is below zero.
    """
    ends = [(np.min(of, axis=0), np.max(of, axis=0)) for of in losses.values()]
    two = itertools.combinations(ends, 2)
    return min((agreeing_digits(*each) for a, b in two for each in ((a[0], b[1]), (a[1], b[0]))), default=None)


def _run(case: TrainingCase, row: Row, arrays: Mapping[str, Array], known: Reference) -> Run:
    loss, truth = arrays["loss"].astype(np.float64), known.oracle["loss"]
    with np.errstate(invalid="ignore"):
        distance = np.abs(loss - truth)
        outside = np.flatnonzero(~(distance <= TWIN_MULTIPLE * known.stray["loss"]))
    train, val = _perplexity(arrays, "train"), _perplexity(arrays, "val")
    return Run(
        label=row.label,
        framework=row.job.framework,
        lane=row.lane,
        status=row.status,
        perplexity_train=number(train),
        perplexity_val=number(val),
        agreeing_train=agreeing_characters(train, _perplexity(known.oracle, "train")),
        agreeing_val=agreeing_characters(val, _perplexity(known.oracle, "val")),
        text=_characters(case, arrays["text"]),
        text_differs_at=[
            i for i, (a, b) in enumerate(zip(arrays["text"], known.oracle["text"], strict=True)) if a != b
        ],
        seconds=dict(row.verdict.origin.seconds) if row.verdict else {},
        leaves_envelope_at=int(outside[0]) if len(outside) else None,
        digits=agreeing_digits(loss, truth),
        loss=_short(loss, 6),
        distance=_short(distance, 3),
    )


def _characters(case: TrainingCase, text: Array) -> list[str]:
    """One by one: that of what is unknown is a word."""
    return [case.problem.vocabulary.tokens[int(token)] for token in text]


def _perplexity(arrays: Mapping[str, Array], part: str) -> float:
    return float(arrays[f"perplexity.{part}"][-1])


def agreeing_characters(a: float, b: float) -> int:
    """To how many characters two numbers agree when both are written with MOST_DIGITS decimals, the point included."""
    one, two = f"{a:.{MOST_DIGITS}f}", f"{b:.{MOST_DIGITS}f}"
    if len(one) != len(two):
        return 0
    return next((i for i, (x, y) in enumerate(zip(one, two, strict=True)) if x != y), len(one))


def agreeing_digits(a: Array, b: Array) -> float:
    """The decimal digits to which two curves agree everywhere: -log10 of the largest relative difference, up to 16."""
    largest = distance(a.astype(np.float64), b.astype(np.float64)).relative
    return 16.0 if largest < 1e-16 else max(0.0, -math.log10(largest))


def _short(values: Iterable[float], digits: int) -> list[float | None]:
    """Enough digits to draw; what is judged is judged with all of them."""
    return numbers(significant(value, digits) for value in values)
