"""A race without frameworks: an interpreter of the test's own stands in for theirs, and does what it is told."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

from frameworks.harness import blocks, busy, child, entries, race, starting
from frameworks.harness.nursery import LostError
from reports.race import races
from shared_spec import language_model, machine
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.language_model import corpus
from shared_spec.race import blocks as blocks_format
from shared_spec.race import definition, rows
from shared_spec.race.blocks import read as read_blocks
from shared_spec.race.definition import Race
from tests.conftest import heed_ctrl_c
from tests.processes import descendants, gone
from tests.twice import __main__ as twice

WORKLOAD = "training-step-chapter-gru-float32"
STAND_IN = """\
#!{python}
import json, os, signal, socket, sys, time
sys.path.insert(0, {root!r})
from shared_spec import processes
processes.end_with_parent()
arguments = sys.argv[1:]
def option(name):
    return arguments[arguments.index(name) + 1]
told = json.load(open({told!r}))
def remember():
    ours = {{name: value for name, value in os.environ.items() if name.startswith(("ISOGRU", "OMP"))}}
    with open({log!r}, "a") as log:
        log.write(json.dumps([arguments, ours]) + "\\n")
remember()
if "memory" in arguments:
    framework = arguments[arguments.index("frameworks") + 1]
    for row in [arguments[i + 1] for i, word in enumerate(arguments) if word == "--row"]:
        workload, _, implementation = row.partition("/")
        row = {{"framework": framework, "workload": workload, "implementation": implementation, "bytes": 1000}}
        print(json.dumps(row), flush=True)
    sys.exit(0)
framework = arguments[arguments.index("frameworks") + 1]
plan = [dict(workload={workload!r}, implementation=name, lane=name) for name in told["plan"]]
def header(number, rows):
    known = dict(device="cpu", threads=2, tf32=False, plan=rows, versions={{}}, switches={{}}, corpus="")
    line = dict(format="isogru-rows/2", framework=framework, machine={{"processor": "one"}}, **known)
    return json.dumps(line | {{"pass": number, "import": 0.1}}) + "\\n"
if "enter" in arguments:
    if framework == told.get("silent"):
        time.sleep(60)
    if "refused" in told:
        sys.stderr.write("isogru: " + told["refused"] + "\\n")
        sys.exit(2)
    sys.stdout.write(header(0, plan))
    if "limits" in told:
        # Of the second time the products are faster, and the functions are not.
        again = sum("enter" in json.loads(line)[0] and framework in json.loads(line)[0] for line in open({log!r})) - 1
        rates = dict(product=1e9 * (1 + again), function=1e9 / (1 + again), cache=1e9, memory=1e9, issue=1e-6)
        reached = dict(rates, step=[[1, 32, 64, 1e-6 * (1 + again)]])
        print(json.dumps(dict(line="limits", dtype="float32", reached=reached)))
    sys.exit(0)
def contend(order):
    # It is what a contender of this framework would be, in a fork.
    arguments[:] = [*sys.argv[1:sys.argv.index("contend")], "bench", *order]
    remember()
    name, number = option("--row").partition("/")[2], int(option("--pass"))
    row = dict(workload={workload!r}, implementation=name, lane=name)
    reads, writes, planned = map(int, option("--turns").split(","))
    stream = open(option("--rows"), "w", buffering=1)
    stream.write(header(number, [row]))
    def line(**record):
        stream.write(json.dumps(record) + "\\n")
    def end(**outcome):
        equal = dict(verdict="equal", why="", ratio=0.1, error=0.0, first=1.0, issue=0.1)
        line(line="end", row=row, outcome=dict(equal | outcome))
    line(line="begin", row=row)
    if name == told.get("differs"):
        end(verdict="different", why="H[0] = 1, should be 2")
        return 1
    if told.get("spins"):
        import threading
        def spin():
            while True:
                pass
        threading.Thread(target=spin, daemon=True).start()
    os.write(writes, b'{{"line": "ready"}}\\n')
    base, turn = told["seconds"].get(framework, 1.0) * (1 + told["plan"].index(name)), 0
    while os.read(reads, 1) == b"g":
        turn += 1
        is_double = ".again." in option("--rows")
        is_lost_double = is_double and number == told.get("the double dies in")
        if name == told.get("dies") or told.get("dies in") == [framework, name, number] or is_lost_double:
            print("last words")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGSEGV)
        if name == told.get("hangs") and turn >= told.get("hangs from", 1):
            time.sleep(60)
        if name == told.get("stopped"):
            os.kill(os.getpid(), signal.SIGSTOP)
        slower = told.get("the double takes", 1) if is_double else 1
        took = base * slower * (1 + 1e-4 * ((7 * number + 3 * turn + len(name) + len(framework)) % 5))
        os.write(writes, json.dumps(dict(line="took", seconds=took)).encode() + b"\\n")
    end(seconds=[base])
    return 0
if told.get("cannot import") == framework:
    sys.exit("ImportError: no " + framework)
if told.get("imports for ever") == framework:
    time.sleep(600)
while told.get("imports beside") and sum("contend" in json.loads(line)[0] for line in open({log!r})) < 2:
    time.sleep(0.01)
from frameworks.harness import nursery
nursery.serve(socket.socket(fileno=int(option("--channel"))), contend)
"""


@pytest.fixture
def text():
    return corpus.built_in(language_model.specification().corpus, "a test")


class StandIn:
    def __init__(self, folder):
        self.path, self._told, self._log = folder / "python", folder / "told.json", folder / "log.jsonl"
        script = STAND_IN.format(
            python=sys.executable, root=str(race.ROOT), told=str(self._told), log=str(self._log), workload=WORKLOAD
        )
        self.path.write_text(script)
        self.path.chmod(0o755)
        self.tell()

    def tell(self, **told):
        usual = {"plan": ["scratch", "tuned"], "seconds": {"torch": 1.0, "jax": 1.3}}
        self._told.write_text(json.dumps({**usual, **told}))

    @property
    def calls(self):
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def starts(self):
        """Framework, implementation and start of each contender."""
        return [
            (words[words.index("frameworks") + 1], *(words[words.index(name) + 1] for name in ("--row", "--pass")))
            for words, _ in self.calls
            if "bench" in words
        ]


@pytest.fixture
def stand_in(tmp_path):
    return StandIn(tmp_path)


@pytest.fixture
def one(monkeypatch):
    # Prediction needs no reference: nothing is made before the race.
    chosen = Race("2026-01-01T00-00-00", ["torch", "jax"], ["prediction"], budget=600.0, threads=2, seed=3)
    definition.begin(chosen)
    monkeypatch.setattr(blocks, "MOST_BLOCKS", 4)
    # What others do on the machine meanwhile is another test's.
    monkeypatch.setattr(blocks.Watch, "others", lambda self: {})
    monkeypatch.setattr(blocks, "calibrate", lambda: 0.01)
    return chosen


def run(one, stand_in, text):
    said = []
    race.run(one, dict.fromkeys(one.frameworks, str(stand_in.path)), text, said.append)
    return said


NAMES = {"torch/scratch", "torch/tuned", "jax/scratch", "jax/tuned"}


def test_contenders_take_turns_in_shuffled_order(one, stand_in, text):
    said = run(one, stand_in, text)
    kept = read_blocks(one.blocks_file)
    # Three starts decide all that is to be decided, long before the budget is gone.
    assert [(block.start, block.number) for block in kept] == [(s, n) for s in (1, 2, 3) for n in (1, 2, 3, 4)]
    (double,) = set(kept[0].seconds) - NAMES
    assert double.removesuffix(" again") in NAMES
    for block in kept:
        assert set(block.seconds) == {*NAMES, double}
        assert list(block.seconds) == one.shuffled(block.seconds, block.start, WORKLOAD, block.number)
    assert len({tuple(block.seconds) for block in kept}) > 1
    assert [line.partition(",")[0] for line in said if line.startswith("start")] == [
        f"start {start}: {WORKLOAD}: 5 contenders" for start in (1, 2, 3)
    ]
    # Each is a new process in each start.
    assert len(stand_in.starts()) == len(set(stand_in.starts())) + 3 == 15
    board = races.board(one)
    assert (board.passes, board.blocks, board.budget, board.seed) == (3, 12, 600.0, 3)
    assert {row.memory for row in board.tables[0].rows} == {1000}
    assert [(f"{row.framework}/{row.implementation}", row.rank) for row in board.tables[0].rows] == [
        ("torch/scratch", 1),
        ("jax/scratch", 2),
        ("torch/tuned", 3),
        ("jax/tuned", 4),
    ]
    assert [control.status for control in board.controls] == ["passed"] * 3
    # Each compiles into a folder of its own, which is gone afterwards, as is what was judged by.
    caches = {ours["ISOGRU_COMPILE_CACHE"] for words, ours in stand_in.calls if "bench" in words}
    assert len(caches) == 5
    assert not any(Path(cache).exists() for cache in caches)
    assert not list(one.folder.glob("*.rows"))
    assert {environment["OMP_NUM_THREADS"] for _, environment in stand_in.calls} == {"2"}


@pytest.mark.parametrize(
    ("told", "status", "why"),
    [
        ({"dies": "tuned"}, "failed", "ended by SIGSEGV: last words"),
        ({"hangs": "tuned"}, "failed", "did not come back within 1 s"),
        ({"stopped": "tuned"}, "failed", "was stopped from outside"),
        ({"differs": "tuned"}, "different", "H[0] = 1, should be 2"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_contender_that_is_lost_is_a_row_that_says_so(one, stand_in, text, monkeypatch, told, status, why):
    monkeypatch.setattr(blocks, "TURN_LIMIT", 1.0)
    stand_in.tell(**told)
    said = run(one, stand_in, text)
    (table,) = races.board(one).tables
    statuses = {(row.implementation, row.status, row.why) for row in table.rows}
    assert statuses == {("scratch", "equal", ""), ("tuned", status, why)}
    assert [row.rank for row in table.rows] == [1, 2, None, None]
    # It is not started again, and the others go on.
    lost = [start for start in stand_in.starts() if start[1].endswith("/tuned") and start[2] != "1"]
    assert lost == []
    assert " not equal or failed" in next(line for line in said if line.startswith("start 1"))


def test_one_that_is_lost_later_is_no_row_of_the_ranking(one, stand_in, text):
    """It was equal in its first start."""
    stand_in.tell(**{"dies in": ["jax", "tuned", 2]})
    run(one, stand_in, text)
    (table,) = races.board(one).tables
    assert [(row.framework, row.implementation) for row in table.rows if row.status == "failed"] == [("jax", "tuned")]


def test_limits_are_the_better_of_before_and_after(one, stand_in, text, monkeypatch):
    monkeypatch.setattr(blocks, "MOST_BLOCKS", 1)
    stand_in.tell(limits=True)
    run(one, stand_in, text)
    for name in one.frameworks:
        reached = rows.read(one.file(name, 1)).limits["float32"]
        assert (reached.product, reached.function, reached.step) == (2e9, 1e9, ((1, 32, 64, 1e-6),))


def test_who_waits_takes_no_core(one, stand_in, text, monkeypatch):
    """Though its threads spin."""
    stand_in.tell(spins=True)
    entry = blocks.Entry("torch", rows.Row(WORKLOAD, "tuned", "tuned"))
    with starting.Start(one, {"torch": str(stand_in.path)}, text, 1) as start:
        contender = start.contender(entry, 4)
        contender.await_ready(60)
        assert contender.turn(60) == pytest.approx(2.0, rel=1e-3)
        deadline = time.monotonic() + 20
        while not busy.is_stopped(contender.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert busy.is_stopped(contender.pid)
        assert contender.turn(60) > 0
        assert contender.end(60).verdict == "equal"
        contender.close()


def test_a_start_has_as_many_blocks_as_pay():
    costs = entries.Costs(begin=50.0, end=14.0, block=1.0)
    assert costs.enough == 2.5 * 8
    assert costs.usual == 84.0
    # Of fewer than four none is left out of their mean.
    assert dataclasses.replace(costs, block=640.0).enough == 4


@pytest.mark.parametrize(("left", "blocks_of_start"), [(300.0, 10), (130.0, 16)], ids=["another", "the last"])
def test_blocks_go_on_where_no_other_start_is_left(one, monkeypatch, left, blocks_of_start):
    """It takes a minute to begin, 4 s to end, and blocks of 4 s: in 300 s another start is to be had, in 130 s none."""
    row = rows.Row(WORKLOAD, "tuned", "tuned")
    there = blocks.Blocks(one, {"torch": entered([row])}, contextlib.nullcontext, lambda line: None)
    clock = [one.budget - left]
    monkeypatch.setattr(blocks.Blocks, "gone", property(lambda self: clock[0]))

    class Stand:
        def finish(self):
            pass

        def end(self, limit):
            return rows.Outcome(verdict="equal")

        def close(self):
            pass

    entry = blocks.Entry("torch", row)

    def begin(self, begun, of, running, turns, writers):
        clock[0] += 60.0
        running[entry.name] = (entry, Stand())

    counted = []

    def block(self, start, workload, number, *others):
        counted.append(number)
        clock[0] += 4.0

    monkeypatch.setattr(blocks.Blocks, "_begin", begin)
    monkeypatch.setattr(blocks.Blocks, "_block", block)
    monkeypatch.setattr(blocks.Blocks, "_come_of", lambda *given: None)
    there.costs[WORKLOAD] = entries.Costs(end=4.0)
    monkeypatch.setattr(blocks, "MOST_BLOCKS", 100)
    there._workload(1, WORKLOAD, None, [entry], one.budget, False, {})
    assert len(counted) == blocks_of_start


@pytest.mark.parametrize(
    ("device", "order"),
    [
        # PyTorch's threads spin.
        ("cpu", ["finish jax", "end jax", "finish torch", "end torch", "finish jax again", "end jax again"]),
        ("cuda", ["finish jax", "finish torch", "end jax", "finish jax again", "end torch", "end jax again"]),
    ],
)
def test_contenders_end_side_by_side(one, monkeypatch, device, order):
    """As many as there are cores, here two; those whose threads spin alone."""
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr(blocks.Blocks, "_come_of", lambda *given: None)
    there = blocks.Blocks(dataclasses.replace(one, device=device), {}, contextlib.nullcontext, lambda line: None)
    log = []

    class Stand:
        def __init__(self, name):
            self.name = name

        def finish(self):
            if f"finish {self.name}" not in log:
                log.append(f"finish {self.name}")

        def end(self, limit):
            self.finish()
            log.append(f"end {self.name}")
            return rows.Outcome(verdict="equal")

        def close(self):
            pass

    row = rows.Row(WORKLOAD, "tuned", "tuned")
    names = ("jax", "torch", "jax again")
    contenders = [
        (blocks.Entry(name.removesuffix(" again"), row, is_double="again" in name), Stand(name)) for name in names
    ]
    running = {entry.name: (entry, contender) for entry, contender in contenders}
    there._end(running, {})
    assert log == order
    assert not running


@pytest.mark.parametrize(
    ("device", "is_first", "order"),
    [
        ("cpu", True, ["start jax", "ready jax", "start tensorflow", "ready tensorflow", "start torch", "ready torch"]),
        # PyTorch's threads spin.
        (
            "cpu",
            False,
            ["start jax", "start tensorflow", "ready jax", "ready tensorflow", "start torch", "ready torch"],
        ),
        (
            "cuda",
            True,
            ["start jax", "start tensorflow", "ready jax", "start torch", "ready tensorflow", "ready torch"],
        ),
    ],
)
def test_contenders_begin_side_by_side(one, monkeypatch, device, is_first, order):
    """As many as there are cores, here two; on a CPU one by one where first calls are timed or threads spin."""
    monkeypatch.setattr(machine, "cores", lambda: 2)
    there = blocks.Blocks(dataclasses.replace(one, device=device), {}, contextlib.nullcontext, lambda line: None)
    if not is_first:
        there.judged.add(WORKLOAD)
    log = []

    class Stand:
        def imports(self, names):
            log.append(f"import {', '.join(names)}")

        def contender(self, entry, planned):
            log.append(f"start {entry.framework}")
            return types.SimpleNamespace(await_ready=lambda limit: log.append(f"ready {entry.framework}"))

    row, running, writer = rows.Row(WORKLOAD, "tuned", "tuned"), {}, types.SimpleNamespace(write=lambda line: None)
    of = [blocks.Entry(name, row) for name in ("jax", "tensorflow", "torch")]
    there._begin(Stand(), of, running, 1, {entry.framework: writer for entry in of})
    assert log == ["import jax, tensorflow, torch", *order]
    assert len(running) == 3


def test_a_start_has_its_share_of_what_is_left():
    """Of starts of 350 s: three are to be had of 600 s all the same, the more blocks the later."""
    costs = [entries.Costs(begin=100.0, end=10.0, block=60.0)]
    assert costs[0].usual == 350.0
    assert entries.share(430.0, costs, 1) == (215.0, False)
    assert entries.share(260.0, costs, 2) == (260.0, False)
    assert entries.share(1000.0, costs, 2) == (500.0, True)


@pytest.mark.parametrize(
    ("left", "device", "going"),
    [
        (2000.0, "cpu", "abc"),
        (2000.0, "cuda", "ac"),  # 20 + 30 + 2000: there later starts take as long as the first.
        (1449.0, "cpu", "ac"),  # 20 + 30 + 1400.
        (1450.0, "cpu", "abc"),
        (50.0, "cpu", "ac"),
        (49.0, "cpu", "a"),
        (19.0, "cpu", "abc"),  # None will have ranks: what is left says more of all.
    ],
)
def test_a_short_budget_is_for_those_that_it_brings_to_ranks(left, device, going):
    """The first has had two starts, the second one, the third two: ranks take three."""
    costs = {"a": entries.Costs(begin=15.0, end=5.0), "b": entries.Costs(begin=1000.0), "c": entries.Costs(end=30.0)}
    done = [
        blocks_format.Block(start=start, workload=workload, number=number, seconds={}, calibration=0.01)
        for workload, starts in (("a", 2), ("b", 1), ("c", 2), ("d", 3))
        for start in range(1, starts + 1)
        for number in (1, 2)
    ]
    assert "".join(entries.nearest_to_ranks(left, costs, done, device)) == going
    # Of those that have enough starts no more is asked than another one.
    assert entries.nearest_to_ranks(0.0, {"d": entries.Costs(begin=9.0)}, done, device) == ["d"]


def test_a_framework_is_imported_once_in_each_start(one, stand_in, text):
    run(one, stand_in, text)
    imported = [words[words.index("frameworks") + 1] for words, _ in stand_in.calls if words[-2] == "--channel"]
    assert sorted(imported) == ["jax"] * 3 + ["torch"] * 3
    assert all(
        environment["ISOGRU_COMPILE_CACHE"] == str(one.folder / "compile-cache" / words[words.index("frameworks") + 1])
        for words, environment in stand_in.calls
        if words[-2] == "--channel"
    )


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"cannot import": "jax"}, "ended with exit status 1: ImportError: no jax"),
        ({"imports for ever": "jax"}, "did not import within 2 s"),
    ],
    ids=["fails", "hangs"],
)
def test_a_framework_that_cannot_be_imported_is_rows_that_say_so(one, stand_in, text, monkeypatch, told, why):
    monkeypatch.setattr(starting, "IMPORT_LIMIT", 2.0)
    stand_in.tell(**told)
    run(one, stand_in, text)
    (table,) = races.board(one).tables
    assert {(row.framework, row.status) for row in table.rows} == {("torch", "equal"), ("jax", "failed")}
    assert {row.why for row in table.rows} == {"", why}
    # It is tried once.
    assert sum("contend" in words and "jax" in words for words, _ in stand_in.calls) == 1


def test_frameworks_are_imported_side_by_side(one, stand_in, text):
    """None of them is, before all have begun."""
    stand_in.tell(**{"imports beside": True})
    with starting.Start(one, dict.fromkeys(one.frameworks, str(stand_in.path)), text, 1) as start:
        start.imports(one.frameworks)
        assert len(start.sessions) == 2
        entry = blocks.Entry("jax", rows.Row(WORKLOAD, "tuned", "tuned"))
        contender = start.contender(entry, 4)
        contender.await_ready(60)
        contender.close()


def test_who_forks_is_killed_and_all_its_contenders_with_it(one, stand_in, text):
    entry = blocks.Entry("torch", rows.Row(WORKLOAD, "tuned", "tuned"))
    with starting.Start(one, {"torch": str(stand_in.path)}, text, 1) as start:
        contender = start.contender(entry, 4)
        contender.await_ready(60)
        (forks,) = start.sessions
        os.kill(forks, signal.SIGKILL)
        assert gone([forks, contender.pid])
        with pytest.raises(LostError, match="ended by SIGKILL"):
            contender.turn(60)
        contender.close()
        with pytest.raises(LostError, match="ended by SIGKILL: it said nothing"):
            start.contender(entry, 4)
        # Another is started for the next.
        again = start.contender(entry, 4)
        again.await_ready(60)
        again.close()


def test_who_forks_does_not_answer_in_time(one, stand_in, text, monkeypatch):
    """What it answers later is taken for nothing."""
    monkeypatch.setattr(starting, "IMPORT_LIMIT", 3.0)
    entry = blocks.Entry("torch", rows.Row(WORKLOAD, "tuned", "tuned"))
    with starting.Start(one, {"torch": str(stand_in.path)}, text, 1) as start:
        first = start.contender(entry, 4)
        first.await_ready(60)
        first.close()
        os.kill(start.sessions[0], signal.SIGSTOP)
        with pytest.raises(LostError, match="did not answer within 3 s"):
            start.contender(entry, 4)
        second = start.contender(entry, 4)
        second.await_ready(60)
        second.close()


def test_a_request_that_is_refused(one, stand_in, text):
    stand_in.tell(refused="torch has no implementation or lane 'fast'; it has scratch")
    with pytest.raises(UserError, match="has no implementation or lane 'fast'; it has scratch"):
        run(one, stand_in, text)
    assert races.latest_board() is None


def test_a_budget_that_is_too_small(one, stand_in, text):
    """Said before anything is timed."""
    small = dataclasses.replace(one, budget=2.0)
    with pytest.raises(UserError) as error:
        run(small, stand_in, text)
    # Five contenders, each 0.1 s to import and a second at least; and one of 0.1 s for a turn.
    assert str(error.value) == (
        "--budget 2s is too small for one turn of each of these 4, which one of each table has twice; give 6s at "
        "least, and about 24s for ranks, or choose fewer"
    )
    assert stand_in.starts() == []
    assert not small.blocks_file.exists()


def test_a_race_that_was_broken_off_goes_on(one, stand_in, text, monkeypatch):
    """Its complete blocks count, and contenders are started anew."""
    whole = blocks.Blocks._block

    def broken_off(self, start, workload, number, *others):
        if (start, number) == (2, 3):
            raise KeyboardInterrupt
        whole(self, start, workload, number, *others)

    monkeypatch.setattr(blocks.Blocks, "_block", broken_off)
    with pytest.raises(KeyboardInterrupt):
        run(one, stand_in, text)
    board = races.board(one)
    assert board.passes == 2
    assert board.trouble == [
        f"{name}.cpu.2.jsonl: broken off; go on with python -m reports race --resume {one.name}"
        for name in one.frameworks
    ]
    assert {row.status for row in board.tables[0].rows} == {"equal"}
    gone = read_blocks(one.blocks_file)[-1].at
    monkeypatch.setattr(blocks.Blocks, "_block", whole)
    before = len(stand_in.starts())
    run(one, stand_in, text)
    assert {number for *_, number in stand_in.starts()[before:]} == {"3"}
    kept = read_blocks(one.blocks_file)
    assert [(block.start, block.number) for block in kept[4:6]] == [(2, 1), (2, 2)]
    assert kept[6].at > gone > 0
    board = races.board(one)
    assert (board.trouble, board.blocks, {row.rank for row in board.tables[0].rows}) == ([], 10, {1, 2, 3, 4})


def test_a_finished_race_is_not_run_again(one, stand_in, text):
    run(one, stand_in, text)
    calls = len(stand_in.calls)
    run(one, stand_in, text)
    assert len(stand_in.calls) == calls


def entered(plan, number=0):
    """The header of what torch enters."""
    return rows.Header(
        framework="torch",
        device="cpu",
        threads=2,
        tf32=False,
        number=number,
        plan=tuple(plan),
        import_=0.1,
        versions={},
        switches={},
        machine={},
        corpus="",
    )


def test_time_goes_to_near_ties(one):
    """Who is surely far behind, in a place that is known, is not started again; and its double is not either."""
    random = np.random.default_rng(0)
    header = entered(rows.Row(WORKLOAD, name, name) for name in ("scratch", "native", "tuned"))
    writer = blocks_format.Writer(one.blocks_file)
    for start in (1, 2, 3):
        for number in range(1, 5):
            near = {f"torch/{name}": float(np.exp(random.normal(0, 0.02))) for name in ("native", "tuned")}
            seconds = {**near, "torch/scratch": 9.0, "torch/scratch again": 9.0}
            at = {"start": start, "number": number, "workload": WORKLOAD}
            writer.write(blocks_format.Block(**at, seconds=seconds, calibration=0.01))
    there = blocks.Blocks(one, {"torch": header}, None, print)
    assert {entry.name.removesuffix(" again") for entry in there._going()[WORKLOAD]} == {"torch/native", "torch/tuned"}


def doubles_of(board_blocks):
    """Who raced twice, by start."""
    return {block.start: {name for name in block.seconds if name.endswith(" again")} for block in board_blocks}


def test_the_one_that_races_twice_is_the_same_whoever_else_is_lost(one):
    plan = [rows.Row(WORKLOAD, name, name) for name in ("scratch", "native", "tuned", "compiled")]
    there = blocks.Blocks(one, {"torch": entered(plan)}, None, print)
    *_, double = there.entries(WORKLOAD)
    for row in plan:
        if row.implementation != double.row.implementation:
            there.lost = {(WORKLOAD, f"torch/{row.implementation}")}
            assert there.entries(WORKLOAD)[-1] == double
    there.lost = {(WORKLOAD, f"torch/{double.row.implementation}")}
    other = there.entries(WORKLOAD)[-1]
    assert other.is_double
    assert other != double


def test_where_the_one_that_races_twice_is_lost_another_is_drawn(one, stand_in, text):
    """In the next start, and it is another one that has none of the first one's blocks."""
    stand_in.tell(**{"the double dies in": 1})
    said = run(one, stand_in, text)
    doubles = doubles_of(read_blocks(one.blocks_file))
    assert doubles[1] == set()
    (later,) = doubles[2]
    assert doubles[2] == doubles[3] == {later}
    (lost,) = [line for line in said if "ended by SIGSEGV" in line]
    assert later not in lost
    # The rows that they are of are equal.
    assert {row.status for table in races.board(one).tables for row in table.rows} == {"equal"}


def test_a_race_that_goes_on_knows_which_of_those_that_race_twice_were_lost(one):
    """No row says so, but the blocks do; of each start, since where one is lost the next is another."""
    plan = [rows.Row(WORKLOAD, name, name) for name in ("scratch", "native", "tuned", "compiled")]
    first, second, third, _ = one.shuffled((f"torch/{row.implementation}" for row in plan), WORKLOAD, "twin")
    writer = blocks_format.Writer(one.blocks_file)
    for start, number, double in ((1, 1, ""), (1, 2, ""), (2, 1, second), (2, 2, ""), (3, 1, third)):
        names = [f"torch/{row.implementation}" for row in plan] + ([f"{double} again"] if double else [])
        known = {"start": start, "number": number, "workload": WORKLOAD}
        writer.write(blocks_format.Block(**known, seconds=dict.fromkeys(names, 1.0), calibration=0.01))
        of_start = rows.Writer(one.file("torch", start), goes_on=False)
        of_start.header(entered(plan, start))
    there = blocks.Blocks(one, {"torch": entered(plan)}, None, print)
    assert there.lost == {(WORKLOAD, f"{first} again"), (WORKLOAD, f"{second} again")}
    assert there.entries(WORKLOAD)[-1].name == f"{third} again"


def test_who_was_lost_is_not_in_the_last_block():
    """Though those that they are doubles of are: who has left, or is lost too, says nothing of a double."""
    row = rows.Row(WORKLOAD, "tuned", "tuned")
    drawn = [entries.Entry("torch", row), entries.Entry("torch", row, is_double=True)]
    for names, lost in (
        (["torch/tuned torch/tuned+"], set()),
        (["torch/tuned torch/tuned+", "torch/tuned"], {"torch/tuned again"}),
        (["torch/tuned", "torch/tuned"], {"torch/tuned again"}),
        (["torch/tuned torch/tuned+", "jax/tuned"], set()),
        (["jax/tuned jax/tuned+", "jax/tuned"], {"jax/tuned again"}),
    ):
        of_start = [
            blocks_format.Block(
                start=1,
                workload=WORKLOAD,
                number=number,
                seconds=dict.fromkeys((name.replace("+", " again") for name in each.split()), 1.0),
                calibration=0.01,
            )
            for number, each in enumerate(names, 1)
        ]
        assert entries.lost_doubles(of_start, lambda workload: drawn) == {(WORKLOAD, name) for name in lost}


def test_one_that_does_not_enter(one, stand_in, text, monkeypatch):
    monkeypatch.setattr(race, "START_LIMIT", 1.0)
    stand_in.tell(silent="jax")
    with pytest.raises(UserError) as refused:
        run(one, stand_in, text)
    assert str(refused.value) == (
        "jax: did not enter within 1 s; race without it, or see why: "
        "python -m frameworks jax enter --device cpu --threads 2 --workload prediction"
    )
    assert not one.blocks_file.exists()


def test_what_a_child_has_started_does_not_keep_it(tmp_path):
    """It has ended, and another holds its output."""
    lives = f"sleep 20; touch {tmp_path / 'lived'}"
    command = [sys.executable, "-c", f"import subprocess; print(subprocess.Popen(['sh', '-c', {lives!r}]).pid)"]
    with child.Child(command, os.environ, apart=True, limit=2.0) as one:
        (told,) = one.lines()
        status, _ = one.end()
    assert one.is_late
    assert status in (0, -signal.SIGKILL)
    assert gone([int(told)])
    assert not (tmp_path / "lived").exists()


def test_a_race_that_goes_on_begins_nothing_that_it_cannot_end(one, monkeypatch):
    """What a start takes is told by the moments of the blocks that are there."""
    both = [WORKLOAD, WORKLOAD.replace("gru", "rnn")]
    header = entered(rows.Row(name, "tuned", "tuned") for name in both)
    writer = blocks_format.Writer(one.blocks_file)
    # A start of the first takes 100 s, of the other 20 s, and each block 5 s.
    for start, workload, number, at in (
        (1, both[0], 1, 105.0),
        (1, both[0], 2, 110.0),
        (1, both[1], 1, 135.0),
        (1, both[1], 2, 140.0),
    ):
        known = {"start": start, "workload": workload, "number": number, "at": at}
        writer.write(blocks_format.Block(**known, seconds={"torch/tuned": 1.0}, calibration=0.01))
    of_start = rows.Writer(one.file("torch", 1), goes_on=False)
    of_start.header(header)
    for row in header.plan:
        of_start.write(rows.End(row, rows.Outcome(verdict="equal")))
    # Two more starts of each take 147 and 35 s, since later ones take less than the first.
    for left, going in ((200.0, both), (150.0, both[1:]), (50.0, both[1:]), (10.0, [])):
        there = blocks.Blocks(dataclasses.replace(one, budget=140.0 + left), {"torch": header}, None, print)
        assert [round(there.costs[name].least) for name in both] == [105, 25]
        assert list(there._going()) == going


def test_a_budget_is_for_all_workloads_together(one, monkeypatch):
    """Each has its first start in any case; later a start leaves out those for which too little is left."""
    both = [WORKLOAD, WORKLOAD.replace("gru", "rnn")]
    there = blocks.Blocks(
        one, {"torch": entered(rows.Row(name, "tuned", "tuned") for name in both)}, contextlib.nullcontext, print
    )
    started = []

    def takes(self, start, workload, *others):
        started.append((start, workload))
        self.judged.add(workload)
        self.costs[workload] = blocks.Costs(begin=400.0)
        self._before += 400.0

    monkeypatch.setattr(blocks.Blocks, "_workload", takes)
    there._before = one.budget
    there.run()
    assert started == [(1, name) for name in both]
    there._before = 0.0
    there.run()
    assert started[2:] == [(2, WORKLOAD)]


def test_memory_is_measured_of_rows_that_were_over_in_a_later_start(one, stand_in, text):
    """The first was broken off before them; of a framework without any nothing is asked."""
    row = rows.Row(WORKLOAD, "tuned", "tuned")
    for start in (1, 2):
        writer = rows.Writer(one.file("torch", start), goes_on=False)
        writer.header(entered([row]))
    writer.write(rows.End(row, rows.Outcome(verdict="equal")))
    said = []
    race._memory(one, dict.fromkeys(one.frameworks, str(stand_in.path)), text, said.append)
    (measured,) = races.memory(one)
    assert (measured.framework, measured.implementation, measured.bytes) == ("torch", "tuned", 1000)
    assert [line.partition(" in ")[0] for line in said] == ["memory: torch, 1 rows"]


def test_first_calls_compile_after_a_first_start_that_was_broken_off(one):
    """Of a workload that was judged what is compiled is kept: its first calls have been timed."""
    over, begun = rows.Row(WORKLOAD, "tuned", "tuned"), rows.Row(WORKLOAD.replace("gru", "rnn"), "tuned", "tuned")
    folders = [starting.cache(one) / "torch" / f"{row.workload}.tuned" for row in (over, begun)]
    for folder in folders:
        folder.mkdir(parents=True)
    starting.forget_compiled(one, {"torch": entered([over, begun])}, {WORKLOAD})
    assert [folder.exists() for folder in folders] == [True, False]


def test_what_is_chosen_is_passed_on(stand_in, text, monkeypatch):
    monkeypatch.setattr(blocks, "MOST_BLOCKS", 1)
    stand_in.tell(plan=["scratch"])
    chosen = Race("x", ["jax"], ["prediction"], 60.0, "cuda", 3, 0.05, True, ["gru"], ["tuned", "scratch"])
    definition.begin(chosen)
    assert definition.read(chosen.folder / "race.json") == chosen
    run(chosen, stand_in, text)
    those = "--device cuda --threads 3 --tf32 --workload prediction --cell gru --implementation tuned"
    entered, forks, contender = (" ".join(words) for words, _ in stand_in.calls[:3])
    assert those in entered
    assert "contend --threads 3" in forks
    assert those in contender
    assert f"--pass 1 --seconds 0.05 --row {WORKLOAD}/scratch" in contender


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1h", 3600), ("1.5m", 90), ("168h", 604800)])
def test_budgets(text, seconds):
    assert definition.budget(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-1s", "0s", "1d", "169h", "1e9s", "ten minutes", "\u00b2s", "1 m"])
def test_budgets_that_are_none(text):
    with pytest.raises(UserError, match="give one such as 90s, 10m or 1h, of seven days at most"):
        definition.budget(text)


@pytest.mark.parametrize("content", ["", "{}", '{"format": "isogru-race/9"}', '{"format": "isogru-race/1"}'])
def test_races_that_are_none(one, content):
    file = one.folder / "race.json"
    file.write_text(content)
    with pytest.raises(UserError, match="race again"):
        definition.read(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not the blocks of a race"),
        ('{"format": "isogru-blocks/9"}\n', "format isogru-blocks/9, this isogru reads isogru-blocks/1; race again"),
        ('{"format": "isogru-blocks/1"}\nno json\n', "damaged, or not the blocks of a race: JSON is malformed"),
        (
            '{"format": "isogru-blocks/1"}\n{"start": 1, "workload": "x", "number": 1, "seconds": {"a": -1}, '
            '"calibration": 1}\n',
            "damaged: a block of x took no time",
        ),
    ],
)
def test_blocks_that_are_none(tmp_path, content, words):
    (tmp_path / "blocks.jsonl").write_text(content)
    with pytest.raises(UserError) as error:
        read_blocks(tmp_path / "blocks.jsonl")
    assert words in str(error.value)
    assert "race again" in str(error.value)


def test_races_that_are_not_there(one, command):
    done = command("reports", "race", "--resume", "yesterday")
    assert done.returncode == 2
    assert "'yesterday'" in done.stderr
    assert one.name in done.stderr
    done = command("reports", "race", "--resume", one.name, "--budget", "7m")
    assert done.returncode == 2
    assert done.stderr.endswith("leave out what to race, and how\n")
    done = command("reports", "race", "torhc")
    assert done.returncode == 2
    assert "'torhc'" in done.stderr
    assert "torch, tensorflow" in done.stderr
    done = command("reports", "race", "torch", "--against", str(one.folder / "race.json"))
    assert done.returncode == 2
    assert "not a leaderboard: its format is isogru-race/1" in done.stderr


def test_one_race_at_a_time(one, stand_in, text):
    with store.lock(".race.lock"), pytest.raises(UserError, match="another race is under way here"):
        run(one, stand_in, text)


def test_a_framework_that_is_nowhere(monkeypatch):
    monkeypatch.setattr(race.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="framework jax asked for but not importable here, and no tox either"):
        race.interpreters(["jax"], "cpu", print)


@contextlib.contextmanager
def racing(one, stand_in, folder):
    """A race that is run by its command, at a row that does not end."""
    stand_in.tell(hangs="tuned", **{"hangs from": 3})
    harness = f"""
import sys
sys.path.insert(0, ".")
from frameworks.harness import race
race.interpreters = lambda names, device, tell: dict.fromkeys(names, {str(stand_in.path)!r})
race.main()
"""
    script = f"""
import sys
sys.path.insert(0, ".")
from reports.__main__ import app, main, running
running.COMMAND = (sys.executable, "-c", {harness!r})
main(lambda: app(["race", "--resume", {one.name!r}]))
"""
    environment = {**os.environ, "ISOGRU_CORPUS": str(folder / "text.txt")}
    (folder / "text.txt").write_text("a text " * 100)
    environment["ISOGRU_CORPUS_SHA1"] = hashlib.sha1((folder / "text.txt").read_bytes()).hexdigest()
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=race.ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    ) as process:
        for _ in range(1200):
            # Two blocks are complete; in the third one of them does not come back.
            if one.blocks_file.exists() and len(read_blocks(one.blocks_file)) == 2:
                break
            time.sleep(0.05)
        yield process


def test_ctrl_c(one, stand_in, tmp_path):
    """Ends at once what it has started, keeps what is complete, and says how to go on."""
    with racing(one, stand_in, tmp_path) as process:
        started = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.splitlines()[-1].endswith(f"python -m reports race --resume {one.name}")
    assert "Traceback" not in said
    assert gone(started)
    assert [block.number for block in read_blocks(one.blocks_file)] == [1, 2]
    (table,) = races.board(one).tables
    assert {row.status for row in table.rows} == {"unfinished"}


def test_sigkill(one, stand_in, tmp_path):
    """Nobody is told of it, and nothing runs on: neither the harness nor any contender; and the race can be gone on
    with.
    """
    with racing(one, stand_in, tmp_path) as process:
        started = descendants(process.pid)
        # The harness, two that fork, and five contenders.
        assert len(started) == 8
        process.kill()
    assert gone(started)
    with store.lock(".race.lock").acquire(timeout=0):
        pass


def test_a_race_of_another_version_is_left_out(one, stand_in, text):
    """The page then has the one before it, and is not held up."""
    run(one, stand_in, text)
    later = Race("2026-01-02T00-00-00", ["torch"], ["prediction"], threads=2)
    definition.begin(later)
    file = later.file("torch", 1)
    file.write_text(one.file("torch", 1).read_text().replace("training-step-chapter", "training-step-gone"))
    with pytest.raises(UserError, match="these benchmarks are of another version; race again"):
        races.board(later)
    board = races.latest_board()
    assert board is not None
    assert board.name == one.name
    file.write_text('{"format": "isogru-rows/9"}\n')
    assert races.latest_board().name == one.name


def test_a_page_of_a_race_alone(one, stand_in, text, command, tmp_path):
    """Where nothing has been proven yet but what was raced."""
    run(one, stand_in, text)
    done = command("reports", "site", "-o", str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "site" / "leaderboard.json").read_text())["name"] == one.name
    assert "no framework: there is no result yet" in (tmp_path / "site" / "report.md").read_text()
    page = (tmp_path / "site" / "index.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<h1>Who is fastest: the race below. No other result has been made yet.</h1>" in page
    assert '<section id="answer" hidden>' in page, "a part that is empty is not shown"
    assert '<section id="fastest">' in page
    assert re.findall(r'<li><a href="#(\w+)"', page) == ["fastest", "run"]


@pytest.mark.parametrize(("takes", "status", "words"), [(1, 0, "0 say that one"), (1.5, 1, "2 say that one")])
def test_races_of_one_program_against_itself(one, stand_in, monkeypatch, capsys, takes, status, words):
    """python -m tests.twice: a machine that serves one of two names better is told."""
    monkeypatch.setattr(race, "interpreters", lambda *given: {"torch": str(stand_in.path)})
    stand_in.tell(plan=["tuned"], **{"the double takes": takes})
    with pytest.raises(SystemExit) as ended:
        twice.app(["torch", "--workload", "prediction", "--races", "2", "--budget", "60s"])
    assert ended.value.code == status
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[-3:-1]] == ["1", "2"]
    assert lines[-1].startswith("2 races of torch/tuned against itself on")
    assert words in lines[-1]


def test_a_race_against_itself_of_what_fails(one, stand_in, monkeypatch):
    monkeypatch.setattr(race, "interpreters", lambda *given: {"torch": str(stand_in.path)})
    stand_in.tell(plan=["tuned"], dies="tuned")
    with pytest.raises(UserError, match="torch/tuned had no turn; python -m reports race torch --workload prediction"):
        twice.app(["torch", "--workload", "prediction", "--races", "1", "--budget", "60s"])


def test_a_race_against_itself_is_of_one_row(one, stand_in, monkeypatch):
    monkeypatch.setattr(race, "interpreters", lambda *given: {"torch": str(stand_in.path)})
    with pytest.raises(UserError, match="prediction is not one row of torch/tuned; choose one that is"):
        twice.app(["torch", "--workload", "prediction"])
