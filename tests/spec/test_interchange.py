"""Case and result files: what goes in comes out, and what is wrong is refused by name."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from shared_spec import cases, language_model, oracle
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files import interchange
from shared_spec.files.interchange import Case, Origin, Result, TrainingCase
from shared_spec.language_model import training

NAME = "gru-ordinary"


@pytest.fixture
def case():
    return cases.build(NAME)


@pytest.fixture
def file(tmp_path, case):
    interchange.write_case(tmp_path / "case.safetensors", case)
    return tmp_path / "case.safetensors"


def origin(case, **changes):
    known = Origin(
        case.name,
        case.digest,
        case.cell.name,
        case.cell.digest,
        "torch",
        "scratch",
        "scratch",
        "float64",
        "cpu",
        2.0**-53,
    )
    return replace(known, **changes)


def rewrite(file, *, metadata=None, drop=None, **tensors):
    """The same file with something changed, as a careless or hostile hand would leave it."""
    with safetensors.safe_open(file, framework="numpy") as opened:
        old = opened.metadata()
    arrays = {**safetensors.numpy.load_file(file), **tensors}
    arrays.pop(drop, None)
    safetensors.numpy.save_file(arrays, file, {**old, **(metadata or {})})


def test_a_case_survives_its_file(file, case):
    read = interchange.read_case(file)
    assert (read.name, read.cell.name, read.digest) == (NAME, "gru", case.digest)
    assert all((read.arrays[name] == case.arrays[name]).all() for name in case.arrays)


def test_a_case_without_cotangents(tmp_path, case):
    without = Case(case.name, case.cell, {name: a for name, a in case.arrays.items() if name != "dH"})
    interchange.write_case(tmp_path / "c.safetensors", without)
    assert "dH" not in interchange.read_case(tmp_path / "c.safetensors").arrays


def test_a_language_model_survives_its_file(tmp_path, text):
    case = cases.build("short-training-rnn", text)
    interchange.write_case(tmp_path / "c.safetensors", case)
    read = interchange.read_case(tmp_path / "c.safetensors")
    assert isinstance(read, TrainingCase)
    assert read.digest == case.digest
    assert read.problem.recipe == case.problem.recipe
    assert read.problem.vocabulary == case.problem.vocabulary
    assert (read.problem.corpus_sha1, read.problem.corpus_source) == (text.sha1, text.source)


def test_transposed_and_strided_arrays_survive(tmp_path, case):
    """safetensors itself writes their memory in the wrong order, without a word."""
    arrays = {name: np.asfortranarray(array) if array.ndim == 2 else array for name, array in case.arrays.items()}
    strided = np.repeat(case.arrays["X"], 2, axis=0)[::2]
    assert not strided.flags.c_contiguous
    interchange.write_case(tmp_path / "c.safetensors", Case(NAME, case.cell, {**arrays, "X": strided}))
    read = interchange.read_case(tmp_path / "c.safetensors")
    assert all((read.arrays[name] == case.arrays[name]).all() for name in case.arrays)


def test_a_result_survives_its_file(tmp_path, case):
    arrays = oracle.run(case.cell, case.arrays)
    known = origin(case, versions={"torch": "2"}, seconds={"epoch": 1.5})
    interchange.write_result(tmp_path / "r.safetensors", Result(known, arrays))
    read = interchange.read_result(tmp_path / "r.safetensors", case)
    assert read.origin == known == interchange.read_origin(tmp_path / "r.safetensors")
    assert all((read.arrays[name] == arrays[name]).all() for name in arrays)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"drop": "W_hz"}, "tensor W_hz is missing; there should be X, H0, dH, W_xz"),
        ({"extra": np.zeros(3, np.float32)}, "tensor extra is superfluous"),
        ({"b_z": np.zeros(5, np.float32)}, r"b_z has shape \(5,\), should be \(h\) = \(4,\)"),
        ({"b_z": np.zeros((4, 1), np.float32)}, r"b_z has shape \(4, 1\), should be \(h\) = \(4,\)"),
        ({"X": np.zeros((0, 3, 5), np.float32)}, r"X has shape \(0, 3, 5\)"),
        ({"b_z": np.zeros(4, np.float16)}, "b_z is float16, should be float32 or float64"),
        ({"b_z": np.zeros(4, np.int32)}, "b_z is int32, should be float32 or float64"),
        ({"b_z": np.array([0, np.nan, 0, 0], np.float32)}, r"b_z\[1\] is nan; a case holds finite numbers"),
        ({"b_z": np.array([0, 0, np.inf, 0], np.float32)}, r"b_z\[2\] is inf"),
        ({"metadata": {"cell": "lstm"}}, "no cell 'lstm'; the cells are gru"),
        ({"metadata": {"format": "isogru-case/2"}}, "isogru-case/2 is newer than isogru-case/1.*update isogru"),
        ({"metadata": {"format": "isogru-result/1"}}, "not a case file: its format is isogru-result/1"),
        ({"metadata": {"format": ""}}, "not a case file: its format is not given"),
        ({"metadata": {"recipe": "{}"}}, "not a recipe|no 'vocabulary'"),
    ],
)
def test_wrong_cases_are_refused(file, change, said):
    rewrite(file, **change)
    with pytest.raises(InterchangeError, match=said) as refusal:
        interchange.read_case(file)
    assert str(refusal.value).startswith(str(file))


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
def test_truncated_files_are_refused(file, part):
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * part)])
    with pytest.raises(InterchangeError, match="damaged, truncated or not a case file"):
        interchange.read_case(file)


@pytest.mark.parametrize("content", [b"not a tensor file at all", pickle.dumps({"X": 1}), b"PK\x03\x04" + b"\0" * 40])
def test_other_files_are_refused_and_no_pickle_is_read(file, content):
    file.write_bytes(content)
    with pytest.raises(InterchangeError, match="damaged, truncated or not a case file"):
        interchange.read_case(file)


def test_no_such_file(tmp_path):
    with pytest.raises(InterchangeError, match=r"none\.safetensors: no such file"):
        interchange.read_case(tmp_path / "none.safetensors")
    with pytest.raises(InterchangeError):
        interchange.read_case(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dtype": "float8_e5m2"}, "dtype is 'float8_e5m2', should be float32 or float64 or float16 or bfloat16"),
        ({"dtype": "float16"}, "H is float64, should be float16 or float32"),
        ({"unit_roundoff": 1.0}, "says that its unit roundoff is 1.0"),
        ({"unit_roundoff": 0.0}, "says that its unit roundoff is 0.0"),
        ({"dtype": "float32"}, "H is float64, should be float32"),
    ],
)
def test_wrong_results_are_refused(tmp_path, case, change, said):
    file = tmp_path / "r.safetensors"
    interchange.write_result(file, Result(origin(case, **change), oracle.run(case.cell, case.arrays)))
    with pytest.raises(InterchangeError, match=said):
        interchange.read_result(file, case)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"drop": "grad.W_hh"}, "tensor grad.W_hh is missing"),
        ({"grad.b_hh": np.zeros(4)}, "tensor grad.b_hh is superfluous"),
        ({"H": np.zeros((7, 3, 5))}, r"H has shape \(7, 3, 5\), should be \(T, n, h\) = \(7, 3, 4\)"),
        ({"metadata": {"origin": "{}"}}, "does not say where it comes from"),
        ({"metadata": {"origin": json.dumps([1])}}, "does not say where it comes from"),
        ({"metadata": {"format": "isogru-result/9"}}, "update isogru"),
    ],
)
def test_results_that_do_not_hold_what_the_case_asks_for(tmp_path, case, change, said):
    file = tmp_path / "r.safetensors"
    interchange.write_result(file, Result(origin(case), oracle.run(case.cell, case.arrays)))
    rewrite(file, **change)
    with pytest.raises(InterchangeError, match=said):
        interchange.read_result(file, case)


def test_a_training_result_is_checked_too(tmp_path, text):
    small = language_model.recipe("rnn", num_hiddens=3, num_steps=4, num_train=6, num_val=3, batch_size=4, epochs=1)
    case = TrainingCase("short-training-rnn", language_model.problem(small, text))
    file = tmp_path / "r.safetensors"
    result = Result(origin(case), training.train(case.problem))
    interchange.write_result(file, result)
    assert set(interchange.read_result(file, case).arrays) == set(result.arrays)
    rewrite(file, loss=np.zeros(3))
    with pytest.raises(InterchangeError, match=r"loss has shape \(3,\), should be \(steps\) = \(2,\)"):
        interchange.read_result(file, case)


def test_files_are_written_whole_or_not_at_all(tmp_path, case, monkeypatch):
    file = tmp_path / "case.safetensors"
    interchange.write_case(file, case)
    before = file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(file), "replace", full)
    with pytest.raises(UserError, match=r"case\.safetensors: cannot be written: No space left on device"):
        interchange.write_case(file, cases.build("rnn-ordinary"))
    assert file.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["case.safetensors"]


@pytest.mark.parametrize(("kind", "dtype"), [("case", "BF16"), ("case", "F8_E4M3"), ("result", "F8_E4M3")])
def test_dtypes_that_numpy_does_not_have(tmp_path, kind, dtype):
    """A case in bfloat16, and a result in float8, are refused in one sentence; a result in bfloat16 is read."""
    size = {"BF16": 2, "F8_E4M3": 1}[dtype]
    entry = {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}
    text = json.dumps({"__metadata__": {"format": f"isogru-{kind}/1"}, "X": entry}).encode()
    file = tmp_path / "file.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    read = {"case": interchange.read_case, "result": interchange.read_result}[kind]
    with pytest.raises(InterchangeError, match=f"X is of dtype {dtype}, which a {kind} file does not hold"):
        read(file)
