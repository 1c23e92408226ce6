"""Sweeps on Ray: on one machine, on two nodes of which one is killed, broken off and gone on with.

One of them is run in the framework under test. What Ray does is the same in any: the others are run in one that is made
of NumPy, in a copy of the project, and need not wait for a framework to be imported by each process.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import frameworks
from frameworks.__main__ import app
from shared_spec.command import main
from shared_spec.sweeps.trial_store import TrialStore
from shared_spec.sweeps.trials import FINISHED
from tests import listening, project_copy
from tests.conftest import heed_ctrl_c
from tests.processes import bearing, descendants, gone
from tests.project_copy import ROOT, STUB

MARK = "ISOGRU_TEST"
"""The environment variable by which all that a test has started is found."""
# Ray puts the address of the machine in place of 127.0.0.1, and would be looked for where it is not.
HERE = "127.0.0.2"
# Few steps: the chapter's 32 take several times as long.
GRID = ("--grid", "num_hiddens=3,4,5,6", "--grid", "lr=0.5,1,2", "--grid", "num_steps=5", "--seeds", "1")
TRIALS = 12
SHORT = ("--epochs", "1")
LONG = ("--epochs", "20")


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """A copy of the project with the framework that is made of NumPy."""
    return project_copy.add_stub(project_copy.project(tmp_path_factory.mktemp("project")))


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch, tmp_path):
    # A driver started for one cluster must not find another.
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.setenv("ISOGRU_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv(MARK, tmp_path.name)


@pytest.fixture(autouse=True)
def temporary(monkeypatch, tmp_path):
    """The folder for temporary files. Whatever a test does, nothing of Ray is left there, and no process anywhere."""
    # Short, since Ray has sockets in it.
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)
        assert gone(bearing(MARK, tmp_path.name))
        # A framework may keep what it compiles.
        assert list(Path(folder).glob("*ray*")) == []


@pytest.fixture
def file(tmp_path):
    return tmp_path / "trials.sqlite"


@contextmanager
def sweeping(file, *options, framework=STUB, root=ROOT) -> Iterator[subprocess.Popen[str]]:
    """`python -m frameworks NAME sweep`, and the end of it."""
    command = [sys.executable, "-m", "frameworks", framework, "sweep", *GRID, "--store", str(file), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=root, stdout=pipe, stderr=pipe, text=True, start_new_session=True, preexec_fn=heed_ctrl_c
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a node, of which everything dies at once."""
    for pid in [*descendants(process.pid), process.pid]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def hold_in_a_trial(node: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Stop a process of a node while it is at a trial: it may join late, and is at none between two."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for pid in filter(at_a_trial, descendants(node.pid)):
            os.kill(pid, signal.SIGSTOP)
            if at_a_trial(pid):
                return
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)
    raise AssertionError(f"no trial on the second node within {seconds} s")


def at_a_trial(pid: int) -> bool:
    """By the title that Ray gives a process: that of the function that it runs, or ray::IDLE."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::run")
    except OSError:
        return False


def finished(process: subprocess.Popen[str], seconds: float = 300) -> tuple[str, str]:
    out, err = process.communicate(timeout=seconds)
    return out, err


def outcomes(file: Path):
    kept = TrialStore(file)
    (keys,) = [keys for _, keys in kept.sweeps().values()]
    return keys, kept.outcomes(keys)


def wait_for(file: Path, count: int, process: subprocess.Popen[str], seconds: float = 120) -> int:
    """Until so many trials are kept, while the sweep goes on."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        if file.exists() and (done := len(outcomes_so_far(file))) >= count:
            return done
        time.sleep(0.2)
    raise AssertionError(f"fewer than {count} trials within {seconds} s")


def outcomes_so_far(file: Path):
    kept = TrialStore(file)
    return {k: o for _, keys in kept.sweeps().values() for k, o in kept.outcomes(keys).items()}


def check_all(file: Path):
    """All trials of the grid, each once, finished."""
    keys, trials = outcomes(file)
    assert len(keys) == len(set(keys)) == len(trials) == TRIALS
    assert {o.status for o in trials.values()} == {FINISHED}
    return trials


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HERE, 0))
        return int(listener.getsockname()[1])


@contextmanager
def node(*options: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A node of a cluster on this machine."""
    ray = Path(sys.executable).with_name("ray")
    always = ("--block", f"--node-ip-address={HERE}", "--num-cpus=1", "--object-store-memory=80000000")
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    with (folder / f"node-{time.monotonic_ns()}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(ray), "start", *always, *options], stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            yield process
        finally:
            end(process)


@contextmanager
def two_nodes(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a cluster of two nodes, and the process of the one that is not its head."""
    port = free_port()
    address = f"{HERE}:{port}"
    head = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder / 'ray'}")
    try:
        with node(*head, folder=folder):
            until = time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    socket.create_connection((HERE, port), 1).close()
                    break
                except OSError:
                    time.sleep(0.2)
            with node(f"--address={address}", folder=folder) as second:
                yield address, second
    finally:
        for each in folder.iterdir():
            shutil.rmtree(each, ignore_errors=True) if each.is_dir() else each.unlink(missing_ok=True)


def test_a_sweep_of_its_own_workers(framework_name, file, command, monkeypatch):
    """In the framework under test, from first to last; and the same command again, which has nothing left to do. A name
    stands for one sweep: another is refused before any worker is started.
    """
    asked = (*SHORT, "--name", "mine")
    with sweeping(file, *asked, "--workers", "2", framework=framework_name) as process:
        out, err = finished(process)
    assert process.returncode == 0, err
    before = check_all(file)
    assert f"{TRIALS} finished" in out
    plain = [line for line in err.splitlines() if re.match(rf".*: \d+/{TRIALS}, ", line)]
    assert len(plain) == TRIALS + 1
    assert "\r" not in err
    monkeypatch.delattr("frameworks.sweep.command.Cluster")
    words = (framework_name, "sweep", *GRID, "--store", str(file), *asked)
    again = command("frameworks", *words)
    assert (again.returncode, again.stdout) == (0, out)
    other = command("frameworks", *words, "--seeds", "2")
    assert other.returncode == 2
    assert "has another sweep of the name 'mine'; choose another --name" in other.stderr
    assert outcomes_so_far(file).keys() == before.keys()


def test_a_node_is_killed_in_the_middle(root, file, temporary):
    with two_nodes(temporary) as (address, second), sweeping(file, *LONG, "--address", address, root=root) as process:
        assert wait_for(file, 1, process) < TRIALS
        hold_in_a_trial(second)
        end(second)
        _, err = finished(process)
    assert process.returncode == 0, err
    trials = check_all(file)
    # What the lost node was at has been begun twice, and is there once.
    assert 2 in {outcome.attempts for outcome in trials.values()}


def test_what_is_ended_stops_at_once_and_the_same_command_goes_on(root, file, temporary):
    """By Ctrl-C, by a kill that can be caught, and then by one that cannot. That it goes on to the end, with what a
    dead one was at: tests/spec/test_sweep.py.
    """
    before = {}
    for ending in (signal.SIGINT, signal.SIGTERM):
        with sweeping(file, *LONG, "--workers", "2", root=root) as process:
            wait_for(file, len(before) + 1, process)
            started = descendants(process.pid)
            process.send_signal(ending)
            _, err = finished(process, seconds=20)
            # Already, since it waits for them.
            assert gone(started, within=0)
        assert process.returncode == 130
        before = outcomes_so_far(file)
        said = f"broken off; {len(before)} of {TRIALS} trials are kept in {file}: the same command goes on"
        assert said in err
        assert "Traceback" not in err
        assert len(started) > 2
    with sweeping(file, *LONG, "--workers", "2", root=root) as process:
        wait_for(file, len(before) + 1, process)
        _check_nothing_is_open(process.pid, temporary)
        process.kill()
        process.wait()
        # Long before Ray's own processes would have noticed.
        assert gone(bearing(MARK, os.environ[MARK]), within=5)
        assert list(temporary.glob("*ray*")) == []
    after = outcomes_so_far(file)
    assert len(before) < len(after) < TRIALS
    # What was there has not been run again.
    assert {key: after[key].seconds for key in before} == {key: o.seconds for key, o in before.items()}


def _check_nothing_is_open(driver: int, temporary: Path) -> None:
    """What anybody who looks at a sweep meanwhile would see of it."""
    started = descendants(driver)
    assert len(started) > 5
    # Those of all of Ray's processes, and no other machine reaches one.
    sockets = listening.sockets([driver, *started])
    assert len(sockets) > 3
    assert {address for address, _ in sockets} == {"127.0.0.1"}
    # Nobody else may enter where its sockets in the file system are, and its token is in no file.
    (folder,) = temporary.glob("*ray*")
    assert folder.stat().st_mode & 0o777 == 0o700
    token = os.environ["RAY_AUTH_TOKEN_PATH"]
    environment = Path(f"/proc/{started[-1]}/environ").read_bytes().split(b"\0")
    (secret,) = [each.partition(b"=")[2] for each in environment if each.startswith(b"RAY_AUTH_TOKEN=")]
    assert len(secret) == 64
    assert secret != Path(token).read_bytes()
    assert not [each for each in folder.rglob("*") if each.is_file() and secret in each.read_bytes()]


def test_ctrl_c_while_ray_starts(root, file):
    """It is heeded as soon as Ray has started, which it does not survive being broken off in; nothing has been kept."""
    with sweeping(file, *LONG, "--workers", "2", root=root) as process:
        until = time.monotonic() + 60
        while not descendants(process.pid) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = finished(process, seconds=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == f"broken off; 0 of {TRIALS} trials are kept in {file}: the same command goes on"
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--grid", "momentum=1"], "no setting 'momentum'"),
        (["--grid", "lr="], "a value is empty"),
        (["--grid", "lr=-1"], "should be more than 0"),
        (["--cell", "lstm"], "no cell 'lstm'"),
        (["--lane", "fast"], "no lane 'fast' of gru in float32; it has "),
        (["--task", "copy-0"], "no task 'copy-0'"),
        (["--dtype", "float16"], "no dtype 'float16'"),
        (["--device", "cuda"], "no device 'cuda' here"),
        (["--grid", "num_train=1000000"], "use a longer text, fewer windows"),
        (["--random", "5"], "5 random configurations are asked for; the grid has 1"),
        (["--grid", "num_hiddens=99999999"], "GiB at the least; this machine has"),
        (["--task", "copy-10", "--grid", "num_steps=8,16"], "copy-10 has rows of 16 steps, the recipe of 8"),
        (["--store", str(ROOT / "README.md")], "name another with --store"),
    ],
)
def test_a_request_that_is_wrong_is_one_line(framework_name, capsys, options, words):
    """In this process, which has loaded the framework already: a process for each would load it each time."""
    if "--device" in options and "cuda" in frameworks.load(framework_name).runtime.devices():
        options, words = ["--device", "tpu"], "no device 'tpu' here"
    with pytest.raises(SystemExit) as ended:
        main(lambda: app([framework_name, "sweep", *options]))
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert words in err.splitlines()[-1]
    assert out == ""
