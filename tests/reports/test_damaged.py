"""One damaged file among many is named with its remedy, and the rest is shown; no name leaves its folder."""

from __future__ import annotations

import csv
import json
import sqlite3
import tempfile

import pytest
from typer.testing import CliRunner

from reports.__main__ import app
from reports.exercises import build as exercises
from reports.pages.render import markdown_code
from reports.race import races
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.race import definition, rows
from shared_spec.race.definition import Race
from shared_spec.sweeps.place import default_file
from shared_spec.sweeps.trial_store import TrialStore
from shared_spec.weights import layouts, proof
from tests import sample_race, sample_results
from tests.sample_trials import keep, outcome


@pytest.fixture(autouse=True)
def _results(results):
    """In a folder of its own."""


def table_of(file):
    return list(csv.DictReader(file.read_text().splitlines()))


def change(statement, *values):
    with sqlite3.connect(default_file()) as database:
        database.execute(statement, values)
    database.close()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("trial", "{", "not a trial"),
        ("trial", b"\xff", "expected str, got bytes"),
        ("made_with", '{"versions": 3}', "expected object, got int"),
        ("arrays", b"\x00", "header"),
        ("seconds", "soon", "seconds: expected float, got str"),
        ("status", "running", "status is 'running'"),
        ("corpus", "../../up", "corpus is '../../up', should be a digest"),
    ],
)
def test_a_damaged_trial_is_named_and_the_others_go_out(tmp_path, column, value, said):
    keep("one", [outcome(lr=1.0), outcome(lr=2.0)])
    (key, *_) = next(iter(TrialStore(default_file()).sweeps().values()))[1]
    change(f"update trials set {column} = ? where key = ?", value, key)
    done = CliRunner().invoke(app, ["trials", "--export", str(tmp_path / "out.csv")])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert f"trial '{key}' is damaged: " in line
    assert said in line
    assert f"delete from trials where key = '\"'\"'{key}" in line
    table = table_of(tmp_path / "out.csv")
    assert {row["lr"] for row in table} == {"2.0"}


def test_a_store_that_is_none_is_named_and_the_rest_is_shown():
    """Exercises have no --store to name another with."""
    default_file().parent.mkdir(parents=True, exist_ok=True)
    default_file().write_bytes(b"junk")
    told = []
    assert exercises.build(told.append).sweeps.sweeps == []
    (said,) = told
    assert said.startswith(f"{default_file()}: cannot be a store of trials: file is not a database; move it away")
    with pytest.raises(UserError, match="file is not a database"):
        exercises.build()


def test_a_damaged_sweep_is_named():
    keep("one", [outcome()])
    keep("two", [outcome(lr=3.0)])
    change("update sweeps set definition = '[]' where name = 'one'")
    told = []
    assert list(TrialStore(default_file(), reads=True, tell=told.append).sweeps()) == ["two"]
    assert "sweep 'one' is damaged: " in told[0]


def test_an_export_does_not_go_onto_its_own_store(tmp_path):
    keep("one", [outcome()])
    own = tmp_path / "own.csv"
    default_file().rename(own)
    before = own.read_bytes()
    with pytest.raises(UserError, match="would overwrite what is read"):
        CliRunner().invoke(app, ["trials", "--store", str(own), "--export", str(own)], catch_exceptions=False)
    assert own.read_bytes() == before


def test_an_export_by_way_of_a_folder_with_a_quote_and_without_formulas(tmp_path, monkeypatch):
    keep("=1+1", [outcome(said="@cmd")])
    quoted = tmp_path / "it's"
    quoted.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(quoted))
    assert CliRunner().invoke(app, ["trials", "--export", str(tmp_path / "out.csv")]).exit_code == 0
    (row, *_) = table_of(tmp_path / "out.csv")
    assert (row["sweep"], row["text"]) == ("'=1+1", "'@cmd")


def test_a_store_that_is_only_read_is_not_changed():
    keep("one", [outcome()])
    before = default_file().stat().st_mtime_ns
    kept = TrialStore(default_file(), reads=True)
    assert list(kept.sweeps()) == ["one"]
    with pytest.raises(UserError, match="readonly"):
        kept.save([outcome(lr=9.0)])
    assert default_file().stat().st_mtime_ns == before


def test_of_a_race_what_is_damaged_is_named_and_the_rest_is_ranked(monkeypatch):
    race = Race("2026-01-02T03-04-05", ["torch", "jax"], ["chapter"])
    definition.begin(race)
    sample_race.board(race.folder, timed=(sample_race.FIRST,))
    race.file("jax", 2).write_bytes(b"\xff\n")
    race.memory_file.write_bytes(b"[1]\n")
    board = races.latest_board()
    assert {row.framework for row in board.tables[0].rows} >= {"torch", "jax"}
    # Without blocks it is one in passes, of an earlier version.
    assert (board.budget, board.seed) == (None, None)
    named = " ".join(board.trouble)
    assert "jax.cpu.2.jsonl: not a pass of benchmarks; race again" in named
    assert "memory.jsonl: damaged: " in named


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frameworks", ["../.."]),
        ("device", "../x"),
        ("budget", 10**9),
        ("threads", 10**30),
        ("name", "other"),
        ("seconds", -1),
        ("seconds", 1e9),
    ],
)
def test_a_race_that_names_what_is_elsewhere_is_damaged(field, value):
    race = Race("race", ["torch"], ["chapter"])
    definition.begin(race)
    file = rows.folder("race") / "race.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))
    with pytest.raises(UserError, match=r"race\.json: damaged: .*; race again"):
        definition.read(file)


@pytest.mark.parametrize(
    "change",
    [
        {"jobs": [3]},
        {"versions": ["a"]},
        {"implementations": [{}]},
        {"jobs": [dict.fromkeys(("framework", "case"), "x")]},
    ],
)
def test_a_damaged_manifest_says_what_is_wrong(change):
    sample_results.manifest("torch", [sample_results.job("torch", "gru-ordinary")])
    file = store.folder() / "torch" / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    failure = store.read_manifest("torch").failure
    assert failure.startswith("manifest.json is damaged: ")
    assert failure.endswith("; run tox -e torch again")


def test_a_job_does_not_leave_its_folder():
    sample_results.manifest("torch", [sample_results.job("torch", "gru-ordinary")])
    file = store.folder() / "torch" / "manifest.json"
    file.write_text(file.read_text().replace('"scratch"', '"../../up"'))
    assert "damaged" in store.read_manifest("torch").failure


def test_code_stays_within_its_backticks():
    assert markdown_code("a `b`\n| c") == "a b \\| c"


def site(tmp_path, *options):
    done = CliRunner().invoke(app, ["site", "-o", str(tmp_path / "site"), *options])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done, json.loads((tmp_path / "site/report.json").read_text())


def two_results():
    jobs = [sample_results.job("torch", case) for case in ("gru-one_step", "gru-tiny_weights")]
    for job in jobs:
        sample_results.save(job)
    sample_results.manifest("torch", jobs)
    return jobs


def test_a_damaged_result_is_named_and_the_rest_is_shown(tmp_path):
    damaged, _ = two_results()
    damaged.result_file.write_bytes(b"damaged")
    done, report = site(tmp_path)
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 2
    assert line.startswith(f"isogru: {damaged.result_file}: damaged, truncated or not a result file")
    assert line.endswith("; run tox -e torch again, or delete the file")
    rows = {row["case"]: row for row in report["results"]}
    assert {case: row["status"] for case, row in rows.items()} == {
        "gru-one_step": "failed",
        "gru-tiny_weights": "equal",
    }
    why = rows["gru-one_step"]["why"]
    assert why.startswith(f"{damaged.result_file.name}: damaged, ")
    assert rows["gru-one_step"]["mend"].startswith("tox -e torch -- --case gru-one_step ")
    # Done as it says.
    damaged.result_file.unlink()
    done, report = site(tmp_path)
    assert done.stderr == ""
    assert {row["case"]: row["status"] for row in report["results"]}["gru-one_step"] == "missing"


def test_a_damaged_case_is_named_and_the_rest_is_shown(tmp_path):
    jobs = [*two_results(), sample_results.job("torch", "short-training-gru")]
    sample_results.manifest("torch", jobs)
    file = store.case_file("short-training-gru")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"damaged")
    done, report = site(tmp_path)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"isogru: {file}: damaged, truncated or not a case file")
    assert [row["status"] for row in report["results"]].count("equal") == 2


def test_a_damaged_proof_of_a_layout_is_named_and_the_rest_is_shown(tmp_path):
    two_results()
    file = proof.result_file("torch", proof.case_names(layouts.layouts()["torch"])[0], "float32")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"damaged")
    done, report = site(tmp_path)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"isogru: {file}: damaged, ")
    assert [row["status"] for row in report["results"]] == ["equal", "equal"]
