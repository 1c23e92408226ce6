"""Other people's tests, rebuilt: they are what their sources say, and accept what such numbers must hide."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from isogru.__main__ import app
from isogru.suites import command, matrix, own, records
from isogru.suites.mutants import SIZES, mutants
from isogru.suites.reading import suites
from isogru.suites.tolerance import needed, tolerance, ulps
from shared_spec.cells import cell
from shared_spec.errors import InterchangeError, SpecificationError, UserError

PUBLISHED = [problem for suite in suites() for problem in suite.problems if problem.published is not None]
SMALL = """
format = "isogru-suites/1"
[s]
title = "a suite"
sources = ["a: b"]
cell = "gru"
compares = ["final"]
tolerance = { atol = 1e-5, rtol = 1e-5 }
left_out = ""
[[s.problems]]
name = "p"
sizes = [2, 3, 4, 5]
X = "normal(1)"
W_x = "uniform(1/sqrt(h))"
W_h = 0.1
"""


@pytest.fixture(scope="module")
def keras():
    return {suite.cell: matrix.row(suite) for suite in suites() if suite.name == "keras"}


@pytest.mark.parametrize("problem", PUBLISHED, ids=lambda problem: problem.name)
def test_a_problem_has_the_values_that_its_source_gives(problem):
    final = problem.right.states(problem.X, problem.H0)[-1]
    assert problem.tolerance.accepts(final.astype(np.float32), problem.published.astype(np.float32))


def test_every_suite_of_the_file_has_a_source_and_a_problem():
    assert {suite.name for suite in suites()} >= {"onnx", "keras", "webnn", "flashrnn", "onnxruntime", "burn", "tract"}
    assert all(suite.sources and suite.problems for suite in suites())


def test_equal_weights_hide_every_order_of_gates(keras):
    alive = keras["gru"].alive
    # What Keras' test of reset_after=False has: all of W_x one number, all of W_h another.
    orders = [mutant.name for mutant in mutants(cell("gru")) if mutant.name.startswith("order_")]
    assert set(orders) <= set(alive)
    assert {"recurrent_transposed", "input_written_transposed", "start_ignored"} <= set(alive)
    assert {"update_turned", "candidate_relu", "recurrent_missing"} <= set(keras["gru"].killed)


def test_what_tells_nothing_of_gradients_kills_no_mutant_of_them(keras):
    of_gradients = {mutant.name for mutant in mutants(cell("gru")) if mutant.kind == "gradient"}
    assert of_gradients <= set(keras["gru"].alive)


def test_what_compares_gradients_kills_those_of_what_it_compares():
    flashrnn = next(suite for suite in suites() if suite.name == "flashrnn")
    row = matrix.row(replace(flashrnn, problems=flashrnn.problems[1:2]))
    # The gradient of the start state is left out there.
    assert [name for name in row.alive if name.startswith("path_")] == ["path_start"]
    assert "path_through: R" in row.killed


def test_right_results_pass_what_float32_can_pass_and_others_do_not(keras):
    assert [row.rejected for row in keras.values()] == [0, 0]
    tract = next(suite for suite in suites() if suite.name == "tract")
    # Within 1e-7 of each other are no two right results.
    assert matrix.row(tract).rejected > 0


def test_the_catalogue_kills_what_they_accept(keras):
    names = ["gru-one_step", "gru-ordinary", "gru-large_weights"]
    row = own.row("gru", names)
    assert row.alive == ()
    assert row.rejected == 0
    assert set(row.killed.values()) <= {name.removeprefix("gru-") for name in names}


def test_a_matrix_that_is_not_square_has_no_transpose_in_its_place():
    turned = next(mutant for mutant in mutants(cell("gru")) if mutant.name == "input_transposed")
    by_name = {problem.name: problem for suite in suites() for problem in suite.problems}
    assert turned.cannot_run(by_name["onnx defaults"].right)
    assert not turned.cannot_run(by_name["onnxruntime basic"].right)
    assert any(d == h for _, _, d, h in SIZES)


def test_a_curve_says_what_each_tolerance_would_accept():
    curve = own.curve("gru", ["gru-one_step", "gru-ordinary"])
    by_name = {each.name: each for each in curve.mutants}
    # One step never hands a state on.
    assert by_name["not_carried"].by_case["gru-one_step"] == max(r.by_case["gru-one_step"] for r in curve.right[:1])
    assert by_name["not_carried"].caught
    assert not any(right.caught for right in curve.right)
    assert max(right.largest for right in curve.right) < min(each.largest for each in curve.mutants if each.caught)
    record = records.made([], [curve])
    assert record.curves[0].cases == ["gru-one_step", "gru-ordinary"]


def test_tolerances_are_what_they_say():
    one, last = np.float32(1), np.nextafter(np.float32(1), np.float32(2))
    third = np.array([1 + 3 * 2.0**-23], np.float32)
    assert ulps(np.array([last]), np.array([one])) == [1]
    assert ulps(np.array([-1e-45], np.float32), np.array([1e-45], np.float32)) == [2]
    accepts = tolerance({"ulp": 3}, "").accepts
    assert accepts(third, np.array([one]))
    assert not accepts(np.nextafter(third, np.float32(2)), np.array([one]))
    assert not accepts(np.array([np.nan], np.float32), np.array([one]))
    assert needed(np.array([3.0]), np.array([1.0])) == 1.0
    assert needed(np.array([np.nan]), np.array([1.0])) == np.inf
    assert not tolerance({"relative": 0.5, "absolute": 0.0}, "").accepts(np.array([3.0]), np.array([1.0]))
    assert tolerance({"relative": 0.5, "absolute": 0.0}, "").accepts(np.array([2.9]), np.array([1.0]))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sizes", "size", "'p': size is none of"),
        ('"normal(1)"', '"gamma(1)"', "'p': ValueError: 'gamma(1)' is no number"),
        ("0.1", "[1, 2]", "'p': ValueError: a list has the shape (2,), should have (5, 5)"),
        ("rtol = 1e-5", "stol = 1e-5", "a tolerance has atol and rtol"),
        ('["final"]', '["text"]', "compares 'text', should be of H, final, gradients"),
        ('left_out = ""\n', "", "a suite has"),
        ('W_x = "uniform(1/sqrt(h))"\n', "", "'p': ValueError: None is no number"),
        ("sizes = [2, 3, 4, 5]", "sizes = [2, 3, 4, 50000]", "and no array above"),
        ("sizes = [2, 3, 4, 5]", "sizes = [2, 3, 4, -5]", "should be at least 1"),
        ("W_h = 0.1", "W_h = 1" + 400 * "0", "OverflowError"),
        ("rtol = 1e-5", "rtol = 1" + 400 * "0", "OverflowError"),
        ('["a: b"]', "3", "TypeError"),
        ("W_h = 0.1", 'W_h = 0.1\nfunctions = { sigmoid = "sigmoid" }', "change nothing"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, old, new, words):
    file = tmp_path / "suites.toml"
    file.write_text(SMALL)
    assert [suite.name for suite in suites(file)] == ["s"]
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(SMALL.replace(old, new))
    with pytest.raises(SpecificationError) as refused:
        suites(wrong)
    assert words in str(refused.value)
    assert "[s]" in str(refused.value)


def test_a_suite_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(UserError, match=r"no suite 'jest'; the suites are onnx, .*, isogru"):
        command.chosen(["jest"])
    with pytest.raises(UserError, match="no suite ''"):
        command.chosen([""])


def test_the_command_counts_and_keeps_nothing_of_a_part(results, capsys):
    with pytest.raises(SystemExit) as ended:
        app(["suites", "webnn"])
    assert not ended.value.code
    assert "webnn, gru: 42 of 108 mutants live" in capsys.readouterr().out
    assert not records.file().exists()
    with pytest.raises(SystemExit):
        app(["suites", "webnn", "--json"])
    record = json.loads(capsys.readouterr().out)
    assert len(record["rows"][0]["alive"]) == 42


def test_a_record_of_another_version_or_a_damaged_one_is_refused(results):
    records.write(records.made([], []))
    assert records.read(records.file()).rows == []
    records.file().write_text(records.file().read_text().replace("result/1", "result/2"))
    with pytest.raises(InterchangeError, match="its format is 'isogru-suites-result/2'"):
        records.read(records.file())
    records.file().write_text("{")
    with pytest.raises(InterchangeError, match=r"damaged.*run isogru suites again"):
        records.read(records.file())
