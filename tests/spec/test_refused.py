"""A request that is refused has written nothing: neither a text, nor a folder, nor a lock."""

from __future__ import annotations

import importlib
import json
import os
import sys

import pytest

import frameworks
from frameworks.__main__ import app
from frameworks.harness import race, supervisor, worker
from frameworks.harness.worker import Choice
from shared_spec.command import main
from shared_spec.errors import UserError
from shared_spec.race import definition
from shared_spec.race.definition import Race

PARTS = ("runtime", "cells", "layers", "tuned", "parallel", "chapter", "language_model", "peak")
NOBODY = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def _stub(results, monkeypatch):
    """In place of PyTorch, which is not there where these tests are run."""
    parts = {part: importlib.import_module(f"tests.stub.{part}") for part in PARTS}
    monkeypatch.setattr(frameworks, "check_installed", lambda name: None)
    monkeypatch.setattr(frameworks, "load", lambda name: frameworks.Framework(name, **parts))


def refused(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(lambda: app(["torch", *arguments]))
    return ended.value.code == 2


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"implementations": ("cudnn",)}, "no implementation 'cudnn'"),
        ({"dtypes": ("float16",)}, "no dtype 'float16'"),
        ({"device": "tpu"}, "no device 'tpu'"),
    ],
)
def test_by_a_worker(results, text, choice, words):
    with pytest.raises(UserError, match=words):
        worker.work("torch", Choice(("gru-one_step",), **choice), text, first=0, tell=sys.stderr)
    assert not results.exists()


def test_a_worker_with_nothing_to_do(results, text, capfd):
    with os.fdopen(os.dup(1), "w") as tell:
        worker.work("torch", Choice(("rnn-one_step",)), text, first=0, tell=tell)
    assert json.loads(capfd.readouterr().out) == {"plan": 0}
    assert not results.exists()


@pytest.mark.parametrize(
    ("script", "words"), [("echo isogru: no lane >&2; exit 2", "^no lane"), ("""echo '{"plan": 0}'""", "nothing to do")]
)
def test_by_the_supervisor(results, text, tmp_path, monkeypatch, script, words):
    """Who starts a worker has written nothing either when that one refuses, or has nothing to do."""
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\n{script}\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(supervisor.sys, "executable", str(stand_in))
    with pytest.raises(UserError, match=words):
        supervisor.supervise("torch", text, ["--threads", "1"], [[]])
    assert not results.exists()


@pytest.mark.parametrize(
    ("arguments", "threads"),
    [(["--dtype", "float32", "--dtype", "float16"], ""), ([], "x"), (["--case", "gru-none"], "")],
)
def test_prove(results, monkeypatch, arguments, threads):
    monkeypatch.setenv("ISOGRU_THREADS", threads)
    assert refused("prove", *arguments)
    assert not results.exists()


@pytest.mark.parametrize("address", ["somewhere", "a..b:6379", NOBODY, "127.0.0.1:70000", "127.0.0.1:²", "127.0.0.1:0"])
@pytest.mark.parametrize("command", [("sweep",), ("compare", "--study", "halves")])
def test_an_address(results, tmp_path, capsys, monkeypatch, command, address):
    file = tmp_path / "trials.sqlite"
    if command[0] == "compare":
        # The study's lanes and cells are those of a whole framework.
        monkeypatch.setattr("frameworks.sweep.command.choose", lambda *arguments: "scratch")
    assert refused(*command, "--address", address, "--store", str(file))
    assert address in capsys.readouterr().err.splitlines()[-1]
    assert not file.exists()
    assert not results.exists()


def test_a_race(results, text, tmp_path, monkeypatch, capsys):
    """What a framework refuses, which only it can know."""
    (tmp_path / "text.txt").write_text(text.text)
    one = Race("2026-01-01T00-00-00", ["torch"], ["prediction"], implementations=["cudnn"], threads=1)

    def refuse(*arguments):
        raise UserError("torch has no implementation 'cudnn'")

    monkeypatch.setattr(race, "interpreters", lambda *arguments: {"torch": sys.executable})
    monkeypatch.setattr(race, "run", refuse)
    request = {"race": vars(one), "is_new": True, "corpus": str(tmp_path / "text.txt"), "corpus_sha1": text.sha1}
    with pytest.raises(UserError, match="cudnn"):
        race._carry_out(request)
    assert not one.folder.exists()
    # One that goes on is left as it was.
    definition.begin(one)
    with pytest.raises(UserError, match="cudnn"):
        race._carry_out(request | {"is_new": False})
    assert one.folder.exists()


def test_a_race_of_the_same_second(results, text, tmp_path, monkeypatch):
    """It would have the folder of another, which is not its own to take away."""
    (tmp_path / "text.txt").write_text(text.text)
    one = Race("2026-01-01T00-00-00", ["torch"], ["prediction"], threads=1)
    definition.begin(one)
    monkeypatch.setattr(race, "interpreters", lambda *arguments: {"torch": sys.executable})
    request = {"race": vars(one), "is_new": True, "corpus": str(tmp_path / "text.txt"), "corpus_sha1": text.sha1}
    with pytest.raises(UserError, match="another race has begun in this second"):
        race._carry_out(request)
    assert definition.read(one.folder / "race.json") == one
