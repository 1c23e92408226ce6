"""The judge judged: what is fast because it does not do the work is never ranked, whatever it does instead."""

from __future__ import annotations

import dataclasses
import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from frameworks.harness import outputs, timed_work
from frameworks.harness.benchmark import measure
from isogru.judge import admission
from isogru.judge.comparison import DIFFERENT, EQUAL
from reports.race import leaderboard
from shared_spec.race import rows, workloads
from shared_spec.race.workloads import Size, Workload
from tests import numpys

SMALL = Size("small", T=6, n=8, d=5, h=4)
KINDS = ("step", "forward", "gradient")


def workload(kind, cell="gru", dtype="float32"):
    return Workload(kind, SMALL, cell, dtype)


def clock(call, batches, after):
    seconds = []
    for batch in batches:
        began = time.perf_counter()
        call(batch)
        seconds.append((time.perf_counter() - began) / len(batch))
        after(batch)
    return seconds


class Turns:
    """Those of a race of nobody else."""

    def __init__(self, planned, had):
        self.planned, self._left = planned, had

    def ready(self):
        pass

    def wait(self):
        self._left -= 1
        return self._left >= 0


def run(framework, implementation, work, text=None, turns=None):
    on = {"device": "cpu", "text": text, "seconds": 0.01, "clock": clock, "turns": turns}
    return measure.run(framework, implementation, work, **on)


@pytest.fixture(autouse=True)
def _results(results):
    """References go where those of other tests are."""


@pytest.mark.parametrize("cell", ["gru", "gru_reset_after", "rnn"])
@pytest.mark.parametrize("kind", KINDS)
def test_honest_work_is_ranked(kind, cell):
    outcome = run(numpys.framework(), numpys.implementation(cell_name=cell), workload(kind, cell))
    assert outcome.verdict == EQUAL, outcome.why
    assert len(outcome.seconds) >= measure.LEAST
    assert min(outcome.seconds) > 0
    assert outcome.first > 0


@pytest.mark.parametrize("kind", ["training-step", "epoch", "prediction"])
def test_honest_training_is_ranked(kind, text):
    outcome = run(numpys.framework(), numpys.implementation(), workload(kind), text)
    assert outcome.verdict == EQUAL, outcome.why
    assert outcome.seconds


@pytest.mark.parametrize("had", [4, 2, 0])
@pytest.mark.parametrize("kind", [*KINDS, "training-step", "epoch", "prediction"])
def test_honest_work_in_turns_is_ranked(kind, had, text):
    """However many of those that were planned it had: an audit whose turn did not come is made after them."""
    outcome = run(numpys.framework(), numpys.implementation(), workload(kind), text, Turns(4, had))
    assert outcome.verdict == EQUAL, outcome.why
    assert len(outcome.seconds) == had


@pytest.mark.parametrize(("device", "written"), [("cpu", 0), ("cuda", 1 + 3)])
def test_inputs_come_from_memory_on_a_gpu(monkeypatch, device, written):
    """Between the making of a turn's inputs and its clock something else goes through the cache. Once before it is to
    have that compiled.
    """
    log = []
    drawn = timed_work.Cell.fresh
    monkeypatch.setattr(measure, "IN_MEMORY", 8)
    monkeypatch.setattr(timed_work.Cell, "fresh", lambda self, count: log.append("fresh") or drawn(self, count))
    peak = numpys.Module(sums=lambda a, b, *, count: log.append(("others", len(a), count)) or a + b)
    framework = dataclasses.replace(numpys.framework(), peak=peak)

    def spied(call, batches, after):
        return clock(lambda batch: log.append("timed") or call(batch), batches, after)

    on = {"device": device, "text": None, "seconds": 0.01, "turns": Turns(3, 3)}
    outcome = measure.run(framework, numpys.implementation(), workload("forward"), clock=spied, **on)
    assert outcome.verdict == EQUAL, outcome.why
    assert log.count(("others", 8, 1)) == written
    before = {log[i - 1] for i, entry in enumerate(log) if entry == "timed"}
    assert before == {("others", 8, 1) if written else "fresh"}


@pytest.mark.parametrize("slow", [0.0, 60.0])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_copies_results_is_compiled_before_it_is_timed(monkeypatch, device, slow):
    """On a GPU, however long a call takes; of a slow one no price is measured."""
    said, reads = [], []
    monkeypatch.setattr(measure, "SLOW", slow)
    monkeypatch.setattr(measure, "IN_MEMORY", 8)
    monkeypatch.setattr(outputs, "read", lambda *given, device: reads.append(device) or (float(len(reads)), str(reads)))
    monkeypatch.setattr(admission, "finished", lambda *given: said.append(given) or admission.RIGHT)
    framework = dataclasses.replace(numpys.framework(), peak=numpys.Module(sums=lambda a, b, *, count: a + b))
    on = {"device": device, "text": None, "seconds": 0.01, "turns": Turns(3, 3)}
    measure.run(framework, numpys.implementation(), workload("forward"), clock=clock, **on)
    ((_, undone, rested),) = said
    first = 1 if device == "cuda" else 0
    assert rested == ([first + 1, first + 2] if slow else [])
    assert undone == [len(rested) + first + number for number in (1, 2, 3)]


def test_an_audit_may_be_any_call_of_any_turn(monkeypatch):
    """One call of a start is judged, and which one is drawn by lot."""
    places = set()
    drawn = measure._Timing._drawn

    def seen(self, numbers, chosen):
        batch = drawn(self, numbers, chosen)
        places.update(i for i, given in zip(numbers, batch, strict=True) if any(given is one for one in self._audits))
        return batch

    # Of 40 starts on a busy machine one may well have two readings that take long.
    monkeypatch.setattr(admission, "finished", lambda *given: admission.RIGHT)
    monkeypatch.setattr(measure._Timing, "_drawn", seen)
    monkeypatch.setattr(measure, "MOST_CALLS", 3)
    for _ in range(40):
        outcome = run(numpys.framework(), numpys.implementation(), workload("forward"), turns=Turns(2, 2))
        assert outcome.verdict == EQUAL
    assert places <= set(range(6))
    assert len(places) > 3


@pytest.mark.parametrize("planned", [2, 5])
def test_who_is_wrong_only_while_the_clock_runs(planned, monkeypatch):
    """Honest in the rehearsal, in front of the clock and behind it: the audit is made while it runs."""
    running = []

    def sly(the_cell, X, H0, parameters):
        H, final = numpys.forward(the_cell, X, H0, parameters)
        return (H * 0.5, final * 0.5) if running else (H, final)

    def spied(call, batches, after):
        def timed(batch):
            running.append(True)
            call(batch)
            running.clear()

        return clock(timed, batches, after)

    framework, implementation = numpys.framework(), numpys.implementation(of_forward=sly)
    on = {"device": "cpu", "text": None, "seconds": 0.0, "turns": Turns(planned, planned)}
    outcome = measure.run(framework, implementation, workload("forward"), clock=spied, **on)
    assert outcome.verdict == DIFFERENT
    assert len(outcome.seconds) == planned


class Later:
    """An array that is computed in the background, and that looks like one at once."""

    def __init__(self, compute, shape, late):
        self.shape, self._computed, self._late = shape, None, late
        self._thread = threading.Thread(target=self._run, args=[compute])
        self._thread.start()

    def _run(self, compute):
        # As if it were hard work.
        time.sleep(self._late)
        self._computed = compute()

    def __array__(self, dtype=None, copy=None):
        self._thread.join()
        return self._computed


@pytest.mark.parametrize("late", [0.05, 0.003])
def test_returning_before_the_work_is_done(late):
    """An asynchronous framework that nobody waits for."""

    def later(the_cell, X, H0, parameters):
        H = Later(lambda: numpys.forward(the_cell, X, H0, parameters)[0], (*X.shape[:2], H0.shape[1]), late)
        return H, Later(lambda: np.asarray(H)[-1], H0.shape, late)

    outcome = run(numpys.framework(), numpys.implementation(of_forward=later), workload("forward"))
    assert outcome.verdict == DIFFERENT
    assert "of work undone: results were not there" in outcome.why


@pytest.mark.parametrize(
    ("undone", "rested", "verdict"),
    [
        # Looking costs something, after a rest too.
        ([5e-4] * 3, [5e-4, 6e-4], EQUAL),
        ([5e-4] * 3, [], DIFFERENT),
        # That price does not excuse work that goes on.
        ([11e-4] * 3, [5e-4, 6e-4], DIFFERENT),
        # What costs more to read than to call is computed by reading it.
        ([3e-3] * 3, [3e-3] * 2, DIFFERENT),
    ],
)
def test_the_price_of_reading_is_not_work_undone(undone, rested, verdict):
    assert admission.finished([1.4e-3] * 3, undone, rested).verdict == verdict


def test_results_are_read_twice_into_new_memory():
    """What the first reading is held against pays for its memory too."""
    read, alive = [], []

    def to_numpy(array):
        copied = array.copy()
        read.append(weakref.ref(copied))
        alive.append(sum(each() is not None for each in read))
        return copied

    runtime = SimpleNamespace(to_numpy=to_numpy, tensor=lambda array, **_: array, wait=lambda _: None)
    outputs.read(SimpleNamespace(runtime=runtime), [np.ones(3)] * 4, device="cpu")
    assert max(alive) == 8


@pytest.mark.parametrize("late", [0.05, 0.003])
def test_a_copy_on_a_gpu_waits_for_work_undone(late):
    """How long the host takes to read what is there does not count."""

    def to_numpy(array):
        time.sleep(0.2)
        return np.asarray(array)

    framework = numpys.framework()
    runtime = SimpleNamespace(to_numpy=to_numpy, copy=framework.runtime.copy, wait=framework.runtime.wait)
    results = [Later(lambda: np.arange(3.0), (3,), late), np.ones(2)]
    undone, fingerprint = outputs.read(SimpleNamespace(runtime=runtime), results, device="cuda")
    assert undone > late / 2
    there, again = outputs.read(SimpleNamespace(runtime=runtime), [np.arange(3.0), np.ones(2)], device="cuda")
    assert there < 0.1
    assert again == fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_a_cached_result(kind):
    """What was computed once is given again, whatever comes in."""

    kept = {}

    def cached(the_cell, X, H0, parameters):
        if X.shape not in kept:
            kept[X.shape] = numpys.forward(the_cell, X, H0, parameters)
        return kept[X.shape]

    outcome = run(numpys.framework(), numpys.implementation(of_forward=cached), workload(kind))
    assert outcome.verdict == DIFFERENT
    assert outcome.why.startswith(("H[", "final[", "gave the same result again"))


@pytest.mark.parametrize("turns", [None, Turns(4, 4)])
def test_mostly_cached(turns):
    """Honest whenever it may be judged before the clock runs, and for one call in four while it does. One call of a
    start is judged, drawn by lot: it is an honest one in some starts, and not in sixteen.
    """
    calls, last = [], {}

    def mostly(the_cell, X, H0, parameters):
        calls.append(None)
        if len(calls) < 4 or len(calls) % 4 == 0:
            last[X.shape] = numpys.forward(the_cell, X, H0, parameters)
        return last[X.shape] if X.shape in last else numpys.forward(the_cell, X, H0, parameters)

    for _ in range(16 if turns else 1):
        calls.clear()
        outcome = run(numpys.framework(), numpys.implementation(of_forward=mostly), workload("forward"), turns=turns)
        if outcome.verdict == DIFFERENT:
            break
    assert outcome.verdict == DIFFERENT
    # In turns it is called before the clock runs as often as time allows, so that it may be seen through there already.
    assert outcome.seconds or turns


@pytest.mark.parametrize("turns", [None, Turns(12, 12)])
def test_a_cached_training_step(text, turns):
    """Once trained, it gives the same loss and no other weights."""

    def training_step(of_forward, **settings):
        honest, kept = numpys.training_step(of_forward, **settings), []

        def step(parameters, inputs, targets):
            if len(kept) < workloads.STEPS:
                kept.append(honest(parameters, inputs, targets))
            return kept[-1]

        return step

    outcome = run(
        numpys.framework(training_step=training_step), numpys.implementation(), workload("training-step"), text, turns
    )
    assert outcome.verdict == DIFFERENT
    # The rehearsal was honest: only the timed steps were not.
    assert outcome.seconds


@pytest.mark.parametrize("kind", KINDS)
def test_lower_precision(kind):
    """Products of factors cut to half precision, in what is called float32."""

    def cut(array):
        return array.astype(np.float16).astype(array.dtype)

    def half(the_cell, X, H0, parameters):
        return numpys.forward(the_cell, cut(X), H0, {name: cut(array) for name, array in parameters.items()})

    outcome = run(numpys.framework(), numpys.implementation(of_forward=half), workload(kind))
    assert outcome.verdict == DIFFERENT
    assert outcome.seconds == ()


def test_lower_precision_that_hides_from_the_probe():
    """Only where products are large, which the probe's are not: the verdict on the work itself sees it."""

    def half(the_cell, X, H0, parameters):
        if X.shape[1:] == (SMALL.n, SMALL.d):
            X = X.astype(np.float16).astype(X.dtype)
        return numpys.forward(the_cell, X, H0, parameters)

    outcome = run(numpys.framework(), numpys.implementation(of_forward=half), workload("forward"))
    assert outcome.verdict == DIFFERENT
    assert "unit roundoff" not in outcome.why


@pytest.mark.parametrize("kind", KINDS)
def test_fast_and_slightly_wrong(kind):
    """A tanh by a rational function, good to four digits."""

    def rough(the_cell, X, H0, parameters):
        H, _ = numpys.forward(the_cell, X, H0, parameters)
        wrong = H * H.dtype.type(1 + 1e-4)
        return wrong, wrong[-1]

    outcome = run(numpys.framework(), numpys.implementation(of_forward=rough), workload(kind))
    assert outcome.verdict in (DIFFERENT, "suspect")
    assert outcome.seconds == ()


def test_wrong_only_for_one_batch_size(text):
    """The batch that is timed, and no other: that of every test is another one."""

    def sly(the_cell, X, H0, parameters):
        H, final = numpys.forward(the_cell, X, H0, parameters)
        return (np.zeros_like(H), np.zeros_like(final)) if len(H0) == SMALL.n else (H, final)

    outcome = run(numpys.framework(), numpys.implementation(of_forward=sly), workload("forward"))
    assert outcome.verdict == DIFFERENT
    assert outcome.seconds == ()


@pytest.mark.parametrize("how", ["zero", "absent"])
@pytest.mark.parametrize("name", ["X", "H0", "W_hz", "b_h"])
def test_a_gradient_left_out(name, how):
    def lazy(of_forward, *, compiled):
        honest = numpys.gradients(of_forward, compiled=compiled)

        def pulled_back(X, H0, parameters, dH):
            H, final, gradients = honest(X, H0, parameters, dH)
            if how == "zero":
                gradients[name] = np.zeros_like(gradients[name])
            else:
                del gradients[name]
            return H, final, gradients

        return pulled_back

    outcome = run(numpys.framework(gradients=lazy), numpys.implementation(), workload("gradient"))
    assert outcome.verdict == DIFFERENT
    assert f"grad.{name}" in outcome.why
    assert outcome.seconds == ()


def test_a_gradient_left_out_of_training(text):
    """One weight is never trained."""

    def training_step(of_forward, **settings):
        honest = numpys.training_step(of_forward, **settings)

        def step(parameters, inputs, targets):
            after, value, norm = honest(parameters, inputs, targets)
            return {**after, "W_hz": parameters["W_hz"]}, value, norm

        return step

    outcome = run(
        numpys.framework(training_step=training_step), numpys.implementation(), workload("training-step"), text
    )
    assert outcome.verdict == DIFFERENT


def test_a_text_of_its_own(text):
    """Prediction that looks at the last character only."""

    def predict(of_forward, parameters, prefix, count):
        return numpys.predict(of_forward, parameters, prefix[-1:], count)

    outcome = run(numpys.framework(predict=predict), numpys.implementation(), workload("prediction"), text)
    assert outcome.verdict == DIFFERENT
    assert outcome.why.startswith("text[")


@pytest.mark.parametrize("count", [0, 1, 49])
def test_a_text_that_ends_early(text, count):
    def predict(of_forward, parameters, prefix, wanted):
        return numpys.predict(of_forward, parameters, prefix, wanted)[:count]

    outcome = run(numpys.framework(predict=predict), numpys.implementation(), workload("prediction"), text)
    assert outcome.verdict == DIFFERENT
    assert outcome.why == f"{count} characters, should be 50"


@pytest.mark.parametrize(("asked", "verdict"), [(True, EQUAL), (False, DIFFERENT)])
def test_tf32_is_ranked_where_it_is_asked_for(asked, verdict):
    """Factors cut to eleven bits, as a GPU does."""

    def cut(array):
        return (array.view(np.uint32) + np.uint32(2**12) & np.uint32(0xFFFFE000)).view(np.float32)

    def tf32(the_cell, X, H0, parameters):
        return numpys.forward(the_cell, cut(X), H0, {name: cut(array) for name, array in parameters.items()})

    outcome = measure.run(
        numpys.framework(),
        numpys.implementation(of_forward=tf32),
        workload("gradient"),
        device="cpu",
        text=None,
        seconds=0.01,
        clock=clock,
        tf32=asked,
    )
    assert outcome.verdict == verdict, outcome.why


def test_what_is_not_equal_is_not_ranked(tmp_path):
    """All the way: a fast row that is different stands below a slow one, unranked, and so does one that failed."""
    file = rows.file(tmp_path, "numpy", "cpu", 1)
    lanes = ("scratch", "compiled", "native", "tuned")
    plan = tuple(rows.Row("forward-chapter-gru-float32", lane, lane) for lane in lanes)
    writer = rows.Writer(file, goes_on=False)
    known = {
        "versions": {},
        "switches": {},
        "machine": {"processor": "one"},
        "corpus": "",
        "device": "cpu",
        "tf32": False,
    }
    writer.header(rows.Header(framework="numpy", threads=1, plan=plan, number=1, import_=0.1, **known))
    outcomes = (
        rows.Outcome(verdict=EQUAL, ratio=0.1, error=1e-7, seconds=(1.0, 1.1), first=2.0, issue=0.1),
        rows.Outcome(verdict=DIFFERENT, why="H[0] = 1, should be 2", ratio=0.1, error=1e-7, seconds=(0.1,)),
        rows.Outcome(failed="RuntimeError: no"),
    )
    for row, outcome in zip(plan, outcomes, strict=False):
        writer.write(rows.Begin(row))
        writer.write(rows.End(row, outcome))
    writer.write(rows.Begin(plan[3]))
    board = leaderboard.build([rows.read(file)], [], name="now")
    (table,) = board.tables
    assert [(row.implementation, row.status, row.rank) for row in table.rows] == [
        ("scratch", EQUAL, None),  # One pass gives no ranks.
        ("compiled", DIFFERENT, None),
        ("native", "failed", None),
        ("tuned", "unfinished", None),
    ]
    assert [row.why for row in table.rows[1:]] == [
        "H[0] = 1, should be 2",
        "RuntimeError: no",
        "the pass was cut off while it ran",
    ]
    assert board.trouble == ["numpy.cpu.1.jsonl: cut off after 4 of 4 rows; race again"]
