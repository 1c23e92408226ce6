"""Comparisons of cells, each in two sweeps: which learning rate suits a cell; then, from other starts, trainings at
that rate and, on the text, at the chapter's. At one rate for all a comparison would measure the rate.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frameworks.sweep import command
from frameworks.sweep.run import Sweep
from shared_spec.errors import UserError
from shared_spec.language_model import Recipe, specification, tasks
from shared_spec.language_model.corpus import Corpus
from shared_spec.sweeps import trials
from shared_spec.sweeps.trials import FINISHED

if TYPE_CHECKING:
    from shared_spec.sweeps.trial_store import TrialStore

# Small weights of either sign, biases too, as torch.nn.GRU starts: from the chapter's own a copying task takes long.
START = "uniform"
STARTS = 3
"""From how many each rate is tried: at one that is good but not safe, a training may be lucky."""


@dataclass(frozen=True)
class Study:
    """Which cells are compared, on what."""

    name: str
    cells: tuple[str, ...]
    lane: str | None
    tasks: tuple[str, ...]
    rates: tuple[float, ...]
    epochs: dict[str, int]
    """Of a training on the text, and on copying."""


STUDIES = {
    "compare": Study(
        "compare",
        ("rnn", "gru_reset_after"),
        "native",
        (tasks.TEXT,),
        (0.5, 1, 2, 4, 8),
        {"text": 50},
    ),
    "halves": Study(
        "halves",
        ("gru", "gru_reset_only", "gru_update_only", "rnn"),
        None,
        (tasks.TEXT, "copy-2", "copy-5", "copy-10", "copy-20"),
        (0.5, 1, 2, 4, 8),
        {"text": 50, "copy": 100},
    ),
}


def rates(study: Study, framework: str, text: Corpus, *, epochs: int | None, **options: Any) -> list[Sweep]:
    """The sweeps that find the rates, one for each task."""
    planned = []
    for task in study.tasks:
        recipes = _recipes(study, study.cells, task, study.rates, range(1 - STARTS, 1), epochs)
        planned.append(_sweep(study, framework, task, "rates", recipes, text, **options))
    return planned


def trainings(
    study: Study,
    framework: str,
    text: Corpus,
    searches: Sequence[Sweep],
    store: TrialStore,
    *,
    epochs: int | None,
    seeds: int,
    **options: Any,
) -> list[Sweep]:
    """The sweeps that compare, one for each task, at the rates that `searches`, those of `rates`, have found."""
    planned = []
    device = options["device"]
    asked = {"epochs": epochs, "seeds": seeds, "device": None if device == "cpu" else device}
    for task, searched in zip(study.tasks, searches, strict=True):
        best = best_rates(study.cells, store.outcomes(searched.keys).values())
        chapter = {specification().defaults["lr"]} if task == tasks.TEXT else set()
        recipes = []
        for cell in study.cells:
            recipes += _recipes(study, [cell], task, sorted({best[cell]} | chapter), range(1, seeds + 1), epochs)
        found_by = {"best": best, "searched": searched.name, "options": asked}
        planned.append(_sweep(study, framework, task, "trainings", recipes, text, found_by, **options))
    return planned


def best_rates(cells: Sequence[str], outcomes: Any) -> dict[str, float]:
    """By cell: the rate at which the most trainings finish and, of such rates, the one whose middle training ends with
    the least validation perplexity.

    Raises UserError where none of a cell has finished.
    """
    ends: dict[str, dict[float, list[float]]] = {cell: {} for cell in cells}
    for outcome in outcomes:
        if outcome.status == FINISHED:
            recipe = outcome.trial.recipe
            ends[recipe.cell].setdefault(recipe.lr, []).append(outcome.val)
    if lost := [cell for cell, by_rate in ends.items() if not by_rate]:
        raise UserError(f"no training of {lost[0]} has finished at any rate; there is nothing to compare")
    return {
        cell: min(by_rate.items(), key=lambda tried: (-len(tried[1]), statistics.median(tried[1])))[0]
        for cell, by_rate in ends.items()
    }


def _recipes(
    study: Study, cells: Sequence[str], task: str, rates: Sequence[float], seeds: Sequence[int], epochs: int | None
) -> list[Recipe]:
    count = epochs or study.epochs[task.partition("-")[0]]
    return trials.grid({"lr": rates}, cells, seeds=seeds, task=task, start=START, epochs=count)


def _sweep(
    study: Study,
    framework: str,
    task: str,
    stage: str,
    recipes: Sequence[Recipe],
    text: Corpus,
    found_by: Mapping[str, Any] | None = None,
    **options: Any,
) -> Sweep:
    asked = {"study": study.name, "stage": stage, **(found_by or {}), "epochs": recipes[0].epochs}
    asked |= {"rates": list(study.rates), "seeds": sorted({r.start_seed for r in recipes})}
    return command.plan(framework, recipes, asked, name=None, lane=study.lane, task=task, text=text, **options)
