"""What is timed, at sizes too small to be worth it: every kind of work goes through the gate in this framework."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

from frameworks.harness import memory, peak, timed_work
from frameworks.harness.benchmark import measure, plan
from frameworks.harness.benchmark.plan import Entered
from frameworks.harness.benchmark.session import Session
from frameworks.protocol import find
from isogru.judge.comparison import EQUAL
from reports.race.roofline import RATES
from shared_spec.errors import UserError
from shared_spec.language_model import corpus
from shared_spec.race import rows, workloads
from shared_spec.race.workloads import OF_CELL, OF_MODEL, Size, Workload
from tests.equivalence import small_limits
from tests.equivalence.test_command_line import own_lines

SMALL = Size("small", T=6, n=8, d=28, h=4)


@pytest.fixture(autouse=True)
def _own_results(results):
    """Rows and references go where those of other tests are."""


def run(framework, implementation, workload, device, text):
    def clock(call, batches, after):
        seconds = []
        for batch in batches:
            call(batch)
            after(batch)
            seconds.append(1.0)
        return seconds

    return measure.run(framework, implementation, workload, device=device, text=text, seconds=0.0, clock=clock)


@pytest.mark.parametrize(
    ("name", "kind"),
    # An epoch is training steps, which a tuned lane compiles anew.
    [
        (name, kind)
        for name in ("scratch", "tuned")
        for kind in (*OF_CELL, *OF_MODEL)
        if (name, kind) != ("tuned", "epoch")
    ],
)
def test_every_kind_of_work_passes_the_gate(framework, device, text, name, kind):
    workload = Workload(kind, SMALL, "gru")
    outcome = run(framework, find(framework, name, "gru", "float32"), workload, device, text)
    assert outcome.verdict == EQUAL, outcome.why
    assert len(outcome.seconds) == measure.LEAST
    assert outcome.first > 0


@pytest.mark.parametrize(
    ("name", "dtype", "kind"), [("compiled", "float64", "training-step"), ("native", "float32", "gradient")]
)
def test_compiled_and_native_layers_pass_the_gate(framework, device, text, name, dtype, kind):
    """Each with one kind of work, since PyTorch compiles for 20 s, and compiled in the dtype in which it is trained:
    test_equal.py proves what they compute in both.
    """
    workload = Workload(kind, SMALL, "gru_reset_after", dtype)
    outcome = run(framework, find(framework, name, "gru_reset_after", dtype), workload, device, text)
    assert outcome.verdict == EQUAL, outcome.why


@pytest.mark.parametrize(("name", "cell"), [("chapter-scratch", "gru"), ("chapter-concise", "gru_reset_after")])
def test_the_chapters_own_way_passes_the_gate(framework, device, text, name, cell):
    outcome = run(framework, find(framework, name, cell, "float32"), Workload("epoch", SMALL, cell), device, text)
    assert outcome.verdict == EQUAL, outcome.why


def test_the_chapters_loader_gives_rows_in_their_order(framework):
    """The last batch has what is left."""
    windows = np.arange(7 * 4, dtype=np.int32).reshape(7, 4)
    loader = find(framework, "chapter-scratch", "gru", "float32").build().batches
    given = [[np.asarray(part).tolist() for part in batch] for batch in loader(windows, 3)]
    assert given == [[part.tolist() for part in batch] for batch in corpus.batches(windows, 3)]


def test_the_chapters_own_way_races_in_trainings_where_it_is_named(framework):
    entered = object.__new__(plan.Entered)
    entered.framework = framework

    def planned(kinds, names):
        chosen = [Workload(kind, SMALL, "gru") for kind in kinds]
        return [(each.workload.kind, each.implementation.name) for each in entered.plan(chosen, names)]

    assert ("epoch", "scratch") in planned(["epoch"], [])
    assert ("epoch", "chapter-scratch") not in planned(["epoch"], [])
    of_chapter = planned(["gradient", "epoch"], ["chapter"])
    assert ("epoch", "chapter-scratch") in of_chapter
    assert {kind for kind, _ in of_chapter} == {"epoch"}
    words = "chapter-scratch only trains: it races in training-step and epoch, not in gradient, prediction"
    with pytest.raises(UserError, match=words):
        planned(["gradient", "prediction"], ["tuned", "chapter-scratch"])


def test_the_host_takes_time_to_issue(framework, device, text):
    scratch = find(framework, "scratch", "gru", "float32")
    assert 0 < timed_work.issue(framework, scratch, Workload("gradient", SMALL, "gru"), device=device, text=text) < 60


def test_limits(framework, device, monkeypatch):
    """Each is measured, and chains of operations compute what they say."""
    for name, value in small_limits.SIZES.items():
        monkeypatch.setattr(peak, name, value)
    limits = peak.measure(framework, [(3, 4, 8), (2, 4, 4)], dtype="float32", device=device)
    assert all(getattr(limits, name) > 0 for name in (*RATES, "issue"))
    assert [step[:3] for step in limits.step] == [(3, 4, 8), (2, 4, 4)]
    assert all(step[3] > 0 for step in limits.step)


def test_chains_of_operations(framework, device):
    def tensor(array):
        return framework.runtime.tensor(array, dtype="float64", device=device)

    random, to_numpy = np.random.RandomState(0), framework.runtime.to_numpy
    H, W = random.standard_normal((3, 4)), random.standard_normal((4, 8))
    outputs = to_numpy(framework.peak.products(tensor(H), tensor(W), count=3))
    assert np.allclose(outputs, ((H @ W)[:, :4] @ W)[:, :4] @ W[:, :4])
    outputs = to_numpy(framework.peak.functions(tensor(H), count=2))
    assert np.allclose(outputs, np.tanh(np.tanh(H)))
    given = tensor(H)
    assert np.allclose(to_numpy(framework.peak.sums(given, given, count=3)), 4 * H)
    assert np.array_equal(to_numpy(given), H)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_a_copy_is_another_array(framework, device, dtype):
    """Of the same numbers: a race looks on a GPU whether results were there by how long it takes to make one."""
    values = np.arange(-3, 3).reshape(2, 3).astype(dtype)
    array = framework.runtime.tensor(values, dtype=dtype, device=device)
    copied = framework.runtime.copy(array)
    framework.runtime.wait([copied])
    assert copied.dtype == array.dtype
    assert np.array_equal(framework.runtime.to_numpy(copied), values)
    # As far as NumPy's arrays show the memory of a framework's: MXNet's are always copies.
    assert not np.shares_memory(framework.runtime.to_numpy(copied), framework.runtime.to_numpy(array))
    if framework.name == "mxnet":
        array[:] = 0
        assert np.array_equal(framework.runtime.to_numpy(copied), values)


def test_waiting_takes_any_nesting(framework, device):
    array = framework.runtime.tensor(np.ones((2, 2)), dtype="float32", device=device)
    framework.runtime.wait({"a": [array, (array, {"b": array})]})
    assert framework.runtime.peak_memory("cpu") is None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"--workload": ["everythin"]}, "no workload 'everythin'; there are everything, chapter, the kinds step"),
        ({"--cell": ["lstm"]}, "no benchmark of a cell 'lstm'; the cells are gru, gru_reset_after, rnn"),
        ({"--device": "tpu"}, "has no device 'tpu' here; it has cpu"),
        ({"--threads": 4096}, "4096 threads asked for, and there are"),
    ],
)
def test_what_cannot_be_timed_is_refused(framework_name, monkeypatch, tmp_path, asked, words):
    """In this process, whose threads and cores stay as they are."""
    monkeypatch.setattr(plan.os, "sched_setaffinity", lambda *cores: None)
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    given = {"--framework": framework_name, "--device": "cpu", "--rows": tmp_path / "x", **asked}
    with pytest.raises(UserError, match=words):
        Session(SimpleNamespace(getoption=given.get))
    assert not (tmp_path / "x").exists()


def test_an_implementation_that_is_not_there_cannot_be_timed(framework):
    """Without its threads, of which some frameworks have for good what they have begun with."""
    entered = object.__new__(Entered)
    entered.framework = framework
    chosen = workloads.choose(["prediction"])
    with pytest.raises(UserError, match="has no implementation or lane 'fastest'; it has scratch, compiled"):
        entered.plan(chosen, ["fastest"])


def test_what_cannot_be_timed_is_said(framework_name, process, tmp_path):
    """By pytest, which others start; before the framework is imported, which takes seconds."""
    options = ["--rows", str(tmp_path / "x"), "--workload", "everythin"]
    done = process("pytest", "tests/benchmarks", "--framework", framework_name, *options)
    assert done.returncode == 2
    said = [line for line in own_lines(done.stderr) if not line.startswith("corpus: ")]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("Exit: isogru: ")
    assert "no workload 'everythin'; there are everything, chapter" in said[0]
    assert not (tmp_path / "x").exists()


def test_a_pass_leaves_what_the_plugin_compares(framework_name, process, tmp_path):
    """Rows as they come, and a file of pytest-benchmark, with the same names in every framework."""
    options = ["--workload", "prediction", "--cell", "gru", "--implementation", "scratch", "--seconds", "0"]
    options += [
        "-p",
        small_limits.__name__,
        "--rows",
        str(tmp_path / "rows.jsonl"),
        "--benchmark-json",
        str(tmp_path / "one.json"),
    ]
    done = process("pytest", "tests/benchmarks", "--framework", framework_name, "-q", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    one_pass = rows.read(tmp_path / "rows.jsonl")
    row = rows.Row("prediction-chapter-gru-float32", "scratch", "scratch")
    outcome = one_pass.outcomes[row]
    assert one_pass.is_done
    assert one_pass.framework == framework_name
    assert outcome.verdict == EQUAL
    assert len(outcome.seconds) == measure.LEAST
    assert outcome.issue > 0
    assert one_pass.header.plan == (row,)
    assert set(one_pass.limits) == {"float32"}
    (benchmark,) = json.loads((tmp_path / "one.json").read_text())["benchmarks"]
    assert benchmark["name"] == f"test_workload[{row.id}]"
    assert benchmark["group"] == "prediction, chapter gru float32"
    assert benchmark["stats"]["data"] == list(outcome.seconds)
    assert benchmark["extra_info"]["verdict"] == EQUAL


@pytest.mark.parametrize("kind", [*OF_CELL, *OF_MODEL])
def test_every_kind_of_work_can_be_called_for_its_memory(framework, device, text, kind, monkeypatch):
    workload = Workload(kind, SMALL, "gru")
    monkeypatch.setattr(memory.workloads, "choose", lambda names: [workload])
    size = memory._peak(framework, workload.name, "scratch", device, text)
    assert isinstance(size, int)
