"""The frameworks as data, and that what has to list them by hand, tox.ini above all, has every one of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import frameworks as tested
from docs import notebooks
from reports.diff import collect
from shared_spec import frameworks
from shared_spec.errors import SpecificationError, UserError
from tests import tox_settings

ROOT = Path(__file__).parents[2]
TOX = (ROOT / "tox.ini").read_text()
TEXT = frameworks.FILE.read_text()
FIFTH = """
[caffe]
title = "Caffe"
imports = ["caffe"]
native = []
quick = ["scratch"]
together = 1
spins = false
colour = "five"
"""
TASKS = ("train", "test", "notebook", "sweep", "compare", "halves", "errata", "bench", "score", "budgets")
"""What there is an environment for in each framework, beside its own and the one for a GPU."""
BARE = ("test", "errata")
"""What a bare `tox` runs of each framework, and waits for before it tries the front door."""


@pytest.fixture
def written(tmp_path):
    """A file of frameworks with that text."""

    def write(text):
        file = tmp_path / "frameworks.toml"
        file.write_text(text)
        return file

    return write


def missing(file, tox=TOX):
    """What tox.ini lacks for the frameworks of a file."""
    environments, bare = tox_settings.environments(tox), tox_settings.env_list(tox)
    waits = [name for line in environments["end-to-end"]["depends"] for name in tox_settings.expanded(line)]
    for name in frameworks.frameworks(file):
        yield from (f"{task}-{name}" for task in TASKS if f"{task}-{name}" not in environments)
        yield from (f"{task}-{name} in env_list" for task in BARE if f"{task}-{name}" not in bare)
        yield from (f"{task}-{name} before end-to-end" for task in BARE if f"{task}-{name}" not in waits)
        if f"{name}-cuda" not in environments:
            yield f"{name}-cuda"
        for task in set(environments) & {f"{task}-{name}" for task in TASKS}:
            inside = f"{{env:TOX_PYTHON}} -m tox exec -q -e {name} -- "
            if not all(command.startswith(inside) for command in environments[task]["commands"]):
                yield f"{task} run in the environment of {name}"


def test_tox_has_the_environments_of_every_framework():
    assert list(missing(frameworks.FILE)) == []


def test_a_framework_that_tox_does_not_have_is_seen(written):
    fifth = written(TEXT + FIFTH)
    lacks = list(missing(fifth))
    assert {f"{task}-caffe" for task in TASKS} | {"caffe-cuda"} <= set(lacks)
    assert "errata-caffe in env_list" in lacks
    assert "test-caffe before end-to-end" in lacks
    # In all its lists, but which framework those environments are of is not said.
    listed = TOX.replace("{torch,tensorflow,jax,mxnet}", "{torch,tensorflow,jax,mxnet,caffe}")
    assert set(missing(fifth, listed)) == {f"{task}-caffe run in the environment of caffe" for task in TASKS}
    assert list(missing(fifth, listed.replace("    mxnet: mxnet\n", "    mxnet: mxnet\n    caffe: caffe\n"))) == []


def test_no_environment_is_of_a_framework_that_there_is_not():
    split = [name.partition("-") for name in tox_settings.environments(TOX)]
    assert {of for task, _, of in split if of and task in TASKS} == {*frameworks.frameworks(), "sweep"}


def test_pyproject_has_the_packages_of_every_framework():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert {group for name in frameworks.frameworks() for group in (name, f"{name}-cuda")} <= set(groups)


def test_lists_that_are_made_from_it():
    names = ("torch", "tensorflow", "jax", "mxnet")
    assert tuple(frameworks.frameworks()) == tested.NAMES == collect.FRAMEWORKS == tuple(notebooks.TITLES) == names
    assert notebooks.TITLES["mxnet"] == "MXNet"
    assert frameworks.framework("tensorflow").imports == ("tensorflow", "keras")
    assert frameworks.native_cells() == ("gru", "gru_reset_after", "rnn")
    assert frameworks.gated_cells() == ("gru", "gru_reset_after")
    with pytest.raises(UserError, match="no framework 'caffe'; the frameworks are torch, tensorflow, jax, mxnet"):
        frameworks.framework("caffe")


def test_each_has_a_colour_of_its_own_on_the_page():
    schemes = re.findall(r":root \{(.*?)\}", (ROOT / "reports/templates/page.css").read_text(), re.DOTALL)
    assert len(schemes) == 2
    colours = [each.colour for each in frameworks.frameworks().values()]
    assert len(set(colours)) == len(colours)
    for scheme in schemes:
        values = dict(re.findall(r"--(\w+): (#\w+);", scheme))
        assert len({values[colour] for colour in [*colours, "five", "grey"]}) == len(colours) + 2


def test_a_fifth_is_read_in_its_place(written):
    all_frameworks = frameworks.frameworks(written(TEXT + FIFTH))
    assert list(all_frameworks) == [*frameworks.frameworks(), "caffe"]
    assert all_frameworks["caffe"].native == ()


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('format = "isogru-frameworks/1"', 'format = "isogru-frameworks/2"', "frameworks.toml: format is 'isogru-fr"),
        ("[torch]", "[torch", "frameworks.toml: not TOML: "),
        ('title = "JAX"\n', "", r"\[jax\] a framework has title, imports, native, quick, together, spins, colour"),
        ('title = "JAX"\n', 'title = "JAX"\nfast = true\n', r"\[jax\] a framework has title, imports,"),
        ("together = 8", 'together = "8"', r"\[jax\] Expected `int`, got `str` - at `\$\.together`"),
        ("together = 8", "together = 0", r"\[jax\] together is 0, should be 1 or more"),
        ('imports = ["mxnet"]', "imports = []", r"\[mxnet\] imports is \[\], should be a list of modules"),
        ('imports = ["mxnet"]', 'imports = ["mx.np"]', r"\[mxnet\] imports is \['mx\.np'\], should be"),
        ('native = ["gru", ', 'native = ["lstm", ', r"\[tensorflow\] native is \['lstm', .*\], should be a list"),
        ('"scratch"]', '"quick"]', r"\[torch\] quick is \['tuned', 'quick'\], should be a list of lanes: scratch, com"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(written, right, wrong, said):
    assert TEXT.count(right) == 1
    with pytest.raises(SpecificationError, match=said) as refusal:
        frameworks.frameworks(written(TEXT.replace(right, wrong)))
    assert re.match(r"frameworks\.toml:(\d+:\d+: \[| )", str(refusal.value))
