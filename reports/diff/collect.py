"""What is present: every result with its verdict, and everything that is missing, failed, stale or unavailable."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from isogru.judge import reference
from isogru.judge.comparison import worst
from isogru.judge.verdict import ResultVerdict
from isogru.judge.verdict_cache import is_kept, verdict_on
from shared_spec import cases, frameworks, language_model, machine
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files import store
from shared_spec.files.interchange import AnyCase, TrainingCase, read_case, read_origin, read_result
from shared_spec.files.store import Job, Manifest
from shared_spec.frameworks import LANES
from shared_spec.readings.arithmetic import Array

FRAMEWORKS = tuple(frameworks.frameworks())
WORTH_PROCESSES = 50
"""As many results as take longer to judge than another process takes to start."""
TRACED_LANES = ("scratch", "compiled")


def check_names(names: Iterable[str]) -> None:
    """Raises UserError, with the names there are, for an unknown framework."""
    for name in names:
        frameworks.framework(name)


def rank_of_lane(lane: str) -> int:
    """Where a lane stands among the others; one that is not known comes last."""
    return LANES.index(lane) if lane in LANES else len(LANES)


@dataclass(frozen=True)
class Row:
    """One job and what became of it: a verdict, or why there is none."""

    job: Job
    cell: str
    lane: str
    status: str
    """equal, undetermined, suspect, different; failed, missing or stale."""
    why: str = ""
    verdict: ResultVerdict | None = None
    bits: Mapping[str, str] = field(default_factory=dict)
    """A digest of each array: those of equal digests agree to the bit."""

    @property
    def label(self) -> str:
        """Such as torch/scratch; the device only where it is not the CPU."""
        device = "" if self.job.device == "cpu" else f" on {self.job.device}"
        return f"{self.job.framework}/{self.job.implementation}{device}"

    def arrays(self) -> Mapping[str, Array]:
        """The result itself, for rows that have a verdict."""
        return read_result(self.job.result_file).arrays


@dataclass
class Collection:
    """Everything that is present, and what should be."""

    rows: list[Row] = field(default_factory=list)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    cases: dict[str, AnyCase] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    """A sentence, with the remedy, for each file of which nothing can be had; its rows are failed."""


def collect(*, or_none: bool = False) -> Collection:
    """Judge every result that is present; one that is damaged is told of. Raises UserError where there is not one at
    all, unless that will do.
    """
    collection = Collection()
    jobs: list[tuple[Job, str]] = []
    order = {name: i for i, name in enumerate(cases.names())}
    for name in FRAMEWORKS:
        manifest = store.read_manifest(name)
        if manifest is None:
            continue
        collection.manifests[name] = manifest
        lanes = {(i["name"], i["cell"]): i["lane"] for i in manifest.implementations}
        for job in manifest.jobs:
            # A case that the catalogue no longer has is nobody's concern.
            if job.case in order:
                jobs.append((job, lanes.get((job.implementation, cases.cell_name_of(job.case)), "")))
    if not collection.manifests and not or_none:
        any_of = ", ".join(FRAMEWORKS)
        raise UserError(f"no results in {store.folder()}, which is empty; run tox -e torch,jax, or any of {any_of}")

    jobs.sort(
        key=lambda item: (
            FRAMEWORKS.index(item[0].framework),
            rank_of_lane(item[1]),
            item[0].implementation,
            item[0].dtype,
            order[item[0].case],
        )
    )
    unreadable: dict[str, str] = {}
    for name in dict.fromkeys(job.case for job, _ in jobs):
        try:
            if (case := current_case(name)) is not None:
                collection.cases[name] = case
        except InterchangeError as error:
            unreadable[name] = _told(
                collection, error, store.case_file(name), "delete the file, and run what is stale again"
            )
    present = {(job.case, job.dtype) for job, _ in jobs if job.result_file.exists() and job.case in collection.cases}
    reference.prepare([(collection.cases[c], dtype) for c, dtype in sorted(present)], processes=machine.cores())
    _judge_ahead([job for job, _ in jobs if (job.case, job.dtype) in present], collection.cases)
    for job, lane in jobs:
        cell = cases.cell_name_of(job.case)
        if job.case in unreadable:
            collection.rows.append(Row(job, cell, lane, "failed", unreadable[job.case]))
            continue
        try:
            collection.rows.append(_row(job, cell, lane, collection.cases.get(job.case)))
        except InterchangeError as error:
            why = _told(collection, error, job.result_file, f"run tox -e {job.framework} again, or delete the file")
            collection.rows.append(Row(job, cell, lane, "failed", why))
    return collection


def _told(collection: Collection, error: InterchangeError, file: Path, remedy: str) -> str:
    """Notes what is damaged; what its rows say of it, without the folder."""
    collection.damaged.append(f"{error}; {remedy}")
    return str(error).replace(str(file), file.name)


def overall(statuses: Iterable[str]) -> str:
    """One word for several: the worst verdict, unless something has none."""
    there = set(statuses)
    return next((word for word in ("failed", "stale", "missing") if word in there), "") or worst(there)


def current_case(name: str) -> AnyCase | None:
    """A case as the specification has it now; a language model on the text that it was trained on here.

    None where a language model has not been run, or was run to another recipe.
    """
    if cases.entry_of(name):
        return cases.build(name)
    if not store.case_file(name).exists():
        return None
    case = read_case(store.case_file(name))
    if not isinstance(case, TrainingCase):
        return None
    now = cases.training_recipe(name)
    same_start = language_model.start(now, num_tokens=len(case.problem.vocabulary))
    unchanged = now == case.problem.recipe and all(
        (case.problem.parameters[parameter] == values).all() for parameter, values in same_start.items()
    )
    return case if unchanged else None


def _judge_ahead(jobs: list[Job], of_names: Mapping[str, AnyCase]) -> None:
    """Many results that are still to be judged are judged side by side; whoever asks then finds the verdicts kept."""
    fresh = [job for job in jobs if _is_fresh(job, of_names[job.case])]
    processes = machine.cores()
    if len(fresh) >= WORTH_PROCESSES and processes > 1:
        # By case, so that a process builds each once.
        fresh.sort(key=lambda job: (job.case, job.dtype))
        with reference.pool(processes) as pool:
            list(pool.map(_judge_one, fresh, chunksize=8))


def _is_fresh(job: Job, case: AnyCase) -> bool:
    try:
        return job.result_file.exists() and not is_kept(job.result_file, case, job.dtype)
    except InterchangeError:
        return False  # Taken away meanwhile.


@functools.lru_cache(maxsize=1)
def _case_of_process(name: str) -> AnyCase | None:
    return current_case(name)


def _judge_one(job: Job) -> None:
    # What is wrong with a result is said where its row is made.
    with contextlib.suppress(UserError, OSError):
        case = _case_of_process(job.case)
        if case is not None and read_origin(job.result_file).case_digest == case.digest:
            verdict_on(job.result_file, case, job.dtype)


def _row(job: Job, cell: str, lane: str, case: AnyCase | None) -> Row:
    """Raises InterchangeError for a damaged result."""
    words = store.read_failure(job)
    if words is not None:
        return Row(job, cell, lane, "failed", words)
    if not job.result_file.exists():
        return Row(job, cell, lane, "missing", "not run yet")
    try:
        return _judged(job, cell, lane, case)
    except InterchangeError:
        if not job.result_file.exists():
            # A run that goes on meanwhile has put a failure in its place.
            return Row(job, cell, lane, "missing", "taken away while it was read")
        raise


def _judged(job: Job, cell: str, lane: str, case: AnyCase | None) -> Row:
    origin = read_origin(job.result_file)
    if case is None or (origin.case_digest, origin.spec_digest) != (case.digest, case.cell.digest):
        return Row(job, cell, lane, "stale", "made of another version of the specification, the case or the text")
    kept = verdict_on(job.result_file, case, job.dtype)
    if lane in TRACED_LANES and cases.is_traced(job.case) and kept.divergence is None:
        return Row(job, cell, lane, "stale", "made before gates were kept")
    verdict = ResultVerdict(origin, kept.findings, kept.divergence, kept.profile)
    if origin.lie:
        return Row(job, cell, lane, "failed", f"{origin.lie}; no reference is made of it", verdict, kept.bits)
    return Row(job, cell, lane, verdict.verdict, verdict=verdict, bits=kept.bits)
