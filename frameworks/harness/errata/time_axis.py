"""The chapter's concise GRU in TensorFlow: which axis is time, what that costs, and what is left to learn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from frameworks.folder import Forward
from frameworks.harness.errata.hands import DTYPE, InFramework
from frameworks.harness.errata.notes import Notes, title_of
from isogru.judge.comparison import DIFFERENT
from shared_spec import cases, language_model
from shared_spec.errata.records import Record
from shared_spec.files.interchange import Case, Result
from shared_spec.language_model import Problem
from shared_spec.language_model.corpus import Corpus, Tokens
from shared_spec.language_model.training import Meter

EPOCHS, BATCH = 2, 80
"""Of the training: enough to fall below what the current character alone can give. In batches of the chapter's 1,024
the wrong layer goes through 1,024 steps in each training step, and some hundred training steps are needed.
"""


def time_axis(notes: Notes, text: Corpus) -> Record:
    """On time-first data the layer recurs over the examples."""
    hand = notes.hand
    assert isinstance(hand, InFramework)  # Equations have no layers, and errata.toml does not have them run it.
    # From a zero state, since the book hands over none.
    case = cases.build("gru_reset_after-zero_start")
    assert isinstance(case, Case)
    right, wrong = hand.faults.concise(), hand.faults.concise_time_first()
    notes.hold("transposed", case, hand.forward(case, right, "native"))
    result = hand.forward(case, wrong, "native")
    notes.hold("time-first", case, result, DIFFERENT, shown="H")
    notes.hold("swapped", *_swapped(case, result))

    recipe = language_model.recipe("gru_reset_after", start="uniform")
    problem = language_model.problem(recipe, text)
    seconds = _passes(hand, (right, wrong), problem)
    steps = _steps_of(hand, problem)
    trained = language_model.problem(replace(recipe, epochs=EPOCHS, batch_size=BATCH), text)
    perplexity = [_trained(hand, forward, trained) for forward in (right, wrong)]
    floor = perplexity_of_character(trained.training_rows(0), len(problem.vocabulary))
    notes.claim(
        steps == (recipe.num_steps, recipe.batch_size),
        f"the layer takes {steps[0]} steps for X transposed, should be {recipe.num_steps}, and {steps[1]} for X as it "
        f"is, should be {recipe.batch_size}",
    )
    # What recurs over time learns from more than the current character; what does not, cannot.
    notes.claim(
        perplexity[0] < floor < perplexity[1],
        f"the training perplexity is {perplexity[0]:.2f} for X transposed and {perplexity[1]:.2f} for X as it is; only "
        f"the first should be below {floor:.2f}, the least that the current character alone can give",
    )
    return notes.record(
        right=["layer(transpose(X, (1, 0, 2)))"],
        wrong=["layer(X)", f"layer = {hand.faults.CONCISE}"],
        T=recipe.num_steps,
        n=recipe.batch_size,
        steps_right=steps[0],
        steps_wrong=steps[1],
        seconds_right=seconds[0],
        seconds_wrong=seconds[1],
        rounds=1,
        epochs=EPOCHS,
        batch_size=BATCH,
        perplexity_right=perplexity[0],
        perplexity_wrong=perplexity[1],
        perplexity_of_character=floor,
        corpus=title_of(text),
    )


def _swapped(case: Case, result: Result) -> tuple[Case, Result]:
    """Case and states with examples for steps and steps for examples: X (n, T, d), H (n, T, h), H0 (T, h)."""
    T, _, h = result.arrays["H"].shape
    X, H = (np.ascontiguousarray(np.swapaxes(a, 0, 1)) for a in (case.arrays["X"], result.arrays["H"]))
    of_examples = Case(case.name, case.cell, {"X": X, "H0": np.zeros((T, h)), **case.parameters})
    return of_examples, replace(result, arrays={"H": H, "final": H[-1].copy()})


def _first_batch(hand: InFramework, problem: Problem) -> tuple[Any, Any, Any]:
    """Parameters, inputs and targets, on the device."""
    tensor = hand.framework.runtime.tensor
    parameters = {name: tensor(array, dtype=DTYPE, device=hand.device) for name, array in problem.parameters.items()}
    inputs, targets = next(problem.training_batches(0))
    return parameters, *(tensor(each, dtype="int32", device=hand.device) for each in (inputs, targets))


def _steps_of(hand: InFramework, problem: Problem) -> tuple[int, int]:
    """How many steps the layer takes for a batch, X transposed and as it is: rows of X for each row of its state."""
    parameters, inputs, _ = _first_batch(hand, problem)
    T, n = problem.recipe.num_steps, len(inputs)
    X = np.zeros((T, n, len(problem.vocabulary)))
    tensor = hand.framework.runtime.tensor
    given = [tensor(np.ascontiguousarray(each), dtype=DTYPE, device=hand.device) for each in (np.swapaxes(X, 0, 1), X)]
    h = problem.recipe.num_hiddens
    return tuple(T * n // hand.faults.rows_of_state(each, h, parameters) for each in given)


def _passes(hand: InFramework, forwards: Sequence[Forward], problem: Problem) -> list[float]:
    """Seconds of a forward and backward pass of each, eager, after one of the first that is not timed."""
    batch, model, runtime = _first_batch(hand, problem), hand.framework.language_model, hand.framework.runtime
    runtime.wait(model.loss_and_gradients(forwards[0], *batch))
    taken = []
    for forward in forwards:
        began = time.perf_counter()
        runtime.wait(model.loss_and_gradients(forward, *batch))
        taken.append(time.perf_counter() - began)
    return taken


def _trained(hand: InFramework, forward: Forward, problem: Problem) -> float:
    """The perplexity of the training windows in the last epoch, the step compiled to be over sooner."""
    model, tensor = hand.framework.language_model, hand.framework.runtime.tensor
    parameters, recipe = _first_batch(hand, problem)[0], problem.recipe
    step = model.training_step(forward, lr=recipe.lr, clip_norm=recipe.clip_norm, compiled=True)
    for epoch in range(recipe.epochs):
        meter = Meter()
        for inputs, targets in problem.training_batches(epoch):
            batch = (tensor(each, dtype="int32", device=hand.device) for each in (inputs, targets))
            parameters, loss, _ = step(parameters, *batch)
            meter.add(float(loss), targets.size)
    return meter.perplexity


def perplexity_of_character(rows: Tokens, num_tokens: int) -> float:
    """exp of the entropy of the next character given the current one, counted in windows (rows, steps + 1): no
    prediction from the current character alone has less on them (Gibbs' inequality).
    """
    counts = np.zeros((num_tokens, num_tokens))
    np.add.at(counts, (rows[:, :-1].ravel(), rows[:, 1:].ravel()), 1)
    of_next = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    seen = counts > 0
    return float(np.exp(-np.sum(counts[seen] * np.log(of_next[seen])) / counts.sum()))
