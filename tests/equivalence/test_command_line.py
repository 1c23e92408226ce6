"""The command lines of the contracts, as a user types them, where the framework under test is installed."""

from __future__ import annotations

import json
import re
import sys

import pytest

import frameworks
from frameworks.__main__ import app
from frameworks.harness import child
from shared_spec.files import store
from shared_spec.files.store import Job


@pytest.fixture(autouse=True)
def _own_results(results):
    """The commands write to a folder of the test's own."""


def own_lines(stderr):
    """What a command says, without TensorFlow's greetings, which cannot be silenced."""
    return [
        line for line in stderr.splitlines() if not re.match(r"\d{4}-\d\d-\d\d |[IWE]\d{4} |WARNING: All log", line)
    ]


def test_from_a_case_to_a_verdict(framework_name, command, process, tmp_path):
    """The run is a process of its own, as a user starts it."""
    case, result, oracle = (str(tmp_path / f"{name}.safetensors") for name in ("case", "result", "oracle"))
    assert command("shared_spec", "case", "gru_reset_after-no_inner_bias", "-o", case).returncode == 0
    assert command("shared_spec", "run", case, "-o", oracle).returncode == 0
    done = process("frameworks", framework_name, "run", case, "--implementation", "native", "-o", result)
    assert (done.returncode, own_lines(done.stderr)) == (0, [])
    judged = command("reports", "verdict", case, result, oracle)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert judged.stdout.count("✓ equal: ") == 2
    as_json = json.loads(command("reports", "verdict", case, result, "--json").stdout)
    assert as_json[0]["verdict"] == "equal"
    claimed = command("reports", "verdict", case, result, "--claim", "gru")
    assert claimed.returncode == 1
    assert "✗ different: " in claimed.stdout
    assert "should be" in claimed.stdout


def test_list(framework_name, command):
    rows = json.loads(command("frameworks", framework_name, "list", "--json").stdout)
    assert all(set(row) == {"name", "cell", "lane", "dtypes", "available", "reason"} for row in rows)
    lanes = {"scratch", "compiled", "native", "tuned", "chapter", *(["parallel"] if framework_name == "jax" else [])}
    assert {row["lane"] for row in rows} == lanes
    shown = command("frameworks", framework_name, "list").stdout
    assert len(shown.splitlines()) == len(rows)


def test_requests_that_are_wrong(framework_name, command, tmp_path):
    case = str(tmp_path / "case.safetensors")
    out = tmp_path / "out.safetensors"
    command("shared_spec", "case", "gru-ordinary", "-o", case)
    other = next(name for name in frameworks.NAMES if name != framework_name)
    for arguments, said in (
        ((framework_name, "run", case, "--implementation", "cudnn"), "has no implementation 'cudnn' of gru"),
        (
            (framework_name, "run", case, "--implementation", "chapter-scratch"),
            "chapter-scratch only trains: it runs trainings, such as short-training-gru, and gru-ordinary is none",
        ),
        ((framework_name, "run", case, "--dtype", "float16"), "no dtype 'float16'; the dtypes are float32, float64"),
        ((framework_name, "run", case, "--device", "tpu"), f"{framework_name} has no device 'tpu' here; it has cpu"),
        (("caffe", "run", case), "no framework 'caffe'; the frameworks are torch, tensorflow, jax, mxnet"),
        ((other, "run", case), f"framework {other} asked for but not importable here; run tox -e {other}"),
        ((framework_name, "run", str(tmp_path / "none")), "no such file"),
    ):
        done = command("frameworks", *arguments, "-o", str(out))
        assert (done.returncode, len(own_lines(done.stderr))) == (2, 1), done.stderr
        assert own_lines(done.stderr)[0].startswith("isogru: ")
        assert said in done.stderr
        assert not out.exists()


def test_prove_and_the_report(framework_name, command, tmp_path):
    # In both dtypes: each has a worker of its own.
    chosen = ("--case", "gru-one_unit", "--implementation", "scratch")
    done = command("frameworks", framework_name, "prove", *chosen)
    assert done.returncode == 0, done.stderr
    assert f"{framework_name}: 2 results" in done.stdout
    site = command("reports", "site", "--framework", framework_name, "-o", str(tmp_path / "site"))
    assert site.returncode == 0, site.stdout
    assert f"{framework_name}: all 2 results are equal to the cells that they claim." in site.stdout
    assert (tmp_path / "site" / "index.html").exists()
    # What a worker refuses: tests/spec/test_refused.py.
    for arguments, said in (
        (("--case", "gru-none"), "no case 'gru-none'; python -m shared_spec cases lists them"),
        (("--case", "gru-ordinary", "--case", "rnn-none"), "no case 'rnn-none'"),
    ):
        wrong = command("frameworks", framework_name, "prove", *arguments)
        assert (wrong.returncode, said in wrong.stderr) == (2, True)


CRASHES = """
import os, signal, sys
from pathlib import Path
import frameworks.{name}.cells as cells
from frameworks import __main__ as main

def killed(*args, **kwargs):
    print("last words of the crash", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

def raising(*args, **kwargs):
    raise ValueError("a message of its own")

cells.CELLS["rnn"] = killed
cells.CELLS["gru_reset_only"] = raising
main.app()
"""
WORDS = {"rnn": "ended by SIGKILL: ", "gru_reset_only": "ValueError: a message of its own"}


def test_a_crash_leaves_a_record_and_does_not_stop_the_others(framework_name, monkeypatch, capsys):
    """The worker is started with a cell that ends it and one that raises; the jobs before and after them are done all
    the same. Killed, not SIGSEGV: MXNet catches that one.
    """
    real = child.subprocess.Popen

    def with_a_crash(command, **options):
        assert command[1:3] == ["-m", "frameworks"]
        return real([sys.executable, "-c", CRASHES.format(name=framework_name), *command[3:]], **options)

    monkeypatch.setattr(child.subprocess, "Popen", with_a_crash)
    cells = ("gru_reset_only", "rnn", "gru", "gru_update_only")
    arguments = [word for cell in cells for word in ("--case", f"{cell}-ordinary")]
    arguments += ["--implementation", "scratch", "--dtype", "float32"]
    with pytest.raises(SystemExit) as ended:
        app([framework_name, "prove", *arguments])
    assert ended.value.code == 1
    failed = [line for line in capsys.readouterr().err.splitlines() if "FAILED" in line]
    jobs = {cell: Job(framework_name, f"{cell}-ordinary", "scratch", "float32", "cpu") for cell in cells}
    assert len(failed) == len(WORDS)
    for cell, words in WORDS.items():
        said = f"{framework_name}: FAILED {cell}-ordinary.scratch.float32.cpu: {words}"
        assert [line.startswith(said) for line in failed].count(True) == 1
        assert store.read_failure(jobs[cell]).startswith(words)
    assert "last words of the crash" in store.read_failure(jobs["rnn"])
    assert {cell for cell in cells if jobs[cell].result_file.exists()} == set(cells) - set(WORDS)
    assert len(store.read_manifest(framework_name).jobs) == len(cells)
