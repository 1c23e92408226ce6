"""Many results: what grows faster than they do is bounded, and what is left out is named. `tox -e load` has 10,000."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from reports.__main__ import app
from reports.diff import build, collect, curves, pairs
from shared_spec import cases
from shared_spec.files import store
from tests import sample_results

CASE = "gru-one_unit"


def made(ways, frameworks=("torch", "jax")):
    """So many implementations of each framework on one case, no two of them the same to the bit."""
    arrays = sample_results.run(cases.build(CASE))
    for number, framework in enumerate(frameworks):
        jobs = [sample_results.job(framework, CASE, implementation=f"way{way:02}") for way in range(ways)]
        for way, job in enumerate(jobs):
            other = dict(arrays)
            for _ in range(2 * way + number):
                other["final"] = np.nextafter(other["final"], np.float32(2))
            sample_results.save(job, other)
        sample_results.manifest(framework, jobs)


@pytest.fixture
def counted(monkeypatch):
    """How often two results are held against each other."""
    calls = []
    against = pairs._Flat.against
    monkeypatch.setattr(pairs._Flat, "against", lambda one, other: calls.append(one) or against(one, other))
    return calls


def test_pairs_are_bounded(counted):
    for ways, count in ((2, 6), (4, 15), (8, 15)):
        counted.clear()
        made(ways)
        (record,) = build.build(collect.collect(), compared=6).pairs
        assert len(counted) <= count
        assert len(record.labels) == min(2 * ways, 6)
    # Of each framework as many, and the others by name.
    assert record.labels == [f"{framework}/way{way:02}" for framework in ("torch", "jax") for way in range(3)]
    assert record.left_out == [f"{framework}/way{way:02}" for framework in ("torch", "jax") for way in range(3, 8)]
    assert len(record.quantities[0].absolute) == 6


def test_large_results_are_not_held_all_at_once(monkeypatch):
    """Each two are compared once all the same, and results are read again no more often than it takes."""
    made(4)
    whole = build.build(collect.collect()).pairs
    for file in (store.folder() / "pairs").iterdir():
        file.unlink()
    read, held = [], []
    flattened = pairs._flattened
    monkeypatch.setattr(pairs, "_flattened", lambda arrays: read.append(1) or flattened(arrays))
    in_tiles = pairs._in_tiles
    monkeypatch.setattr(pairs, "_in_tiles", lambda labels, size: held.append(size) or in_tiles(labels, size))
    monkeypatch.setattr(pairs, "HELD", 5 * max(file.stat().st_size for file in store.folder().glob("*/*.safetensors")))
    assert build.build(collect.collect()).pairs == whole
    assert held == [2]
    # Of four tiles of two each at its own turn, and at the turns of those before it.
    assert 8 < len(read) <= 8 + 2 * (3 + 2 + 1)


def test_of_one_framework_with_few_more_of_the_others_are_compared():
    every = [("torch", f"torch/{way}") for way in range(9)] + [("jax", "jax/0"), ("mxnet", "mxnet/0")]
    chosen = pairs._chosen(every, 5)
    assert chosen == {"torch/0", "torch/1", "torch/2", "jax/0", "mxnet/0"}


def test_what_is_not_compared_is_told_everywhere(tmp_path):
    made(3)
    site = ["site", "-o", str(tmp_path / "site")]
    for options, told in (([], False), (["--compared", "4"], True)):
        done = CliRunner().invoke(app, [*site, *options])
        assert done.exit_code == 0, done.output
        assert ("of up to 6 implementations of a cell 4 are compared with each other; all: " in done.stdout) == told
        summary = (tmp_path / "site" / "report.md").read_text()
        words = "in float32 4 of 6 implementations are compared with each other; all are by `python -m reports site "
        assert (words in summary) == told
    # As it was told.
    assert "python -m reports site --compared 6" in done.stdout
    done = CliRunner().invoke(app, [*site, "--compared", "6"])
    assert "are compared with each other" not in done.stdout


def test_digits_between_frameworks_are_those_of_the_two_that_are_furthest_apart():
    """Without holding every two against each other."""
    random = np.random.default_rng(0)
    runs = [1 + 0.1 * random.random((5, 7)) for _ in range(3)]
    every = [
        curves.agreeing_digits(a, b) for i, ours in enumerate(runs) for theirs in runs[:i] for a in ours for b in theirs
    ]
    assert curves.digits_between({name: list(of) for name, of in zip("abc", runs, strict=True)}) == min(every)
    assert curves.digits_between({"a": list(runs[0])}) is None


def test_a_folder_is_no_report(tmp_path):
    done = CliRunner().invoke(app, ["site", "--from", str(tmp_path), "-o", str(tmp_path / "site")])
    assert str(done.exception) == f"{tmp_path}: a folder; name a report.json, or results by ISOGRU_RESULTS={tmp_path}"
    assert not (tmp_path / "site").exists()
