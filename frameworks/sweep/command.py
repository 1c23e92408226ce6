"""What the command `sweep` does: from options to trials, from outcomes to lines."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

import frameworks
from frameworks.protocol import Implementation, implementations
from frameworks.sweep.cluster import Cluster
from frameworks.sweep.run import Progress, Sweep, Tell, run
from shared_spec import frameworks as known
from shared_spec import machine
from shared_spec.command import EQUAL, INTERRUPTED, NOT_EQUAL, say
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.files.interchange import DTYPES
from shared_spec.language_model import Recipe, tasks
from shared_spec.language_model.corpus import Corpus
from shared_spec.sweeps import trials
from shared_spec.sweeps.stored import Outcome
from shared_spec.sweeps.trials import DIVERGED, FAILED, FINISHED, Trial

if TYPE_CHECKING:
    from shared_spec.sweeps.trial_store import TrialStore

BEST = 10
QUIET_SECONDS = 30.0
"""After how long a pipe is told the time left where no trial has ended."""


def plan(
    framework: str,
    recipes: Sequence[Recipe],
    asked: Mapping[str, Any],
    *,
    name: str | None,
    lane: str | None,
    task: str,
    dtype: str,
    device: str,
    text: Corpus,
) -> Sweep:
    """The trials of recipes in one framework; `asked` is what the sweep is known by beside what is given here.

    Raises UserError for a lane, a dtype or a device that is not there, for what would need more memory than there is,
    and for a text that is too short.
    """
    if dtype not in DTYPES:
        raise UserError(f"no dtype {dtype!r}; the dtypes are {', '.join(DTYPES)}")
    loaded = frameworks.load(framework)
    if device not in loaded.runtime.devices():
        raise UserError(f"{framework} has no device {device!r} here; it has {', '.join(loaded.runtime.devices())}")
    available = implementations(loaded)
    chosen = {cell: choose(framework, available, cell, dtype, lane) for cell in dict.fromkeys(r.cell for r in recipes)}
    trials = tuple(Trial(framework, chosen[r.cell], dtype, device, task, r) for r in recipes)
    # What is too large and a text that is too short are the user's to mend, before anything is run.
    _fits(max(trials, key=lambda trial: trial.memory))
    for each in recipes:
        tasks.check(task, each)
    tasks.problem(task, max(recipes, key=lambda r: r.num_steps + r.num_train + r.num_val), text)
    definition = {**asked, "framework": framework, "implementations": chosen, "task": task, "dtype": dtype}
    definition |= {"device": device, "corpus": text.sha1}
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:8]
    return Sweep(name or f"{framework}-{digest}", definition, trials, text.sha1, known.framework(framework).together)


def _fits(trial: Trial) -> None:
    """Raises UserError for a trial that has no room in this machine's memory."""
    there = machine.memory()
    if there and trial.memory > there:
        needs = f"needs {trial.memory / 2**30:.0f} GiB at the least; this machine has {there / 2**30:.0f}"
        raise UserError(f"a training {needs}: {_called(trial)}")


def choose(framework: str, available: Sequence[Implementation], cell: str, dtype: str, lane: str | None) -> str:
    """The name of the implementation of a cell that runs its trials. Raises UserError where there is none."""
    of_cell = [i for i in available if i.cell == cell and dtype in i.dtypes]
    quick = known.framework(framework).quick
    for wanted in [lane] if lane else quick:
        matches = [i for i in of_cell if wanted in (i.name, i.lane)]
        if matches and matches[0].reason and lane:
            raise UserError(f"{framework}/{matches[0].name} is not available here: {matches[0].reason}")
        if matches and not matches[0].reason:
            return matches[0].name
    there = ", ".join(dict.fromkeys(i.lane for i in of_cell if not i.reason))
    wanted = lane or " or ".join(quick)
    raise UserError(f"{framework} has no lane {wanted!r} of {cell} in {dtype}; it has {there}")


def carry_out(
    planned: Sequence[Sweep], file: Path, text: Corpus, *, address: str | None, workers: int | None, threads: int
) -> int:
    """Run sweeps one after the other, telling how far they are on standard error; returns the exit status."""
    from shared_spec.sweeps.trial_store import TrialStore

    # What is refused leaves no trace: a store that is not there yet is made where somebody can run them.
    kept = TrialStore(file) if file.exists() else None
    keys = list(dict.fromkeys(key for each in planned for key in each.keys))
    if kept is not None:
        for each in planned:
            # Before workers are waited for.
            kept.check_name(each.name, each.definition)
    try:
        if kept is None or len(kept.done(keys)) < len(keys):
            device = planned[0].trials[0].device
            with Cluster(address=address, workers=workers, threads=threads, device=device, text=text) as cluster:
                kept = _begin(planned, file, text)
                for each in planned:
                    with _telling(each.name, Console(stderr=True)) as tell:
                        run(each, kept, cluster, tell)
        else:
            kept = _begin(planned, file, text)
    except KeyboardInterrupt:
        done = 0 if kept is None else len(kept.done(keys))
        say(f"broken off; {done} of {len(keys)} trials are kept in {file}: the same command goes on", err=True)
        return INTERRUPTED
    for each in planned:
        show(each, kept)
    return NOT_EQUAL if any(o.status == FAILED for o in kept.outcomes(keys).values()) else EQUAL


def _begin(planned: Sequence[Sweep], file: Path, text: Corpus) -> TrialStore:
    """Write down what is set out to be done, and the text, which pages look up."""
    from shared_spec.sweeps.trial_store import TrialStore

    store.keep_text(text)
    kept = TrialStore(file)
    for each in planned:
        kept.define(each.name, each.definition, each.keys)
    return kept


def show(sweep: Sweep, kept: TrialStore) -> None:
    """The best trials of a sweep, what diverged and what failed, on standard output."""
    outcomes = list(kept.outcomes(sweep.keys).values())
    count = {status: sum(o.status == status for o in outcomes) for status in (FINISHED, DIVERGED, FAILED)}
    say(f"{sweep.name}: " + ", ".join(f"{number} {status}" for status, number in count.items() if number))
    best = sorted((o for o in outcomes if o.status == FINISHED), key=lambda o: o.val)
    for outcome in best[:BEST]:
        say(f"  {line(outcome)}")
    for outcome in outcomes:
        if outcome.status == FAILED:
            say(f"  FAILED {_called(outcome.trial)}: {outcome.why}", err=True)


def line(outcome: Outcome) -> str:
    """A trial and what became of it."""
    if outcome.status != FINISHED:
        return f"{_called(outcome.trial)}: {outcome.why}"
    sentence = f"validation perplexity {outcome.val:.3f}, {outcome.seconds:.1f} s: {outcome.text!r}"
    return f"{_called(outcome.trial)}: {sentence}"


def _called(trial: Trial) -> str:
    settings = " ".join(f"{name}={trials.worded(value)}" for name, value in trial.settings.items())
    return f"{trial.recipe.cell} {trial.task} {settings} seed={trial.recipe.start_seed}"


@contextmanager
def _telling(name: str, console: Console) -> Iterator[Tell]:
    """A bar on a terminal, plain lines on a pipe."""
    if not console.is_terminal:
        yield _plainly(name)
        return
    columns = (TextColumn("{task.fields[name]}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None, name=name)

        def tell(progress: Progress, outcome: Outcome | None) -> None:
            bar.update(task, completed=progress.done, total=progress.total, description=_left(progress))
            if outcome is not None:
                bar.console.print(line(outcome), markup=False, highlight=False, soft_wrap=True)

        yield tell


def _plainly(name: str) -> Tell:
    said = -math.inf

    def tell(progress: Progress, outcome: Outcome | None) -> None:
        nonlocal said
        now = time.monotonic()
        if outcome is None and now < said + QUIET_SECONDS:
            return
        # The first time left is told at once.
        said = now if progress.seconds_left else -math.inf
        suffix = "" if outcome is None else f": {line(outcome)}"
        say(f"{name}: {progress.done}/{progress.total}, {_left(progress)}{suffix}", err=True)

    return tell


def _left(progress: Progress) -> str:
    seconds = progress.seconds_left
    if seconds is None:
        return "starting"
    return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"
