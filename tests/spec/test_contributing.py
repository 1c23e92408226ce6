"""The table of CONTRIBUTING.md, which says what has to be touched to add something: each is added, in a copy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from shared_spec import language_model
from shared_spec.cells import cell
from shared_spec.files import tensors
from shared_spec.files.interchange import TrainingCase, write_case
from tests import project_copy
from tests.project_copy import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
ADDED = ("framework", "cell", "lane", "quantity", "layout", "case")
LAYOUT = """
[mine]
layer = "mine.GRU"
package = "mine"
cell = "gru"
time = "first"
unproven = "a test made it up"
source = "tests/spec/test_contributing.py"
[mine.tensors]
kernel = { parts = ["W_xr", "-W_xz", "W_xh"], transpose = true }
recurrent = { parts = ["W_hr", "-W_hz", "W_hh"], transpose = true }
bias = { parts = ["b_r", "-b_z", "b_h"] }
"""


# At the end of two modules, so that the rest of them may change: what a training gives has one quantity more.
OF_ORACLE = """

_train = train


def train(problem, **options):
    arrays = _train(problem, **options)
    return arrays | {"log": np.log(arrays["loss"])}
"""
OF_HARNESS = """

class _More(Training):
    def result(self):
        arrays = super().result()
        return arrays | {"log": np.log(arrays["loss"])}


Training = _More
"""


def rows():
    """The table: what is added, where, and by which tests."""
    lines = re.findall(r"^\| (\w+) \| (.+) \| (.+) \| (.+) \|$", TEXT.partition("## Adding")[2], re.M)
    return {what: (places, tests) for what, places, _, tests in lines if what in ADDED}


@pytest.fixture
def root(tmp_path):
    return project_copy.project(tmp_path)


@pytest.fixture
def with_framework(root):
    """A copy in which a framework is added: a folder, and a table."""
    return project_copy.add_stub(root)


def all_done(root, *commands):
    """What each of several commands prints, all of which end well."""
    ended = project_copy.in_turn(root, *commands)
    assert [one.returncode for one in ended] == [0] * len(commands), ended
    return [one.stdout for one in ended]


def proven(root, case, implementation="scratch"):
    """Prove one case in the stub, judge it by the command line, and write the page: all else that was printed."""
    options = ["--case", case, "--implementation", implementation, "--dtype", "float32"]
    file = str(root / "case.safetensors")
    result = str(root / f"results/numpys/{case}.{implementation}.float32.cpu.safetensors")
    listed, *_, judged, _ = all_done(
        root,
        ("frameworks", "numpys", "list", "--json"),
        ("frameworks", "numpys", "prove", *options),
        ("shared_spec", "case", case, "-o", file),
        ("isogru", "verdict", file, result, "--json"),
        ("reports", "site", "--framework", "numpys"),
    )
    return json.loads(judged)[0]["verdict"], [(row["name"], row["cell"]) for row in json.loads(listed)]


def test_the_table_has_them_all():
    assert tuple(rows()) == ADDED


@pytest.mark.parametrize("what", ADDED)
def test_its_places_and_its_tests_are_there(what):
    places, tests = rows()[what]
    paths = [
        path for path in re.findall(r"`([^`]+)`", places) if "/" in path or path.endswith((".toml", ".ini", ".md"))
    ]
    assert paths
    for path in paths:
        some = path.replace("NAME", "torch").replace("PACKAGE", "torch")
        assert (ROOT / some).exists(), path
    for file in re.findall(r"`(tests/[^`]+\.py)`", tests):
        assert (ROOT / file).exists(), file


def test_a_framework(with_framework):
    assert proven(with_framework, "gru-one_step") == ("equal", [("scratch", "gru")])


def test_a_lane(with_framework):
    root = with_framework
    project_copy.add(root / "shared_spec/frameworks.py", '"looped", ', before='"native", "tuned", "parallel", ')
    project_copy.add(
        root / "frameworks/protocol.py",
        "    implementations += [\n"
        '        Implementation("looped", name, "looped", DTYPES, functools.partial(cells.unroll, step))\n'
        "        for name, step in cells.CELLS.items()\n"
        "    ]\n",
        before="    return implementations\n\n\ndef _with_gates",
    )
    assert proven(root, "gru-one_step", "looped") == ("equal", [("scratch", "gru"), ("looped", "gru")])
    assert '"lane":"looped"' in next(root.rglob("report.json")).read_text()


def test_a_quantity(with_framework, text):
    root, case, result = with_framework, with_framework / "case.safetensors", str(with_framework / "result.safetensors")
    sizes = {"num_hiddens": 4, "num_steps": 5, "num_train": 20, "num_val": 10, "batch_size": 10, "epochs": 2}
    small = language_model.problem(language_model.recipe("gru", num_predictions=3, **sizes), text)
    write_case(case, TrainingCase("short-training-gru", small))
    project_copy.add(
        root / "shared_spec/quantities.py",
        'Quantity("log", TRAINING, TWINS, "log", ("steps",), trajectory=True),\n    ',
        before='Quantity("text", ',
    )
    project_copy.add(root / "shared_spec/language_model/training.py", OF_ORACLE)
    running = ("frameworks", "numpys", "run", str(case), "-o", result)
    ran, judged = project_copy.in_turn(root, running, ("isogru", "verdict", str(case), result))
    assert (ran.returncode, judged.returncode) == (0, 2)
    assert "tensor log is missing" in judged.stderr
    project_copy.add(root / "frameworks/harness/training.py", OF_HARNESS)
    _, told = all_done(root, running, ("isogru", "verdict", str(case), result, "--json"))
    record = json.loads(told)[0]
    assert record["verdict"] == "equal"
    assert {f["quantity"]: f["basis"] for f in record["findings"]}["log"] == "twins"


def test_a_layout(root):
    project_copy.add(root / "shared_spec/layouts.toml", LAYOUT)
    random = np.random.RandomState(0)
    sizes = {"d": 3, "h": 4}
    given = {
        name: random.standard_normal([sizes[s] for s in symbols]).astype(np.float32)
        for name, symbols in cell("gru").parameters.items()
    }
    files = [str(root / f"{name}.safetensors") for name in ("gru", "mine", "back")]
    safetensors.numpy.save_file(given, files[0])
    table, *_ = all_done(
        root,
        ("isogru", "layouts"),
        ("isogru", "convert", files[0], "--from", "gru", "--to", "mine", "-o", files[1]),
        ("isogru", "convert", files[1], "--from", "mine", "--to", "gru", "-o", files[2]),
    )
    assert re.search(r"^mine +r z h +out, in +one +before +no +renews", table, re.M)
    there, back = (safetensors.numpy.load_file(file) for file in files[1:])
    assert there["kernel"].shape == (12, 3)
    assert all(np.array_equal(back[name], array) for name, array in given.items())


def test_a_case(root):
    line = 'Entry("tall", "more steps than units", native_cells, T=20, n=3, d=4, h=2),\n    '
    project_copy.add(root / "shared_spec/cases.py", line, before='Entry("no_inner_bias"')
    case, result = (str(root / f"{name}.safetensors") for name in ("case", "result"))
    listed, _, _, judged = all_done(
        root,
        ("shared_spec", "cases", "--json"),
        ("shared_spec", "case", "gru-tall", "-o", case),
        ("shared_spec", "run", case, "-o", result),
        ("isogru", "verdict", case, result, "--json"),
    )
    assert {"gru-tall", "gru_reset_after-tall", "rnn-tall"} < {row["name"] for row in json.loads(listed)}
    assert tensors.metadata(Path(case), "isogru-case/1", "case")["name"] == "gru-tall"
    assert json.loads(judged)[0]["verdict"] == "equal"
