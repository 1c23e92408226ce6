"""Exercises 3 and 4: cells against each other, each at the rate that suits it, over several starts."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from reports.finding import four
from reports.paired import interval, ratio
from reports.schema import Record
from shared_spec import corpus, language_model, oracle, store, tasks, training
from shared_spec.cells import cell
from shared_spec.corpus import Corpus
from shared_spec.language_model import Problem, specification
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.value import evaluate
from shared_spec.trial_store import Outcome, TrialStore, default_file
from shared_spec.trials import FINISHED

STUDIES = {"compare": "tox -e compare-torch", "halves": "tox -e halves-torch"}
"""By its name, the command that runs a study in one framework."""
WINDOWS = 64


def compare() -> Record:
    """Exercise 3."""
    return _study("compare")


def halves() -> Record:
    """Exercise 4."""
    return _study("halves")


def _study(name: str) -> Record:
    """A study in every framework that has run it: by task and cell, the rates tried and the trainings."""
    record: Record = {"command": STUDIES[name], "tasks": [], "waning": []}
    if not default_file().is_file():
        return record
    kept = TrialStore(default_file())
    sweeps = list(kept.sweeps().values())
    for told, keys in sweeps:
        if told.get("study") == name and told["stage"] == "trainings":
            found = kept.outcomes(keys)
            searched = kept.outcomes(_searched(sweeps, told))
            record["tasks"].append(_task(told, list(found.values()), list(searched.values()), len(keys)))
            if name == "compare":
                record["waning"] += list(_waning(told["framework"], found.values()))
    record["tasks"].sort(key=lambda t: (t["task"] != tasks.TEXT, t["delay"] or 0, t["framework"]))
    return record


def _searched(sweeps: Iterable[tuple[Mapping[str, Any], list[str]]], told: Mapping[str, Any]) -> list[str]:
    """The trials in which the rates of a study were found."""
    same = ("study", "framework", "task", "epochs", "corpus", "implementations", "dtype", "device", "rates")
    return [
        key
        for other, keys in sweeps
        if other.get("stage") == "rates" and all(other.get(name) == told.get(name) for name in same)
        for key in keys
    ]


def _task(told: Mapping[str, Any], found: list[Outcome], searched: list[Outcome], asked: int) -> Record:
    task = told["task"]
    groups: dict[tuple[str, float], list[Outcome]] = {}
    for outcome in found:
        groups.setdefault((outcome.trial.recipe.cell, outcome.trial.recipe.lr), []).append(outcome)
    rows = [_row(task, of, lr, some, lr == told["best"][of]) for (of, lr), some in groups.items()]
    return {
        "framework": told["framework"],
        "task": task,
        "delay": tasks.delay_of(task),
        "epochs": told["epochs"],
        "asked": asked,
        "there": len(found),
        "rows": rows,
        "rates": [
            {"cell": o.trial.recipe.cell, "lr": o.trial.recipe.lr, "why": o.why}
            | {"val": o.val if o.status == FINISHED else None}
            for o in sorted(searched, key=lambda o: (o.trial.recipe.cell, o.trial.recipe.lr))
        ],
        "differences": list(_differences(told["best"], groups)),
    }


def _row(task: str, of: str, lr: float, some: Sequence[Outcome], best: bool) -> Record:
    """Trainings of one cell at one rate, from several starts."""
    finished = [outcome for outcome in some if outcome.status == FINISHED]
    ends = [outcome.val for outcome in finished]
    record: Record = {
        "cell": of,
        "implementation": some[0].trial.implementation,
        "lr": lr,
        "best": best,
        "starts": len(some),
        "unfinished": [o.why for o in some if o.status != FINISHED],
        "seconds": statistics.median(o.seconds for o in some),
        "val": interval(ends) if ends else None,
        "recalled": None,
        "clipped": statistics.median(int(np.sum(o.arrays["norm"] > o.trial.recipe.clip_norm)) for o in some),
        "steps": statistics.median(len(o.arrays["norm"]) for o in some),
        "largest": max(float(np.nanmax(o.arrays["norm"])) for o in some),
        "text": finished[0].text if finished else "",
    }
    if tasks.delay_of(task) is not None and ends:
        record["recalled"] = interval([tasks.recalled(math.log(val), some[0].trial.recipe) for val in ends])
    return record


def _differences(best: Mapping[str, float], groups: Mapping[tuple[str, float], list[Outcome]]) -> Iterator[Record]:
    """Each cell against the first, at the best rate of each: the ratio of their perplexities over starts both have."""

    def ends(of: str) -> dict[int, float]:
        some = groups.get((of, best[of]), [])
        return {o.trial.recipe.start_seed: o.val for o in some if o.status == FINISHED}

    names = list(best)
    for other in names[1:]:
        ours, theirs = ends(other), ends(names[0])
        if both := ours.keys() & theirs.keys():
            found = ratio({s: ours[s] for s in both}, {s: theirs[s] for s in both})
            yield {
                "cell": other,
                "against": names[0],
                "ratio": [found.value, found.low, found.high],
                "starts": len(both),
                "word": "worse" if found.is_slower else "better" if found.is_faster else "not to be told apart",
            }


def _waning(framework: str, outcomes: Iterable[Outcome]) -> Iterator[Record]:
    """How the gradient of the last step's loss wanes on its way back, at the start and the end of a training: the norm
    of dL_T/dH_t over that of dL_T/dH_T, a mean over windows that were not trained on. Of each cell and rate the first
    start. Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, section 2.
    """
    seen = set()
    for outcome in outcomes:
        recipe = outcome.trial.recipe
        if outcome.status != FINISHED or (recipe.cell, recipe.lr) in seen:
            continue
        seen.add((recipe.cell, recipe.lr))
        problem = language_model.problem(recipe, _text(outcome.corpus))
        end = {name: outcome.arrays[f"end.{name}"].astype(np.float64) for name in problem.parameters}
        yield {
            "framework": framework,
            "cell": recipe.cell,
            "lr": recipe.lr,
            "start": [four(float(v)) for v in waning(problem, problem.parameters)],
            "end": [four(float(v)) for v in waning(problem, end)],
        }


def waning(problem: Problem, parameters: Mapping[str, Array]) -> Array:
    """(T,): norms of dL_T/dH_t over that of dL_T/dH_T, L_T the loss of the last step, mean over WINDOWS rows."""
    inputs, targets = next(problem.validation_batches())
    the_cell, v = cell(problem.recipe.cell), len(problem.vocabulary)
    X = training.one_hot(inputs[:WINDOWS], v, np.dtype(np.float64))
    H0 = np.zeros((X.shape[1], problem.recipe.num_hiddens))
    unrolled = oracle.Unrolled(the_cell, X, H0, parameters, ())
    O = evaluate(specification().output.expression, {**parameters, "H": unrolled.H[-1:]}, np.dtype(np.float64))
    _, dO = training.cross_entropy(O, targets[:WINDOWS, -1:])
    dH = np.zeros_like(unrolled.H)
    dH[-1] = dO[0] @ parameters["W_hq"].T
    norms = np.linalg.norm(unrolled.cotangents(dH), axis=2)
    mean: Array = np.mean(norms / norms[-1], axis=1)
    return mean


@functools.cache
def _text(sha1: str) -> Corpus:
    """The text that trials were run on. Raises UserError where it is not where runs keep it."""
    return corpus.find(specification().corpus, path=store.text_file(sha1), sha1=sha1)
