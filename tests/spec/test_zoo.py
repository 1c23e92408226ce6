"""Every command line, given every kind of bad file wherever it takes one: one sentence, status 2, nothing written.

Commands and their options are found by looking, so that one that is added is asked too.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import itertools
import os
import re
import signal
import sys
import typing
from pathlib import Path

import numpy as np
import pytest
from typer.models import OptionInfo

import frameworks
from shared_spec import cases
from shared_spec.command import main
from shared_spec.files import interchange
from tests import bad_files
from tests.spec.refusals import APPS

WRITTEN = "written.csv"
SECONDS = 5
"""Longer than that nobody waits for a file."""
GOOD = {
    "case_file": "case.safetensors", "result_files": "result.npy", "result_file": "result.npy", "file": "gru.npz",
    "other": "gru.npz", "files": "gru.npz", "function": "gru.py:gru", "old": "report.json", "new": "report.json",
    "name": "short-training-gru",
}  # fmt: skip
"""What is right for what has to be given, by its name."""
WITH = {
    ("isogru", "case", "weights"): ["--input", "X.npy"],
    ("isogru", "case", "input_file"): ["--weights", "gru.npz"],
    **{
        ("isogru", "case", name): ["--weights", "gru.npz", "--input", "X.npy"]
        for name in ("h0", "cotangent", "lengths")
    },
    ("isogru", "case", "corpus"): ["short-training-gru"],
    ("isogru", "judge", "case"): ["--cell", "gru", "--", "true"],
    ("isogru", "check", "function"): ["--cell", "gru"],
    ("isogru", "convert", "files"): ["--to", "torch"],
}
"""What goes with an option, by command line, command and option."""
NAMED = {("isogru", "check", "function"): "{}:gru", ("isogru", "judge", "case"): "{}"}
"""Files that are given within a text."""
TEXTS = {
    ("isogru", "check", "gradients"),
    *(("isogru", "judge", name) for name in ("command", "format")),
    *(("isogru", command, "name") for command in ("layers", "same", "convert")),
    ("isogru", "case", "names"),
    *(("isogru", command, "source") for command in ("same", "convert", "case")),
    *(("isogru", command, "pair") for command in ("same", "convert")),
}
"""What is a text that speaks of files and names none, or a program, which is run."""
NEW = {("frameworks", "sweep", "kept"), ("frameworks", "compare", "kept")}
"""What need not be there: it is made."""
OUTPUTS = ("output", "telling")
EXPORT = ("reports", "trials", "file")
"""What is written and not read."""


class Place(typing.NamedTuple):
    """Where a command takes a file."""

    app: str
    command: str
    parameter: str
    option: str
    """Empty for an argument."""
    needed: tuple[tuple[str, str], ...]
    """Option and name of everything else that has to be given."""

    def writes(self, name: str) -> bool:
        """Whether a command writes to what has that name."""
        return name in OUTPUTS or (self.app, self.command, name) == EXPORT

    def request(self, given: str) -> list[str]:
        """The command line with this in that place, and everything else right."""
        key = (self.app, self.command, self.parameter)
        words = ["torch"] if self.app == "frameworks" else []
        words.append(self.command)
        arguments = []
        for option, name in self.needed:
            value = given if name == self.parameter else WRITTEN if self.writes(name) else GOOD[name]
            words += [option, value] if option else []
            arguments += [] if option else [value]
        if self.parameter not in [name for _, name in self.needed]:
            words += [self.option, given] if self.option else []
            arguments += [] if self.option else [given]
        return [*words, *arguments, *WITH.get(key, [])]


def places() -> list[Place]:
    """Every place of every command that takes a file."""
    places = []
    for app, application in APPS.items():
        for command in application.registered_commands:
            if command.hidden:
                continue  # What another command starts, and nobody else.
            needed, taken = [], []
            for name, parameter in inspect.signature(command.callback).parameters.items():
                if parameter.annotation == "typer.Context":
                    continue
                kind, *told = typing.get_args(typing.get_type_hints(command.callback, include_extras=True)[name])[
                    :2
                ] or [0]
                info = told[0] if told and hasattr(told[0], "param_decls") else None
                option = ""
                if isinstance(info, OptionInfo):
                    said = [each for each in (info.default, *(info.param_decls or ())) if str(each).startswith("--")]
                    option = (said or [f"--{name.replace('_', '-')}"])[0]
                if parameter.default is inspect.Parameter.empty:
                    needed.append((option, name))
                if Path in (kind, *typing.get_args(kind)) or (app, command.name, name) in NAMED:
                    taken.append((option, name))
            places += [Place(app, command.name, name, option, tuple(needed)) for option, name in taken]
    return places


def texts_of_files() -> set[tuple[str, str, str]]:
    """Everything else that is given to a command as a text, and whose help speaks of files."""
    speaking = set()
    for app, application in APPS.items():
        for command in application.registered_commands:
            hints = {} if command.hidden else typing.get_type_hints(command.callback, include_extras=True)
            for name, hint in hints.items():
                kind, *told = typing.get_args(hint) or [hint]
                said = " ".join(f"{getattr(each, 'help', '')} {getattr(each, 'metavar', '')}" for each in told)
                if "str" in str(kind) and re.search(r"(?i)\b(files?|folders?)\b|\.(json|csv|py)\b", said):
                    speaking.add((app, command.name, name))
    return speaking - {place[:3] for place in PLACES}


PLACES = places()
READ = [place for place in PLACES if not place.writes(place.parameter)]
TURNS = int(os.environ.get("ISOGRU_ZOO_TURNS") or 3)
"""Among how many places the bad files take turns: each is given to every third place."""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with everything that is right, and with the zoo; it is the current one meanwhile."""
    folder = tmp_path_factory.mktemp("zoo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for variable in ("ISOGRU_CORPUS", "ISOGRU_CORPUS_SHA1", "ISOGRU_THREADS", "ISOGRU_SITE"):
            patch.delenv(variable, raising=False)
        for name in ("RESULTS", "CACHE", "REFERENCE"):
            patch.setenv(f"ISOGRU_{name}", str(folder / name.lower()))
        # A request is refused alike whether or not the framework is there.
        patch.setattr(frameworks, "check_installed", lambda name: None)
        interchange.write_case(Path("case.safetensors"), cases.build("gru-one_step"))
        np.save("result.npy", np.zeros((1, 3, 5)))
        np.save("X.npy", np.zeros((2, 3, 3), np.float32))
        layer = {"weight_ih_l0": (12, 3), "weight_hh_l0": (12, 4), "bias_ih_l0": (12,), "bias_hh_l0": (12,)}
        np.savez("gru.npz", **{name: np.zeros(shape, np.float32) for name, shape in layer.items()})
        Path("gru.py").write_text("def gru(X, H, p):\n    return X\n")
        yield folder


@pytest.fixture(scope="module")
def zoo(here):
    folder = here / "bad"
    folder.mkdir()
    return bad_files.make(folder)


def asked(place, given):
    """How a command ends that is given this: its status, and what it says on standard error."""
    words = place.request(NAMED.get(place[:3], "{}").format(given))
    errors, status = io.StringIO(), None
    before = set(sys.modules), list(sys.path)

    def late(number, frame):
        raise TimeoutError

    handler = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            main(lambda: APPS[place.app](words))
    except SystemExit as ended:
        status = ended.code
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if place[:3] == ("isogru", "check", "function"):
            sys.path[:] = before[1]
            for name in set(sys.modules) - before[0]:
                if name.startswith("file_") or str(getattr(sys.modules[name], "__file__", "")).startswith(str(given)):
                    del sys.modules[name]
    return status, errors.getvalue()


def listed(folder):
    """All that lies in a folder, and when it was changed."""
    return {each: each.lstat().st_mtime_ns for each in folder.rglob("*")}


def _is_something(file):
    return os.path.lexists(file) and (not file.is_file() or file.stat().st_size > 0)


def test_the_zoo_is_large(zoo):
    assert len(zoo) >= 150


def test_every_application_has_a_place():
    assert {place.app for place in PLACES} == set(APPS)
    assert ("isogru", "verdict", "case_file") in {place[:3] for place in READ}


def test_no_place_that_takes_a_file_is_left_out():
    """A file is a Path. What is a text and speaks of files has its place in NAMED, or takes none."""
    assert texts_of_files() == TEXTS


@pytest.mark.parametrize("place", READ, ids=lambda place: " ".join(place[:3]))
def test_every_bad_file_is_refused_in_one_sentence(here, zoo, place):
    before, wrong = listed(here), []
    kinds = {name: file for name, file in zoo.items() if place[:3] not in NEW or (_is_something(file))}
    for name, file in itertools.islice(kinds.items(), READ.index(place) % TURNS, None, TURNS):
        status, said = asked(place, file)
        if status != 2 or not said.startswith("isogru: ") or not said.removesuffix("\n").isprintable():
            wrong.append(f"{name}: {status}: {said[-300:]}")
    assert not wrong, "\n".join([" ".join(place.request("BAD")), *wrong])
    assert listed(here) == before
