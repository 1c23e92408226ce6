"""Every command that writes, given every kind of place to write to: written whole, or refused in one sentence with what
was there as it was, and nothing beside it.

Commands and their options are found by looking, as those that read are (test_zoo.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import os
import resource
import socket
import stat
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import frameworks
from isogru import reason
from isogru.explain import UNEXPLAINED, Explanation
from shared_spec import cases, third_party
from shared_spec.command import main
from shared_spec.files import interchange
from shared_spec.language_model.corpus import BUILT_IN
from tests import sample_results
from tests.sample_trials import keep, outcome
from tests.spec.refusals import APPS
from tests.spec.test_zoo import PLACES

PARTS = ("runtime", "cells", "layers", "tuned", "parallel", "chapter", "language_model", "peak")
GIVEN = {"case_file": "case.safetensors", "result_files": "result.safetensors", "result_file": "result.safetensors"}
GIVEN |= {"files": "gru.npz", "name": "gru-one_step"}
WITH = {
    ("isogru", "convert"): ["--to", "torch"],
    ("isogru", "case"): ["gru-one_step"],
    ("shared_spec", "run"): ["--dtype", "float32"],
}
WRITE = [
    place
    for place in PLACES
    # A race and a pack take their time before they write; a race's page is that of `site`.
    if place.writes(place.parameter) and place.command not in ("race", "pack")
]
PAGES = [place for place in WRITE if (place.app, place.parameter) == ("reports", "output")]
"""What writes several files into a folder."""
FILES = [place for place in WRITE if place not in PAGES]
NOBODY = 65534
"""The user of that name: root may write everywhere."""
ROOM = 64
"""Bytes that a file may have on a disk that is full."""


def ids(place):
    return " ".join(place[:3])


@pytest.fixture(scope="module")
def here():
    """A folder that everybody may enter, with everything that is asked for; it is the current one meanwhile."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        patch.chdir(folder)
        for variable in ("ISOGRU_CORPUS", "ISOGRU_CORPUS_SHA1", "ISOGRU_THREADS", "ISOGRU_SITE"):
            patch.delenv(variable, raising=False)
        for name in ("RESULTS", "CACHE", "REFERENCE"):
            patch.setenv(f"ISOGRU_{name}", str(folder / name.lower()))
        parts = {part: importlib.import_module(f"tests.stub.{part}") for part in PARTS}
        patch.setattr(frameworks, "load", lambda name: frameworks.Framework(name, **parts))
        case = cases.build("gru-one_step")
        interchange.write_case(Path("case.safetensors"), case)
        job = sample_results.job("torch", case.name)
        sample_results.save(job)
        sample_results.manifest("torch", [job])
        made = interchange.read_result(job.result_file)
        interchange.write_result(Path("result.safetensors"), replace(made, arrays={"H": -made.arrays["H"]}))
        # What could not be told apart, or it would write nothing.
        patch.setattr(reason, "why", lambda *given: Explanation(UNEXPLAINED, telling=case))
        layer = {"weight_ih_l0": (12, 3), "weight_hh_l0": (12, 4), "bias_ih_l0": (12,), "bias_hh_l0": (12,)}
        random = np.random.RandomState(0)
        np.savez("gru.npz", **{name: random.randn(*shape).astype(np.float32) for name, shape in layer.items()})
        np.savez("other.npz", **dict(np.load("gru.npz")))
        np.save("X.npy", np.zeros((2, 3, 3), np.float32))
        np.save("H0.npy", np.zeros((3, 4), np.float32))
        Path("text").write_bytes(BUILT_IN.read_bytes())
        patch.setenv("ISOGRU_CORPUS_SHA1", hashlib.sha1(BUILT_IN.read_bytes()).hexdigest())
        keep("one", [outcome()])
        third_party.write(third_party.Package("package", {}, {}, []))
        yield folder


def asked(place, given):
    """How a command ends that is to write there: its status, and what it says on standard error."""
    words = ["torch"] if place.app == "frameworks" else []
    words.append(place.command)
    for option, name in place.needed:
        value = str(given) if name == place.parameter else GIVEN[name]
        words += [option, value] if option else [value]
    if place.parameter not in [name for _, name in place.needed]:
        words += [place.option, str(given)]
    return ended(place.app, [*words, *WITH.get(place[:2], [])])


def ended(app, words):
    errors, status = io.StringIO(), None
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            main(lambda: APPS[app](words))
    except SystemExit as end:
        status = end.code
    return status, errors.getvalue()


def check_refused(place, given):
    status, said = asked(place, given)
    assert status == 2, said
    assert said.startswith("isogru: ")
    assert said.removesuffix("\n").isprintable()


def state(folder):
    """All that lies in a folder: of each what it is, and of files what is in them."""
    return {
        each: (each.lstat().st_mode, each.read_bytes() if each.is_file() and not each.is_symlink() else b"")
        for each in folder.rglob("*")
    }


def ending(place):
    return ".csv" if place.parameter == "file" else ""


def in_full_disk(place, given):
    """As if every file were cut off that has more bytes than there is room for."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        return asked(place, given)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def as_nobody(place, given):
    """As somebody who may not write where it is not allowed."""
    if os.geteuid() != 0:
        return asked(place, given)
    with tempfile.TemporaryDirectory() as name:
        # Once before: nobody may not read Python's packages either, which come as they are needed.
        asked(place, f"{name}/one{ending(place)}")
    for kept in [*Path("results").rglob("*.verdict"), *Path("reference").glob("*")]:
        kept.unlink()
    os.seteuid(NOBODY)
    try:
        return asked(place, given)
    finally:
        os.seteuid(0)


def test_every_application_that_writes_is_asked():
    assert {(place.app, place.command) for place in FILES} >= {
        ("isogru", "case"), ("isogru", "convert"), ("isogru", "explain"), ("shared_spec", "run"),
        ("frameworks", "run"), ("reports", "trials"),
    }  # fmt: skip
    assert {place.command for place in PAGES} >= {"site", "exercises", "third-party"}


@pytest.mark.parametrize("place", FILES, ids=ids)
def test_a_file(here, tmp_path, place):
    """It is made, its parents too; a link stays one, and a file keeps its rights."""
    one, link, dangling = (tmp_path / f"{name}{ending(place)}" for name in ("one", "link", "dangling"))
    link.symlink_to(one)
    dangling.symlink_to(tmp_path / f"new/made{ending(place)}")
    for given in (one, link, dangling):
        assert asked(place, given) == (1 if place.command == "explain" else 0, "")
        one.chmod(0o600)
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert dangling.resolve().is_file()
    assert stat.S_IMODE(one.stat().st_mode) == 0o600
    assert len(list(tmp_path.rglob("*"))) == 5


@pytest.mark.parametrize("place", FILES, ids=ids)
def test_what_is_no_file_stays_what_it_is(here, tmp_path, place):
    names = ("fifo", "folder", "loop", "device", "socket", "file", "long")
    fifo, inside, loop, device, listening, file, long = (tmp_path / f"{name}{ending(place)}" for name in names)
    os.mkfifo(fifo)
    inside.mkdir()
    loop.symlink_to(loop)
    device.symlink_to("/dev/full")
    file.write_bytes(b"a file")
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(tmp_path):
        made.bind(listening.name)
    before = state(tmp_path)
    beneath, endless = file / f"beneath{ending(place)}", long.with_name(f"{'n' * 300}{ending(place)}")
    for given in (fifo, inside, loop, device, listening, beneath, endless, Path("/dev/null"), Path("/dev/full")):
        check_refused(place, given)
        assert state(tmp_path) == before
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("place", FILES, ids=ids)
@pytest.mark.parametrize("how", [in_full_disk, as_nobody])
def test_what_cannot_be_written_leaves_what_was_there(here, place, how):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        one = folder / f"one{ending(place)}"
        one.write_bytes(b"old")
        one.chmod(0o444)
        before = state(folder)
        for given in (one, folder / f"two{ending(place)}"):
            status, said = how(place, given)
            assert (status, said[:8], said.count("\n")) == (2, "isogru: ", 1), said
            assert "cannot be written" in said
            assert state(folder) == before


READING = {
    "isogru explain case.safetensors result.safetensors": "case.safetensors result.safetensors",
    "isogru convert gru.npz --to torch": "gru.npz",
    "isogru convert gru.npz --into other.npz": "gru.npz other.npz",
    "isogru case --weights gru.npz --input X.npy --h0 H0.npy": "gru.npz X.npy H0.npy",
    "isogru case short-training-gru --corpus text": "text",
    "shared_spec case short-training-gru --corpus text": "text",
    "shared_spec run case.safetensors": "case.safetensors",
    "frameworks torch run case.safetensors": "case.safetensors",
}
"""What reads and writes, and all that it reads."""


@pytest.mark.parametrize(("line", "inputs"), READING.items())
def test_no_input_is_written_over(here, line, inputs):
    """By its own name, nor by a link."""
    for name in inputs.split():
        given, link = here / name, here / f"link to {name}"
        if not link.exists():
            link.symlink_to(given)
        before = given.read_bytes()
        for output in (given, link):
            app, *words = line.split()
            status, said = ended(app, [*words, "-o", str(output)])
            assert (status, said.startswith(f"isogru: {output}: "), "write to another file" in said) == (2, True, True)
            assert given.read_bytes() == before


@pytest.mark.parametrize("place", PAGES, ids=ids)
def test_a_page(here, tmp_path, place):
    """Whole, in a folder that is made; where it cannot be, the page that was there stays as it was."""
    new, file = tmp_path / "parent/site", tmp_path / "file"
    status, said = asked(place, new)
    assert status in (0, 1, 3), said
    names = {each.name for each in new.iterdir()}
    assert names
    for each in new.iterdir():
        each.write_bytes(b"old")
    file.write_bytes(b"a file")
    before = state(tmp_path)
    for given in (file, file / "beneath", Path("/dev/null")):
        check_refused(place, given)
        assert state(tmp_path) == before
    status, said = in_full_disk(place, new)
    assert (status, said[:8], said.count("\n")) == (2, "isogru: ", 1), said
    assert state(tmp_path) == before


@pytest.mark.parametrize("place", [*PAGES, *(place for place in FILES if place.parameter == "file")], ids=ids)
def test_results_and_a_store_that_may_only_be_read(here, place):
    """By somebody who may write to the folder of the output alone: nothing is kept, and nothing is changed."""
    with tempfile.TemporaryDirectory() as name:
        folder, results = Path(name), here / "results"
        folder.chmod(0o777)
        asked(place, folder / f"first{ending(place)}")
        before = {each: content for each, content in state(results).items() if each.suffix != ".verdict"}
        made = folder / f"made{ending(place)}"
        status, said = as_nobody(place, made)
        assert status in (0, 1), said
        assert made.exists()
        if os.geteuid() == 0:
            assert state(results) == before
