"""What is present: every result with its verdict, and everything that is missing, failed, stale or unavailable."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from reports import reference
from reports import verdict as verdict_module
from reports.verdict import Finding, Verdict, judge
from shared_spec import cases, language_model, store
from shared_spec.errors import UserError
from shared_spec.files import write_whole
from shared_spec.interchange import AnyCase, TrainingCase, read_case, read_origin, read_result
from shared_spec.readings.arithmetic import Array
from shared_spec.store import Job, Manifest

FRAMEWORKS = ("torch", "tensorflow", "jax", "mxnet")


@dataclass(frozen=True)
class Row:
    """One job and what became of it: a verdict, or why there is none."""

    job: Job
    cell: str
    lane: str
    status: str
    """equal, suspect, different; failed, missing or stale."""
    why: str = ""
    verdict: Verdict | None = None

    def arrays(self) -> Mapping[str, Array]:
        """The result itself, for rows that have a verdict."""
        return read_result(self.job.result_file).arrays


@dataclass
class Collection:
    rows: list[Row] = field(default_factory=list)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    cases: dict[str, AnyCase] = field(default_factory=dict)


def collect() -> Collection:
    """Judge every result that is present. Raises UserError where there is not one result at all."""
    found = Collection()
    jobs: list[tuple[Job, str]] = []
    order = {name: i for i, name in enumerate(cases.names())}
    for name in FRAMEWORKS:
        manifest = store.read_manifest(name)
        if manifest is None:
            continue
        found.manifests[name] = manifest
        lanes = {(i["name"], i["cell"]): i["lane"] for i in manifest.implementations}
        for job in manifest.jobs:
            # A case that the catalogue no longer has is nobody's concern.
            if job.case in order:
                jobs.append((job, lanes.get((job.implementation, cases.cell_name_of(job.case)), "")))
    if not found.manifests:
        raise UserError(f"no results in {store.folder()}: run tox -e torch,jax, or any of {', '.join(FRAMEWORKS)}")

    lane_order = ("scratch", "compiled", "native", "tuned")
    jobs.sort(
        key=lambda item: (
            FRAMEWORKS.index(item[0].framework),
            lane_order.index(item[1]) if item[1] in lane_order else len(lane_order),
            item[0].implementation,
            item[0].dtype,
            order[item[0].case],
        )
    )
    for job, _ in jobs:
        if job.case not in found.cases and (case := current_case(job.case)) is not None:
            found.cases[job.case] = case
    present = {(job.case, job.dtype) for job, _ in jobs if job.result_file.exists() and job.case in found.cases}
    reference.prepare([(found.cases[c], dtype) for c, dtype in sorted(present)], processes=os.cpu_count() or 1)
    found.rows = [_row(job, lane, found.cases.get(job.case)) for job, lane in jobs]
    return found


def current_case(name: str) -> AnyCase | None:
    """A case as the specification has it now; a language model on the text that it was trained on here.

    None where a language model has not been run, or was run to another recipe.
    """
    if cases.entry_of(name):
        return cases.build(name)
    try:
        case = read_case(store.case_file(name))
    except UserError:
        return None
    if not isinstance(case, TrainingCase):
        return None
    now = cases.training_recipe(name)
    same_start = language_model.start(now, num_tokens=len(case.problem.vocabulary))
    unchanged = now == case.problem.recipe and all(
        (case.problem.parameters[parameter] == values).all() for parameter, values in same_start.items()
    )
    return case if unchanged else None


def _row(job: Job, lane: str, case: AnyCase | None) -> Row:
    cell = cases.cell_name_of(job.case)
    words = store.read_failure(job)
    if words is not None:
        return Row(job, cell, lane, "failed", words)
    if not job.result_file.exists():
        return Row(job, cell, lane, "missing", "not run yet")
    try:
        origin = read_origin(job.result_file)
        if case is None or (origin.case_digest, origin.spec_digest) != (case.digest, case.cell.digest):
            return Row(job, cell, lane, "stale", "made of another version of the specification, the case or the text")
        verdict = _known_verdict(job, case)
    except UserError as error:
        return Row(job, cell, lane, "failed", str(error))
    except OSError as error:
        return Row(job, cell, lane, "failed", f"changed while it was read: {error.strerror or error}")
    return Row(job, cell, lane, verdict.verdict, verdict=verdict)


def _known_verdict(job: Job, case: AnyCase) -> Verdict:
    """The verdict on a result, from beside it where it was judged before: nothing then has changed that it rests on."""
    state = job.result_file.stat()
    code = reference.source_digest(Path(verdict_module.__file__))
    known = f"{state.st_size} {state.st_mtime_ns} {reference.key(case, job.dtype)} {code}"
    file = job.result_file.with_suffix(".verdict.json")
    try:
        record = json.loads(file.read_text())
        if record["of"] == known:
            findings = [Finding(**{**f, "index": tuple(f["index"])}) for f in record["findings"]]
            return Verdict(read_origin(job.result_file), tuple(findings))
    except (OSError, ValueError, TypeError, KeyError):
        pass  # Judged anew, below.
    result = read_result(job.result_file, case)
    verdict = judge(case, result, reference.get(case, job.dtype))
    record = {"of": known, "findings": [asdict(finding) for finding in verdict.findings]}
    write_whole(file, json.dumps(record).encode())
    return verdict
