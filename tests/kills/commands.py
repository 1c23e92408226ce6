"""The commands that are killed: what they are run with, and what of theirs is finished."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from reports.pages import schema
from shared_spec.files import interchange, tensors
from shared_spec.language_model.corpus import BUILT_IN
from shared_spec.race import blocks, definition
from shared_spec.sweeps.trial_store import TrialStore
from tests.kills.killing import Contents, Killed
from tests.project_copy import ROOT, STUB

TEXT = {"ISOGRU_CORPUS": str(BUILT_IN), "ISOGRU_CORPUS_SHA1": hashlib.sha1(BUILT_IN.read_bytes()).hexdigest()}
SWEPT = ("--grid", "num_hiddens=3,4", "--grid", "lr=0.5,1", "--grid", "num_steps=5", "--epochs", "1")


def proving(root, framework):
    cases = [word for case in ("gru-one_step", "gru-tiny_weights") for word in ("--case", case)]
    words = ["frameworks", framework, "prove", *cases, "--implementation", "scratch"]
    return Killed(root, lambda folder: words, results_of(framework), environment=TEXT)


def results_of(framework):
    """Results by their name, without times; and that a manifest is one."""

    def finished(folder: Path) -> Contents:
        files: Contents = {}
        for file in (folder / "results" / framework).glob("*.safetensors"):
            arrays, _ = tensors.read(file, interchange.RESULT_FORMAT, "result")
            origin = asdict(replace(interchange.read_origin(file), seconds={}))
            files[file.name] = (tensors.digest(arrays), origin)
        manifest = folder / "results" / framework / "manifest.json"
        if manifest.exists():
            told = json.loads(manifest.read_bytes())
            # Each worker adds its own.
            files |= {f"job {job}": True for job in told.pop("jobs")}
            files["manifest"] = told
        return files

    return finished


def paging(root, proven):
    def ready(folder):
        shutil.copytree(proven, folder / "results")

    def finished(folder: Path) -> Contents:
        """The files of the page, and the results that it is made of, which it must not touch."""
        files: Contents = results_of(STUB)(folder)
        site = folder / "site"
        for file in site.glob("*.*") if site.is_dir() else ():
            if not file.name.startswith("."):
                files[file.name] = file.read_bytes()
        if "report.json" in files:
            assert schema.read(site / "report.json").results
        return files

    return Killed(root, lambda folder: ["reports", "site", "-o", str(folder / "site")], finished, ready=ready)


def writing(to, *words):
    """A command that writes one file, from what lies beside it."""

    def ready(folder):
        random = np.random.RandomState(0)
        shapes = {"weight_ih_l0": (240, 30), "weight_hh_l0": (240, 80), "bias_ih_l0": (240,), "bias_hh_l0": (240,)}
        np.savez(folder / "gru.npz", **{name: random.randn(*s).astype(np.float32) for name, s in shapes.items()})
        np.save(folder / "X.npy", random.randn(50, 20, 30).astype(np.float32))

    def finished(folder: Path) -> Contents:
        files: Contents = {}
        if (file := folder / to).exists():
            arrays, metadata = tensors.read(file, interchange.CASE_FORMAT, "case") if to == "case" else _plain(file)
            files[to] = (tensors.digest(arrays), metadata)
        return files

    return Killed(ROOT, lambda folder: [each.format(folder) for each in words], finished, ready=ready)


def _plain(file):
    with np.load(file) as opened:
        return dict(opened), {}


def converting():
    words = ("isogru", "convert", "{}/gru.npz", "--to", "keras", "-o", "{}/made.npz")
    return writing("made.npz", *words)


def making_a_case():
    words = ("isogru", "case", "--weights", "{}/gru.npz", "--input", "{}/X.npy", "-o", "{}/case")
    return writing("case", *words)


def racing(framework):
    def the_race(folder):
        return next((folder / "results/benchmarks").glob("*/race.json"), None)

    def words(folder):
        of = ["--workload", "prediction", "--implementation", "scratch", "--cell", "gru", "--budget", "20s"]
        begun = the_race(folder)
        chosen = ["--resume", begun.parent.name] if begun else [framework, *of, "--seconds", "0", "--threads", "1"]
        return ["reports", "race", *chosen, "-o", str(folder / "site")]

    def read(folder, made):
        begun = the_race(folder)
        # Its files are looked for in the folder of results.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ISOGRU_RESULTS", str(folder / "results"))
            return made(definition.read(begun)) if begun else {}

    def outcomes(race) -> Contents:
        """How many starts there are is a matter of time."""
        if not race.memory_file.exists():
            return {}
        return {row.id: outcome.verdict for each in definition.passes(race) for row, outcome in each.outcomes.items()}

    def timed(race) -> Contents:
        """Each complete line of the blocks, to the bit."""
        whole = race.blocks_file.read_bytes() if race.blocks_file.exists() else b""
        assert len(blocks.read(race.blocks_file)) == max(whole.count(b"\n") - 1, 0)
        return dict(enumerate(whole[: whole.rfind(b"\n") + 1].splitlines()))

    def finished(folder: Path) -> Contents:
        return read(folder, outcomes)

    def kept(folder: Path) -> Contents:
        return read(folder, timed)

    return Killed(ROOT, words, finished, kept, environment=TEXT, second=2)


def sweeping(framework):
    def words(folder):
        return ["frameworks", framework, "sweep", *SWEPT, "--workers", "2", "--store", str(folder / "trials.sqlite")]

    def read(folder):
        file = folder / "trials.sqlite"
        if not file.exists():
            return {}
        kept = TrialStore(file)
        return {key: each for _, keys in kept.sweeps().values() for key, each in kept.outcomes(keys).items()}

    def finished(folder: Path) -> Contents:
        return {key: (each.status, tensors.digest(each.arrays)) for key, each in read(folder).items()}

    def kept(folder: Path) -> Contents:
        return {key: each.seconds for key, each in read(folder).items()}

    return Killed(ROOT, words, finished, kept, environment=TEXT)
