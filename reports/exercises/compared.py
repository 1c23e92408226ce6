"""Exercises 3 and 4: cells against each other, each at the rate that suits it, over several starts."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from isogru.judge.comparison import four
from reports.exercises import memory
from reports.exercises.records.studies import Difference, Middle, Rate, Study, Task, Trainings, Waning
from reports.exercises.sweeps import opened
from reports.race.paired import interval, ratio
from shared_spec import language_model, oracle
from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.language_model import Problem, corpus, specification, tasks, training
from shared_spec.language_model.corpus import Corpus
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.value import evaluate
from shared_spec.sweeps.place import Tell
from shared_spec.sweeps.stored import Outcome
from shared_spec.sweeps.trials import FAILED, FINISHED


def compare(tell: Tell | None = None) -> Study:
    """Exercise 3."""
    return _study("compare", tell)


def halves(tell: Tell | None = None) -> Study:
    """Exercise 4."""
    return _study("halves", tell)


def _study(name: str, tell: Tell | None) -> Study:
    """A study in every framework that has run it: by task and cell, the rates tried and the trainings. Where it was run
    in several ways, the one that was asked for last.
    """
    command, of_tasks, wanings = f"tox -e {name}-torch", list[Task](), list[Waning]()
    kept = opened(tell, is_told=False)
    if kept is None:
        return Study(command)
    sweeps = kept.sweeps()
    of_study = [one for one in sweeps.values() if one[0].get("study") == name and one[0]["stage"] == "trainings"]
    for told, keys in {(told["framework"], told["task"]): (told, keys) for told, keys in of_study}.values():
        there = list(kept.outcomes(keys).values())
        searched = kept.outcomes(sweeps.get(told["searched"], ({}, []))[1])
        of_tasks.append(_task(told, there, list(searched.values()), len(keys)))
        if name == "compare":
            wanings += _waning(told["framework"], there, tell)
    of_tasks.sort(key=lambda t: (t.task != tasks.TEXT, t.delay or 0, t.framework))
    return Study(command, of_tasks, wanings)


def _command(told: Mapping[str, Any]) -> str:
    """What a study was asked for by, in one framework."""
    options = "".join(f" --{name} {value}" for name, value in told["options"].items() if value is not None)
    return f"tox -e {told['study']}-{told['framework']}{' --' + options if options else ''}"


def _task(told: Mapping[str, Any], there: list[Outcome], searched: list[Outcome], asked: int) -> Task:
    task = told["task"]
    groups: dict[tuple[str, float], list[Outcome]] = {}
    for outcome in there:
        groups.setdefault((outcome.trial.recipe.cell, outcome.trial.recipe.lr), []).append(outcome)
    copying = tasks.delay_of(task) is not None
    # By start, what counts of those that have finished: what is recalled or, on the text, the validation perplexity.
    ends = {
        group: {o.trial.recipe.start_seed: recalled(o) if copying else o.val for o in some if o.status == FINISHED}
        for group, some in groups.items()
    }
    rows = [
        _row(some, best=lr == told["best"][of], shares=list(ends[of, lr].values()) if copying else [])
        for (of, lr), some in groups.items()
    ]
    at_best = {of: ends.get((of, lr), {}) for of, lr in told["best"].items()}
    return Task(
        framework=told["framework"],
        command=_command(told),
        task=task,
        delay=tasks.delay_of(task),
        epochs=told["epochs"],
        asked=asked,
        there=len(there),
        rows=rows,
        # Times of different lanes say nothing of their cells.
        one_lane=len({row.implementation for row in rows}) == 1,
        rates=[
            Rate(o.trial.recipe.cell, o.trial.recipe.lr, o.why, o.val if o.status == FINISHED else None)
            for o in sorted(searched, key=lambda o: (o.trial.recipe.cell, o.trial.recipe.lr))
        ],
        differences=list(_differences(at_best, copying=copying)),
    )


def _row(some: Sequence[Outcome], *, best: bool, shares: Sequence[float]) -> Trainings:
    """Trainings of one cell at one rate, from several starts; of copying the shares that were recalled."""
    first, recipe = some[0].trial, some[0].trial.recipe
    finished = [outcome for outcome in some if outcome.status == FINISHED]
    trained = [outcome for outcome in some if outcome.status != FAILED]
    norms = [outcome.arrays["norm"] for outcome in trained]
    return Trainings(
        cell=recipe.cell,
        implementation=first.implementation,
        lr=recipe.lr,
        best=best,
        starts=len(some),
        unfinished=[o.why for o in some if o.status != FINISHED],
        seconds=statistics.median(outcome.seconds for outcome in trained) if trained else None,
        val=_middle([outcome.val for outcome in finished]),
        recalled=_share(shares),
        clipped=statistics.median(int(np.sum(n > recipe.clip_norm)) for n in norms) if norms else 0,
        steps=statistics.median(len(n) for n in norms) if norms else 0,
        largest=max(float(np.nanmax(n)) for n in norms) if norms else None,
        text=finished[0].text if finished else "",
    )


def _middle(perplexities: Sequence[float]) -> Middle | None:
    """The geometric mean, and the ends of its 95% interval: that of the mean loss."""
    if not perplexities:
        return None
    mean, low, high = interval([math.log(each) for each in perplexities])
    return (math.exp(mean), math.exp(low), math.exp(high))


def _share(shares: Sequence[float]) -> Middle | None:
    """The mean, and the ends of its 95% interval as far as they can be."""
    if not shares:
        return None
    mean, low, high = interval(shares)
    return (mean, max(low, 0.0), min(high, 1.0))


def _differences(ends: Mapping[str, Mapping[int, float]], *, copying: bool) -> Iterator[Difference]:
    """Each cell against the first, from what counts by start, and over the starts that both have finished from: on the
    text the ratio of their perplexities, of copying by how much more is recalled.
    """
    (first, theirs), *others = ends.items()
    for other, ours in others:
        both = sorted(ours.keys() & theirs.keys())
        if not both:
            continue
        if copying:
            value, low, high = interval([ours[start] - theirs[start] for start in both])
            is_better, is_worse = low > 0, high < 0
        else:
            of = ratio({start: ours[start] for start in both}, {start: theirs[start] for start in both})
            value, low, high, is_better, is_worse = of.value, of.low, of.high, of.is_faster, of.is_slower
        word = "worse" if is_worse else "better" if is_better else "not to be told apart"
        yield Difference(other, first, value, low, high, len(both), word)


def recalled(outcome: Outcome) -> float:
    """Of the symbols after the mark, in rows that were not trained on, the share that the weights at a training's end
    predict rightly: 1 for a perfect memory, 1 in 8 by guessing. By the oracle, whatever they were trained in.
    """
    problem, the_cell = tasks.copying(outcome.trial.recipe), cell(outcome.trial.recipe.cell)
    parameters = {name: outcome.arrays[f"end.{name}"].astype(np.float64) for name in problem.parameters}
    right = []
    for inputs, targets in problem.validation_batches():
        X = training.one_hot(inputs, len(problem.vocabulary), np.dtype(np.float64))
        H = oracle.states(the_cell, X, np.zeros((len(inputs), problem.recipe.num_hiddens)), parameters)
        O = _logits(H[-tasks.COUNT :], parameters)
        right.append(O.argmax(2) == targets[:, -tasks.COUNT :].T)
    return float(np.mean(np.concatenate(right, axis=1)))


def _logits(H: Array, parameters: Mapping[str, Array]) -> Array:
    return evaluate(specification().output.expression, {**parameters, "H": H}, np.dtype(np.float64))


def _waning(framework: str, outcomes: Iterable[Outcome], tell: Tell | None) -> Iterator[Waning]:
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
        try:
            problem = language_model.problem(recipe, _text(outcome.corpus))
        except UserError as error:
            if tell is None:
                raise
            tell(f"{error}; without it nothing is shown of how gradients wane in {framework}")
            continue
        end = {name: outcome.arrays[f"end.{name}"].astype(np.float64) for name in problem.parameters}
        yield Waning(
            framework=framework,
            cell=recipe.cell,
            lr=recipe.lr,
            start=[four(float(v)) for v in waning(problem, problem.parameters)],
            end=[four(float(v)) for v in waning(problem, end)],
        )


def waning(problem: Problem, parameters: Mapping[str, Array]) -> Array:
    """(T,): norms of dL_T/dH_t over that of dL_T/dH_T, L_T the loss of the last step; the mean over windows."""
    inputs, targets = memory.windows(problem)
    the_cell, v = cell(problem.recipe.cell), len(problem.vocabulary)
    X = training.one_hot(inputs, v, np.dtype(np.float64))
    H0 = np.zeros((X.shape[1], problem.recipe.num_hiddens))
    unrolled = oracle.Unrolled(the_cell, X, H0, parameters, ())
    _, dO = training.cross_entropy(_logits(unrolled.H[-1:], parameters), targets[:, -1:])
    dH = np.zeros_like(unrolled.H)
    dH[-1] = dO[0] @ parameters["W_hq"].T
    norms = np.linalg.norm(unrolled.cotangents(dH), axis=2)
    mean: Array = np.mean(norms / norms[-1], axis=1)
    return mean


@functools.cache
def _text(sha1: str) -> Corpus:
    """The text that trials were run on. Raises UserError where it is not where runs keep it."""
    return corpus.find(specification().corpus, path=store.text_file(sha1), sha1=sha1)
