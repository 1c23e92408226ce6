"""The report of everything present: what is there, what is not, and what people see."""

from __future__ import annotations

import io
import json
import threading

import numpy as np
import pytest
from rich.console import Console

from reports import build, collect, render
from shared_spec import cases, interchange, language_model, oracle, store, training
from shared_spec.errors import UserError
from shared_spec.interchange import Origin, Result
from shared_spec.store import Job, Manifest

CASES = ("gru-ordinary", "rnn-ordinary", "gru-one_unit")
NASTY = "<script>alert(1)</script>|`x`"


@pytest.fixture(autouse=True)
def _own_results(results):
    """Results made by these tests stay out of the user's."""


def job(framework, case, dtype="float32"):
    return Job(framework, case, "scratch", dtype, "cpu")


def listing(cell, **changes):
    known = {"name": "scratch", "lane": "scratch", "dtypes": ["float32"], "available": True, "reason": ""}
    return known | {"cell": cell} | changes


def origin_of(framework, case, digest=None):
    where = (framework, "scratch", "scratch", "float32", "cpu", 2.0**-24)
    return Origin(case.name, digest or case.digest, case.cell.name, case.cell.digest, *where)


def made(framework, name, *, digest=None, break_it=False):
    """A result as the oracle in float32 gives it, kept where a framework would."""
    case = cases.build(name)
    arrays = oracle.run(case.cell, case.arrays, dtype="float32")
    if break_it:
        arrays["H"][-1, 0, 0] += 0.5
    store.save_result(job(framework, name), Result(origin_of(framework, case, digest), arrays))


def manifest(framework, names=CASES, **changes):
    known = Manifest(
        framework, [job(framework, name) for name in names], [listing("gru"), listing("rnn")], {"lib": "1.0"}
    )
    store.save_manifest(Manifest(**{**vars(known), **changes}))


def all_made(*frameworks):
    for framework in frameworks:
        manifest(framework)
        for name in CASES:
            made(framework, name)


def statuses(report, framework):
    return {row["case"]: row["status"] for row in report["results"] if row["framework"] == framework}


def test_all_equal():
    all_made("torch", "jax")
    report = build.build(collect.collect())
    assert report["summary"]["sentence"] == "torch and jax: all 6 results are equal to the cells that they claim."
    assert [f["status"] for f in report["frameworks"]] == ["present", "missing", "present", "missing"]
    assert report["frameworks"][1]["command"] == "tox -e tensorflow"
    pair = next(p for p in report["pairs"] if p["cell"] == "gru" and p["group"] == "H")
    assert (pair["a"], pair["b"], pair["absolute"]) == ("torch/scratch", "jax/scratch", 0.0)
    worst = next(i for i in report["implementations"] if i["framework"] == "torch" and i["cell"] == "gru")
    assert {q["group"] for q in worst["quantities"]} == {"H", "final", "gradients"}
    assert all(0 <= q["ratio"] <= 1 for q in worst["quantities"])


def test_missing_failed_stale_and_different_are_all_listed():
    manifest("torch", ("gru-ordinary", "gru-one_unit", "rnn-ordinary", "gru-wide", "rnn-wide"))
    made("torch", "gru-ordinary")
    made("torch", "gru-one_unit", digest="another")
    made("torch", "rnn-ordinary", break_it=True)
    store.save_failure(job("torch", "gru-wide"), "ended by SIGSEGV: Segmentation fault")
    report = build.build(collect.collect())
    assert statuses(report, "torch") == {
        "gru-ordinary": "equal",
        "gru-one_unit": "stale",
        "rnn-ordinary": "different",
        "gru-wide": "failed",
        "rnn-wide": "missing",
    }
    sentence = report["summary"]["sentence"]
    assert sentence.startswith("torch: 1 of 5 results are equal to the cells that they claim; ")
    page = render.write(report, store.folder() / "site").read_text()
    for words in ("ended by SIGSEGV", "made of another version", "not run yet", "H[6,0,0] = "):
        assert words in page
        assert words.replace("[", "\\[").replace("]", "\\]") in (store.folder() / "site/report.md").read_text()


def test_a_failure_takes_the_place_of_a_result_and_gives_it_back():
    manifest("torch", ("gru-ordinary",))
    made("torch", "gru-ordinary")
    store.save_failure(job("torch", "gru-ordinary"), "last words")
    assert statuses(build.build(collect.collect()), "torch") == {"gru-ordinary": "failed"}
    made("torch", "gru-ordinary")
    assert statuses(build.build(collect.collect()), "torch") == {"gru-ordinary": "equal"}


def test_damaged_results_are_failed_not_fatal():
    all_made("torch")
    job("torch", "gru-ordinary").result_file.write_bytes(b"damaged")
    store.save_failure(job("torch", "rnn-ordinary"), "")
    job("torch", "rnn-ordinary").failure_file.write_text("{")
    report = build.build(collect.collect())
    assert statuses(report, "torch") == {"gru-ordinary": "failed", "rnn-ordinary": "failed", "gru-one_unit": "equal"}


def test_a_framework_that_did_not_start():
    all_made("torch")
    store.save_manifest(Manifest("mxnet", failure="ended by SIGILL: Illegal instruction"))
    report = build.build(collect.collect())
    assert report["frameworks"][3]["status"] == "failed"
    assert "SIGILL" in report["frameworks"][3]["why"]


@pytest.mark.parametrize("content", ["", "3", '{"format": "isogru-manifest/9"}', '{"format": "isogru-manifest/1"}'])
def test_a_damaged_manifest_is_a_failed_framework(content):
    all_made("torch", "jax")
    (store.folder() / "jax" / "manifest.json").write_text(content)
    report = build.build(collect.collect())
    assert [f["status"] for f in report["frameworks"]] == ["present", "missing", "failed", "missing"]
    assert "run tox -e jax again" in report["frameworks"][2]["why"]


def test_a_failure_to_start_keeps_the_jobs_and_is_forgotten_by_the_next_run():
    all_made("torch")
    store.note_failure("torch", "ended by SIGILL")
    report = build.build(collect.collect())
    assert report["frameworks"][0]["status"] == "failed"
    assert len(statuses(report, "torch")) == 3
    store.note_failure("torch", "")
    assert build.build(collect.collect())["frameworks"][0]["status"] == "present"


def test_nothing_there_is_an_error_and_the_former_page_stays(tmp_path):
    with pytest.raises(UserError, match=r"no results in .*: run tox -e torch,jax"):
        collect.collect()


def test_a_training_is_reported(text, monkeypatch):
    small = {"num_hiddens": 3, "num_steps": 4, "num_train": 6, "num_val": 3, "batch_size": 4, "epochs": 2}
    recipe = language_model.recipe("rnn", start="uniform", **small)
    monkeypatch.setattr(cases, "training_recipe", lambda name: recipe)
    case = cases.build("short-training-rnn", text)
    interchange.write_case(store.case_file(case.name), case)
    for framework in ("torch", "jax"):
        manifest(framework, (case.name,))
        arrays = training.train(case.problem, dtype="float32")
        store.save_result(job(framework, case.name), Result(origin_of(framework, case), arrays))
    report = build.build(collect.collect())
    (found,) = report["training"]
    assert (found["steps"], len(found["runs"]), found["same_text"]) == (4, 2, True)
    assert found["digits_between_frameworks"] == 16.0
    assert 5 < found["runs"][0]["digits"] < 12
    assert found["envelope_opens_at"] is None
    assert found["runs"][0]["leaves_envelope_at"] is None
    assert len(found["oracle"]["text"]) == case.problem.recipe.num_predictions
    # One that has diverged is different, and hides no other.
    arrays["loss"][2:] = np.nan
    arrays["perplexity.train"][-1] = np.inf
    store.save_result(job("jax", case.name), Result(origin_of("jax", case), arrays))
    report = build.build(collect.collect())
    assert statuses(report, "torch") == {case.name: "equal"}
    assert statuses(report, "jax") == {case.name: "different"}
    assert "∞" in render.write(report, store.folder() / "site").read_text()
    render.terminal(report, Console(width=80, file=io.StringIO()), ["torch", "jax"])
    # Another recipe makes it stale.
    monkeypatch.setattr(
        cases, "training_recipe", lambda name: language_model.recipe("rnn", start="uniform", **small, lr=1.0)
    )
    assert statuses(build.build(collect.collect()), "torch") == {case.name: "stale"}


def test_what_comes_from_data_is_escaped():
    manifest(
        "torch",
        versions={"lib": NASTY},
        switches={NASTY: "on"},
        implementations=[listing("gru", available=False, reason=NASTY), listing("rnn")],
    )
    for name in CASES:
        store.save_failure(job("torch", name), NASTY)
    store.save_manifest(Manifest("jax", failure=NASTY))
    report = build.build(collect.collect())
    folder = store.folder() / "site"
    page = render.write(report, folder).read_text()
    summary = (folder / "report.md").read_text()
    assert page.count("&lt;script&gt;") >= 5
    assert "<script" not in page
    assert "<script" not in summary
    assert "\\|\\`x\\`" in summary


def test_the_json_says_the_same_and_has_no_infinities():
    all_made("torch")
    made("torch", "gru-ordinary", break_it=True)
    report = build.build(collect.collect())
    folder = store.folder() / "site"
    render.write(report, folder)
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(report))
    assert "Infinity" not in (folder / "report.json").read_text()
    assert build.finite({"a": [float("inf"), (float("nan"), 1.5)]}) == {"a": [None, [None, 1.5]]}


def test_the_terminal_fits_80_columns_and_says_what_is_wrong():
    all_made("torch")
    made("torch", "gru-ordinary", break_it=True)
    report = build.build(collect.collect())
    console = Console(width=80, record=True, force_terminal=False)
    render.terminal(report, console, ["torch"])
    printed = console.export_text()
    table = printed.splitlines()[:3]
    assert all(len(line) <= 80 for line in table)
    assert "✗  torch/scratch" in printed
    assert "✗ torch/scratch gru-ordinary float32: different: H[6,0,0] = " in printed
    assert "2 of 3 results are equal" in printed


def test_two_writers_at_once_leave_one_whole_result():
    manifest("torch", ("gru-ordinary",))
    writers = [threading.Thread(target=made, args=("torch", "gru-ordinary")) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert statuses(build.build(collect.collect()), "torch") == {"gru-ordinary": "equal"}
    assert [f.name for f in job("torch", "gru-ordinary").result_file.parent.iterdir() if f.name.startswith(".")] == []


def test_digits():
    assert build.agreeing_digits(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 16.0
    assert build.agreeing_digits(np.array([1.0, 2.0]), np.array([1.0, 2.002])) == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize(("value", "shown"), [(None, "∞"), (0.0, "0"), (1.23e-7, "1.2e-07")])
def test_numbers(value, shown):
    assert render.scientific(value) == shown
