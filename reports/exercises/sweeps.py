"""Exercise 2: what hyperparameters do to running time, perplexity and text, from the trials that are kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.exercises.records import sweeps as records
from reports.exercises.records.sweeps import Law
from shared_spec.errors import UserError
from shared_spec.readings.arithmetic import Array
from shared_spec.sweeps.place import ELSEWHERE, Tell, default_file
from shared_spec.sweeps.stored import Outcome
from shared_spec.sweeps.trials import FINISHED, GRID, Trial, worded

if TYPE_CHECKING:
    from shared_spec.sweeps.trial_store import TrialStore

BEST = 10
TERMS = ("1", "n T", "n T h", "n T h²")
"""Of the cost law of a training step: what it costs in any case, what each token does (its loss, and the operations of
its time step), the elementwise part, the products."""
LANE = ("framework", "implementation", "cell", "dtype", "device", "threads")
"""What a cost law is of."""


def opened(tell: Tell | None, *, is_told: bool = True) -> TrialStore | None:
    """The store of trials; none where there is none, or it is damaged and that can be told, unless it is already."""
    if not default_file().is_file():
        return None
    from shared_spec.sweeps.trial_store import TrialStore

    try:
        return TrialStore(default_file(), reads=True, tell=tell)
    except UserError as error:
        if tell is None:
            raise
        if is_told:
            told = str(error).removesuffix(f"; {ELSEWHERE}")
            tell(f"{told}; move it away: of trials nothing is shown")
        return None


def build(tell: Tell | None = None) -> records.Sweeps:
    """All sweeps of the store that have a trial: their trials, the best of them, what a step costs, and frameworks side
    by side.
    """
    kept = opened(tell)
    if kept is None:
        return records.Sweeps()
    sweeps = [(name, *one) for name, one in reversed(kept.sweeps().items()) if "study" not in one[0]]
    # What a page shows first is the largest and, of such, the one that was asked for last.
    sweeps.sort(key=lambda each: -len(each[2]))
    there = kept.outcomes(list(dict.fromkeys(key for _, _, keys in sweeps for key in keys)))
    sweeps = [one for one in sweeps if any(key in there for key in one[2])]
    outcomes = [outcome for outcome in there.values() if outcome.status == FINISHED]
    laws = list(_laws(outcomes))
    return records.Sweeps(
        sweeps=[_sweep(name, told, keys, there, laws) for name, told, keys in sweeps],
        laws=laws,
        side_by_side=list(_side_by_side(outcomes)),
    )


def _sweep(
    name: str, told: Mapping[str, Any], keys: Sequence[str], by_key: Mapping[str, Outcome], laws: Sequence[Law]
) -> records.Sweep:
    there = [by_key[key] for key in keys if key in by_key]
    rows = [row(outcome) for outcome in there]
    finished = sorted((r for r in rows if r.status == FINISHED), key=lambda r: math.inf if r.val is None else r.val)
    return records.Sweep(
        name=name,
        framework=told["framework"],
        command=command(told),
        asked=len(keys),
        trials=rows,
        best=finished[:BEST],
        settings=list(dict.fromkeys(name for outcome in there for name in outcome.trial.settings)),
        cpu_seconds=sum(outcome.cpu_seconds for outcome in there),
        otherwise=list(_otherwise(there, laws)),
    )


def _otherwise(there: Sequence[Outcome], laws: Sequence[Law]) -> Iterable[records.Otherwise]:
    """What a sweep would cost by the law of another implementation, or of another number of threads: processor time in
    seconds, and how many times the sweep's own. Of the trials that were trained to their end.
    """
    whole = [o for o in there if len(o.arrays.get("perplexity.train", ())) == o.trial.recipe.epochs]
    own = {_lane(outcome) for outcome in whole}
    trained = {(o.trial.recipe.cell, o.trial.dtype) for o in whole}
    for law in laws:
        if tuple(getattr(law, name) for name in LANE) in own or trained != {(law.cell, law.dtype)}:
            continue
        coefficients = np.array(list(law.coefficients.values()))
        seconds = sum(float(_terms(o.trial) @ coefficients) * _steps(o.trial) for o in whole)
        times = seconds / sum(o.cpu_seconds for o in whole)
        yield records.Otherwise(law.framework, law.implementation, law.threads, seconds, times)


def command(told: Mapping[str, Any]) -> str:
    """What a sweep was asked for by."""
    words = [f"tox -e sweep-{told['framework']} --"]
    words += [f"--grid {name}={','.join(map(worded, values))}" for name, values in told["grid"].items()]
    words += [f"--cell {cell}" for cell in told["cells"]]
    named = ("task", "epochs", "seeds", "random", "dtype", "device", "lane", "threads")
    words += [f"--{name} {told[name]}" for name in named if told.get(name) is not None]
    return " ".join(words)


def row(outcome: Outcome) -> records.Trial:
    """A trial as the page shows it."""
    trial, recipe = outcome.trial, outcome.trial.recipe
    train, val = ([float(v) for v in outcome.arrays.get(f"perplexity.{part}", ())] for part in ("train", "val"))
    return records.Trial(
        framework=trial.framework,
        implementation=trial.implementation,
        threads=_threads(outcome),
        dtype=trial.dtype,
        device=trial.device,
        cell=recipe.cell,
        task=trial.task,
        **{name: getattr(recipe, name) for name in GRID},
        start=recipe.start,
        seed=recipe.start_seed,
        epochs=recipe.epochs,
        status=outcome.status,
        why=outcome.why,
        seconds=outcome.seconds,
        cpu_seconds=outcome.cpu_seconds,
        text=outcome.text,
        train=train[-1] if train else None,
        val=val[-1] if val else None,
        curves=records.Curves(train, val),
    )


def _laws(outcomes: Iterable[Outcome]) -> Iterable[Law]:
    """By what a cost depends on beside sizes: that of a training step fitted to trials, and how well it fits."""

    for lane, some in itertools.groupby(sorted(outcomes, key=_lane), key=_lane):
        there = list(some)
        sizes = np.array([_terms(outcome.trial) for outcome in there])
        measured = np.array([outcome.cpu_seconds / _steps(outcome.trial) for outcome in there])
        if not _determined(sizes, measured):
            continue
        coefficients = fit(sizes, measured)
        fitted = sizes @ coefficients
        off = np.exp(np.abs(np.log(fitted / measured)))
        yield Law(
            **dict(zip(LANE, lane, strict=True)),
            coefficients=dict(zip(TERMS, coefficients.tolist(), strict=True)),
            off=(float(np.median(off)), float(np.max(off))),
            points=[
                records.Point(outcome.trial.recipe.num_steps, outcome.trial.recipe.num_hiddens, float(m), float(f))
                for outcome, m, f in zip(there, measured, fitted, strict=True)
            ],
        )


def _determined(sizes: Array, measured: Array) -> bool:
    """Whether the terms can be told from each other, and there is a size more than there are terms."""
    scaled = sizes / measured[:, None]
    distinct = len(np.unique(sizes, axis=0)) > len(TERMS)
    return distinct and int(np.linalg.matrix_rank(scaled / np.abs(scaled).max(0))) == len(TERMS)


def _lane(outcome: Outcome) -> tuple[str, ...]:
    trial = outcome.trial
    return trial.framework, trial.implementation, trial.recipe.cell, trial.dtype, trial.device, _threads(outcome)


def _threads(outcome: Outcome) -> str:
    return outcome.made_with.get("switches", {}).get("threads", "")


def _terms(trial: Trial) -> Array:
    r = trial.recipe
    tokens = r.batch_size * r.num_steps
    return np.array([1.0, tokens, tokens * r.num_hiddens, tokens * r.num_hiddens**2])


def _steps(trial: Trial) -> float:
    """Training steps, and validation counted as a third of one for each batch of rows: a forward without gradients."""
    r = trial.recipe
    return r.epochs * (r.num_train + r.num_val / 3) / r.batch_size


def fit(sizes: Array, measured: Array) -> Array:
    """Coefficients (terms,), none negative, of measured (points,) in sizes (points, terms): by least squares of
    relative errors, the best of every set of terms in which none is negative.
    """
    scaled = sizes / measured[:, None]
    best, coefficients = math.inf, np.zeros(sizes.shape[1])
    for count in range(1, sizes.shape[1] + 1):
        for chosen in map(list, itertools.combinations(range(sizes.shape[1]), count)):
            # Columns of one size: they lie many powers of ten apart.
            unit = np.abs(scaled[:, chosen]).max(0)
            solved = np.linalg.lstsq(scaled[:, chosen] / unit, np.ones(len(measured)), rcond=None)[0] / unit
            error = float(np.sum((scaled[:, chosen] @ solved - 1) ** 2))
            if (solved >= 0).all() and error < best:
                best, coefficients = error, np.zeros(sizes.shape[1])
                coefficients[chosen] = solved
    return coefficients


def _side_by_side(outcomes: Iterable[Outcome]) -> Iterable[records.SideBySide]:
    """Implementations of two frameworks that have run the same trainings: how far apart their perplexities end, and
    their times.
    """
    by_training: dict[Any, dict[tuple[str, str], Outcome]] = {}
    for outcome in outcomes:
        trial = outcome.trial
        training = (trial.recipe, trial.task, outcome.corpus, trial.dtype, trial.device, _threads(outcome))
        by_training.setdefault(training, {})[trial.framework, trial.implementation] = outcome
    names = sorted({name for each in by_training.values() for name in each})
    for one, other in itertools.combinations(names, 2):
        both = [(each[one], each[other]) for each in by_training.values() if one in each and other in each]
        if not both or one[0] == other[0]:
            continue
        apart = [abs(a.val / b.val - 1) for a, b in both]
        times = [math.log(a.cpu_seconds / b.cpu_seconds) for a, b in both]
        yield records.SideBySide(
            lanes=("/".join(one), "/".join(other)),
            trainings=len(both),
            apart=(float(np.median(apart)), float(np.max(apart))),
            times=math.exp(float(np.median(times))),
        )
