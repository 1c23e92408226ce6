"""The command isogru judge: its formats to the byte, cases of one's own, what it refuses, and what it tells."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file

from isogru import judge_command
from isogru.runners import exchange, raw
from isogru.runners import program as runner
from shared_spec import cases as catalogue
from shared_spec.cells import cells
from shared_spec.errors import InterchangeError
from shared_spec.files.interchange import write_case

ROOT = Path(__file__).parents[2]
ORDINARY = ("--case", "gru-ordinary")
NUMPY = (sys.executable, str(ROOT / "examples/numpy/gru.py"))
FILES = ("{case}", "{result}")
# Reads and writes safetensors; its result says that it is another's, and in vain.
BY_SAFETENSORS = f"""
import os, sys
sys.path.insert(0, {str(ROOT / "examples/numpy")!r})
import numpy as np
from gru import forward
from safetensors.numpy import load_file, save_file
p = load_file(os.environ["ISOGRU_CASE"])
assert (sys.argv[1:], "dH" in p) == ([os.environ["ISOGRU_HERE"]], False)
H, _ = forward(p.pop("X"), p.pop("H0"), p)
H[-1, 2, 3] += FAULT
origin = '{{"cell": "gru", "unit_roundoff": 0.003, "dtype": "bfloat16"}}'
save_file({{"H": H}}, os.environ["ISOGRU_RESULT"], {{"format": "isogru-result/1", "origin": origin}})
"""


@pytest.fixture
def by_safetensors(tmp_path):
    """A program that takes the names of its files from the environment."""

    def command(fault=0.0):
        file = tmp_path / "by_safetensors.py"
        here = f"os.environ['ISOGRU_HERE'] = {os.getcwd()!r}\n"  # noqa: PTH109
        file.write_text(f"import os\n{here}{BY_SAFETENSORS.replace('FAULT', str(fault))}")
        return sys.executable, str(file), "{here}"

    return command


def test_safetensors_by_the_environment(isogru, by_safetensors):
    done = isogru("judge", "--cell", "gru", *ORDINARY, "--", *by_safetensors())
    assert done.status == 0, done
    first, row, network, last = done.out.splitlines()
    assert first == "gru: 1 case, 1 at once, each within 60 s, 2 GiB"
    assert row.startswith("✓ equal: gru-ordinary, ratio 0.")
    assert network in ("it had no network", judge_command.NO_NAMESPACES)
    assert last.startswith("equal to gru in float32: states of 1 case")


def test_what_a_result_says_of_itself_changes_nothing(isogru, by_safetensors):
    """It claims a unit roundoff for which 0.001 would be nothing."""
    done = isogru("judge", "--cell", "gru", *ORDINARY, "--", *by_safetensors(0.001))
    assert done.status == 1
    assert "✗ different: gru-ordinary: H[6,2,3] = " in done.out


def test_a_case_of_ones_own(isogru, tmp_path):
    """Its cell need not be said."""
    file = tmp_path / "mine.safetensors"
    write_case(file, catalogue.build("gru-one_unit"))
    done = isogru("judge", "--case", file, "--format", "npz", "--gradients", "--", *NUMPY, *FILES)
    assert (done.status, done.out.splitlines()[1][:21]) == (0, "✓ equal: gru-one_unit"), done
    done = isogru("judge", "--case", file, *ORDINARY, "--cell", "gru", "--format", "npz", "--", *NUMPY, *FILES)
    assert [row[:9] for row in done.out.splitlines()[1:3]] == ["✓ equal: "] * 2


def test_for_machines(isogru, by_safetensors):
    words = ("judge", "--cell", "gru", *ORDINARY, "--json", "--why", "--timeout", "1m", "--memory", "none", "--network")
    done = isogru(*words, "--", *by_safetensors(0.001))
    told = json.loads(done.out)
    assert (done.status, told["verdict"], told["format"], told["network"]) == (1, "different", "safetensors", True)
    assert told["limits"] == {"seconds": 60.0, "memory": None}
    assert told["calls"]["gru-ordinary"]["status"] == 0
    assert told["why"]["verdict"] == "not explained"
    assert [case["verdict"] for case in told["cases"]] == ["different"]


def test_the_cause_is_named(isogru, tmp_path):
    file = tmp_path / "turned.py"
    right = (ROOT / "examples/numpy/gru.py").read_text()
    file.write_text(right.replace("H = Z * H + (1 - Z) * C", "H = Z * C + (1 - Z) * H"))
    done = isogru("judge", "--cell", "gru", *ORDINARY, "--format", "npz", "--why", "--", sys.executable, file, *FILES)
    assert done.status == 1
    assert "\nwhy: equal if the update gate" in done.out


def test_products_in_a_coarser_format(isogru, tmp_path):
    """Judged so where that is said; where it is not, told that it would be equal, and named as the cause."""
    file = tmp_path / "coarse.py"
    right = (ROOT / "examples/numpy/gru.py").read_text()
    coarse = re.sub(r'(\w+|\(R \* H\)) @ (p\["\w+"\])(?!\.T)', r"narrow(\1) @ narrow(\2)", right)
    assert coarse.count(") @ narrow(") == 6
    file.write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests.isogru.halves import rounded\n"
        'narrow = lambda array: rounded(array, "bfloat16").astype("float32")\n' + coarse
    )
    words, program = ("judge", "--cell", "gru", *ORDINARY, "--format", "npz"), ("--", sys.executable, file, *FILES)
    done = isogru(*words, "--why", *program)
    assert done.status == 1, done
    told = "equal in float32 with products in bfloat16, where that is meant: say --products bfloat16"
    assert done.out.splitlines()[-3].endswith(told)
    assert "\nwhy: equal if its products are in bfloat16" in done.out
    done = isogru(*words, "--products", "bfloat16", *program)
    assert done.status == 0, done
    assert "equal to gru in float32 with products in bfloat16: states of 1 case" in done.out
    # Nothing is told of one whose fault is none of rounding.
    file.write_text(file.read_text().replace("H = Z * H + (1 - Z) * C", "H = Z * C + (1 - Z) * H"))
    done = isogru(*words, *program)
    assert (done.status, "--products" in done.out) == (1, False)


def test_a_function_is_judged_as_by_check(isogru, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'examples/numpy')!r})\nimport gru\n"
        "def forward(X, H, p):\n    return gru.forward(X, H, p)[0]\n"
    )
    words = (f"{file}:forward", "--cell", "gru", *ORDINARY)
    for more in ((), ("--products", "bfloat16")):
        assert isogru("judge", *words, *more) == isogru("check", *words, *more)
    assert "--timeout goes with a program" in isogru("judge", *words, "--timeout", "1s").err
    assert "isogru check FILE.py:NAME --gradients NAME" in isogru("judge", *words, "--gradients").err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--", "true"), "say which cell it claims to be: --cell gru, "),
        (
            ("--cell", "gru"),
            "no program to judge; write it last, after --: isogru judge --cell gru -- ./program {case}",
        ),
        (("--cell", "gru", "--case", "rnn-ordinary", "--", "true"), "no case 'rnn-ordinary' of gru; its cases are "),
        (("--cell", "gru", *ORDINARY, *ORDINARY, "--", "true"), "there are two cases of the name gru-ordinary"),
        (("--case", "nowhere.safetensors", "--", "true"), "nowhere.safetensors: no such file"),
        (("--case", "README.md", "--", "true"), "README.md: damaged, truncated or not a case file"),
        (("--cell", "gru", "--dtype", "float16", "--", "true"), "no dtype 'float16'; the dtypes are float32, float64"),
        (("--cell", "gru", "--products", "float32", "--", "true"), "should be coarser than float32"),
        (("--cell", "gru", "--timeout", "0s", "--", "true"), "--timeout is '0s', should be a time"),
        (("--cell", "gru", "--timeout", "9" * 20 + "h", "--", "true"), "5m, of seven days at most"),
        (("--cell", "gru", "--", ""), "no program to judge"),
        (("--cell", "gru", "--memory", "much", "--", "true"), "--memory is 'much', should be a size such as 512M"),
        (("--cell", "gru", "--jobs", "-1", "--", "true"), "--jobs is -1, should be 1 or more"),
        (("--cell", "gru", "--", "./nowhere"), "./nowhere: no such program"),
    ],
)
def test_wrong_requests(isogru, monkeypatch, words, told):
    monkeypatch.chdir(ROOT)
    done = isogru("judge", *words)
    assert (done.status, done.out) == (2, "")
    assert told in done.err


def test_gradients_of_a_case_without_a_cotangent(isogru, tmp_path):
    file = tmp_path / "mine.safetensors"
    write_case(file, exchange.without_cotangent(catalogue.build("gru-one_unit")))
    done = isogru("judge", "--case", file, "--gradients", "--", "true")
    assert (done.status, "has no dH, so that it asks for no gradients" in done.err) == (2, True)
    done = isogru("judge", "--case", file, "--cell", "rnn", "--", "true")
    assert (done.status, "is one of gru, and --cell says rnn" in done.err) == (2, True)


def test_where_judging_cannot_be_done(isogru, monkeypatch, tmp_path):
    (tmp_path / "launcher.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr(runner, "LAUNCHER", tmp_path / "launcher.py")
    done = isogru("judge", "--cell", "gru", *ORDINARY, "--", "true")
    assert (done.status, done.err) == (3, "isogru: the process that watches a program was ended; judge again\n")


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("500ms", 0.5), ("5m", 300), ("1.5h", 5400), ("7", 7)])
def test_times(text, seconds):
    assert judge_command.seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("512M", 2**29), ("2G", 2**31), ("2GiB", 2**31), ("1.5g", 3 * 2**29), ("4096", 4096), ("none", None)],
)
def test_sizes(text, size):
    assert judge_command.bytes_of(text) == size


@pytest.mark.parametrize(("dtype", "letter"), [("float32", "<f4"), ("float64", "<f8")])
def test_a_raw_case_is_as_its_page_says(tmp_path, dtype, letter):
    """To the byte: a line that begins with the sizes, filled up to 64; then the numbers in the order of the line."""
    case, file = catalogue.build("gru-one_unit"), tmp_path / "case.raw"
    exchange.give(file, case, format="raw", dtype=dtype)
    content = file.read_bytes()
    line, _, data = content.partition(b"\n")
    assert line.startswith(
        b'{"T": 8, "n": 4, "d": 6, "h": 1, "gradients": 1, "dtype": "%s", "cell": "gru", ' % dtype.encode()
    )
    assert (len(line) + 1) % 64 == 0
    header = json.loads(line)
    assert list(header["arrays"]) == ["X", "H0", "dH", *case.cell.parameters]
    values = np.frombuffer(data, letter)
    for name, shape in header["arrays"].items():
        count = int(np.prod(shape))
        np.testing.assert_array_equal(values[:count].reshape(shape), case.arrays[name])
        values = values[count:]
    assert len(values) == 0
    exchange.give(file, exchange.without_cotangent(case), format="raw", dtype=dtype)
    assert b'"gradients": 0' in file.read_bytes()[:64]


def test_the_page_says_the_order_of_parameters_and_the_line_of_a_case(tmp_path):
    page = (ROOT / "docs/judge.md").read_text()
    before = ""
    for name, of in cells().items():
        parameters = " ".join(of.parameters)
        told = "the same, and `b_hh`" if parameters == f"{before} b_hh" else f"`{parameters}`"
        assert f"| `{name}` | {told} |" in page
        before = parameters
    case = exchange.without_cotangent(catalogue.build("gru-ordinary"))
    exchange.give(tmp_path / "case.raw", case, format="raw", dtype="float32")
    line = next(each for each in page.splitlines() if each.startswith('    {"T": ')).strip()
    assert (tmp_path / "case.raw").read_text(errors="replace").startswith(line.removesuffix("...}}"))


def test_the_other_formats_hold_the_same(tmp_path):
    case = catalogue.build("gru-one_unit")
    loaders = {"npz": np.load, "safetensors": load_file}
    for (format, loaded), dtype in itertools.product(loaders.items(), ("float32", "float64")):
        file = tmp_path / f"case.{format}"
        exchange.give(file, case, format=format, dtype=dtype)
        arrays = dict(loaded(file))
        assert set(arrays) == set(case.arrays)
        assert {array.dtype.name for array in arrays.values()} == {dtype}
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, case.arrays[name])
    with safetensors.safe_open(tmp_path / "case.safetensors", "numpy") as file:
        assert file.metadata()["format"] == "isogru-case/1"


H = np.arange(8, dtype="<f4").tobytes()
GOOD = b'{"arrays": {"H": [2, 4]}}\n'


def test_a_raw_result(tmp_path):
    file = tmp_path / "result.raw"
    file.write_bytes(b'{"arrays": {"final": [4], "H": [1, 4]}, "by": "me"}   \n' + H)
    tensors = raw.read(file, "float32").tensors
    np.testing.assert_array_equal(tensors["final"].load(), [0, 1, 2, 3])
    np.testing.assert_array_equal(tensors["H"].load(), [[4, 5, 6, 7]])
    file.write_bytes(b'{"dtype": "float64", "arrays": {"H": [4]}}\n' + H)
    assert raw.read(file, "float32").tensors["H"].dtype == "float64"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "does not begin with a line of JSON"),
        (H, "does not begin with a line of JSON"),
        (GOOD.strip() + H, "does not begin with a line of JSON"),
        (b"{" + b" " * 100_000, "does not begin with a line of JSON"),
        (b'{"H": [2, 4]}\n' + H, "its first line is not as it should be"),
        (b"{{\n" + H, "its first line is not as it should be"),
        (b'{"arrays": {"H": [2.5, 4]}}\n' + H, "its first line is not as it should be"),
        (b'{"arrays": {"H": [-2, -4]}}\n' + H, "H has shape (-2, -4)"),
        (b'{"dtype": "decimal", "arrays": {"H": [2, 4]}}\n' + H, "dtype 'decimal' is not read; write float32"),
        (GOOD + H[:-1], "has 31 bytes after its first line, which says 32"),
        (GOOD + H + H, "has 64 bytes after its first line, which says 32"),
        (b'{"arrays": {"H": [9999999999, 9999999999]}}\n' + H, "which says 399999999920000000004"),
    ],
)
def test_raw_results_that_are_none(tmp_path, content, words):
    file = tmp_path / "result.raw"
    file.write_bytes(content)
    with pytest.raises(InterchangeError) as told:
        raw.read(file, "float32")
    assert words in str(told.value)
