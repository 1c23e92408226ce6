"""Trainings that are not the recipe's, and a perplexity that is not the epoch's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from frameworks.harness.errata.faults import training as faults
from frameworks.harness.errata.hands import DTYPE
from frameworks.harness.errata.notes import Notes, title_of
from isogru.judge import reference
from isogru.judge.comparison import DIFFERENT, EQUAL
from shared_spec import language_model
from shared_spec.errata.records import Record
from shared_spec.files.interchange import TrainingCase
from shared_spec.language_model.corpus import Corpus

SMALL: dict[str, Any] = {"start": "uniform", "num_train": 150, "num_val": 60, "batch_size": 32}
"""The chapter's T, h, rate and clip_norm on few windows, five batches of which the last is not full."""


def clipping(notes: Notes, text: Corpus) -> Record:
    """A training without clipping is not the recipe."""
    # The GRU's norms are too small: only the RNN's make it act.
    case, other = case_of("rnn", text, epochs=1), case_of("gru", text, epochs=1)
    limit = case.problem.recipe.clip_norm
    norms = {each.cell.name: reference.get(each, DTYPE).oracle["norm"] for each in (case, other)}
    first, steps = acts_first(norms["rnn"], limit), len(norms["rnn"])
    notes.claim(
        first is not None and first < steps - 1,
        f"the RNN's norm should exceed {limit:g} before the last of {steps} steps; its largest is "
        f"{norms['rnn'].max():.3g}",
    )
    notes.hold("right", case, notes.hand.train(case))
    result = notes.hand.train(faults.never_clipping(case))
    findings = {f.quantity: f for f in notes.hold("wrong", case, result, DIFFERENT, shown="loss").findings}
    # Up to the step at which clipping acts they are one training; from the next on they are two.
    parts, should = findings["loss"].first_outside, None if first is None else first + 1
    notes.claim(
        parts == should, f"the losses are no longer equal from step {parts} on, should be from step {should} on"
    )
    end = findings["end.W_hh"]
    notes.claim(end.verdict == DIFFERENT, f"{end.quantity} is {end.verdict}, should be {DIFFERENT}")
    return notes.record(
        right=["scale = lr * min(1, clip_norm / norm)", "p = p - scale * g"],
        wrong=["p = p - lr * g"],
        clip_norm=limit,
        norms_of_rnn=[float(norm) for norm in norms["rnn"]],
        norms_of_gru=[float(norm) for norm in norms["gru"]],
        corpus=title_of(text),
    )


def perplexity(notes: Notes, text: Corpus) -> Record:
    """The perplexity that is plotted is another number than the epoch's."""
    case = case_of("gru", text, epochs=2)
    result = notes.hand.train(case)
    notes.hold("right", case, result)
    plotted = faults.plotted_perplexity(result.arrays["loss"], case.problem.recipe.steps_per_epoch)
    swapped = replace(result, arrays={**result.arrays, "perplexity.train": plotted})
    verdict = notes.hold("wrong", case, swapped, DIFFERENT)
    wrong = [f.quantity for f in verdict.findings if f.verdict != EQUAL]
    notes.claim(
        wrong == ["perplexity.train"],
        f"what is not equal should be perplexity.train alone; it is {', '.join(wrong) or 'nothing'}",
    )
    return notes.record(
        right=["exp(sum(loss * tokens) / sum(tokens))"],
        wrong=["sum(exp(loss)) / batches"],
        exact=[float(p) for p in result.arrays["perplexity.train"]],
        plotted=[float(p) for p in plotted],
        corpus=title_of(text),
    )


def case_of(cell: str, text: Corpus, *, epochs: int) -> TrainingCase:
    """A short training of a cell. Raises CorpusError for a text that is too short."""
    recipe = language_model.recipe(cell, epochs=epochs, **SMALL)
    return TrainingCase(f"errata-{cell}", language_model.problem(recipe, text))


def acts_first(norms: np.ndarray, limit: float) -> int | None:
    """The first step at which clipping acts; None where it never does."""
    over = np.flatnonzero(norms > limit)
    return int(over[0]) if len(over) else None
