"""Trainings that are not the recipe's, and a perplexity that is not the epoch's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isogru.judge import reference
from isogru.judge.comparison import DIFFERENT
from shared_spec import language_model
from shared_spec.files.interchange import TrainingCase
from tests.errata.faults import training as faults
from tests.errata.runs import DTYPE

# The chapter's T, h, rate and clip_norm on few windows, five batches of which the last is not full.
SMALL = {"start": "uniform", "num_train": 150, "num_val": 60, "batch_size": 32}


def case_of(cell, text, *, epochs):
    return TrainingCase(
        f"errata-{cell}", language_model.problem(language_model.recipe(cell, epochs=epochs, **SMALL), text)
    )


@pytest.mark.erratum("clipping")
def test_a_training_without_clipping_is_not_the_recipe(notes, hand, text, source):
    # The GRU's norms are too small: only the RNN's make it act.
    case, other = case_of("rnn", text, epochs=1), case_of("gru", text, epochs=1)
    limit = case.problem.recipe.clip_norm
    norms = {each.cell.name: reference.get(each, DTYPE).oracle["norm"] for each in (case, other)}
    first = int(np.argmax(norms["rnn"] > limit))
    assert norms["rnn"][first] > limit
    assert first < len(norms["rnn"]) - 1

    notes.hold("right", case, hand.train(case))
    result = hand.train(faults.never_clipping(case))
    found = {f.quantity: f for f in notes.hold("wrong", case, result, DIFFERENT, shown="loss").findings}
    # Up to the step at which clipping acts they are one training; from the next on they are two.
    assert found["loss"].first_outside == first + 1
    assert found["end.W_hh"].verdict == DIFFERENT
    notes.keep(
        right=["scale = lr * min(1, clip_norm / norm)", "p = p - scale * g"],
        wrong=["p = p - lr * g"],
        clip_norm=limit,
        norms_of_rnn=[float(norm) for norm in norms["rnn"]],
        norms_of_gru=[float(norm) for norm in norms["gru"]],
        **source,
    )


@pytest.mark.erratum("perplexity")
def test_the_plotted_perplexity_is_another_number(notes, hand, text, source):
    case = case_of("gru", text, epochs=2)
    result = hand.train(case)
    notes.hold("right", case, result)
    plotted = faults.plotted_perplexity(result.arrays["loss"], case.problem.recipe.steps_per_epoch)
    swapped = replace(result, arrays={**result.arrays, "perplexity.train": plotted})
    found = notes.hold("wrong", case, swapped, DIFFERENT)
    assert {f.quantity for f in found.findings if f.verdict != "equal"} == {"perplexity.train"}
    notes.keep(
        right=["exp(sum(loss * tokens) / sum(tokens))"],
        wrong=["sum(exp(loss)) / batches"],
        exact=[float(p) for p in result.arrays["perplexity.train"]],
        plotted=[float(p) for p in plotted],
        **source,
    )
