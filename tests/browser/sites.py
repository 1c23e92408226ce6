"""Pages to look at in a browser, made of NumPy results: no framework runs here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import structs

from reports.diff import build, collect
from reports.diff.records import Report
from reports.pages import render
from reports.race.records import Leaderboard
from shared_spec import cases, language_model
from shared_spec.files import interchange, store
from shared_spec.files.interchange import TrainingCase
from shared_spec.files.store import Job, Manifest
from shared_spec.language_model import training
from shared_spec.language_model.corpus import Corpus, Vocabulary
from tests import sample_race as made_up
from tests import sample_results

TRAINING = "short-training-gru_reset_after"
SMALL = {"num_hiddens": 5, "num_steps": 6, "num_train": 24, "num_val": 6, "batch_size": 4, "epochs": 3}
DTYPES = ("float32", "float64")
REFERENCE = Path(__file__).parents[2] / "reports/results/reference"

# What runs where: the scratch cells keep their gates, the native ones do not.
EVERYDAY = {
    "scratch": ("gru-ordinary", "gru-long", "gru_reset_after-ordinary", "rnn-ordinary"),
    "native": ("gru_reset_after-ordinary", "gru_reset_after-long", "rnn-ordinary"),
}

IMAGE = "<img src=x onerror=window.hacked=1>"
SCRIPT = "</script><script>window.hacked=1</script>"
QUOTES = "\"'><svg onload=window.hacked=1>`${window.hacked=1}`"
LINK = "javascript:window.hacked=1"
NASTY = f"{SCRIPT}{IMAGE}{QUOTES} {LINK} {{{{ 7 * 7 }}}}"
"""Everything that would run where text is taken for HTML, for an attribute, for a script, for a link or a template."""
NASTY_NAME = f"{IMAGE}\"'`{LINK}`"
"""The same without a slash: it is part of a file's name."""


@dataclass(frozen=True)
class Site:
    """A report and the page on it."""

    folder: Path
    report: dict[str, Any]

    @property
    def page(self) -> Path:
        return self.folder / "index.html"

    @property
    def url(self) -> str:
        return self.page.as_uri()

    def result(self, id: str) -> dict[str, Any]:
        return next(r for r in self.report["results"] if r["id"] == id)

    def implementation(self, label: str, dtype: str) -> dict[str, Any]:
        return next(i for i in self.report["implementations"] if (i["label"], i["dtype"]) == (label, dtype))


@contextmanager
def _results(folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """Results go into a folder of their own, references to where all tests keep them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOGRU_RESULTS", str(folder / "results"))
        if not os.environ.get("ISOGRU_REFERENCE"):
            patch.setenv("ISOGRU_REFERENCE", str(REFERENCE))
        yield patch


def _written(folder: Path, board: Leaderboard | None = None) -> Site:
    return _rendered(folder, build.build(collect.collect(), board))


def _rendered(folder: Path, report: Report) -> Site:
    render.write(report, folder / "site")
    return Site(folder / "site", msgspec.json.decode((folder / "site/report.json").read_bytes()))


def everyday(folder: Path, text: Corpus) -> Site:
    """What a user has after a run in which some things went wrong: two frameworks that ran, one that ran in part, one
    that did not; lanes and precisions; a training; results that differ, failed, are stale or are missing.
    """
    with _results(folder) as patch:
        recipe = language_model.recipe("gru_reset_after", start="uniform", **SMALL)
        patch.setattr(cases, "training_recipe", lambda name: recipe)
        trained = cases.build(TRAINING, text)
        interchange.write_case(store.case_file(TRAINING), trained)
        for framework in ("torch", "jax"):
            jobs = [
                sample_results.job(framework, case, dtype, lane)
                for lane, names in EVERYDAY.items()
                for dtype in DTYPES
                for case in (*names, TRAINING)
                if lane == "scratch" or case != TRAINING or framework == "torch"
            ]
            if framework == "jax":
                jobs.append(sample_results.job("jax", "gru-chapter"))
            sample_results.manifest(framework, jobs)
            for job in jobs:
                if job.case == TRAINING:
                    seed = 40 + len(framework) + len(job.implementation)
                    sample_results.save(job, training.twin(trained.problem, dtype=job.dtype, seed=seed), case=trained)
                else:
                    _save(job)
        # A reset gate that is wrong in one row of the batch from the fifth step on, with its gates kept ...
        wrong = sample_results.job("jax", "gru-ordinary")
        _save(wrong, lambda t, name, value: _shifted(value, row=2) if name == "R" and t >= 4 else value)
        # ... and a state that is, without.
        wrong = sample_results.job("torch", "gru_reset_after-ordinary", "float32", "native")
        _save(wrong, lambda t, name, value: _shifted(value, row=1) if name == "H" and t == 3 else value)
        _in_part()
        return _written(folder)


def raced(folder: Path, of: Site, board: Leaderboard) -> Site:
    """The same with a leaderboard."""
    return _rendered(folder, structs.replace(msgspec.convert(of.report, Report), leaderboard=board))


def _in_part() -> None:
    names = ("gru-ordinary", "gru-long", "gru_reset_after-ordinary", "gru_reset_after-long", "rnn-ordinary")
    jobs = [sample_results.job("tensorflow", name) for name in names]
    unavailable = sample_results.listing(
        "rnn", name="compiled", lane="compiled", available=False, reason="no compiler here"
    )
    listings = [sample_results.listing(cell) for cell in ("gru", "gru_reset_after", "rnn")]
    sample_results.manifest("tensorflow", jobs, implementations=[*listings, unavailable])
    _save(jobs[0])
    store.save_failure(jobs[1], "ended by SIGSEGV: Segmentation fault")
    sample_results.save(jobs[2], case_digest="another")
    _save(jobs[4])


def _save(job: Job, fault: sample_results.Fault | None = None) -> None:
    arrays = sample_results.run(cases.build(job.case), job.dtype, fault)
    if not cases.is_traced(job.case):
        arrays = {name: array for name, array in arrays.items() if not name.startswith("trace.")}
    sample_results.save(job, arrays)


def _shifted(value: np.ndarray, *, row: int) -> np.ndarray:
    value = value.copy()
    value[row] += 0.25
    return value


def nasty(folder: Path, text: Corpus) -> Site:
    """A report whose every text from data is an attack."""
    with _results(folder) as patch:
        recipe = language_model.recipe("rnn", start="uniform", **SMALL, prefix=NASTY)
        patch.setattr(cases, "training_recipe", lambda name: recipe)
        case = cases.build("short-training-rnn", text)
        # What a training writes is made of these.
        letters = [f"{NASTY}{i}" for i in range(len(case.problem.vocabulary))]
        vocabulary = Vocabulary(tuple(letters), letters[0])
        case = TrainingCase(case.name, replace(case.problem, vocabulary=vocabulary, corpus_source=NASTY))
        interchange.write_case(store.case_file(case.name), case)
        trained = sample_results.job("torch", case.name, "float32", NASTY_NAME)
        judged = sample_results.job("torch", "rnn-ordinary", "float32", NASTY_NAME)
        failed = sample_results.job("torch", "gru-ordinary", "float32", NASTY_NAME)
        elsewhere = replace(sample_results.job("torch", "gru-wide", NASTY_NAME), device=NASTY_NAME)
        lanes = [sample_results.listing(cell, name=NASTY_NAME, lane=NASTY) for cell in ("rnn", "gru")]
        unavailable = sample_results.listing(NASTY, name=NASTY, available=False, reason=NASTY)
        told = {"versions": {NASTY: NASTY}, "switches": {NASTY: NASTY}}
        sample_results.manifest(
            "torch",
            [trained, judged, failed, elsewhere],
            implementations=[*lanes, unavailable],
            machine={NASTY: NASTY, "processor": NASTY},
            corpus=NASTY,
            **told,
        )
        arrays = training.twin(cases.build(case.name, text).problem, dtype="float32", seed=5)
        arrays["text"][:3] = 0
        sample_results.save(trained, arrays, case=case, lane=NASTY, corpus=NASTY, seconds={NASTY: 1.0}, **told)
        wrong = sample_results.run(cases.build(judged.case), "float32")
        wrong["H"][-1, 0, 0] += 0.5
        sample_results.save(judged, wrong, lane=NASTY, **told)
        store.save_failure(failed, NASTY)
        store.save_failure(elsewhere, NASTY)
        store.save_manifest(Manifest("jax", failure=NASTY))
        patch.setattr(build.machine, "describe", lambda: dict.fromkeys(_MACHINE, NASTY))
        return _written(folder, made_up.hostile(made_up.side_by_side(folder), NASTY))


_MACHINE = ("system", "processor", "cores", "memory", "python")
