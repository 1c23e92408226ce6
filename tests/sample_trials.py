"""Trials made up, so that what a page should say of them is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from reports.exercises import sweeps
from shared_spec import language_model
from shared_spec.language_model import tasks
from shared_spec.sweeps.place import default_file
from shared_spec.sweeps.stored import Outcome
from shared_spec.sweeps.trial_store import TrialStore
from shared_spec.sweeps.trials import DIVERGED, FINISHED, Trial

COEFFICIENTS = (2e-4, 7e-8, 3e-10, 5e-12)
"""Of the cost law that their times follow."""


def outcome(framework="torch", status=FINISHED, val=7.0, corpus="sha", task="text", said="the <b>time", **changes):
    """A trial that is over after two epochs, with `val` as its last validation perplexity."""
    recipe = language_model.recipe(changes.pop("cell", "gru"), **{**tasks.settings(task), "epochs": 2})
    trial = Trial(framework, "tuned", "float32", "cpu", task, replace(recipe, **changes))
    arrays = {"perplexity.train": np.array([9.0, val - 0.5]), "perplexity.val": np.array([8.0, val])}
    arrays |= {"norm": np.array([0.5, 3.0, 0.2]), "loss": np.zeros(3)}
    seconds = float(np.dot(COEFFICIENTS, sweeps._terms(trial))) * sweeps._steps(trial)
    made = Outcome(trial, corpus, status, seconds=seconds / 2, cpu_seconds=seconds, text=said, arrays=arrays)
    return made if status == FINISHED else replace(made, why=f"{status} at epoch 2", arrays=arrays)


def keep(name, outcomes, **told):
    """A sweep of that name in the usual store."""
    kept = TrialStore(default_file())
    kept.save(outcomes)
    definition = {
        "framework": outcomes[0].trial.framework,
        "grid": {"lr": [1.0, 4.0]},
        "cells": ["gru"],
        "task": "text",
    }
    definition |= {"epochs": 2, "seeds": 1, "random": None, "dtype": "float32", **told}
    kept.define(name, definition, [o.trial.key(o.corpus) for o in outcomes])


def study(name="halves", task="copy-5", values=None, best=None, text=None):
    """A study whose trainings end as told: by cell the last mean losses or, of copying, what `share_of` finds. With a
    text, its weights are those of a start on it.
    """
    best = best or {"gru": 4.0, "rnn": 2.0}
    corpus = text.sha1 if text else "sha"
    told = {"study": name, "task": task, "best": best, "rates": [1.0], "implementations": {}}
    told |= {"corpus": corpus, "device": "cpu", "searched": f"{name}-rates", "options": {"epochs": 2, "seeds": 3}}
    made = [
        outcome(cell=cell, lr=best[cell], val=math.exp(loss), task=task, start_seed=seed, corpus=corpus)
        for cell, losses in values.items()
        for seed, loss in enumerate(losses)
    ]
    if text:
        made = [replace(o, arrays={**o.arrays, **_weights(o.trial.recipe, text)}) for o in made]
    searched = [outcome(cell=cell, lr=1.0, task=task, status=DIVERGED, start_seed=99, corpus=corpus) for cell in best]
    keep(f"{name}-rates", searched, **told, stage="rates")
    keep(f"{name}-trainings", made, **told, stage="trainings")


def share_of(outcome):
    """In place of compared.recalled, which looks at weights: what a made-up training recalls."""
    return math.log(outcome.val)


def _weights(recipe, text):
    start = language_model.problem(replace(recipe, start="uniform"), text).parameters
    return {f"end.{name}": array for name, array in start.items()}
