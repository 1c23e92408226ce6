"""What the page of exercises says of sweeps and studies, from trials made up so that the answers are known."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import duckdb
import numpy as np
import pytest

from reports.exercises import build as exercises
from reports.exercises import compared, memory, sweeps
from reports.pages import render
from shared_spec import cells, language_model, oracle
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.language_model import tasks, training
from shared_spec.readings.gradient import step
from shared_spec.sweeps import trials
from shared_spec.sweeps.place import default_file
from shared_spec.sweeps.trial_store import TrialStore
from shared_spec.sweeps.trials import DIVERGED, FAILED, FINISHED
from tests.sample_trials import COEFFICIENTS, keep, outcome, share_of, study

SIZES = ("num_steps", "num_hiddens", "num_train", "num_val")


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
    sweep = sweeps.build().sweeps[0]
    assert [t.val for t in sweep.best] == [5.0 + i for i in range(1, 11)]
    assert [t.status for t in sweep.trials].count(FINISHED) == 12
    assert (
        sweep.command
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
    (law,) = sweeps.build().laws
    np.testing.assert_allclose(list(law.coefficients.values()), COEFFICIENTS, rtol=1e-9)
    np.testing.assert_allclose(law.off, 1, rtol=1e-9)


def test_what_a_sweep_would_cost_elsewhere_follows_from_the_law_there(tmp_path):
    sizes = [(T, h) for T in (8, 32, 128) for h in (8, 32, 128)]
    ours = [outcome("jax", num_steps=T, num_hiddens=h, lr=lr) for T, h in sizes for lr in (1.0, 4.0)]
    cheap = [replace(o, cpu_seconds=o.cpu_seconds / 4, made_with={"switches": {"threads": "1"}}) for o in ours]
    stopped = {"perplexity.train": np.array([9.0]), "perplexity.val": np.array([8.0])}
    keep("here", [*cheap, replace(outcome("jax", lr=9.0, status=DIVERGED), arrays=stopped)])
    keep("there", [outcome(num_steps=T, num_hiddens=h) for T, h in sizes], lane="tuned")
    keep("another cell", [outcome(cell="rnn", num_steps=T, num_hiddens=h) for T, h in sizes])
    here, _, there = sweeps.build().sweeps
    assert [here.name, there.name] == ["here", "there"]
    assert there.command.endswith(" --dtype float32 --lane tuned")
    assert all(law.device == "cpu" for law in sweeps.build().laws)
    (other,) = here.otherwise
    assert (other.framework, other.threads) == ("torch", "")
    assert other.times == pytest.approx(4)
    assert other.cpu_seconds == pytest.approx(sum(o.cpu_seconds for o in ours))
    assert [o.times for o in there.otherwise] == pytest.approx([1 / 4])
    page = render.write_exercises(exercises.build(), tmp_path).read_text()
    assert "By its cost law, torch/tuned would take" in page
    assert "4.0 times as much" in page
    assert "jax/tuned on 1 thread would take" in page


def test_no_coefficient_of_a_cost_law_is_negative():
    sizes = np.array([[1.0, x, x * x] for x in (1.0, 2.0, 3.0, 4.0)])
    coefficients = sweeps.fit(sizes, np.array([1.0, 1.9, 2.6, 3.1]))
    assert (coefficients >= 0).all()
    assert coefficients[2] == 0
    assert coefficients[1] > 0


def test_three_sizes_make_no_law():
    keep("one", [outcome(num_steps=T) for T in (8, 32, 128)])
    assert not sweeps.build().laws


def test_frameworks_are_compared_on_the_same_trainings_alone():
    ours = [outcome(lr=float(i), val=6.0) for i in range(1, 4)]
    theirs = [replace(o, trial=replace(o.trial, framework="jax"), cpu_seconds=o.cpu_seconds / 2) for o in ours]
    theirs[1] = replace(theirs[1], arrays={**theirs[1].arrays, "perplexity.val": np.array([8.0, 6.6])})
    keep("one", [*ours, outcome(lr=9.0, val=60.0)])
    keep("two", theirs, framework="jax")
    (pair,) = sweeps.build().side_by_side
    assert pair.lanes == ("jax/tuned", "torch/tuned")
    assert pair.trainings == 3
    assert pair.apart == pytest.approx([0.0, 0.1])
    assert pair.times == pytest.approx(0.5)


def test_what_learned_another_text_or_in_another_lane_is_no_training_alike():
    ours = outcome(lr=1.0)
    elsewhere = replace(ours.trial, framework="jax")
    keep("one", [ours, outcome("jax", lr=1.0, corpus="another")])
    assert not sweeps.build().side_by_side
    keep("two", [replace(ours, trial=replace(elsewhere, implementation=lane)) for lane in ("scratch", "tuned")])
    pairs = [(pair.lanes, pair.trainings) for pair in sweeps.build().side_by_side]
    assert pairs == [(("jax/scratch", "torch/tuned"), 1), (("jax/tuned", "torch/tuned"), 1)]


def test_a_law_that_sizes_cannot_tell_is_not_fitted():
    # At one number of units what costs n T, n T h and n T h² cannot be told apart.
    keep("one", [outcome(num_steps=T) for T in (8, 16, 32, 64, 128)])
    assert not sweeps.build().laws


def test_a_sweep_without_a_trial_is_not_shown():
    keep("one", [outcome(lr=1.0)])
    kept = TrialStore(default_file())
    kept.define("two", kept.sweeps()["one"][0], ["not there yet"])
    assert [sweep.name for sweep in sweeps.build().sweeps] == ["one"]


def test_what_a_grid_varies_is_told_of_each_trial(tmp_path):
    keep("one", [outcome(batch_size=256), outcome(batch_size=1024, num_steps=8)])
    sweep = sweeps.build().sweeps[0]
    assert sweep.settings == ["num_steps", "num_hiddens", "lr", "batch_size"]
    assert [t.batch_size for t in sweep.trials] == [256, 1024]
    page = render.write_exercises(exercises.build(), tmp_path).read_text()
    assert '<th class="number">batch_size</th>' in page
    assert '<td class="number">256</td>' in page


def test_a_command_says_its_numbers_to_the_last_digit():
    keep("one", [outcome()], grid={"num_train": [2_000_000], "lr": [0.12345678, 4.0]}, device="cuda")
    command = sweeps.build().sweeps[0].command
    assert "--grid num_train=2000000 --grid lr=0.12345678,4 " in command
    assert command.endswith("--device cuda")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_trials_go_out_as_a_table(command, tmp_path, suffix):
    made = [outcome(lr=1.0), outcome(lr=4.0, status=DIVERGED, batch_size=256)]
    keep("it's", made)
    keep("the same", made[:1])
    file = tmp_path / f"all it's{suffix}"
    done = command("reports", "trials", "--export", str(file))
    assert (done.returncode, done.stdout) == (0, f"wrote 2 trials to {file}\n")
    with duckdb.connect() as database:
        cursor = database.execute(f"select * from read_{suffix[1:]}(?)", [str(file)])
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    places = sorted((row["sweep"], row["lr"], row["epoch"]) for row in rows)
    assert places == [
        *(("it's", lr, i) for lr in (1.0, 4.0) for i in (1, 2)),
        ("the same", 1.0, 1),
        ("the same", 1.0, 2),
    ]
    assert {(row["lr"], row["batch_size"], row["dtype"]) for row in rows} == {(1, 1024, "float32"), (4, 256, "float32")}
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


def test_what_is_recalled_is_told_with_its_interval(monkeypatch):
    monkeypatch.setattr(compared, "recalled", share_of)
    study(values={"gru": [1.0, 0.9, 0.8], "rnn": [0.1, 0.12, 0.02]})
    (task,) = compared.halves().tasks
    gru, rnn = task.rows
    # No interval leaves what a share can be.
    half = 4.303 * 0.1 / math.sqrt(3)
    assert gru.recalled == pytest.approx((0.9, 0.9 - half, 1.0))
    assert rnn.recalled == pytest.approx((0.08, 0.0, 0.08 + 4.303 * 0.052915 / math.sqrt(3)), rel=1e-4)
    (difference,) = task.differences
    assert (difference.word, difference.starts) == ("worse", 3)
    assert difference.value == pytest.approx(-0.82)
    assert difference.low < -0.82 < difference.high < 0
    assert task.command == "tox -e halves-torch -- --epochs 2 --seeds 3"
    assert task.one_lane
    assert {r.cell: r.why for r in task.rates} == dict.fromkeys(("gru", "rnn"), "diverged at epoch 2")
    assert (gru.clipped, gru.steps, gru.largest) == (1, 3, 3.0)


def test_recall_is_of_the_symbols_after_the_mark(text):
    recipe = trials.grid({}, ["gru"], task="copy-3", start="uniform", num_train=20, num_val=30, num_hiddens=4)[0]
    problem = tasks.problem("copy-3", recipe, text)
    rows = problem.tokens[20:]

    def ended(weights):
        made = outcome(task="copy-3", **{name: getattr(recipe, name) for name in ("start", *SIZES)})
        return replace(made, arrays={f"end.{name}": array for name, array in weights.items()})

    # Whoever always says the same symbol is right as often as it is there.
    weights = {name: 0 * array for name, array in problem.parameters.items()}
    weights["b_q"] = np.eye(len(problem.vocabulary))[4]
    assert compared.recalled(ended(weights)) == np.mean(rows[:, -tasks.COUNT :] == 4) > 0
    # Row by row and step by step.
    weights, right = {name: 9 * array for name, array in problem.parameters.items()}, []
    for row in rows:
        state, said = np.zeros((1, 4)), []
        for token in row[:-1]:
            X_t = np.eye(len(problem.vocabulary))[[token]]
            state, _ = step(cells.cell("gru"), X_t, state, weights, ())
            said.append(int(np.argmax(state @ weights["W_hq"] + weights["b_q"])))
        right += [a == b for a, b in zip(said[-tasks.COUNT :], row[-tasks.COUNT :], strict=True)]
    assert compared.recalled(ended(weights)) == np.mean(right) > 0


def test_a_perplexity_and_its_interval_are_more_than_nothing():
    study("halves", tasks.TEXT, {"gru": [1.9, 2.0, 2.1], "rnn": [2.0, 2.1, 4.8]})
    gru, rnn = compared.halves().tasks[0].rows
    assert gru.val[0] == pytest.approx(math.exp(2.0))
    assert 0 < rnn.val[1] < rnn.val[0] < rnn.val[2]


def test_of_one_start_no_interval_is_told(tmp_path):
    study("halves", tasks.TEXT, {"gru": [2.0], "rnn": [2.1]})
    page = render.write_exercises(exercises.build(), tmp_path).read_text()
    assert '<td class="number">7.389</td>' in page
    assert "over 1 start, which tells nothing: <strong>not to be told apart</strong>" in page


def test_one_that_failed_takes_no_other_along(tmp_path):
    study("halves", tasks.TEXT, {"gru": [1.9, 2.0, 2.1], "rnn": [2.0, 2.1, 2.3]})
    kept = TrialStore(default_file())
    told, keys = kept.sweeps()["halves-trainings"]
    failed = [replace(outcome(lr=9.0, cell=cell, status=FAILED), arrays={}) for cell in ("gru", "rnn")]
    same = replace(outcome(lr=2.0, cell="rnn", start_seed=9, status=FAILED), arrays={}, why="its worker died 3 times")
    kept.save([*failed, same])
    kept.define("more", told, [*keys, *(o.trial.key("sha") for o in [*failed, same])])
    (task,) = compared.halves().tasks
    rnn = next(row for row in task.rows if (row.cell, row.lr) == ("rnn", 2.0))
    assert (rnn.starts, rnn.unfinished) == (4, ["its worker died 3 times"])
    assert rnn.val[0] == pytest.approx(math.exp(np.mean([2.0, 2.1, 2.3])))
    lost = next(row for row in task.rows if row.lr == 9.0)
    assert (lost.seconds, lost.val, lost.largest) == (None, None, None)
    assert "its worker died 3 times" in render.write_exercises(exercises.build(), tmp_path).read_text()


def test_of_a_study_that_was_run_twice_the_last_is_shown():
    study("halves", tasks.TEXT, {"gru": [1.9, 2.0, 2.1], "rnn": [2.0, 2.1, 2.3]})
    kept = TrialStore(default_file())
    told, keys = kept.sweeps()["halves-trainings"]
    kept.define("more", {**told, "options": {"epochs": None, "seeds": 1}}, keys[:1])
    assert [task.command for task in compared.halves().tasks] == ["tox -e halves-torch -- --seeds 1"]
    kept.define("halves-trainings", told, keys)
    assert [task.asked for task in compared.halves().tasks] == [6]


def test_cells_that_differ_by_chance_are_not_told_apart(monkeypatch):
    monkeypatch.setattr(compared, "recalled", share_of)
    study(values={"gru": [1.0, 1.1, 0.9], "rnn": [1.05, 0.9, 1.1]})
    (task,) = compared.halves().tasks
    assert task.differences[0].word == "not to be told apart"
    assert not compared.compare().tasks


def test_the_page_shows_a_study(tmp_path, monkeypatch):
    monkeypatch.setattr(compared, "recalled", share_of)
    study(values={"gru": [0.9, 0.8, 0.85], "rnn": [0.15, 0.1, 0.12]})
    page = render.write_exercises(exercises.build(), tmp_path).read_text()
    assert "<strong>worse</strong>" in page
    assert "copying after 5 steps" in page
    assert "trainings are there" not in page
    kept = TrialStore(default_file())
    told, keys = kept.sweeps()["halves-trainings"]
    kept.define("more", {**told, "seeds": 4}, [*keys, "not there yet"])
    page = render.write_exercises(exercises.build(), tmp_path).read_text()
    assert "6 of 7 trainings are there; the same command goes on" in page


def test_the_exercises_in_brief(tmp_path, monkeypatch):
    monkeypatch.setattr(compared, "recalled", share_of)
    study(values={"gru": [0.9, 0.8, 0.85], "rnn": [0.15, 0.1, 0.12]})
    keep("one", [outcome(lr=1.0, said="a | b"), outcome(lr=9.0, status=DIVERGED)])
    render.write_exercises(exercises.build(), tmp_path)
    lines = (tmp_path / "exercises.md").read_text().splitlines()
    assert "| anything | Z = 0, R = 0 | Z = 1, R anything |" in lines
    assert any(line.endswith(": 2 of 2 trials, 1 diverged,") for line in lines)
    assert "| gru | 32 | 32 | 1 | 7.000 | a \\| b |" in lines
    assert "torch, copying after 5 steps (`tox -e halves-torch -- --epochs 2 --seeds 3`):" in lines
    # By hand: 0.85 and 4.303 times 0.05 / sqrt 3.
    assert any(line.startswith("| gru | 4 (best) | 3 | 0.85 (0.73 to 0.97) | ") for line in lines)
    assert "Not run yet: `tox -e compare-torch`." in lines
    # Each row of a table has as many cells as its head.
    for head, rule in itertools.pairwise(lines):
        if rule.startswith("|---"):
            assert head.replace("\\|", "").count("|") == rule.count("|")


def test_gradients_of_states_are_those_of_the_oracle(text, monkeypatch):
    recipe = language_model.recipe("gru", start="uniform", num_hiddens=4, num_steps=6, num_train=8, num_val=8)
    problem = language_model.problem(recipe, text)
    ratios = compared.waning(problem, problem.parameters)
    assert ratios[-1] == 1
    assert (np.diff(ratios) > 0).all()
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
    monkeypatch.setattr(memory, "windows", lambda _: (inputs[:1], targets[:1]))
    np.testing.assert_allclose(compared.waning(problem, parameters), np.array(norms) / norms[-1], rtol=1e-6)


def test_waning_needs_the_text_that_was_learned(text):
    with pytest.raises(UserError, match=r"corpus .*no-such"):
        compared._text("no-such")
    assert not store.text_file("no-such").exists()
    told = []
    assert list(compared._waning("torch", [outcome(corpus="no-such")], told.append)) == []
    (line,) = told
    assert str(store.text_file("no-such")) in line
    assert line.endswith("; without it nothing is shown of how gradients wane in torch")
