"""GRUs of others: a process of its own for each package, a record for all that can happen, a table and a page."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import msgspec
import pytest

from frameworks.adapters.third_party import ABSENT, PACKAGES
from frameworks.adapters.third_party import __main__ as command_line
from reports import third_party as table
from shared_spec import third_party
from shared_spec.errors import UserError
from tests.conftest import ROOT

WORKER = """
from frameworks.adapters.third_party import PACKAGES, Package, worker
PACKAGES["fake"] = Package("tests.fake_package")
worker.work("fake")
"""
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


def start(name, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
        **PIPES,
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOGRU_RESULTS", str(tmp_path_factory.mktemp("results")))
        yield command_line.judge("fake", start, seconds=600.0)


@pytest.fixture
def records(package):
    return {(record.implementation, record.dtype): record for record in package.records}


def test_every_implementation_has_a_record(package, records):
    assert package.versions == {"fake": "1.2.3"}
    verdicts = {name: record.verdict for name, record in records.items()}
    assert verdicts == {
        ("right", "float32"): "equal",
        ("right", "float64"): "equal",
        ("right", "float16"): "unavailable",
        ("dies", "float32"): "failed",
        ("turned", "float32"): "different",
        ("lost", "float32"): "different",
        ("raises", "float32"): "failed",
        ("narrow", "float32"): "failed",
    }


def test_what_a_record_says(records):
    right = records["right", "float32"]
    assert right.cases == ["gru-one_step"]
    assert 0 < right.states.ratio <= 1
    assert 0 < right.gradients.ratio <= 1
    assert right.roundoff["product"] == 2.0**-24
    assert records["right", "float16"].reason == "it does not know it"
    assert records["dies", "float32"].reason.startswith("ended by SIGSEGV")
    assert records["raises", "float32"].reason == "ValueError: a message of its own"
    assert records["narrow", "float32"].reason == "gru-one_step: UserError: H is float16, where float32 was asked for"


def test_what_takes_too_long_is_ended(results):
    (slow,) = command_line.judge("fake", lambda name: start(name, FAKE="slow"), seconds=1.0).records
    assert (slow.verdict, slow.reason) == ("failed", "took longer than 1 s")


def test_what_does_not_start_is_a_record(results):
    def fails(name):
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit('no such module')"], **PIPES)

    (absent,) = command_line.judge("fake", fails, seconds=600.0).records
    assert (absent.verdict, absent.reason) == ("unavailable", "ended with exit status 1: no such module")


def test_the_cause_is_named(records):
    turned = records["turned", "float32"]
    assert "equal if the update gate is turned round" in turned.cause
    assert turned.remedy.startswith("write H = Z * H + (1 - Z) * C")
    lost = records["lost", "float32"]
    assert (lost.states.verdict, lost.gradients.verdict) == ("equal", "different")
    assert lost.cause == ("its states are right, and so are its other gradients; wrong are grad.W_hh, in gru-one_step")


def test_table_and_page(package, tmp_path):
    other = third_party.Package("other", {}, {}, [third_party.Record("<b>&|", "", "", "", "", status="unavailable")])
    page, rows = table.write([package, other], tmp_path)
    assert {row.record.implementation for row in rows if row.is_wrong} == {
        "dies",
        "turned",
        "lost",
        "raises",
        "narrow",
    }
    text, brief = page.read_text(), (tmp_path / "third-party.md").read_text()
    for record in package.records:
        assert record.implementation in text
        assert record.implementation in brief
    assert "a message of its own" in text
    assert "&lt;b&gt;&amp;|" in text
    assert "<b>" not in text + brief
    assert "<script" not in text
    # A table of Markdown has as many columns in each row.
    for lines in re.findall(r"(?:^\|.*\n)+", brief, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines.splitlines()}) == 1
    kept = msgspec.json.decode((tmp_path / "third-party.json").read_bytes())
    assert [each["package"] for each in kept["packages"]] == ["fake", "other"]


def test_what_is_expected_is_not_wrong(package):
    turned = next(record for record in package.records if record.implementation == "turned")
    (row,) = table.rows([msgspec.structs.replace(package, records=[turned])])
    assert row.is_wrong
    assert not row._replace(record=msgspec.structs.replace(turned, expected="it says so")).is_wrong


def test_a_coarse_precision_is_told(package):
    right = package.records[0]
    (row,) = table.rows([msgspec.structs.replace(package, records=[right])])
    assert row.coarser == ""
    coarse = msgspec.structs.replace(right, roundoff={"product": 2.0**-8, "sum": 2.0**-24, "cell": 1.0})
    assert row._replace(record=coarse).coarser == "product 3.9e-03"


def test_a_damaged_file_is_refused(results):
    file = third_party.file_of("fake")
    file.parent.mkdir(parents=True)
    for content, why in (
        ("{", "damaged"),
        ("[]", "its format is not given"),
        ('{"format": "isogru-third-party/9"}', "its format is isogru-third-party/9"),
        ('{"format": "isogru-third-party/1"}', "damaged"),
    ):
        file.write_text(content)
        with pytest.raises(UserError, match=re.escape(f"{file}: {why}")):
            third_party.read_all()


def test_the_commands(command, results):
    refused = command("reports", "third-party")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "run tox -e third-party" in refused.stderr
    refused = command("frameworks.adapters.third_party", "caffe")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "no package 'caffe'; the packages are torch, " in refused.stderr


def test_every_module_is_there():
    for name, package in PACKAGES.items():
        assert (ROOT / f"{package.module.replace('.', '/')}.py").is_file(), name
    assert not set(PACKAGES) & set(ABSENT)


def test_the_scripts_of_the_page_are_python():
    """They are run by hand: each needs a package that is not here."""
    scripts = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/third-party.md").read_text(), re.M | re.S)
    assert len(scripts) == 4
    for script in scripts:
        compile(script, "docs/third-party.md", "exec")
