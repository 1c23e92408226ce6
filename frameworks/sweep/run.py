"""A sweep from its start, or from where it was broken off, to its end."""

from __future__ import annotations

import math
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from frameworks.sweep.cluster import Batch, Broke, Cluster, Died
from shared_spec.sweeps import trials
from shared_spec.sweeps.place import PATIENCE_SECONDS
from shared_spec.sweeps.stored import Outcome
from shared_spec.sweeps.trials import Trial

if TYPE_CHECKING:
    from shared_spec.sweeps.trial_store import TrialStore

ATTEMPTS = 3
"""How often a trial is begun whose worker dies."""
WAIT_SECONDS = 0.5
MUCH_WORK = 2e12
"""Of a batch: about a minute, against the seconds that a program takes to be compiled once more."""


@dataclass(frozen=True)
class Sweep:
    """What is to be run: a name, what it was asked for by, and the trials."""

    name: str
    definition: dict[str, Any]
    trials: tuple[Trial, ...]
    corpus: str
    together: int = 1
    """The most trials in one program."""

    @property
    def keys(self) -> list[str]:
        """Those of its trials, in order."""
        return [trial.key(self.corpus) for trial in self.trials]


@dataclass
class Progress:
    """How far a sweep is."""

    total: int
    done: int
    work: float
    """Of what is left at the start."""
    over: float = 0.0
    """The work of what has come out."""
    under_way: dict[Batch, float] = field(default_factory=dict)
    """The share that is done of each batch."""
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None where there is none yet."""
        worked = self.over + sum(share * trial.work for batch, share in self.under_way.items() for trial in batch)
        if not worked:
            return None if self.work else 0.0
        return (time.monotonic() - self.began) * (self.work - worked) / worked


Tell = Callable[[Progress, Outcome | None], None]


def batches(left: Iterable[Trial], together: int, workers: int) -> list[Batch]:
    """Trials that one program can run together, the longest first, so that no worker is left with a long one alone: at
    most `together` of them, fewer where there would not be two batches for each worker, and fewer of those that take
    long, since what is under way is lost with its worker.
    """
    programs: dict[Trial, list[Trial]] = {}
    for trial in left:
        programs.setdefault(trial.program, []).append(trial)
    shares = math.ceil(2 * workers / len(programs)) if programs else 1
    batches = []
    for some in programs.values():
        size = min(together, math.ceil(len(some) / shares), max(1, int(MUCH_WORK / some[0].work)))
        batches += [tuple(some[i : i + size]) for i in range(0, len(some), size)]
    return sorted(batches, key=lambda batch: -sum(trial.work for trial in batch))


def run(sweep: Sweep, kept: TrialStore, cluster: Cluster, tell: Tell) -> None:
    """Runs what the store does not have, each trial kept as soon as it is over. Of what another sweep on the same store
    is at, the outcomes are waited for.
    """
    owner = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex[:8]}"
    by_key = dict(zip(sweep.keys, sweep.trials, strict=True))
    done = kept.done(list(by_key))
    left = [trial for key, trial in by_key.items() if key not in done]
    progress = Progress(len(by_key), len(done), sum(trial.work for trial in left))
    tell(progress, None)
    queue = deque(batches(left, sweep.together, cluster.slots()))
    elsewhere: list[Batch] = []
    attempts: dict[Batch, int] = {}
    alive = time.monotonic()
    try:
        while queue or elsewhere or cluster.busy:
            while queue and cluster.busy < cluster.slots():
                batch = queue.popleft()
                mine = kept.claim([trial.key(sweep.corpus) for trial in batch], owner)
                ours = tuple(trial for trial in batch if trial.key(sweep.corpus) in mine)
                if others := tuple(trial for trial in batch if trial not in ours):
                    elsewhere.append(others)
                if ours:
                    attempts[ours] = attempts.pop(batch, 0) + 1
                    cluster.submit(ours)
            for batch, said in cluster.wait(WAIT_SECONDS):
                if isinstance(said, float):
                    progress.under_way[batch] = said
                    tell(progress, None)
                    continue
                progress.under_way.pop(batch, None)
                anew, outcomes = _settle(batch, said, attempts, sweep.corpus)
                queue.extendleft(anew)
                _keep(outcomes, kept, progress, tell)
            if time.monotonic() > alive + PATIENCE_SECONDS / 6:
                alive = time.monotonic()
                kept.keep_alive(owner)
            if elsewhere and not queue and cluster.busy < cluster.slots():
                if not cluster.busy:
                    time.sleep(WAIT_SECONDS)
                again = _still_to_do(elsewhere, sweep, kept, progress, tell)
                queue.extend(batches(again, sweep.together, cluster.slots()))
                elsewhere = []
    finally:
        kept.release(owner)


def _settle(
    batch: Batch, ended: Sequence[Outcome] | Died | Broke, attempts: dict[Batch, int], corpus: str
) -> tuple[list[Batch], list[Outcome]]:
    """Of a batch that has ended: what is to be run again, and what has come out."""
    count = attempts.pop(batch)
    if not isinstance(ended, (Died, Broke)):
        return [], [replace(outcome, attempts=count) for outcome in ended]
    if isinstance(ended, Died) and count < ATTEMPTS:
        attempts[batch] = count
        return [batch], []
    if len(batch) > 1:
        # One of them has done it: by themselves the others are not taken along.
        return [(trial,) for trial in batch], []
    words = ended.words if isinstance(ended, Broke) else f"its worker died {count} times: {ended.words}"
    return [], [Outcome(batch[0], corpus, trials.FAILED, words, attempts=count)]


def _keep(outcomes: Sequence[Outcome], kept: TrialStore, progress: Progress, tell: Tell) -> None:
    kept.save(outcomes)
    for outcome in outcomes:
        progress.done += 1
        progress.over += outcome.trial.work
        tell(progress, outcome)


def _still_to_do(
    elsewhere: Sequence[Batch], sweep: Sweep, kept: TrialStore, progress: Progress, tell: Tell
) -> list[Trial]:
    """Of what somebody else was at: what is not done yet, perhaps to be taken over."""
    asked = {trial.key(sweep.corpus): trial for batch in elsewhere for trial in batch}
    outcomes = kept.outcomes(kept.done(asked.keys()))
    for key, outcome in outcomes.items():
        progress.done += 1
        progress.over += asked[key].work
        tell(progress, outcome)
    return [trial for key, trial in asked.items() if key not in outcomes]
