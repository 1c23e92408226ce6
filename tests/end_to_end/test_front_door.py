"""The front door: what the README tells a newcomer to type, and what comes of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import frameworks
from shared_spec.command import repeated

ROOT = Path(__file__).parents[2]
# Those of the two placements of the reset gate: every lane has one of them.
CELLS = ("gru", "gru_reset_after")
# Of a cell that no lane has but scratch: one training in each framework.
TRAINING = "short-training-gru_update_only"
# Those that need no compiler: what there is of each framework is held against what there should be by its own tests.
LANES = ("scratch", "native")
# Two whose contenders are forked from a process in which threads run since the import, and that share no environment.
RACED = ("tensorflow", "jax")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Where the report goes: not where the user's own is."""
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def front_door(site, tmp_path_factory):
    """tox with all four frameworks, in an order that is not the project's own, in two lanes, on one case of two cells
    and on a training, in float64: the tests of each framework run and train every cell in every lane.
    """
    chosen = [*(f"{name}-ordinary" for name in CELLS), TRAINING]
    command = [sys.executable, "-m", "tox", "run", "-e", ",".join(reversed(frameworks.NAMES)), "--"]
    command += [*repeated("--case", chosen), *repeated("--implementation", LANES), "--dtype", "float64"]
    places = {"ISOGRU_RESULTS": str(tmp_path_factory.mktemp("results")), "ISOGRU_SITE": str(site)}
    places["ISOGRU_REFERENCE"] = os.environ.get("ISOGRU_REFERENCE") or str(ROOT / "reports/results/reference")
    environment = {**os.environ, **places}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200, check=False)


def test_every_implementation_is_equal_to_the_cell_that_it_claims(front_door, site):
    assert front_door.returncode == 0, (front_door.stdout + front_door.stderr)[-4000:]
    report = json.loads((site / "report.json").read_text())
    assert {f["name"]: f["status"] for f in report["frameworks"]} == dict.fromkeys(frameworks.NAMES, "present")
    not_equal = [row["why"] or row["sentence"] for row in report["results"] if row["status"] != "equal"]
    assert not_equal == []
    fields = [(i, field) for i in report["implementations"] for field in i["fields"]]
    there = {(i["framework"], i["lane"], field["cell"]) for i, field in fields}
    assert {(f, "scratch", c) for f in frameworks.NAMES for c in CELLS} <= there
    assert {(f, "native", "gru_reset_after") for f in frameworks.NAMES} <= there
    assert ("tensorflow", "native", "gru") in there
    # Gates are kept by every cell that is written by hand.
    gates = {(i["framework"], i["lane"], field["cell"]) for i, field in fields if field["column"] == "gates"}
    assert gates == {one for one in there if one[1] == "scratch" and one[2] in CELLS}
    precision = {(p["framework"], p["dtype"]): p for p in report["precision"] if p["implementation"] == "scratch"}
    assert set(precision) == {(f, "float64") for f in frameworks.NAMES}
    assert all(set(p["formats"].values()) == {"float64"} for p in precision.values())


def test_trainings_agree_between_frameworks(front_door, site):
    """That they agree as well in every cell follows from their verdicts: tests/isogru/test_verdict.py."""
    report = json.loads((site / "report.json").read_text())
    (training,) = report["training"]
    assert (training["case"], training["dtype"]) == (TRAINING, "float64")
    assert {run["label"].split("/")[0] for run in training["runs"]} == set(frameworks.NAMES)
    assert training["digits_between_frameworks"] >= 9
    assert training["same_text"]


def test_every_two_frameworks_are_compared(front_door, site):
    report = json.loads((site / "report.json").read_text())
    native = next(p for p in report["pairs"] if (p["cell"], p["dtype"]) == ("gru_reset_after", "float64"))
    assert {label.split("/")[0] for label in native["labels"]} == set(frameworks.NAMES)
    states = next(q for q in native["quantities"] if q["quantity"] == "H")
    assert [len(row) for row in states["absolute"]] == list(range(len(native["labels"])))
    assert max(value for row in states["absolute"] for value in row) < 1e-12


def test_the_path_of_the_report_is_the_last_thing_said(front_door, site):
    said = [line for line in front_door.stdout.splitlines() if line.startswith("report: ")]
    assert len(said) == 4
    page = Path(said[-1].removeprefix("report: "))
    assert page == site / "index.html"
    assert "<h1>" in page.read_text()


def test_a_race(tmp_path):
    """In turns, each in its own environment, to a leaderboard; the plugin's own comparison of their files. The work of
    a race in each framework: tests/equivalence/test_timed_work.py.
    """
    command = [sys.executable, "-m", "reports", "race", *RACED, "--budget", "30s", "--seconds", "0"]
    command += ["--workload", "prediction", "--cell", "gru", "--implementation", "tuned"]
    command += ["-o", str(tmp_path / "site")]
    environment = {**os.environ, "ISOGRU_RESULTS": str(tmp_path / "results")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"leaderboard: {tmp_path / 'site' / 'index.html'}"
    board = json.loads((tmp_path / "site" / "leaderboard.json").read_text())
    (table,) = board["tables"]
    assert {row["framework"] for row in table["rows"]} == set(RACED)
    for row in table["rows"]:
        assert row["status"] == "equal", row["why"]
        assert min(row[key] for key in ("seconds", "memory", "first", "issue", "percent", "blocks")) > 0
        assert set(row["passes"]) >= {"1"}
    # On a machine that does other things too nothing is ranked, and by what it was held up is said.
    ranks = [row["rank"] for row in table["rows"]]
    control_failed = any(control["status"] == "failed" for control in board["controls"])
    assert ranks.count(None) == (len(ranks) if control_failed or board["passes"] < 3 else 0)
    assert {control["kind"] for control in board["controls"]} == {"twice", "drift", "busy"}
    assert table["bound"]["seconds"] > 0
    assert board["trouble"] == []
    files = sorted(str(file) for file in (tmp_path / "results").glob("benchmarks/*/*.cpu.*.json"))
    # Each start of each contender has one, and one of them races twice; who is far behind is not started again.
    assert 3 <= len(files) <= 3 * board["passes"]
    compare = [sys.executable, "-m", "pytest_benchmark", "compare", *files, "--group-by", "fullname"]
    compared = subprocess.run(compare, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert compared.returncode == 0, compared.stderr
    assert compared.stdout.count("prediction-chapter-gru-float32-tuned") >= 3


def test_a_sweep_and_its_page(tmp_path):
    """From the command of the README to the page, which shows what has just been run."""
    places = {"ISOGRU_RESULTS": str(tmp_path / "results"), "ISOGRU_SITE": str(tmp_path / "site")}
    command = [sys.executable, "-m", "tox", "run", "-e", "sweep-jax", "--"]
    command += ["--grid", "num_hiddens=4,5", "--grid", "lr=1,2", "--epochs", "2"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **places}, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"exercises: {tmp_path / 'site' / 'exercises.html'}" in done.stdout
    exercises = json.loads((tmp_path / "site" / "exercises.json").read_text())
    (sweep,) = exercises["sweeps"]["sweeps"]
    assert {(t["num_hiddens"], t["lr"]) for t in sweep["trials"]} == {(h, lr) for h in (4, 5) for lr in (1.0, 2.0)}
    assert {t["status"] for t in sweep["trials"]} == {"finished"}
    assert sweep["command"].startswith("tox -e sweep-jax -- --grid num_hiddens=4,5 --grid lr=1,2")


def test_the_readme_and_continuous_integration_say_the_same():
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^    (python3\.11 .*tox.*)$", readme, re.M)
    assert commands[0].endswith("tox -e torch,jax")
    assert commands[1].endswith("/tox -p auto")
    marked = re.search(r"<!-- test -->\n    (.*)\n", readme)
    assert marked is not None
    assert marked.group(1) == commands[1]
