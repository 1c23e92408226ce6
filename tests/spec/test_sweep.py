"""How a sweep is run, on workers that do as they are told: what dies is run again, what breaks is told, once each."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from frameworks.sweep import cluster, command
from frameworks.sweep import run as sweeping
from frameworks.sweep.cluster import Broke, Cluster, Died
from frameworks.sweep.run import ATTEMPTS, Sweep, batches, run
from frameworks.sweep.studies import best_rates
from shared_spec import language_model
from shared_spec.errors import UserError
from shared_spec.sweeps.stored import CURVES, Outcome
from shared_spec.sweeps.trial_store import TrialStore
from shared_spec.sweeps.trials import DIVERGED, FAILED, FINISHED, Trial

TOGETHER = 5


def trial(lr=1.0, h=8, seed=3):
    recipe = language_model.recipe("gru", lr=lr, num_hiddens=h, start_seed=seed)
    return Trial("torch", "scratch", "float32", "cpu", "text", recipe)


OTHERS = (trial(lr=9.0, h=16), trial(lr=9.0, h=32), trial(lr=9.0, h=64))
"""Beside these the trials of one shape stay together: there is enough to do for two workers."""


class Workers:
    """Two of them; `fates` says how the n-th attempt at a batch ends, by the rates of its trials."""

    def __init__(self, fates=None):
        self.fates, self.ran, self.flying = fates or {}, [], []

    busy = property(lambda self: len(self.flying))

    def slots(self):
        return 2

    def submit(self, batch):
        assert self.busy < self.slots()
        self.flying.append(batch)

    def wait(self, seconds):
        if self.flying:
            batch = self.flying.pop(0)
            rates = tuple(t.recipe.lr for t in batch)
            fate = self.fates.get((rates, self.ran.count(rates)), self.fates.get(rates))
            self.ran.append(rates)
            yield batch, fate or [Outcome(t, "sha", FINISHED, arrays=dict.fromkeys(CURVES, np.ones(1))) for t in batch]


@pytest.fixture
def kept(tmp_path):
    return TrialStore(tmp_path / "trials.sqlite")


def sweep(*trials):
    return Sweep("some", {}, trials, "sha", TOGETHER)


def told(sweep, kept, workers):
    said = []
    run(sweep, kept, workers, lambda progress, outcome: said.append((progress.done, progress.total, outcome)))
    return said


@pytest.mark.parametrize(
    ("options", "there", "slots"),
    [
        ({"address": "there:1"}, {"CPU": 96.0}, 96),
        ({"address": "there:1", "threads": 4}, {"CPU": 96.0}, 24),
        ({"address": "there:1", "workers": 8}, {"CPU": 96.0}, 8),
        ({"address": "there:1", "workers": 8}, {"CPU": 2.0}, 2),
        ({"address": "there:1"}, {}, 1),
        ({"workers": 3}, {"CPU": 3.0}, 3),
        ({"address": "there:1", "device": "cuda"}, {"CPU": 96.0, "GPU": 4.0}, 4),
        ({"device": "cuda", "workers": 16}, {"CPU": 16.0, "GPU": 1.0}, 1),
    ],
)
def test_there_are_as_many_workers_as_there_is_room_for(options, there, slots, text):
    cluster = Cluster(**{"address": None, "workers": None, "threads": 1, "device": "cpu", **options}, text=text)
    cluster._ray = SimpleNamespace(cluster_resources=lambda: there)
    assert cluster.slots() == slots


def test_trials_of_one_shape_go_together_and_the_longest_first():
    small, wide = [trial(lr=i) for i in range(1, TOGETHER + 3)], [trial(h=64), trial(h=64, lr=2.0)]
    groups = batches([*small, *wide], TOGETHER, workers=1)
    assert [len(batch) for batch in groups] == [TOGETHER, 2, 2] or [len(batch) for batch in groups] == [2, TOGETHER, 2]
    assert sorted(t.key("") for batch in groups for t in batch) == sorted(t.key("") for t in [*small, *wide])
    assert all(len({t.program for t in batch}) == 1 for batch in groups)
    works = [sum(t.work for t in batch) for batch in groups]
    assert works == sorted(works, reverse=True)


@pytest.mark.parametrize(("count", "sizes"), [(24, [8, 8, 8]), (12, [6, 6]), (2, [1, 1]), (1, [1])])
def test_one_worker_has_two_batches_if_there_are_trials_for_them(count, sizes):
    assert [len(batch) for batch in batches([trial(lr=i) for i in range(1, count + 1)], 8, workers=1)] == sizes


def test_no_worker_is_idle_because_trials_go_together():
    small, wide = ([trial(lr=i, h=h) for i in range(1, 9)] for h in (8, 16))
    assert [len(batch) for batch in batches(small, 8, workers=2)] == [2, 2, 2, 2]
    assert [len(batch) for batch in batches([*small, *wide], 8, workers=2)] == [4, 4, 4, 4]
    assert batches([], 8, workers=2) == []


def test_what_takes_long_goes_alone():
    short, long = (
        [replace(t, recipe=replace(t.recipe, num_hiddens=128, num_steps=T)) for t in (trial(lr=i) for i in range(1, 9))]
        for T in (8, 128)
    )
    assert [len(batch) for batch in batches([*short, *long], 8, workers=1)] == [1] * 8 + [4, 4]


def test_all_are_run_once_and_told(kept):
    asked = sweep(trial(1.0), trial(2.0), *OTHERS)
    workers = Workers()
    said = told(asked, kept, workers)
    assert [done for done, _, _ in said] == [0, 1, 2, 3, 4, 5]
    assert kept.done(asked.keys) == set(asked.keys)
    assert sorted(workers.ran) == [(1.0, 2.0), (9.0,), (9.0,), (9.0,)]
    again = Workers()
    assert [done for done, _, _ in told(asked, kept, again)] == [5]
    assert again.ran == []


def test_what_was_broken_off_goes_on_where_it_was(kept, monkeypatch):
    # Nobody's claim is waited for.
    monkeypatch.setattr(sweeping.time, "sleep", lambda seconds: pytest.fail("waited"))
    asked = sweep(*[trial(h=h) for h in (8, 16, 24, 32)])

    class Broken(Workers):
        def wait(self, seconds):
            if len(self.ran) == 2:
                raise KeyboardInterrupt
            yield from super().wait(seconds)

    with pytest.raises(KeyboardInterrupt):
        told(asked, kept, Broken())
    assert len(kept.done(asked.keys)) == 2
    workers = Workers()
    told(asked, kept, workers)
    assert len(workers.ran) == 2
    assert kept.done(asked.keys) == set(asked.keys)


def test_who_dies_is_run_again(kept):
    asked = sweep(trial(1.0), trial(2.0), *OTHERS)
    workers = Workers({((1.0, 2.0), 0): Died("node gone")})
    told(asked, kept, workers)
    assert workers.ran.count((1.0, 2.0)) == 2
    assert [o.attempts for o in kept.outcomes(asked.keys).values()] == [2, 2, 1, 1, 1]


def test_who_dies_always_is_a_result_and_takes_no_other_along(kept):
    asked = sweep(trial(1.0), trial(2.0), trial(3.0), *OTHERS)
    workers = Workers({(1.0, 2.0, 3.0): Died("gone"), (2.0,): Died("out of memory")})
    told(asked, kept, workers)
    outcomes = {o.trial.recipe.lr: o for o in kept.outcomes(asked.keys).values()}
    assert {lr: o.status for lr, o in outcomes.items()} == {1.0: FINISHED, 2.0: FAILED, 3.0: FINISHED, 9.0: FINISHED}
    assert outcomes[2.0].why == f"its worker died {ATTEMPTS} times: out of memory"
    assert workers.ran.count((2.0,)) == ATTEMPTS


def test_what_breaks_is_told_and_not_tried_again(kept):
    asked = sweep(trial(1.0), trial(2.0), *OTHERS)
    workers = Workers({(1.0, 2.0): Broke("ValueError: no"), (2.0,): Broke("ValueError: no")})
    told(asked, kept, workers)
    outcomes = {o.trial.recipe.lr: (o.status, o.why) for o in kept.outcomes(asked.keys).values()}
    assert outcomes == {1.0: (FINISHED, ""), 2.0: (FAILED, "ValueError: no"), 9.0: (FINISHED, "")}
    assert workers.ran.count((2.0,)) == 1


def test_what_another_sweep_runs_is_waited_for_and_not_run(kept, monkeypatch):
    mine, others = trial(h=8), trial(h=16)
    asked = sweep(mine, others)
    assert kept.claim([others.key("sha")], "another") == {others.key("sha")}
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            kept.save([Outcome(others, "sha", FINISHED, node="elsewhere", arrays=dict.fromkeys(CURVES, np.ones(1)))])

    monkeypatch.setattr(sweeping.time, "sleep", sleep)
    workers = Workers()
    said = told(asked, kept, workers)
    assert len(workers.ran) == 1
    assert said[-1][0] == 2
    assert kept.outcomes(asked.keys)[others.key("sha")].node == "elsewhere"


def test_what_another_gave_up_is_taken_while_a_worker_is_busy(kept):
    long, others = trial(h=8), trial(h=16)
    asked = sweep(long, others)
    kept.claim([others.key("sha")], "another")

    class Long(Workers):
        """The first batch goes on until the other is there."""

        def wait(self, seconds):
            kept.release("another")
            if self.ran or self.busy == 2:
                yield from super().wait(seconds)
            else:
                self.waits += 1
                assert self.waits < 10

        waits = 0

    told(asked, kept, Long())
    assert kept.done(asked.keys) == set(asked.keys)


def test_claims_are_kept_alive_while_a_trial_runs(kept, monkeypatch):
    asked, hours = sweep(trial()), itertools.count(0, 3600)

    class Slow(Workers):
        def wait(self, seconds):
            if next(hours) > 3 * 3600:
                yield from super().wait(seconds)

    monkeypatch.setattr(sweeping.time, "monotonic", lambda: float(next(hours)))
    owners = []
    monkeypatch.setattr(kept, "keep_alive", owners.append)
    told(asked, kept, Slow())
    assert owners
    assert len(set(owners)) == 1


def test_what_a_dead_sweep_left_is_taken_over(kept, monkeypatch):
    asked = sweep(trial())
    kept.claim(asked.keys, "another")
    monkeypatch.setattr(sweeping.time, "sleep", lambda seconds: kept.release("another"))
    workers = Workers()
    told(asked, kept, workers)
    assert workers.ran == [(1.0,)]


def test_the_time_left_follows_the_work():
    assert sweeping.Progress(total=4, done=4, work=0.0).seconds_left == 0.0
    progress = sweeping.Progress(total=4, done=0, work=100.0)
    assert progress.seconds_left is None
    progress.began -= 10.0
    assert replace(progress, over=20.0).seconds_left == pytest.approx(40.0, rel=0.1)
    # Two halves of two: as much as one whole.
    batch = (trial(lr=1.0), trial(lr=2.0))
    work = batch[0].work
    under_way = replace(progress, work=4 * work, under_way={batch: 0.5})
    assert under_way.seconds_left == pytest.approx(30.0, rel=0.1)
    assert replace(under_way, over=work).seconds_left == pytest.approx(10.0, rel=0.1)


class Talking(Workers):
    """Each batch is half done before it ends."""

    def wait(self, seconds):
        if self.flying:
            yield self.flying[0], 0.5
        yield from super().wait(seconds)


def test_there_is_a_time_left_before_the_first_trial_is_over(kept):
    asked, said = sweep(trial(1.0), *OTHERS), []
    workers = Talking({((9.0,), 0): Died("node gone")})
    run(asked, kept, workers, lambda progress, outcome: said.append((progress.done, progress.seconds_left)))
    assert said[0] == (0, None)
    assert said[1][0] == 0
    assert said[1][1] > 0
    # Of a batch that has died nothing is done.
    assert said[-1] == (4, pytest.approx(0.0, abs=1e-6))
    assert [len(o.arrays) for o in kept.outcomes(asked.keys).values()] == [len(CURVES)] * 4


def test_a_pipe_is_told_the_time_left_now_and_then(monkeypatch, capsys):
    clock = [100.0]
    monkeypatch.setattr(command.time, "monotonic", lambda: clock[0])
    progress, tell = sweeping.Progress(total=4, done=0, work=100.0, began=50.0), command._plainly("some")
    tell(progress, None)
    progress = replace(progress, over=50.0)
    ended = Outcome(trial(), "sha", DIVERGED, "diverged at epoch 3")
    for seconds, outcome in ((0.0, None), (1.0, None), (command.QUIET_SECONDS, None), (0.0, ended)):
        clock[0] += seconds
        tell(progress, outcome)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == ["some: 0/4, starting", "some: 0/4, 50 s left", "some: 0/4, 81 s left"]
    assert lines[3].startswith("some: 0/4, 81 s left: gru ")
    assert lines[3].endswith("diverged at epoch 3")
    assert len(lines) == 4


def ended(lr, *ends):
    """Trainings at a rate, by what they end with; None has diverged."""
    for seed, val in enumerate(ends):
        status = DIVERGED if val is None else FINISHED
        yield Outcome(
            trial(lr=lr, seed=seed), "sha", status, arrays=dict.fromkeys(CURVES, np.array([9.0, val or 99.0]))
        )


def test_the_best_rate_is_safe_before_it_is_good():
    lucky, safe, slow = ended(4.0, 6.0, None, None), ended(2.0, 7.0, 9.0, 7.2), ended(1.0, 7.5, 7.5, 6.5)
    assert best_rates(["gru"], [*lucky, *safe, *slow]) == {"gru": 2.0}
    assert best_rates(["gru"], [*ended(4.0, 6.0), *ended(2.0, 7.0)]) == {"gru": 4.0}
    with pytest.raises(UserError, match="no training of gru has finished at any rate"):
        best_rates(["gru"], ended(4.0, None, None))


@pytest.mark.parametrize(("folder", "place"), [("/tmp/{:n<14}", "/tmp/{:n<14}"), ("/tmp/{:n<15}", "/tmp")])
def test_sockets_have_names_that_the_system_takes(folder, place, monkeypatch):
    """Of Ray's the longest, where the folder for temporary files has a long name."""
    where = Path(folder.format(os.getpid()))
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(tempfile, "tempdir", str(where))
    where.mkdir()
    try:
        with cluster._surroundings() as options:
            made = Path(options["_temp_dir"])
            assert made.parents[1] == Path(place.format(os.getpid()))
            session = f"session_2026-01-01_00-00-00_000000_{2**22}"
            with socket.socket(socket.AF_UNIX) as listening:
                (made / session / "sockets").mkdir(parents=True)
                listening.bind(str(made / session / "sockets/plasma_store"))
    finally:
        shutil.rmtree(where)
