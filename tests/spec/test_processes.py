"""What is started ends with what started it, and what a worker dies of is told: by a stand-in for Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from frameworks.harness import child, supervisor
from shared_spec import processes
from shared_spec.errors import UserError
from shared_spec.files import store
from tests.conftest import heed_ctrl_c
from tests.processes import descendants, gone

ROOT = child.ROOT
BEGUN = 'print("begun", flush=True)\n'
CHILD = f"import time\nfrom shared_spec import processes\nprocesses.end_with_parent()\n{BEGUN}time.sleep(600)\n"
PARENT = f"""
import os, sys
from frameworks.harness.child import Child
with Child([sys.executable, "-c", {CHILD!r}], os.environ, apart=True) as child:
    for line in child.lines():
        print(line, end="", flush=True)
"""
POOL = f"""
import signal, time
from isogru.judge import reference
if __name__ == "__main__":
    with reference.pool(2) as workers:
        for blocked in workers.map(signal.pthread_sigmask, [signal.SIG_BLOCK] * 8, [()] * 8):
            assert signal.SIGINT in blocked
        workers.submit(time.sleep, 600)
        {BEGUN}
        time.sleep(600)
"""
WORKER = """#!{python}
import json, os, signal, sys
first = int(sys.argv[sys.argv.index("--first") + 1])
jobs = ["gru-ordinary", "rnn-ordinary", "gru-one_step"]
print(json.dumps(dict(plan=len(jobs))), flush=True)
for number, case in list(enumerate(jobs))[first:]:
    print(json.dumps(dict(begin=number, job=case + ".scratch.float32.cpu")), flush=True)
    if number == 1:
        print("No space left on device", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    print(json.dumps(dict(end=number, failed="")), flush=True)
"""


@pytest.mark.parametrize("platform", [sys.platform, "elsewhere"])
@pytest.mark.parametrize("script", [PARENT, POOL], ids=["worker", "references"])
def test_what_is_started_ends_with_what_started_it(script, platform, tmp_path):
    """By the kernel; by themselves as if this were a system whose kernel has nothing for it."""
    file = tmp_path / "script.py"
    file.write_text(script)
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.platform = {platform!r}\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        started = descendants(process.pid)
        assert started
        process.kill()
    assert gone(started)


@pytest.mark.parametrize("program", ["frameworks", "reports", "shared_spec", "isogru", "docs"])
def test_ctrl_c_while_a_command_is_imported(program, tmp_path):
    """In a package that all of them import, and which a stand-in makes slow."""
    (tmp_path / "typer.py").write_text(f"import time\n{BEGUN}time.sleep(600)\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", program, "--help"],
        stdout=pipe,
        stderr=pipe,
        text=True,
        cwd=ROOT,
        env=environment,
        preexec_fn=heed_ctrl_c,
    ) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 130


def test_ctrl_c_in_a_terminal_while_references_are_made(tmp_path):
    """It goes to all that was started: none of them says where it was, and none is waited for."""
    file = tmp_path / "script.py"
    file.write_text(POOL)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, str(file)],
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=environment,
        preexec_fn=heed_ctrl_c,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == "begun\n"
        started = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert err.count("Traceback") == 1
    assert gone(started)


def test_a_command_whose_parent_is_gone_ends_as_it_begins():
    """Between being started and asking to be ended: the process that is named is none."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone_before:
        pass
    environment = {**os.environ, processes.PARENT: str(gone_before.pid)}
    done = subprocess.run(
        [sys.executable, "-m", "frameworks", "torch", "--help"], cwd=ROOT, env=environment, check=False
    )
    assert done.returncode == -9


@pytest.fixture
def dying(results, text, tmp_path, monkeypatch):
    """A worker of a framework that dies in its second job, whoever runs it."""
    stand_in = tmp_path / "python"
    stand_in.write_text(WORKER.format(python=sys.executable))
    stand_in.chmod(0o755)
    monkeypatch.setattr(supervisor.sys, "executable", str(stand_in))
    return lambda: supervisor.supervise("torch", text, ["--threads", "1"], [[]])


def test_a_worker_that_dies_is_a_failed_job_and_the_next_goes_on(dying):
    tally = dying()
    words = "ended by SIGSEGV: No space left on device"
    assert (tally.planned, tally.done) == (3, 2)
    assert tally.failed == [f"rnn-ordinary.scratch.float32.cpu: {words}"]
    (file,) = (store.folder() / "torch").glob("*.failed.json")
    assert json.loads(file.read_text())["last_words"] == words


def test_a_failure_that_cannot_be_kept_either(dying, monkeypatch):
    """On a full disk there is no record of it, and no use in going on; it has failed all the same."""

    def full(job, words):
        raise UserError(f"{job.failure_file}: cannot be written: No space left on device")

    monkeypatch.setattr(supervisor.store, "save_failure", full)
    tally = dying()
    assert tally.done == 1
    assert [each.split(": ")[0] for each in tally.failed] == ["rnn-ordinary.scratch.float32.cpu", str(_failure_file())]
    assert tally.failed[-1].endswith("cannot be written: No space left on device")


def _failure_file():
    return store.Job("torch", "rnn-ordinary", "scratch", "float32", "cpu").failure_file
