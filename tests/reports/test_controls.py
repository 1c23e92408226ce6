"""The controls of a race: each passes where all is well and fails where it is not, and then nothing is ranked."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from msgspec import structs

from frameworks.harness import busy
from reports.pages import render
from reports.race import controls, leaderboard, standings
from shared_spec.race import rows
from shared_spec.race.blocks import Block
from tests.reports.test_leaderboard import WORKLOAD, race, record, write

NAMES = ("torch/scratch", "torch/tuned", "torch/tuned again")


def blocks(*, starts=6, count=12, again=1.0, drift=0.0, busy=0, noise=0.01, names=NAMES, slow=(), together=0.0):
    """Of a race with three contenders, of which two are the same; in one of so many blocks another process is busy. In
    slow starts all contenders take half as long again, and all of them change together from block to block.
    """
    random = np.random.default_rng(0)
    made = []
    calibration = 0.01
    for start in range(1, starts + 1):
        for number in range(1, count + 1):
            calibration *= float(np.exp(random.normal(0, drift)))
            base = dict(zip(NAMES, (2.0, 1.0, again), strict=True))
            longer = 1.5 if start in slow else 1.0
            if together:
                longer *= float(np.exp(random.normal(0, together)))
            seconds = {name: float(longer * base[name] * np.exp(random.normal(0, noise))) for name in names}
            other = {"cc1plus": 0.9} if busy and len(made) % busy == 0 else {}
            known = {"seconds": seconds, "calibration": calibration, "busy": other}
            made.append(Block(start=start, workload=WORKLOAD, number=number, **known))
    return made


def judged(device="cpu", **how):
    return {control.kind: (control.status, control.said) for control in controls.judge(blocks(**how), device=device)}


def test_all_is_well():
    controls = judged(drift=0.02, busy=20)
    assert {kind: status for kind, (status, _) in controls.items()} == {
        "twice": "passed",
        "drift": "passed",
        "busy": "passed",
    }
    assert controls["twice"][1] == "torch/tuned against itself: equivalent within 2%"


def test_one_that_is_faster_than_itself():
    status, said = judged(again=1.1)["twice"]
    assert status == "failed"
    assert said.startswith("torch/tuned against itself: ")
    assert said.endswith(" slower: one program is not faster than itself")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"starts": 2}, "it takes 3 starts to say anything"),
        ({"starts": 3, "count": 2, "noise": 0.2}, "undecided: "),
    ],
)
def test_a_control_that_says_nothing_fails_nothing(how, words):
    status, said = judged(**how)["twice"]
    assert status == "unknown"
    assert words in said


def test_starts_in_which_all_contenders_are_slow_are_told():
    loop = "a loop that is always the same changes by 0.0% from block to block"
    told = "; all contenders of a workload together by up to {} from start to start"
    assert judged(noise=0.0)["drift"] == ("passed", loop + told.format("0%"))
    assert judged(noise=0.0, slow=(2, 3))["drift"] == ("passed", loop + told.format("50%"))
    assert judged(noise=0.0, starts=1)["drift"][1].endswith("from block to block")


def test_a_machine_whose_speed_is_not_steady():
    status, said = judged(drift=0.6)["drift"]
    assert status == "failed"
    assert "% from block to block, more than 35%: the machine's speed is not steady; all contenders" in said


def test_on_a_gpu_what_is_timed_tells_how_steady_it_is():
    """Its host's loop may change by as much as it likes."""
    status, said = judged("cuda", drift=0.6)["drift"]
    assert status == "passed"
    assert said.startswith("all contenders together change by ")
    assert " from block to block; a loop of the host by " in said
    status, said = judged("cuda", together=0.6)["drift"]
    assert status == "failed"
    assert " from block to block, more than 35%: the machine's speed is not steady; a loop of the host by 0.0%" in said
    assert judged("cpu", together=0.6)["drift"][0] == "passed"


def test_a_machine_that_is_busy():
    status, said = judged(busy=5)["busy"]
    assert status == "failed"
    assert said == "in 15 of 72 blocks another process was at work: cc1plus (0.19 cores on the average)"


def test_a_race_whose_control_failed_ranks_nothing(tmp_path):
    passes = [write(tmp_path, "torch", n, {name: record(1.0) for name in ("scratch", "tuned")}) for n in range(1, 7)]
    calm, held_up = (leaderboard.build(passes, [], name="x", turns=blocks(busy=of)) for of in (0, 2))
    assert [row.rank for row in calm.tables[0].rows] == [1, 2]
    assert [row.rank for row in held_up.tables[0].rows] == [None, None]
    assert {row.said for row in held_up.tables[0].rows} == {"no rank: a control of the race failed"}
    assert {row.low for row in held_up.tables[0].rows} == {None}
    assert standings.no_ranks(calm) == ""
    assert standings.no_ranks(held_up).startswith("No ranks: a control of this race failed")
    assert any(line.startswith("failed: in 36 of 72 blocks") for line in standings.controlled(held_up))


def test_times_are_those_of_blocks(tmp_path):
    """And not what its processes say of themselves; a start that was broken off counts with the blocks that it has."""
    passes = [write(tmp_path, "torch", n, {name: record(9.0) for name in ("scratch", "tuned")}) for n in range(1, 6)]
    passes.append(write(tmp_path, "torch", 6, {"scratch": None, "tuned": None}, done=False))
    (table,) = leaderboard.build(passes, [], name="x", turns=blocks(noise=0.001)).tables
    assert [row.implementation for row in table.rows] == ["tuned", "scratch"]
    assert [row.seconds for row in table.rows] == [pytest.approx(1.0, rel=0.01), pytest.approx(2.0, rel=0.01)]
    assert [set(row.passes) for row in table.rows] == [set("123456")] * 2
    assert {row.blocks for row in table.rows} == {72}
    assert {row.status for row in table.rows} == {"equal"}


def test_no_blocks_no_controls(tmp_path):
    board = leaderboard.build(race(tmp_path, {"torch": [1.0] * 3}), [], name="x")
    assert board.controls == []
    assert standings.counted(board) == "3 passes"


def test_another_process_is_noticed():
    """By its name; and our own is not."""
    spins = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(spins, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            process.stdout.readline()
            theirs, own = busy.Watch([]), busy.Watch([process.pid])
            before = busy._ticks()[process.pid]
            deadline = time.monotonic() + 60
            # However little of a core it is given on a machine at work.
            while busy._ticks()[process.pid][2] - before[2] < 50 and time.monotonic() < deadline:
                time.sleep(0.02)
            seen = theirs.taken()
            assert seen[before[0]] > own.taken().get(before[0], 0.0)
        finally:
            process.kill()


def test_who_has_begun_meanwhile_is_named(monkeypatch):
    """And what our own have begun is nobody else's."""
    looks = iter([{1: ("old", 1, 500)}, {1: ("old", 1, 500), 2: ("cc1plus", 2, 90), 4: ("ours", 3, 90)}])
    all_ticks = iter([500, 680])
    monkeypatch.setattr(busy, "_ticks", lambda: next(looks))
    monkeypatch.setattr(busy, "_all_ticks", lambda: next(all_ticks))
    taken = busy.Watch([3]).taken()
    assert set(taken) == {"old", "cc1plus", busy.UNSEEN}
    assert taken["old"] == 0.0
    assert taken["cc1plus"] > taken[busy.UNSEEN]


def test_outcomes_may_have_no_row_at_all(tmp_path):
    """A contender that had no turn in any start."""
    passes = [write(tmp_path, "torch", 1, {"scratch": record(1.0), "native": record(1.0)})]
    (table,) = leaderboard.build(passes, [], name="x", turns=blocks(starts=1, names=NAMES[:1])).tables
    statuses = {row.implementation: (row.status, row.why) for row in table.rows}
    assert statuses == {
        "scratch": ("equal", ""),
        "native": ("unfinished", "the race was broken off before it had a turn"),
    }
    assert rows.read(passes[0].path).is_done


def unwatched(made):
    return [structs.replace(block, watched=False, busy={}) for block in made]


def test_where_nobody_can_look_nothing_is_said():
    """And of a race that was begun where somebody looks, and gone on with where nobody does."""
    busy = {control.kind: control for control in controls.judge(unwatched(blocks(busy=5)), device="cpu")}["busy"]
    assert (busy.status, busy.said) == (
        "unknown",
        "nobody looked at what else was at work in 72 blocks: only Linux tells that",
    )
    made = blocks(busy=20)
    for some, status in ((made, "passed"), ([*made[:60], *unwatched(made[60:])], "unknown")):
        (busy,) = [control for control in controls.judge(some, device="cpu") if control.kind == "busy"]
        assert busy.status == status
    assert busy.said.startswith("in 3 of 60 blocks another process was at work: ")
    assert busy.said.endswith("; nobody looked in 12 more")


def test_a_page_shows_a_control_that_says_nothing(tmp_path):
    """Without being asked."""
    passes = [write(tmp_path, "torch", n, {name: record(1.0) for name in ("scratch", "tuned")}) for n in range(1, 7)]
    for made, is_open in ((blocks(), False), (unwatched(blocks()), True)):
        board = leaderboard.build(passes, [], name="x", turns=made)
        assert standings.no_ranks(board) == ""
        page = render.template("leaderboard.html.jinja", autoescape=True).render(standings.context(board))
        assert ('<details id="race-controls" open>' in page) == is_open
        assert ("unknown: nobody looked at what else was at work in 72 blocks" in page) == is_open


def test_only_linux_tells_what_others_do(monkeypatch, tmp_path):
    assert busy.Watch([]).can_look
    monkeypatch.setattr(busy, "PROC", tmp_path)
    watch = busy.Watch([])
    assert not watch.can_look
    assert watch.others() == {}
