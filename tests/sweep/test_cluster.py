"""Sweeps on Ray: on one machine, on two nodes of which one is killed, broken off and gone on with."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
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
from tests.conftest import heed_ctrl_c

ROOT = Path(__file__).parents[2]
# Ray puts the address of the machine in place of 127.0.0.1, and would be looked for where it is not.
HERE = "127.0.0.2"
# Few steps: the chapter's 32 take several times as long.
GRID = ("--grid", "num_hiddens=3,4,5,6", "--grid", "lr=0.5,1,2", "--grid", "num_steps=5", "--seeds", "1")
TRIALS = 12
SHORT = ("--epochs", "1")
LONG = ("--epochs", "60")


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch, tmp_path):
    # A driver started for one cluster must not find another.
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.setenv("ISOGRU_RESULTS", str(tmp_path / "results"))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "trials.sqlite"


@contextmanager
def sweeping(framework, file, *options) -> Iterator[subprocess.Popen[str]]:
    """`python -m frameworks NAME sweep`, and the end of it and of all that it has started."""
    command = [sys.executable, "-m", "frameworks", framework, "sweep", *GRID, "--store", str(file), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True, preexec_fn=heed_ctrl_c
    ) as process:
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    for pid in [*descendants(process.pid), process.pid]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def descendants(pid: int) -> list[int]:
    """Processes that it has started, and theirs, the last first."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[:0:-1]


def still_there(pids: list[int], seconds: float = 10) -> list[int]:
    """Which of these processes do not end within some seconds."""
    until = time.monotonic() + seconds
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < until:
        time.sleep(0.1)
    return left


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
    keys, found = outcomes(file)
    assert len(keys) == len(set(keys)) == len(found) == TRIALS
    assert {o.status for o in found.values()} == {FINISHED}
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HERE, 0))
        return int(found.getsockname()[1])


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


def test_a_sweep_of_its_own_workers(framework_name, file):
    with sweeping(framework_name, file, *SHORT, "--workers", "2") as process:
        out, err = finished(process)
    assert process.returncode == 0, err
    check_all(file)
    assert f"{TRIALS} finished" in out
    plain = [line for line in err.splitlines() if re.match(rf".*: \d+/{TRIALS}, ", line)]
    assert len(plain) == TRIALS + 1
    assert "\r" not in err
    with sweeping(framework_name, file, *SHORT) as again:
        out_again, _ = finished(again)
    assert (again.returncode, out_again) == (0, out)


def test_a_node_is_killed_in_the_middle(framework_name, file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("r")
    with two_nodes(folder) as (address, second), sweeping(framework_name, file, *LONG, "--address", address) as process:
        before = wait_for(file, 2, process)
        assert before < TRIALS
        end(second)
        _, err = finished(process)
    assert process.returncode == 0, err
    found = check_all(file)
    # What the lost node was at has been begun twice, and is there once.
    assert 2 in {outcome.attempts for outcome in found.values()}


def test_the_driver_is_killed_and_the_same_command_goes_on(framework_name, file):
    with sweeping(framework_name, file, *LONG, "--workers", "2") as process:
        wait_for(file, 2, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = outcomes_so_far(file)
    assert 2 <= len(before) < TRIALS
    with sweeping(framework_name, file, *LONG, "--workers", "2") as process:
        _, err = finished(process)
    assert process.returncode == 0, err
    found = check_all(file)
    # What was there has not been run again.
    assert {key: found[key].seconds for key in before} == {key: o.seconds for key, o in before.items()}


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_at_once_and_says_how_to_go_on(framework_name, file, ending):
    with sweeping(framework_name, file, *LONG, "--workers", "2") as process:
        wait_for(file, 1, process)
        started = descendants(process.pid)
        process.send_signal(ending)
        _, err = finished(process, seconds=20)
        left = still_there(started)
    assert process.returncode == 130
    kept = len(outcomes_so_far(file))
    assert f"broken off; {kept} of {TRIALS} trials are kept in {file}: the same command goes on" in err
    assert "Traceback" not in err
    assert len(started) > 2
    assert left == []


def test_a_cluster_that_is_not_there(framework_name, file):
    with sweeping(framework_name, file, "--address", f"{HERE}:{free_port()}") as process:
        _, err = finished(process)
    assert process.returncode == 2
    assert "cannot be reached" in err.splitlines()[-1]
    assert "Traceback" not in err
    # A sweep that nobody could run leaves its name free.
    assert TrialStore(file).sweeps() == {}


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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--address", "somewhere"], "should be a host and a port"),
        (["--address", "a..b:6379"], "the cluster at a..b:6379 cannot be reached"),
    ],
)
def test_an_address_that_is_wrong_is_one_line(framework_name, command, options, words):
    done = command("frameworks", framework_name, "sweep", *options)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_name_stands_for_one_sweep(framework_name, command, file):
    keep = ("frameworks", framework_name, "sweep", "--epochs", "1", "--store", str(file), "--name", "mine")
    assert command(*keep, "--grid", "num_hiddens=3").returncode == 0
    done = command(*keep, "--grid", "num_hiddens=4")
    assert done.returncode == 2
    assert "has another sweep of the name 'mine'; choose another --name" in done.stderr
    assert len(outcomes_so_far(file)) == 1
