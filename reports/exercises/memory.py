"""What a trained GRU remembers: how far back a character still moves the state, in the weights at a training's end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from isogru.judge.comparison import EQUAL, four, worst
from isogru.judge.verdict_cache import is_kept, verdict_on
from reports.diff.collect import FRAMEWORKS, current_case, rank_of_lane
from reports.exercises.records.gates import Distance, Ends, Memory, Passed, Reach
from shared_spec import cases, oracle
from shared_spec.cells import Cell
from shared_spec.errors import InterchangeError
from shared_spec.files import store
from shared_spec.files.interchange import Origin, TrainingCase, read_origin, read_result
from shared_spec.files.store import Job
from shared_spec.influence import influence
from shared_spec.language_model import Problem
from shared_spec.language_model.corpus import Tokens
from shared_spec.language_model.training import one_hot
from shared_spec.readings.arithmetic import Array
from shared_spec.sweeps.place import Tell

CELL = "gru"
COMMAND = "tox -e train-torch"
"""What runs a training of the kind that is wanted."""
WINDOWS = 64
REACHES = (0.5, 0.1, 0.01)
_SEED = 1


@dataclass(frozen=True)
class Trained:
    """A training that is there, and its weights at the end, float64 whatever they were trained in."""

    case: TrainingCase
    origin: Origin
    verdict: str
    """Empty where it has not been judged yet."""
    perplexity: float
    parameters: Mapping[str, Array]


def remembered(tell: Tell | None = None) -> Memory:
    """The influence of characters on states in the first training that `find` finds, on text that it was not trained
    on; or the command that makes one. A damaged case or result is told by `tell` and passed over; without that
    InterchangeError is raised for it.
    """
    passed: list[Passed] = []
    trained = find(passed, tell)
    if trained is None:
        return Memory(there=False, command=COMMAND, passed=passed)
    problem, the_cell = trained.case.problem, trained.case.cell
    tokens, _ = windows(problem)
    X = one_hot(tokens, len(problem.vocabulary), np.dtype(np.float64))
    H0 = np.zeros((len(tokens), problem.recipe.num_hiddens))
    of_ends = influence(the_cell, X, H0, trained.parameters)
    profiles = {
        "trained": by_distance(of_ends),
        "moved": by_distance(moved(the_cell, tokens, X, H0, trained.parameters)),
        "start": by_distance(influence(the_cell, X, H0, problem.parameters)),
    }
    origin = trained.origin
    return Memory(
        there=True,
        passed=passed,
        case=trained.case.name,
        label=f"{origin.framework}/{origin.implementation}",
        dtype=origin.dtype,
        device=origin.device,
        verdict=trained.verdict,
        perplexity=trained.perplexity,
        epochs=problem.recipe.epochs,
        units=problem.recipe.num_hiddens,
        corpus=f"{problem.corpus_source} {problem.corpus_sha1}",
        windows=len(tokens),
        text=[problem.vocabulary.tokens[token] for token in tokens[0]],
        map=rounded(of_ends[..., 0]),
        distance=Distance(**{name: [four(share) for share in profile] for name, profile in profiles.items()}),
        reach=[
            Reach(share=share, **{name: reach(profile, share) for name, profile in profiles.items()})
            for share in REACHES
        ],
        gates=_gates(the_cell, X, H0, trained.parameters),
    )


def find(passed: list[Passed], tell: Tell | None = None) -> Trained | None:
    """The first training that is fit, of those present: full ones before short ones, float64 before float32, then in
    the order of frameworks and lanes. Why others were passed over is added to `passed`.
    """
    for job in _jobs():
        fit: Trained | str = "damaged"
        with damaged_is_told(job, tell):
            fit = _look_at(job)
        if isinstance(fit, Trained):
            return fit
        passed.append(Passed(f"{job.framework}/{job.implementation}", job.case, job.dtype, fit))
    return None


@contextlib.contextmanager
def damaged_is_told(job: Job, tell: Tell | None) -> Iterator[None]:
    """What is damaged of a training is told, with the remedy, and ends the block; without `tell` InterchangeError is
    raised for it.
    """
    try:
        yield
    except InterchangeError as error:
        if tell is None:
            raise
        kind = "train-" if job.case.startswith(cases.FULL_TRAINING) else ""
        again = f"run tox -e {kind}{job.framework} again, or delete the file"
        is_case = str(error).startswith(f"{store.case_file(job.case)}:")
        tell(f"{error}; {'delete the file, and run what is stale again' if is_case else again}")


def _look_at(job: Job) -> Trained | str:
    """A training, or why it is of no use."""
    case, origin, verdict = current_case(job.case), read_origin(job.result_file), ""
    if not isinstance(case, TrainingCase):
        return "stale"
    if (origin.case_digest, origin.spec_digest) != (case.digest, case.cell.digest):
        return "stale"
    if origin.lie:
        return origin.lie
    if case.problem.recipe.num_val <= case.problem.recipe.num_steps:
        return "every window of its validation part has characters that were trained on"
    if is_kept(job.result_file, case, job.dtype):
        verdict = worst(finding.verdict for finding in verdict_on(job.result_file, case, job.dtype).findings)
        if verdict != EQUAL:
            return verdict
    arrays = read_result(job.result_file, case).arrays
    parameters = {name: arrays[f"end.{name}"].astype(np.float64) for name in case.cell.parameters}
    if not all(np.isfinite(array).all() for array in parameters.values()):
        return "diverged"
    return Trained(case, origin, verdict, float(arrays["perplexity.val"][-1]), parameters)


def _jobs() -> Iterator[Job]:
    """Trainings that have a result, best first."""
    jobs = []
    names = [f"{kind}-{CELL}" for kind in (cases.FULL_TRAINING, cases.SHORT_TRAINING)]
    for place, framework in enumerate(FRAMEWORKS):
        manifest = store.read_manifest(framework)
        if manifest is None:
            continue
        lane_of = {i["name"]: i["lane"] for i in manifest.implementations if i["cell"] == CELL}
        for job in manifest.jobs:
            if job.case in names and job.result_file.exists():
                lane = lane_of.get(job.implementation, "")
                of_case = (names.index(job.case), job.dtype != "float64")
                key = (*of_case, place, rank_of_lane(lane), job.implementation, job.device)
                jobs.append((key, job))
    yield from (job for _, job in sorted(jobs, key=lambda item: item[0]))


def windows(problem: Problem) -> tuple[Tokens, Tokens]:
    """Inputs and targets (n, T) of some windows of the validation part: evenly spread, and none with a character in it
    that was trained on, as the first ones have, since windows overlap.
    """
    inputs, targets = (np.concatenate(part) for part in zip(*problem.validation_batches(), strict=True))
    places = np.unique(np.linspace(problem.recipe.num_steps, len(inputs) - 1, WINDOWS).astype(np.int32))
    return inputs[places], targets[places]


def moved(cell: Cell, tokens: Tokens, X: Array, H0: Array, parameters: Mapping[str, Array]) -> Array:
    """How far each state moves, as an array (T, T, n) by t, k and window, when the character at k is another, drawn at
    random from those that occur: no derivative, the thing itself.
    """
    random = np.random.RandomState(_SEED)
    there, places = np.unique(tokens, return_inverse=True)
    others = there[(places.reshape(tokens.shape) + random.randint(1, len(there), tokens.shape)) % len(there)]
    as_it_is = oracle.states(cell, X, H0, parameters)
    shifts = np.zeros((len(X), *tokens.T.shape))
    for k, of_step in enumerate(one_hot(others, X.shape[-1], X.dtype)):
        changed = X.copy()
        changed[k] = of_step
        shifts[:, k] = np.linalg.norm(oracle.states(cell, changed, H0, parameters) - as_it_is, axis=-1)
    return shifts


def by_distance(norms: Array) -> Array:
    """The mean of an influence (T, T, n) at each distance t - k, (T,), as a share of that at distance 0."""
    means = np.array([np.mean([norms[t, t - back] for t in range(back, len(norms))]) for back in range(len(norms))])
    shares: Array = means / means[0]
    return shares


def reach(profile: Array, share: float) -> float | None:
    """The distance at which the influence has fallen to that share, between two distances on a straight line in its
    logarithm; None where it has not within the window.
    """
    below = np.flatnonzero(profile <= share)
    if not len(below) or profile[below[0]] == 0:
        return float(below[0]) if len(below) else None
    last = int(below[0])
    before, after, wanted = np.log([profile[last - 1], profile[last], share])
    return float(last - 1 + (before - wanted) / (before - after))


def rounded(matrix: Array) -> list[list[float]]:
    """An influence (T, T), up to the diagonal: row t holds k = 0 ... t."""
    return [[four(float(each)) for each in row[: t + 1]] for t, row in enumerate(matrix)]


def _gates(cell: Cell, X: Array, H0: Array, parameters: Mapping[str, Array]) -> dict[str, Ends]:
    """Of each gate, which share of all its values lies near an end."""
    values = oracle.quantities(cell, X, H0, parameters)
    return {gate: Ends(float(np.mean(values[gate] < 0.1)), float(np.mean(values[gate] > 0.9))) for gate in "ZR"}
