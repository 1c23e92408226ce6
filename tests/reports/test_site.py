"""The report of everything present: what is there, what is not, and what people see."""

from __future__ import annotations

import functools
import io
import json
import re
import threading

import fastjsonschema
import msgspec
import numpy as np
import pytest
from msgspec import UNSET, structs
from rich.console import Console

from isogru.wording import finite
from reports.diff import build, collect, curves, precision
from reports.pages import page, render, schema, terminal
from shared_spec import cases, frameworks, language_model
from shared_spec.errors import UserError
from shared_spec.files import interchange, store
from shared_spec.files.store import Manifest
from shared_spec.language_model import training
from tests import sample_results

CASES = ("gru-ordinary", "rnn-ordinary", "gru-one_unit")
NASTY = "<script>alert(1)</script>|`x`"


def broken(name):
    arrays = sample_results.run(cases.build(name))
    arrays["H"][-1, 0, 0] += 0.5
    return arrays


def all_made(*frameworks, names=CASES):
    for framework in frameworks:
        jobs = [sample_results.job(framework, name) for name in names]
        sample_results.manifest(framework, jobs)
        for job in jobs:
            sample_results.save(job)


def report():
    return build.build(collect.collect())


def statuses(data, framework):
    return {row.case: row.status for row in data.results if row.framework == framework}


def test_all_equal():
    all_made("torch", "jax")
    data = report()
    assert data.summary.sentence == "torch and jax: all 6 results are equal to the cells that they claim."
    assert [f.status for f in data.frameworks] == ["present", "missing", "present", "missing"]
    assert data.frameworks[1].command == "tox -e tensorflow"
    row = next(i for i in data.implementations if i.framework == "torch")
    assert {(f.cell, f.column) for f in row.fields} == {
        (cell, column) for cell in ("gru", "rnn") for column in ("states", "gates", "gradients")
    }
    assert all(f.status == "equal" and 0 <= f.ratio <= 1 for f in row.fields)


def test_implementations_against_each_other():
    all_made("torch", "jax", "mxnet")
    arrays = sample_results.run(cases.build("gru-ordinary"))
    arrays["H"] = arrays["H"].copy()
    arrays["H"][3, 1, 2] = np.nextafter(arrays["H"][3, 1, 2], np.float32(2))
    sample_results.save(sample_results.job("mxnet", "gru-ordinary"), arrays)
    data = report()
    (pairs,) = [p for p in data.pairs if p.cell == "gru"]
    assert pairs.labels == ["torch/scratch", "jax/scratch", "mxnet/scratch"]
    by_name = {q.quantity: q for q in pairs.quantities}
    assert list(by_name)[:3] == ["H", "final", "grad.H0"]
    states = by_name["H"]
    spacing = float(np.spacing(np.abs(arrays["H"][3, 1, 2])))
    assert states.absolute == [[], [0.0], [pytest.approx(spacing, rel=1e-3)] * 2]
    assert states.ulp[2] == [pytest.approx(1.0, abs=0.01), pytest.approx(1.0, abs=0.01)]
    assert (states.worst.b, states.worst.case) == ("mxnet/scratch", "gru-ordinary")
    assert pairs.same_bits == [["torch/scratch", "jax/scratch"]]
    assert by_name["grad.W_hh"].absolute[2] == [0.0, 0.0]
    # What was measured is kept, and measured anew where a result has changed.
    sample_results.save(sample_results.job("mxnet", "gru-ordinary"))
    (pairs,) = [p for p in report().pairs if p.cell == "gru"]
    assert pairs.same_bits == [pairs.labels]


def test_missing_failed_stale_and_different_are_all_listed():
    names = ("gru-ordinary", "gru-one_unit", "rnn-ordinary", "gru-wide", "rnn-wide")
    sample_results.manifest("torch", [sample_results.job("torch", name) for name in names])
    sample_results.save(sample_results.job("torch", "gru-ordinary"))
    sample_results.save(sample_results.job("torch", "gru-one_unit"), case_digest="another")
    sample_results.save(sample_results.job("torch", "rnn-ordinary"), broken("rnn-ordinary"))
    store.save_failure(sample_results.job("torch", "gru-wide"), "ended by SIGSEGV: Segmentation fault")
    data = report()
    assert statuses(data, "torch") == {
        "gru-ordinary": "equal",
        "gru-one_unit": "stale",
        "rnn-ordinary": "different",
        "gru-wide": "failed",
        "rnn-wide": "missing",
    }
    mends = {row.case: row.mend for row in data.results}
    assert mends["gru-wide"] == "tox -e torch -- --case gru-wide --implementation scratch --dtype float32"
    assert mends["gru-ordinary"] == mends["rnn-ordinary"] == ""
    row = data.implementations[0]
    assert {(f.cell, f.column): f.status for f in row.fields} == {
        ("gru", "states"): "failed",
        ("gru", "gates"): "equal",  # of the three none else is traced
        ("gru", "gradients"): "failed",
        ("rnn", "states"): "missing",
        ("rnn", "gates"): "equal",
        ("rnn", "gradients"): "missing",
    }
    assert data.summary.sentence.startswith("torch: 1 of 5 results are equal to the cells that they claim; ")
    page = render.write(data, store.folder() / "site").read_text()
    summary = (store.folder() / "site/report.md").read_text()
    for words in ("ended by SIGSEGV", "made of another version", "not run yet", "H[6,0,0] = ", mends["rnn-wide"]):
        assert words in page
        assert render.markdown_cell(words) in summary


def test_the_gates_that_failed_or_are_missing_are_not_left_out():
    sample_results.manifest(
        "torch", [sample_results.job("torch", name) for name in ("gru-ordinary", "gru-long", "gru-zero_start")]
    )
    sample_results.save(sample_results.job("torch", "gru-ordinary"))
    store.save_failure(sample_results.job("torch", "gru-long"), "ended by SIGSEGV")
    gates = next(f for f in report().implementations[0].fields if f.column == "gates")
    assert structs.asdict(gates) == {
        "cell": "gru", "column": "gates", "status": "failed", "ratio": None, "quantity": None, "case": "gru-long"
    }  # fmt: skip


def test_two_that_agree_only_through_a_third_do_not_agree():
    names = ("gru-ordinary", "gru-one_step", "gru-one_unit")
    runs = {"torch": names, "jax": names[::2], "mxnet": names[1:]}
    for framework, those in runs.items():
        sample_results.manifest(framework, [sample_results.job(framework, name) for name in those])
        for name in those:
            arrays = sample_results.run(cases.build(name))
            if (framework, name) == ("mxnet", "gru-one_unit"):
                arrays["final"] = np.nextafter(arrays["final"], np.float32(2))
            sample_results.save(sample_results.job(framework, name), arrays)
    # torch and mxnet differ on one_unit, jax and mxnet too.
    (pairs,) = report().pairs
    assert pairs.same_bits == [["torch/scratch", "jax/scratch"]]


def test_versions_are_those_of_the_results():
    all_made("torch")
    sample_results.save(sample_results.job("torch", "gru-ordinary"), versions={"lib": "0.9"})
    data = report()
    assert [(s.versions, s.results) for s in data.setups] == [({"lib": "0.9"}, 1), ({}, 2)]
    assert "lib 0.9" in render.write(data, store.folder() / "site").read_text()


def test_how_a_result_came_by_its_states_is_kept_where_it_says_so():
    all_made("jax", names=CASES[:2])
    sample_results.save(sample_results.job("jax", CASES[0]), note=NASTY)
    data = report()
    assert {row.case: row.note for row in data.results} == {CASES[0]: NASTY, CASES[1]: UNSET}
    assert NASTY not in render.write(data, store.folder() / "site").read_text()


def damaged():
    """What is said of the one file that is."""
    (said,) = collect.collect().damaged
    return said


def test_a_text_that_is_none(text, monkeypatch):
    case, _ = trained(text, monkeypatch, "torch")
    arrays = training.train(case.problem, dtype="float32")
    arrays["text"][3] = 10**6
    sample_results.save(sample_results.job("torch", case.name), arrays, case=case)
    assert "text holds indices outside the vocabulary of " in damaged()


def test_what_a_terminal_would_obey_is_not_printed():
    sample_results.manifest("torch", [sample_results.job("torch", "gru-ordinary", implementation="[x]")])
    store.save_failure(
        sample_results.job("torch", "gru-ordinary", implementation="[x]"), "\x1b]0;title\x07 and \x1b[2J"
    )
    console = Console(width=80, record=True, force_terminal=False)
    terminal.show(report(), console, ["torch"])
    printed = console.export_text()
    assert "\x1b" not in printed
    assert "torch/[x]" in printed
    assert "]0;title" in printed


def test_large_ratios_keep_their_order_of_magnitude():
    all_made("torch")
    sample_results.save(sample_results.job("torch", "gru-ordinary"), broken("gru-ordinary"))
    console = Console(width=80, record=True, force_terminal=False)
    terminal.show(report(), console, ["torch"])
    assert re.search(r"✗ \de\+05", console.export_text())


def test_no_result_at_all():
    store.save_manifest(Manifest("torch", failure="ended by SIGILL"))
    assert report().summary.sentence == "no framework: there is no result yet."


def test_a_result_without_the_gates_that_its_case_wants_is_stale():
    all_made("torch")
    arrays = {
        name: a for name, a in sample_results.run(cases.build("gru-ordinary")).items() if not name.startswith("trace.")
    }
    sample_results.save(sample_results.job("torch", "gru-ordinary"), arrays)
    assert statuses(report(), "torch")["gru-ordinary"] == "stale"


def test_a_failure_takes_the_place_of_a_result_and_gives_it_back():
    all_made("torch", names=("gru-ordinary",))
    store.save_failure(sample_results.job("torch", "gru-ordinary"), "last words")
    assert statuses(report(), "torch") == {"gru-ordinary": "failed"}
    sample_results.save(sample_results.job("torch", "gru-ordinary"))
    assert statuses(report(), "torch") == {"gru-ordinary": "equal"}


def test_a_damaged_record_of_a_failure_is_a_failure():
    all_made("torch")
    store.save_failure(sample_results.job("torch", "rnn-ordinary"), "")
    sample_results.job("torch", "rnn-ordinary").failure_file.write_text("{")
    assert statuses(report(), "torch")["rnn-ordinary"] == "failed"


def test_a_verdict_is_given_anew_when_its_result_changes():
    all_made("torch", names=("gru-ordinary",))
    assert statuses(report(), "torch") == {"gru-ordinary": "equal"}
    sample_results.save(sample_results.job("torch", "gru-ordinary"), broken("gru-ordinary"))
    assert statuses(report(), "torch") == {"gru-ordinary": "different"}
    # A damaged note of a verdict is no obstacle.
    sample_results.job("torch", "gru-ordinary").result_file.with_suffix(".verdict").write_bytes(b"damaged")
    assert statuses(report(), "torch") == {"gru-ordinary": "different"}


def test_a_framework_that_did_not_start():
    all_made("torch")
    store.save_manifest(Manifest("mxnet", failure="ended by SIGILL: Illegal instruction"))
    data = report()
    assert data.frameworks[3].status == "failed"
    assert "SIGILL" in data.frameworks[3].why


MANIFEST = '{"format": "isogru-manifest/1", "framework": "jax", "jobs": [], '


@pytest.mark.parametrize(
    "content",
    [
        "",
        "3",
        '{"format": "isogru-manifest/9"}',
        '{"format": "isogru-manifest/1"}',
        MANIFEST + '"implementations": [{}]}',
        MANIFEST + '"versions": 3}',
        MANIFEST + '"machine": {"cores": []}}',
    ],
)
def test_a_damaged_manifest_is_a_failed_framework(content):
    all_made("torch", "jax")
    (store.folder() / "jax" / "manifest.json").write_text(content)
    data = report()
    assert [f.status for f in data.frameworks] == ["present", "missing", "failed", "missing"]
    assert "run tox -e jax again" in data.frameworks[2].why


def test_a_failure_to_start_keeps_the_jobs_and_is_forgotten_by_the_next_run():
    all_made("torch")
    store.note_failure("torch", "ended by SIGILL")
    data = report()
    assert data.frameworks[0].status == "failed"
    assert len(statuses(data, "torch")) == 3
    store.note_failure("torch", "")
    assert report().frameworks[0].status == "present"


def test_nothing_there_is_an_error():
    with pytest.raises(UserError, match=r"no results in .*, which is empty; run tox -e torch,jax"):
        collect.collect()


def test_a_result_that_lacks_something_is_named():
    all_made("torch")
    arrays = sample_results.run(cases.build("rnn-ordinary"))
    del arrays["grad.W_xh"]
    sample_results.save(sample_results.job("torch", "rnn-ordinary"), arrays)
    assert "tensor grad.W_xh is missing" in damaged()
    assert statuses(report(), "torch")["rnn-ordinary"] == "failed"


def trained(text, monkeypatch, *frameworks):
    small = {"num_hiddens": 3, "num_steps": 4, "num_train": 6, "num_val": 3, "batch_size": 4, "epochs": 2}
    recipe = language_model.recipe("rnn", start="uniform", **small)
    monkeypatch.setattr(cases, "training_recipe", lambda name: recipe)
    case = cases.build("short-training-rnn", text)
    interchange.write_case(store.case_file(case.name), case)
    for framework in frameworks:
        sample_results.manifest(framework, [sample_results.job(framework, case.name)])
        sample_results.save(
            sample_results.job(framework, case.name), training.train(case.problem, dtype="float32"), case=case
        )
    return case, small


def test_a_training_is_reported(text, monkeypatch):
    case, small = trained(text, monkeypatch, "torch", "jax")
    whole = report()
    assert whole.summary.texts == [f"{case.problem.corpus_source} text, sha1 {case.problem.corpus_sha1}"]
    (record,) = whole.training
    assert (record.steps, len(record.runs), record.same_text) == (4, 2, True)
    assert record.digits_between_frameworks == 16.0
    run = record.runs[0]
    assert 5 < run.digits < 12
    assert record.envelope_opens_at is run.leaves_envelope_at is None
    assert len(record.oracle.text) == case.problem.recipe.num_predictions
    assert run.text_differs_at == []
    assert all(d <= e for d, e in zip(run.distance, record.oracle.envelope, strict=True))
    assert record.oracle.loss == pytest.approx(run.loss, rel=1e-5)
    # One that has diverged is different, and hides no other.
    arrays = training.train(case.problem, dtype="float32")
    arrays["loss"][2:] = np.nan
    arrays["perplexity.train"][-1] = np.inf
    arrays["text"][4] += 1
    sample_results.save(sample_results.job("jax", case.name), arrays, case=case)
    now = report()
    assert statuses(now, "torch") == {case.name: "equal"}
    assert statuses(now, "jax") == {case.name: "different"}
    assert now.training[0].runs[1].text_differs_at == [4]
    assert now.training[0].runs[1].leaves_envelope_at == 2
    page = render.write(now, store.folder() / "site")
    assert "∞" in page.read_text()
    # What was infinite is None before it is written: shown is what is read back.
    assert schema.read(page.with_name("report.json")) == now
    terminal.show(now, Console(width=80, file=io.StringIO()), ["torch", "jax"])
    # Another recipe makes it stale.
    monkeypatch.setattr(
        cases, "training_recipe", lambda name: language_model.recipe("rnn", start="uniform", **small, lr=1.0)
    )
    assert statuses(report(), "torch") == {case.name: "stale"}


def nasty_report(text, monkeypatch):
    """Everything that a report takes from outside itself says something nasty."""
    nasty = {key: {NASTY: NASTY} for key in ("versions", "switches", "machine")}
    jobs = [sample_results.job("torch", name) for name in CASES]
    sample_results.manifest(
        "torch",
        jobs,
        implementations=[sample_results.listing("gru", available=False, reason=NASTY), sample_results.listing("rnn")],
        corpus=NASTY,
        **nasty,
    )
    for job in jobs:
        store.save_failure(job, NASTY)
    store.save_manifest(Manifest("jax", failure=NASTY))
    data = report()
    summary = structs.replace(data.summary, sentence=NASTY)
    return structs.replace(data, summary=summary, machine=dict.fromkeys(data.machine, NASTY))


def test_what_comes_from_data_is_escaped(text, monkeypatch):
    folder = store.folder() / "site"
    page = render.write(nasty_report(text, monkeypatch), folder).read_text()
    summary = (folder / "report.md").read_text()
    assert page.count("&lt;script&gt;") >= 12
    assert "<script>alert" not in page
    assert "<script" not in summary
    assert "\\|\\`x\\`" in summary


def test_the_json_is_what_its_schema_says_and_has_no_infinities(text, monkeypatch):
    trained(text, monkeypatch, "torch", "mxnet")
    all_made("jax")
    sample_results.save(sample_results.job("jax", "gru-ordinary"), broken("gru-ordinary"))
    store.save_failure(sample_results.job("jax", "rnn-ordinary"), "last words")
    data = report()
    folder = store.folder() / "site"
    render.write(data, folder)
    written = json.loads((folder / "report.json").read_text())
    assert "Infinity" not in (folder / "report.json").read_text()
    # Infinities are None before it is written, too: what is shown is what is read back.
    assert schema.read(folder / "report.json") == data
    fastjsonschema.compile(json.loads(schema.FILE.read_text()))(written)


DAMAGE = {
    "a field too many": (("surplus",), 1, "object contains unknown field surplus"),
    "a field too few": (("rule",), {}, "rule: object missing required field twin_multiple"),
    "a word of its own": (
        ("results", 0, "status"),
        "fine",
        "results[0].status: must be one of equal, undetermined, suspect, different, failed, missing, stale",
    ),
    "a word and a line": (("results", 0, "status"), "equal\n", "results[0].status: must be one of equal, undetermined"),
    "a text for a number": (
        ("results", 0, "findings", 1, "ratio"),
        "1",
        "findings[1].ratio: expected float | null, got",
    ),
    "a number below what it can be": (("precision", 0, "asked"), -1.0, "precision[0].asked: expected float > 0.0"),
    "a table for a list": (("results",), {}, "results: expected array, got object"),
    "no table": (("summary",), None, "summary: expected object, got null"),
    "no findings": (("results", 0, "findings"), ..., "results[0]: a result that is equal must have findings"),
    "no versions": (
        ("frameworks", 0, "versions"),
        ...,
        "frameworks[0]: a framework that is present must have versions",
    ),
    "no UTF-8": (("machine", "processor"), "\N{REPLACEMENT CHARACTER}", "not all of it is text in UTF-8"),
    "a character that is none": (("machine", "processor"), "\ud800", "damaged, truncated or not a report"),
    "tables in tables": (("machine", "processor"), [], "damaged, truncated or not a report"),
}


@pytest.mark.parametrize(("place", "value", "said"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_report_is_one_sentence_that_says_where_and_what_to_do(tmp_path, place, value, said):
    all_made("torch", names=("gru-one_unit",))
    file = tmp_path / "report.json"
    report_ = json.loads(msgspec.json.encode(report()))
    *way, last = place
    inner = functools.reduce(lambda one, name: one[name], way, report_)
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    content = json.dumps(report_).encode()
    if value == "\N{REPLACEMENT CHARACTER}":
        content = content.replace(rb'"\ufffd"', b'"\xff"')
    if value == [] and last == "processor":
        content = content.replace(b'"processor": []', b'"processor": ' + b"[" * 100_000 + b"]" * 100_000)
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        schema.read(file)
    sentence = str(error.value)
    assert sentence.startswith(f"{file}: damaged")
    assert said in sentence
    assert sentence.endswith("; make it anew: python -m reports site")
    assert "\n" not in sentence


def test_each_number_that_is_infinite_is_none():
    assert finite({"a": [float("inf"), (float("nan"), 1.5)]}) == {"a": [None, [None, 1.5]]}


def test_a_report_gives_each_framework_its_colour_and_an_older_one_is_given_them(tmp_path):
    all_made("torch")
    data = report()
    colours = [each.colour for each in data.frameworks]
    assert colours == [each.colour for each in frameworks.frameworks().values()]
    older = [structs.replace(each, colour=UNSET) for each in data.frameworks]
    (tmp_path / "report.json").write_bytes(msgspec.json.encode(structs.replace(data, frameworks=older)))
    assert b"colour" not in (tmp_path / "report.json").read_bytes()
    assert [each.colour for each in schema.read(tmp_path / "report.json").frameworks] == colours


def test_a_report_of_before_anything_could_be_undetermined_is_read_and_written_as_it_was(tmp_path):
    all_made("torch", names=("gru-one_unit",))
    older = json.loads(msgspec.json.encode(report()))
    for row in older["results"]:
        for finding in (*row["findings"], *row["divergence"]["forward"], *row["divergence"]["backward"]):
            del finding["undetermined"], finding["first_undetermined"]
    (tmp_path / "older.json").write_text(json.dumps(older))
    render.write(schema.read(tmp_path / "older.json"), tmp_path / "site")
    assert json.loads((tmp_path / "site" / "report.json").read_text()) == older


def test_the_schema_is_that_of_the_types(command):
    assert schema.FILE.read_bytes() == schema.generate(), "write it anew: python -m reports schema > " + str(
        schema.FILE
    )
    printed = command("reports", "schema")
    assert (printed.returncode, printed.stdout.encode()) == (0, schema.generate())
    definitions = json.loads(schema.generate())["definitions"]
    undescribed = [name for name, of in definitions.items() if "description" not in of]
    assert undescribed == []


def test_a_report_of_a_newer_version_is_not_overwritten(tmp_path):
    all_made("torch")
    data = report()
    (tmp_path / "report.json").write_text('{"format": "isogru-report/2"}')
    (tmp_path / "index.html").write_text("the former page")
    with pytest.raises(UserError, match=r"isogru-report/2 is newer than isogru-report/1.*update isogru, or write else"):
        render.write(data, tmp_path)
    assert (tmp_path / "index.html").read_text() == "the former page"
    (tmp_path / "report.json").write_text("damaged")
    assert render.write(data, tmp_path).stat().st_size > 900_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"format": "isogru-report/2"}', "is newer than isogru-report/1, which this isogru reads; update isogru"),
        ('{"format": "other/1"}', "not a report: its format is other/1"),
        ("{}", "not a report: its format is not given"),
        ("[]", "not a report"),
        ("{", "damaged, truncated or not a report"),
        ("[" * 100_000, "not a report: it holds no table; give it a file that python -m reports site made"),
        ('{"a":' * 100_000, "damaged, truncated or not a report"),
        ('{"format": "isogru-report/1"}', "damaged: object missing required field rule; make it anew"),
    ],
)
def test_a_report_that_cannot_be_read(tmp_path, content, said):
    file = tmp_path / "report.json"
    file.write_text(content)
    with pytest.raises(UserError, match=said):
        schema.read(file)
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        schema.read(tmp_path / "none.json")


def test_the_terminal_fits_80_columns_and_says_what_is_wrong():
    all_made("torch")
    sample_results.save(sample_results.job("torch", "gru-ordinary"), broken("gru-ordinary"))
    console = Console(width=80, record=True, force_terminal=False)
    terminal.show(report(), console, ["torch"])
    printed = console.export_text()
    table = printed.splitlines()[:4]
    assert all(len(line) <= 80 for line in table)
    assert any(line.startswith("torch/scratch") and "✗" in line for line in table)
    assert "✗ torch/scratch gru-ordinary float32: different: H[6,0,0] = " in printed
    assert "2 of 3 results are equal" in printed
    assert "is run again by" not in printed
    store.save_failure(sample_results.job("torch", "rnn-ordinary"), "ended by SIGSEGV")
    terminal.show(report(), console, ["torch"])
    assert "what is stale, missing or failed is run again by: tox -e torch\n" in console.export_text()


def test_of_many_that_are_wrong_the_terminal_says_how_many():
    names = [name for name in cases.cell_case_names() if name.startswith(("gru-", "rnn-"))]
    sample_results.manifest("torch", [sample_results.job("torch", name) for name in names])
    sample_results.save(sample_results.job("torch", "gru-ordinary"))
    console = Console(width=80, record=True, force_terminal=False)
    terminal.show(report(), console, ["torch"])
    assert f"... and {len(names) - 1 - terminal.MOST_LINES} more that are not equal" in console.export_text()


def test_two_writers_at_once_leave_one_whole_result():
    job = sample_results.job("torch", "gru-ordinary")
    sample_results.manifest("torch", [job])
    writers = [threading.Thread(target=sample_results.save, args=(job,)) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert statuses(report(), "torch") == {"gru-ordinary": "equal"}
    assert [f.name for f in job.result_file.parent.iterdir() if f.name.startswith(".")] == []


def test_digits():
    assert curves.agreeing_digits(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 16.0
    assert curves.agreeing_digits(np.array([1.0, 2.0]), np.array([1.0, 2.002])) == pytest.approx(3.0, abs=0.01)
    assert curves.agreeing_characters(5.71234567, 5.71294567) == 5
    assert curves.agreeing_characters(5.0, 5.0) == len("5.00000000")
    assert curves.agreeing_characters(5.0, 15.0) == 0


@pytest.mark.parametrize(
    ("u", "name"),
    [
        (2.0**-53, "float64"),
        (2.0**-51.5, "float64"),
        (2.0**-24, "float32"),
        (2.0**-22.9, "float32"),
        (2.0**-11, "TF32"),
        (2.0**-10.2, "TF32"),
        (2.0**-8, "bfloat16"),
        (2.0**-8.5, "bfloat16"),
    ],
)
def test_formats_are_told_apart(u, name):
    assert precision.format_of(u) == name


@pytest.mark.parametrize(("value", "shown"), [(None, "∞"), (0.0, "0"), (1.23e-7, "1.2e-07")])
def test_numbers(value, shown):
    assert render.scientific(value) == shown


def test_the_library_of_charts_is_made_once_and_kept_where_no_result_is(monkeypatch, tmp_path):
    made = []
    monkeypatch.setenv("ISOGRU_CACHE", str(tmp_path))
    monkeypatch.setattr(page, "_bundle", lambda: made.append(1) or "a library")

    def library():
        page._library.cache_clear()
        return page._library()

    try:
        assert [library(), library(), len(made)] == ["a library", "a library", 1]
        (kept,) = tmp_path.iterdir()
        # One that is damaged is never run by a page.
        kept.write_bytes(kept.read_bytes().replace(b"a lib", b"a bad"))
        assert [library(), len(made)] == ["a library", 2]
    finally:
        page._library.cache_clear()
