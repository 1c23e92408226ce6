"""Two reports, one after the other."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from reports.diff import build, collect
from reports.diff.compare import compare, lines
from reports.diff.records import Report
from reports.pages import render
from shared_spec import cases
from shared_spec.files import store
from tests import sample_results

CASES = ("gru-ordinary", "rnn-ordinary", "gru-one_unit")


def write(folder, *, versions="1.0", names=CASES, broken=0.0, drop=()):
    jobs = [sample_results.job("torch", name) for name in names]
    sample_results.manifest("torch", jobs)
    for job in jobs:
        arrays = sample_results.run(cases.build(job.case))
        if job.case == "gru-ordinary" and broken:
            arrays["grad.W_xh"] = arrays["grad.W_xh"] + np.float32(broken)
        sample_results.save(job, arrays, versions={"torch": versions})
        if job.case in drop:
            store.save_failure(job, "ended by SIGSEGV")
    return render.write(build.build(collect.collect()), folder).with_name("report.json")


@pytest.fixture
def old(tmp_path):
    return write(tmp_path / "old")


def load(file):
    return json.loads(file.read_text())


def changes(old, new):
    """The changes as plain data, as --json prints them."""
    return msgspec.to_builtins(compare(msgspec.convert(old, Report), msgspec.convert(new, Report)))


def sentences(old, new):
    return list(lines(compare(msgspec.convert(old, Report), msgspec.convert(new, Report))))


def test_nothing_has_changed(old):
    diff = changes(load(old), load(old))
    assert diff == {"is_worse": False, **{key: [] for key in diff.keys() - {"is_worse"}}}
    expected = "no worse: 0 changed verdict, 0 grew by more than its bound, 0 appeared, 0 went"
    assert sentences(load(old), load(old)) == [expected]


def test_a_verdict_an_error_and_a_version_have_changed(old, tmp_path):
    new = write(tmp_path / "new", versions="1.1", broken=0.5)
    diff = changes(load(old), load(new))
    assert diff["is_worse"]
    assert [(one["id"], one["old"], one["new"]) for one in diff["changed"]] == [
        ("torch/scratch/float32/gru-ordinary", "equal", "different")
    ]
    assert [one["quantity"] for one in diff["grew"]] == ["grad.W_xh"]
    assert diff["versions"] == [{"framework": "torch", "name": "torch", "old": "1.0", "new": "1.1"}]
    words = sentences(load(old), load(new))
    assert words[0] == "torch: torch 1.0 -> 1.1"
    assert words[1].startswith("torch/scratch/float32/gru-ordinary: equal -> different: grad.W_xh[")
    assert words[2].startswith("torch/scratch/float32/gru-ordinary: grad.W_xh grew from ")
    # The other way round it is an improvement.
    back = changes(load(new), load(old))
    assert not back["is_worse"]
    assert (back["changed"][0]["new"], back["grew"]) == ("equal", [])


def test_an_error_of_what_was_different_before_has_grown(tmp_path):
    one, two = write(tmp_path / "one", broken=0.25), write(tmp_path / "two", broken=0.5)
    diff = changes(load(one), load(two))
    assert (diff["changed"], [g["quantity"] for g in diff["grew"]], diff["is_worse"]) == ([], ["grad.W_xh"], True)


def test_results_that_appear_go_and_fail(old, tmp_path):
    new = write(tmp_path / "new", names=("gru-ordinary", "rnn-ordinary", "rnn-wide"), drop=("rnn-ordinary",))
    record = load(new)
    diff = changes(load(old), record)
    assert [one["new"] for one in diff["changed"]] == ["failed"]
    assert diff["changed"][0]["why"] == "ended by SIGSEGV"
    # What an earlier manifest wanted stays wanted; here that is a manifest of its own.
    assert diff["appeared"] == ["torch/scratch/float32/rnn-wide"]
    assert diff["went"] == ["torch/scratch/float32/gru-one_unit"]
    assert diff["is_worse"]


def test_texts_that_rounding_decides_and_layouts(old):
    before, after = load(old), load(old)
    for report, off in ((before, 0.0), (after, 3.0)):
        finding = report["results"][0]["findings"][0]
        finding |= {"quantity": "text", "basis": "text", "difference": off, "bound": 0.0}
    assert not changes(before, after)["is_worse"]
    row = next(row for row in after["rosetta"] if row["name"] == "haiku")
    row |= {"status": "different", "worst": "H in gru-ordinary float32"}
    assert changes(before, after)["appeared"] == ["layout haiku"]
    next(row for row in before["rosetta"] if row["name"] == "haiku")["status"] = "equal"
    diff = changes(before, after)
    assert diff["is_worse"]
    assert diff["changed"][0]["id"] == "layout haiku"


def test_another_specification(old):
    other = load(old)
    other["cells"][0]["digest"] = "another"
    del other["cells"][1]
    diff = changes(load(old), other)
    assert diff["specification"] == [
        {"cell": "gru", "change": "has other equations"},
        {"cell": "gru_reset_after", "change": "went"},
    ]
    assert "cell gru: has other equations" in sentences(load(old), other)


def test_the_command_line(old, tmp_path, command):
    new = write(tmp_path / "new", broken=0.5)
    same, worse = command("reports", "compare", str(old), str(old)), command("reports", "compare", str(old), str(new))
    assert (same.returncode, worse.returncode) == (0, 1)
    assert worse.stdout.splitlines()[-1].startswith("worse, by 1 verdicts, 1 errors: 1 changed verdict, 1 grew by more")
    as_json = command("reports", "compare", "--json", str(old), str(new))
    assert json.loads(as_json.stdout) == changes(load(old), load(new))
    newer = tmp_path / "newer.json"
    newer.write_text('{"format": "isogru-report/2"}')
    refused = command("reports", "compare", str(old), str(newer))
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "isogru-report/2 is newer than isogru-report/1, which this isogru reads; update isogru" in refused.stderr


def test_a_page_made_of_a_report(old, tmp_path, command):
    done = command("reports", "site", "--from", str(old), "-o", str(tmp_path / "again"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / "index.html").read_text() == old.with_name("index.html").read_text()
