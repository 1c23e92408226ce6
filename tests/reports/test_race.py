"""A race without frameworks: an interpreter of the test's own stands in for theirs, and does what it is told."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frameworks.harness import race
from reports.race import leaderboard, races
from shared_spec import language_model
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.language_model import corpus
from shared_spec.race import definition, rows
from shared_spec.race.definition import Race
from tests.conftest import heed_ctrl_c
from tests.processes import descendants, gone

WORKLOAD = "training-step-chapter-gru-float32"
STAND_IN = """\
#!{python}
import json, os, signal, sys, time
sys.path.insert(0, {root!r})
from shared_spec import processes
processes.end_with_parent()
arguments = sys.argv[1:]
def option(name):
    return arguments[arguments.index(name) + 1]
told = json.load(open({told!r}))
ours = {{name: value for name, value in os.environ.items() if name.startswith(("ISOGRU", "OMP"))}}
with open({log!r}, "a") as log:
    log.write(json.dumps([arguments, ours]) + "\\n")
if "memory" in arguments:
    framework = arguments[arguments.index("frameworks") + 1]
    for row in [arguments[i + 1] for i, word in enumerate(arguments) if word == "--row"]:
        workload, _, implementation = row.partition("/")
        row = {{"framework": framework, "workload": workload, "implementation": implementation, "bytes": 1000}}
        print(json.dumps(row), flush=True)
    sys.exit(0)
if "refused" in told:
    print("Exit: isogru: " + told["refused"])
    sys.exit(2)
first, number = int(option("--from-row")), int(option("--pass"))
plan = [dict(workload={workload!r}, implementation=name, lane=name) for name in told["plan"]]
with open(option("--rows"), "a") as stream:
    def line(**record):
        stream.write(json.dumps(record) + "\\n")
        stream.flush()
    if not first:
        known = dict(device="cpu", threads=2, tf32=False, plan=plan, versions={{}}, switches={{}}, corpus="")
        framework = arguments[arguments.index("frameworks") + 1]
        line(format="isogru-rows/2", framework=framework, machine={{"processor": "one"}}, **known,
             **{{"pass": number, "import": 0.1}})
    for row in plan[first:]:
        name = row["implementation"]
        line(line="begin", row=row)
        if name.endswith(told.get("dies", "nowhere")):
            print("last words")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGSEGV)
        if name.endswith(told.get("hangs", "nowhere")):
            time.sleep(60)
        equal = dict(verdict="equal", why="", ratio=0.1, error=0.0, first=1.0, issue=0.1)
        line(line="end", row=row, outcome=dict(seconds=[1.0 + number / 100], **equal))
    if told.get("stops") and number == told["stops"]:
        sys.exit(3)
    line(line="done")
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
        self.tell(plan=["scratch", "compiled", "tuned"])

    def tell(self, **told):
        self._told.write_text(json.dumps({"plan": ["scratch", "compiled", "tuned"], **told}))

    @property
    def calls(self):
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def passes(self):
        """Framework and pass of each call that was one."""
        found = []
        for arguments, _ in self.calls:
            if "bench" in arguments:
                found.append((arguments[arguments.index("frameworks") + 1], arguments[arguments.index("--pass") + 1]))
        return found


@pytest.fixture
def stand_in(tmp_path):
    return StandIn(tmp_path)


@pytest.fixture
def one():
    # Prediction needs no reference: nothing is made before the race.
    chosen = Race("2026-01-01T00-00-00", ["torch", "jax", "mxnet"], ["prediction"], passes=4, threads=2)
    definition.begin(chosen)
    return chosen


def run(one, stand_in, text):
    said = []
    race.run(one, dict.fromkeys(one.frameworks, str(stand_in.path)), text, said.append)
    return said


def test_frameworks_take_turns_in_shuffled_order(one, stand_in, text):
    said = run(one, stand_in, text)
    passes = stand_in.passes()
    assert [number for _, number in passes] == [n for n in "1234" for _ in range(3)]
    orders = [[name for name, number in passes if number == n] for n in "1234"]
    assert all(sorted(order) == ["jax", "mxnet", "torch"] for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert orders == [one.order(int(n)) for n in "1234"]
    assert [line.split(",")[0] for line in said if line.startswith("pass 1")] == [
        f"pass 1 of 4: {name}" for name in one.order(1)
    ]
    board = races.board(one)
    assert board.passes == 4
    assert {row.memory for row in board.tables[0].rows} == {1000}
    assert len(board.tables[0].rows) == 9
    # Each framework compiles into a folder of its own, which is gone afterwards, as is what was judged by.
    caches = {environment["ISOGRU_COMPILE_CACHE"] for _, environment in stand_in.calls}
    assert len(caches) == 3
    assert not any(Path(cache).exists() for cache in caches)
    assert {environment["OMP_NUM_THREADS"] for _, environment in stand_in.calls} == {"2"}


def test_a_process_that_dies_is_a_row_that_says_so(one, stand_in, text):
    stand_in.tell(dies="compiled")
    said = run(one, stand_in, text)
    assert said[1].endswith("1 of them not equal or failed")
    (table,) = races.board(one).tables
    by_status = {(row.implementation, row.status) for row in table.rows}
    assert by_status == {("scratch", "equal"), ("tuned", "equal"), ("compiled", "failed")}
    assert {row.why for row in table.rows if row.status == "failed"} == {"ended by SIGSEGV: last words"}


def test_a_request_that_is_refused(one, stand_in, text):
    stand_in.tell(refused="torch has no implementation or lane 'fast'; it has scratch")
    with pytest.raises(UserError, match="has no implementation or lane 'fast'; it has scratch"):
        run(one, stand_in, text)
    assert races.latest_board() is None


def test_a_pass_that_is_cut_off_goes_on(one, stand_in, text):
    stand_in.tell(stops=3)
    with pytest.raises(UserError, match=r"pass 3 was cut off: ended with exit status 3.*--resume 2026-01-01T00-00-00"):
        run(one, stand_in, text)
    # What was complete is there, and ranked.
    board = races.board(one)
    assert board.passes == 3
    assert board.trouble == [f"{one.order(3)[0]}.cpu.3.jsonl: cut off after 3 of 3 rows; race again"]
    stand_in.tell()
    before = len(stand_in.calls)
    run(one, stand_in, text)
    # The rest of that pass, in which nothing is left to be timed, the two other frameworks, and the fourth pass.
    assert [number for _, number in stand_in.passes()[before:]] == list("333444")
    assert stand_in.calls[before][0][stand_in.calls[before][0].index("--from-row") + 1] == "3"
    assert races.board(one).trouble == []


def test_a_finished_race_is_not_run_again(one, stand_in, text):
    run(one, stand_in, text)
    calls = len(stand_in.calls)
    run(one, stand_in, text)
    assert len(stand_in.calls) == calls


def test_what_is_chosen_is_passed_on(stand_in, text):
    chosen = Race("x", ["jax"], ["prediction"], 1, "cuda", 3, 0.1, True, ["rnn"], ["tuned", "scratch"])
    definition.begin(chosen)
    assert definition.read(chosen.folder / "race.json") == chosen
    run(chosen, stand_in, text)
    arguments = " ".join(stand_in.calls[0][0])
    for words in (
        "-m frameworks jax bench",
        "--device cuda --threads 3 --pass 1 --seconds 0.1 --from-row 0",
        "--tf32 --workload prediction --cell rnn --implementation tuned --implementation scratch",
    ):
        assert words in arguments


@pytest.mark.parametrize("content", ["", "{}", '{"format": "isogru-race/9"}', '{"format": "isogru-race/1"}'])
def test_races_that_are_none(one, content):
    file = one.folder / "race.json"
    file.write_text(content)
    with pytest.raises(UserError, match="race again"):
        definition.read(file)


def test_races_that_are_not_there(one, command):
    done = command("reports", "race", "--resume", "yesterday")
    assert done.returncode == 2
    assert done.stderr == f"isogru: no race 'yesterday'; there are {one.name}\n"
    done = command("reports", "race", "--resume", one.name, "--passes", "7")
    assert done.returncode == 2
    assert done.stderr.endswith("leave out what to race, and how\n")
    done = command("reports", "race", "torhc")
    assert done.returncode == 2
    assert (
        done.stderr.splitlines()[-1] == "isogru: no framework 'torhc'; the frameworks are torch, tensorflow, jax, mxnet"
    )
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
    stand_in.tell(hangs="tuned")
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
        file = one.file(one.order(1)[0], 1)
        for _ in range(1200):
            if file.exists() and (begun := rows.read(file).begun) and begun.implementation == "tuned":
                break
            time.sleep(0.05)
        yield process, file


def test_ctrl_c(one, stand_in, tmp_path):
    """Ends at once what it has started, keeps what is complete, and says how to go on."""
    with racing(one, stand_in, tmp_path) as (process, file):
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.splitlines()[-1].endswith(f"python -m reports race --resume {one.name}")
    assert "Traceback" not in said
    found = rows.read(file)
    assert len(found.outcomes) == 2
    (table,) = leaderboard.build([found], [], name="x").tables
    statuses = {row.implementation: row.status for row in table.rows}
    assert statuses == {"scratch": "equal", "compiled": "equal", "tuned": "unfinished"}


def test_sigkill(one, stand_in, tmp_path):
    """Nobody is told of it, and nothing runs on: neither the harness nor the pass; and the race can be gone on with."""
    with racing(one, stand_in, tmp_path) as (process, _):
        started = descendants(process.pid)
        assert len(started) == 2
        process.kill()
    assert gone(started)
    with store.lock(".race.lock").acquire(timeout=0):
        pass


def test_a_race_of_another_version_is_left_out(one, stand_in, text):
    """The page then has the one before it, and is not held up."""
    run(one, stand_in, text)
    later = Race("2026-01-02T00-00-00", ["torch"], ["prediction"], passes=1, threads=2)
    definition.begin(later)
    file = later.file("torch", 1)
    file.write_text(one.file("torch", 1).read_text().replace("training-step-chapter", "training-step-gone"))
    with pytest.raises(UserError, match="these benchmarks are of another version; race again"):
        races.board(later)
    found = races.latest_board()
    assert found is not None
    assert found.name == one.name
    file.write_text('{"format": "isogru-rows/9"}\n')
    assert races.latest_board().name == one.name


def test_a_page_of_a_race_alone(one, stand_in, text, command, tmp_path):
    """Where nothing has been proven yet but what was raced."""
    run(one, stand_in, text)
    done = command("reports", "site", "-o", str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "site" / "leaderboard.json").read_text())["name"] == one.name
    assert "no framework: there is no result yet" in (tmp_path / "site" / "report.md").read_text()
