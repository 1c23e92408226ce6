"""What the page of exercises says of sweeps and studies, from trials made up so that the answers are known."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import duckdb
import numpy as np
import pytest

from reports import render
from reports.exercises import build as exercises
from reports.exercises import compared, sweeps
from shared_spec import cells, language_model, oracle, store, tasks, training
from shared_spec.errors import UserError
from shared_spec.readings.gradient import step
from shared_spec.trial_store import TrialStore, default_file
from shared_spec.trials import DIVERGED, FAILED, FINISHED
from tests.tried import COEFFICIENTS, keep, outcome, study


@pytest.fixture(autouse=True)
def _own_results(results):
    """The store of the test's own."""


def test_without_trials_there_are_commands(tmp_path):
    report = exercises.build()
    page = render.write_exercises(report, tmp_path).read_text()
    for command in ("tox -e sweep-torch", "tox -e compare-torch", "tox -e halves-torch"):
        assert f"<code>{command}" in page


def test_a_sweep_is_shown_with_what_diverged_and_what_failed(tmp_path):
    made = [outcome(lr=float(i), val=5.0 + i) for i in range(1, 13)]
    made += [outcome(lr=20.0, status=DIVERGED), outcome(lr=30.0, status=FAILED)]
    keep("one", made)
    found = sweeps.build()["sweeps"][0]
    assert [t["val"] for t in found["best"]] == [5.0 + i for i in range(1, 11)]
    assert [t["status"] for t in found["trials"]].count(FINISHED) == 12
    assert (
        found["command"]
        == "tox -e sweep-torch -- --grid lr=1,4 --cell gru --task text --epochs 2 --seeds 1 --dtype float32"
    )
    page = render.write_exercises(exercises.build(), tmp_path).read_text()
    assert "14 of 14 trials, 1 diverged,\n1 failed" in page
    assert "the &lt;b&gt;time" in page
    assert json.loads((tmp_path / "exercises.json").read_text())["sweeps"]["sweeps"][0]["name"] == "one"


def test_an_unfinished_sweep_says_so(tmp_path):
    keep("one", [outcome(lr=1.0)])
    kept = TrialStore(default_file())
    kept.define("two", {**kept.sweeps()["one"][0], "seeds": 2}, [*kept.sweeps()["one"][1], "not there yet"])
    page = render.write_exercises(exercises.build(), tmp_path).read_text()
    assert "1 of 2 trials" in page


def test_the_cost_law_is_found_again():
    made = [outcome(num_steps=T, num_hiddens=h) for T in (8, 32, 128) for h in (8, 32, 128)]
    keep("one", made)
    (law,) = sweeps.build()["laws"]
    np.testing.assert_allclose(list(law["coefficients"].values()), COEFFICIENTS, rtol=1e-9)
    np.testing.assert_allclose(law["off"], 1, rtol=1e-9)


def test_what_a_sweep_would_cost_elsewhere_follows_from_the_law_there(tmp_path):
    sizes = [(T, h) for T in (8, 32, 128) for h in (8, 32, 128)]
    ours = [outcome("jax", num_steps=T, num_hiddens=h, lr=lr) for T, h in sizes for lr in (1.0, 4.0)]
    cheap = [replace(o, cpu_seconds=o.cpu_seconds / 4, made_with={"switches": {"threads": "1"}}) for o in ours]
    stopped = {"perplexity.train": np.array([9.0]), "perplexity.val": np.array([8.0])}
    keep("here", [*cheap, replace(outcome("jax", lr=9.0, status=DIVERGED), arrays=stopped)])
    keep("there", [outcome(num_steps=T, num_hiddens=h) for T, h in sizes], lane="tuned")
    keep("another cell", [outcome(cell="rnn", num_steps=T, num_hiddens=h) for T, h in sizes])
    here, _, there = sweeps.build()["sweeps"]
    assert [here["name"], there["name"]] == ["here", "there"]
    assert there["command"].endswith(" --dtype float32 --lane tuned")
    (other,) = here["otherwise"]
    assert (other["framework"], other["threads"]) == ("torch", "")
    assert other["times"] == pytest.approx(4)
    assert other["cpu_seconds"] == pytest.approx(sum(o.cpu_seconds for o in ours))
    assert [o["times"] for o in there["otherwise"]] == pytest.approx([1 / 4])
    page = render.write_exercises(exercises.build(), tmp_path).read_text()
    assert "By its cost law, torch/tuned would take" in page
    assert "4.0 times as much" in page
    assert "jax/tuned on 1 thread would take" in page


def test_no_coefficient_of_a_cost_law_is_negative():
    sizes = np.array([[1.0, x, x * x] for x in (1.0, 2.0, 3.0, 4.0)])
    found = sweeps.fit(sizes, np.array([1.0, 1.9, 2.6, 3.1]))
    assert (found >= 0).all()
    assert found[2] == 0
    assert found[1] > 0


def test_three_sizes_make_no_law():
    keep("one", [outcome(num_steps=T) for T in (8, 32, 128)])
    assert sweeps.build()["laws"] == []


def test_frameworks_are_compared_on_the_same_trainings_alone():
    ours = [outcome(lr=float(i), val=6.0) for i in range(1, 4)]
    theirs = [replace(o, trial=replace(o.trial, framework="jax"), cpu_seconds=o.cpu_seconds / 2) for o in ours]
    theirs[1] = replace(theirs[1], arrays={**theirs[1].arrays, "perplexity.val": np.array([8.0, 6.6])})
    keep("one", [*ours, outcome(lr=9.0, val=60.0)])
    keep("two", theirs, framework="jax")
    (pair,) = sweeps.build()["side_by_side"]
    assert pair["frameworks"] == ["jax", "torch"]
    assert pair["trainings"] == 3
    assert pair["apart"] == pytest.approx([0.0, 0.1])
    assert pair["times"] == pytest.approx(0.5)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_trials_go_out_as_a_table(command, tmp_path, suffix):
    keep("it's", [outcome(lr=1.0), outcome(lr=4.0, status=DIVERGED)])
    file = tmp_path / f"all it's{suffix}"
    done = command("reports", "trials", "--export", str(file))
    assert (done.returncode, done.stdout) == (0, f"wrote 2 trials to {file}\n")
    with duckdb.connect() as database:
        found = database.execute(f"select * from read_{suffix[1:]}(?)", [str(file)])
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    places = sorted((row["sweep"], row["lr"], row["epoch"]) for row in rows)
    assert places == [("it's", lr, epoch) for lr in (1.0, 4.0) for epoch in (1, 2)]
    assert {row["status"] for row in rows} == {FINISHED, DIVERGED}
    assert {row["perplexity_val"] for row in rows} == {8.0, 7.0}
    if suffix == ".csv":
        assert file.read_text().startswith("sweep,framework,")


def test_refused_exports(command, tmp_path):
    done = command("reports", "trials", "--export", str(tmp_path / "x.csv"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "there are no trials; run tox -e sweep-torch" in done.stderr
    keep("one", [outcome()])
    for name, words in (("x.xls", "should end in .csv or .parquet"), ("x.csv/y.csv", "cannot be written")):
        (tmp_path / "x.csv").touch()
        done = command("reports", "trials", "--export", str(tmp_path / name))
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert words in done.stderr
    assert (tmp_path / "x.csv").read_text() == ""


def test_what_is_recalled_is_told_with_its_interval():
    nats, steps = math.log(8), 2 * tasks.COUNT + 5
    perfect, guessed = 2 * nats / steps, 5 * nats / steps
    study(values={"gru": [perfect] * 3, "rnn": [guessed, guessed, guessed * 1.01]})
    (task,) = compared.halves()["tasks"]
    gru, rnn = task["rows"]
    assert gru["recalled"] == pytest.approx((1, 1, 1))
    assert rnn["recalled"][1] < 0 < rnn["recalled"][2]
    assert task["differences"][0]["word"] == "worse"
    assert {r["cell"]: r["why"] for r in task["rates"]} == dict.fromkeys(("gru", "rnn"), "diverged at epoch 2")
    assert (gru["clipped"], gru["steps"], gru["largest"]) == (1, 3, 3.0)


def test_cells_that_differ_by_chance_are_not_told_apart():
    study(values={"gru": [1.0, 1.1, 0.9], "rnn": [1.05, 0.9, 1.1]})
    (task,) = compared.halves()["tasks"]
    assert task["differences"][0]["word"] == "not to be told apart"
    assert compared.compare()["tasks"] == []


def test_the_page_shows_a_study(tmp_path):
    study(values={"gru": [1.0, 1.1, 0.9], "rnn": [2.05, 1.9, 2.1]})
    page = render.write_exercises(exercises.build(), tmp_path).read_text()
    assert "<strong>worse</strong>" in page
    assert "copying after 5 steps" in page
    assert "trainings are there" not in page
    kept = TrialStore(default_file())
    told, keys = kept.sweeps()["halves-trainings"]
    kept.define("more", {**told, "seeds": 4}, [*keys, "not there yet"])
    page = render.write_exercises(exercises.build(), tmp_path).read_text()
    assert "6 of 7 trainings are there; the same command goes on" in page


def test_gradients_of_states_are_those_of_the_oracle(text, monkeypatch):
    recipe = language_model.recipe("gru", start="uniform", num_hiddens=4, num_steps=6, num_train=8, num_val=8)
    problem = language_model.problem(recipe, text)
    found = compared.waning(problem, problem.parameters)
    assert found[-1] == 1
    assert (np.diff(found) > 0).all()
    # By finite differences: the loss of the last step when the state at t is moved.
    inputs, targets = next(problem.validation_batches())
    the_cell, parameters = cells.cell("gru"), problem.parameters
    X = training.one_hot(inputs[:1], len(problem.vocabulary), np.dtype(np.float64))
    H = oracle.states(the_cell, X, np.zeros((1, 4)), parameters)

    def loss(t, state):
        for X_t in X[t + 1 :]:
            state, _ = step(the_cell, X_t, state, parameters, ())
        O = (state @ parameters["W_hq"] + parameters["b_q"])[0]
        return np.log(np.exp(O).sum()) - O[targets[0, -1]]

    moves = 1e-6 * np.eye(4)
    norms = [np.linalg.norm([(loss(t, H[t] + m) - loss(t, H[t] - m)) / 2e-6 for m in moves]) for t in range(6)]
    monkeypatch.setattr(compared, "WINDOWS", 1)
    np.testing.assert_allclose(compared.waning(problem, parameters), np.array(norms) / norms[-1], rtol=1e-6)


def test_waning_needs_the_text_that_was_learned(text):
    with pytest.raises(UserError, match=r"corpus .*no-such"):
        compared._text("no-such")
    assert not store.text_file("no-such").exists()
