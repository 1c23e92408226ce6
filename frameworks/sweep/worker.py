"""Trials run in one process, one after the other or, where the framework can, as one program."""

from __future__ import annotations

import functools
import os
import platform
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np

import frameworks
from frameworks import Framework, protocol
from frameworks.harness.subject import Subject
from frameworks.harness.training import Training
from shared_spec.files.interchange import TrainingCase
from shared_spec.language_model import Problem, tasks
from shared_spec.language_model.corpus import Corpus
from shared_spec.language_model.training import perplexity
from shared_spec.sweeps import trials
from shared_spec.sweeps.stored import Outcome
from shared_spec.sweeps.trials import Trial

TELL_SECONDS = 1.0
"""How often is told how much is done."""

Epochs = Generator[None, None, Any]
"""Trainings that stop after each epoch, and return what was found."""


def run(chosen: Sequence[Trial], text: Corpus, threads: int) -> Iterator[float | list[Outcome]]:
    """Now and then the share that is done of trials which one program could run, and at last what has become of them.
    Exceptions of a framework pass through.
    """
    first = chosen[0]
    framework = _framework(first.framework, first.device, threads)
    implementation = protocol.find(framework, first.implementation, first.recipe.cell, first.dtype)
    subject = Subject(framework, implementation, dtype=first.dtype, device=first.device)
    problems = [tasks.problem(trial.task, trial.recipe, text) for trial in chosen]
    wall, cpu = time.perf_counter(), time.process_time()
    step = framework.language_model.training_step_of_many(subject.forward, clip_norm=first.recipe.clip_norm)
    together = step is not None
    epochs = _together(subject, problems, step) if together else _in_turn(subject, problems)
    results = yield from _shares(epochs, first.recipe.epochs * (1 if together else len(chosen)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    made_with = {"versions": dict(framework.runtime.versions()), "switches": dict(framework.runtime.switches())}
    outcomes = []
    for trial, problem, arrays in zip(chosen, problems, results, strict=True):
        status, why = trials.status(arrays, trial.recipe.epochs, len(problem.vocabulary))
        predicted = arrays.pop("text", None)
        # Of a training by itself, the weights after its first step: for verdicts, not for sweeps.
        arrays = {name: array for name, array in arrays.items() if not name.startswith("step1.")}
        outcomes.append(
            Outcome(
                trial,
                text.sha1,
                status,
                why,
                seconds=wall / len(chosen),
                cpu_seconds=cpu / len(chosen),
                together=len(chosen) if together else 1,
                node=platform.node(),
                made_with=made_with,
                text="" if predicted is None else problem.vocabulary.decode(predicted),
                arrays=arrays,
            )
        )
    yield outcomes


def _shares(epochs: Epochs, count: int) -> Generator[float, None, Any]:
    """Of so many epochs the share that is over, now and then; returns what they return."""
    done, told = 0, time.monotonic()
    while True:
        try:
            next(epochs)
        except StopIteration as end:
            return end.value
        done += 1
        if time.monotonic() > told + TELL_SECONDS:
            told = time.monotonic()
            yield done / count


@functools.cache
def _framework(name: str, device: str, threads: int) -> Framework:
    # JAX's cache of compiled programs is no place for two processes at once.
    os.environ.pop("ISOGRU_COMPILE_CACHE", None)
    framework = frameworks.load(name)
    framework.runtime.setup(device=device, threads=threads)
    return framework


def _in_turn(subject: Subject, problems: Sequence[Problem]) -> Epochs:
    results = []
    for problem in problems:
        results.append((yield from _one(subject, problem)))
    return results


def _one(subject: Subject, problem: Problem) -> Epochs:
    training = Training(subject, TrainingCase("", problem))
    for epoch in range(problem.recipe.epochs):
        training.epoch(epoch)
        training.validate()
        if not training.is_finite:
            # Not a number never becomes one again.
            return training.so_far()
        yield
    return training.result()


def _together(subject: Subject, problems: Sequence[Problem], step: Any) -> Epochs:
    """The same, all trainings a step ahead at each call."""
    framework, recipe, count = subject.framework, problems[0].recipe, len(problems)
    validate = framework.language_model.validation_loss_of_many(subject.forward)
    assert validate is not None, "a framework that trains many at once also validates them"
    stacked = {name: np.stack([p.parameters[name] for p in problems]) for name in problems[0].parameters}
    parameters = subject.tensors(stacked)
    rates = subject.tensor(np.array([p.recipe.lr for p in problems]))
    losses, norms = [], []
    perplexities: dict[str, list[list[float]]] = {"train": [], "val": []}
    for epoch in range(recipe.epochs):
        of_epoch = []
        for batches in zip(*(p.training_batches(epoch) for p in problems), strict=True):
            parameters, value, norm = step(parameters, *_tokens(subject, batches), rates)
            of_epoch.append((value, norm, batches[0][1].size))
        # (steps, count): fetched once an epoch, so that the next step need not wait.
        values, lengths = (np.stack([framework.runtime.to_numpy(each[i]) for each in of_epoch]) for i in (0, 1))
        losses.append(values)
        norms.append(lengths)
        held = [
            (framework.runtime.to_numpy(validate(parameters, *_tokens(subject, batches))), batches[0][1].size)
            for batches in zip(*(p.validation_batches() for p in problems), strict=True)
        ]
        sizes = [size for _, _, size in of_epoch]
        perplexities["train"].append([perplexity(values[:, i], sizes) for i in range(count)])
        perplexities["val"].append([perplexity([v[i] for v, _ in held], [s for _, s in held]) for i in range(count)])
        if not np.isfinite(values[-1]).any():
            break
        yield
    results = []
    end = subject.numpy(parameters)
    for i, problem in enumerate(problems):
        done = _epochs_until_nan(np.stack([values[:, i] for values in losses]))
        arrays = {"loss": np.concatenate([v[:, i] for v in losses[:done]])}
        arrays["norm"] = np.concatenate([v[:, i] for v in norms[:done]])
        arrays |= {f"perplexity.{part}": np.array(perplexities[part])[:done, i] for part in perplexities}
        if np.isfinite(arrays["loss"]).all():
            arrays |= {f"end.{name}": array[i] for name, array in end.items()}
            own = subject.tensors({name: array[i] for name, array in end.items()})
            prefix = subject.tokens(problem.prefix())
            predicted = framework.language_model.predict(subject.forward, own, prefix, recipe.num_predictions)
            arrays["text"] = framework.runtime.to_numpy(predicted).astype(np.int32)
        results.append(arrays)
    return results


def _tokens(subject: Subject, batches: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[Any, Any]:
    """Inputs and targets of every problem, (count, n, T) each, on the device."""
    inputs, targets = zip(*batches, strict=True)
    return subject.tokens(np.stack(inputs)), subject.tokens(np.stack(targets))


def _epochs_until_nan(losses: np.ndarray) -> int:
    """Of losses (epochs, steps): how many epochs up to the first in which one is not a number."""
    bad = np.flatnonzero(~np.isfinite(losses).all(1))
    return int(bad[0]) + 1 if len(bad) else len(losses)
