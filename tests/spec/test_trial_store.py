"""The store of trials: kept once, claimed by one, refused where it is another's."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from shared_spec import language_model
from shared_spec.errors import UserError
from shared_spec.sweeps import trial_store
from shared_spec.sweeps.stored import CURVES, Outcome
from shared_spec.sweeps.trial_store import TrialStore
from shared_spec.sweeps.trials import DIVERGED, FAILED, FINISHED, Trial

RECIPE = language_model.recipe("gru")
TRIALS = [Trial("torch", "scratch", "float32", "cpu", "text", replace(RECIPE, lr=float(i))) for i in range(1, 5)]
KEYS = [trial.key("sha") for trial in TRIALS]
ASKED = {"framework": "torch", "cells": ["gru"]}


def outcome(i, status=FINISHED, **changes):
    arrays = {"loss": np.arange(6.0).reshape(2, 3).T, **dict.fromkeys(CURVES, np.array([9.0, np.inf]))}
    return Outcome(TRIALS[i], "sha", status, **{"arrays": arrays, "text": "the time", "seconds": 1.5, **changes})


@pytest.fixture
def kept(tmp_path):
    return TrialStore(tmp_path / "trials.sqlite")


def test_an_outcome_comes_back_as_it_was(kept):
    made_with = {"versions": {"torch": "2"}, "switches": {}}
    kept.save([outcome(0, made_with=made_with, node="here", attempts=2, together=4, cpu_seconds=2.5)])
    again = TrialStore(kept.file).outcomes(KEYS)[KEYS[0]]
    expected = outcome(0, made_with=made_with, node="here", attempts=2, together=4, cpu_seconds=2.5)
    assert replace(again, arrays={}) == replace(expected, arrays={})
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)


def test_what_is_there_stays(kept):
    kept.save([outcome(0, why="first")])
    kept.save([outcome(0, why="second")])
    assert kept.outcomes(KEYS)[KEYS[0]].why == "first"


def test_what_failed_may_be_run_again(kept):
    kept.save([outcome(0, FAILED), outcome(1, DIVERGED)])
    assert kept.done(KEYS) == {KEYS[1]}
    assert kept.claim(KEYS[:2], "me") == {KEYS[0]}
    kept.save([outcome(0, why="better")])
    assert kept.outcomes(KEYS)[KEYS[0]].status == FINISHED


def test_a_trial_is_one_owners_until_it_is_over_or_given_up(kept):
    other = TrialStore(kept.file)
    assert kept.claim(KEYS[:3], "me") == set(KEYS[:3])
    assert other.claim(KEYS, "you") == {KEYS[3]}
    kept.save([outcome(0)])
    assert other.claim(KEYS, "you") == {KEYS[3]}
    kept.release("me")
    assert other.claim(KEYS, "you") == set(KEYS[1:])


def test_a_claim_dies_unless_it_is_kept_alive(kept, monkeypatch):
    now = time.time()
    for owner, keys in (("dead", KEYS[:2]), ("alive", KEYS[2:])):
        monkeypatch.setattr(time, "time", lambda: now)
        assert kept.claim(keys, owner) == set(keys)
    monkeypatch.setattr(time, "time", lambda: now + 0.9 * trial_store.PATIENCE_SECONDS)
    kept.keep_alive("alive")
    assert kept.claim(KEYS, "me") == set()
    monkeypatch.setattr(time, "time", lambda: now + 1.1 * trial_store.PATIENCE_SECONDS)
    assert kept.claim(KEYS, "me") == set(KEYS[:2])


def test_the_settings_of_a_sweep_keep_the_order_in_which_they_were_given(kept):
    kept.define("one", {**ASKED, "grid": {"num_hiddens": [4, 5], "lr": [1, 2]}}, KEYS)
    assert list(kept.sweeps()["one"][0]["grid"]) == ["num_hiddens", "lr"]


def test_a_sweep_is_what_its_name_stood_for_first(kept):
    kept.define("one", {**ASKED, "grid": {"lr": [1, 2]}}, KEYS[:2])
    kept.define("one", {**ASKED, "grid": {"lr": (1, 2)}}, KEYS[:2])
    kept.define("two", {**ASKED, "grid": {}}, KEYS[1:])
    with pytest.raises(UserError, match="has another sweep of the name 'one'; choose another --name"):
        kept.define("one", {**ASKED, "grid": {"lr": [1, 3]}}, KEYS[:2])
    assert kept.sweeps() == {
        "one": ({**ASKED, "grid": {"lr": [1, 2]}}, KEYS[:2]),
        "two": ({**ASKED, "grid": {}}, KEYS[1:]),
    }


def test_a_sweep_that_is_asked_for_again_is_the_last_and_has_the_trials_of_today(kept):
    kept.define("one", {**ASKED, "grid": {}}, KEYS[:3])
    kept.define("two", {**ASKED, "grid": {}}, KEYS[:1])
    kept.define("one", {**ASKED, "grid": {}}, KEYS[1:])
    assert list(kept.sweeps().items()) == [
        ("two", ({**ASKED, "grid": {}}, KEYS[:1])),
        ("one", ({**ASKED, "grid": {}}, KEYS[1:])),
    ]


def test_a_strange_name_is_a_name(tmp_path):
    file = tmp_path / "a?mode=ro" / "b#c.sqlite"
    TrialStore(file).save([outcome(0)])
    assert [f.name for f in tmp_path.iterdir()] == ["a?mode=ro"]
    assert TrialStore(file).done(KEYS) == {KEYS[0]}


@pytest.mark.parametrize("content", [b"no database at all, but longer than a header", b"SQLite format 3\0 cut off"])
def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path, content):
    file = tmp_path / "other"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"other: .*name another with --store"):
        TrialStore(file)
    assert file.read_bytes() == content


def test_somebody_elses_database_is_refused_and_kept(tmp_path):
    file = tmp_path / "other.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("create table diary (day text)")
    with pytest.raises(UserError, match="a database, but not a store of trials; name another with --store"):
        TrialStore(file)
    with sqlite3.connect(file) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("diary",)]


def test_a_store_of_another_version_is_refused(kept):
    with sqlite3.connect(kept.file) as connection:
        connection.execute("update about set value = 'isogru-trials/9'")
        connection.execute("drop table claims")
    with pytest.raises(UserError, match="a store of another version, isogru-trials/9; this isogru has isogru-trials/1"):
        TrialStore(kept.file)
    with sqlite3.connect(kept.file) as connection:
        assert ("claims",) not in connection.execute("select name from sqlite_master").fetchall()


def test_a_full_disk_is_told_and_what_was_kept_stays(kept):
    kept.save([outcome(0)])
    with kept._engine.connect() as connection:
        pages = connection.exec_driver_sql("pragma page_count").scalar()
    kept._engine.dispose()
    full = TrialStore(kept.file)
    full._engine.dispose()
    # SQLite's own limit, which it reports as it does a full disk.
    trial_store.sqlalchemy.event.listen(
        full._engine, "connect", lambda raw, _: raw.execute(f"pragma max_page_count={pages}")
    )
    with pytest.raises(
        UserError, match=r"what was kept before is there, but no more: .*disk is full; name another with --store"
    ):
        full.save([outcome(i, arrays={"loss": np.zeros(100_000)}) for i in (1, 2)])
    assert TrialStore(kept.file).done(KEYS) == {KEYS[0]}


def test_nobody_looks_while_another_decides(kept, monkeypatch):
    monkeypatch.setattr(trial_store, "PATIENCE_SECONDS", 0.1)
    other = TrialStore(kept.file)
    with kept._writing(), pytest.raises(UserError, match="database is locked"):
        other.done(KEYS)
    assert other.done(KEYS) == set()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="name another with --store"):
        TrialStore(tmp_path / "file" / "trials.sqlite")


def test_many_processes_write_at_once(tmp_path):
    file = tmp_path / "trials.sqlite"
    program = (
        "import sys; from pathlib import Path; from tests.spec.test_trial_store import *\n"
        "kept = TrialStore(Path(sys.argv[1]))\n"
        "for i in range(4):\n"
        "    if kept.claim([KEYS[i]], sys.argv[2]): kept.save([outcome(i, node=sys.argv[2])]); print(i)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(file), str(i)], stdout=subprocess.PIPE, text=True)
        for i in range(4)
    ]
    said = [process.communicate(timeout=120)[0].split() for process in running]
    assert all(process.returncode == 0 for process in running)
    assert sorted(i for each in said for i in each) == ["0", "1", "2", "3"]
    assert TrialStore(file).done(KEYS) == set(KEYS)
