"""Results in float16 and bfloat16: what is right is equal in that precision, what is wrong is not."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import numpy as np
import pytest
import safetensors.numpy

from isogru import judge
from isogru.explain import explain
from isogru.judge import delivered
from shared_spec import cases
from shared_spec.errors import InterchangeError
from shared_spec.files import interchange
from shared_spec.files.interchange import Origin, Result
from tests import sample_results
from tests.isogru.half_problems import CELLS, DTYPES, U, judged, loop, problem, result_of, said, with_cotangents
from tests.isogru.halves import Half, rounded

PROBLEMS = int(os.environ.get("ISOGRU_HALVES") or 12)
"""How many random problems are drawn: four in turn, of two cells and two kinds of sums."""


@pytest.fixture(autouse=True, scope="module")
def _references(tmp_path_factory):
    """Of problems that nobody else has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOGRU_REFERENCE", str(tmp_path_factory.mktemp("references")))
        yield


@pytest.fixture(autouse=True)
def _own_results():
    """In place of the one that shares references with other tests."""


@pytest.mark.parametrize("narrow_sums", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CELLS)
def test_what_is_right_is_equal(name, dtype, narrow_sums):
    case = problem(name)
    verdict = judged(case, loop(case, dtype, narrow_sums=narrow_sums), dtype)
    assert verdict.verdict == "equal", said(verdict)
    assert f"judged in {dtype}, as the file has it, with sums in float32" in said(verdict)


def planted(case, dtype):
    """Faults, and what they give."""
    off = {**case.arrays, "W_xh": case.arrays["W_xh"].copy()}
    off["W_xh"][1, 2] += 0.1
    other = {"b_hh": np.zeros_like(case.arrays["b_h"]), **case.arrays}
    return {
        "update gate turned round": loop(case, dtype, turned=True),
        "reset gate the other way": loop(case, dtype, arrays=other, after=case.cell.name == "gru"),
        "one weight off by a tenth": loop(case, dtype, arrays=off),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CELLS)
def test_what_is_wrong_is_different(name, dtype):
    case = problem(name, T=60, n=16)
    assert judged(case, loop(case, dtype), dtype).verdict == "equal"
    for fault, H in planted(case, dtype).items():
        assert judged(case, H, dtype).verdict == "different", f"{fault}: {said(judged(case, H, dtype))}"
        wide = judged(case, H, "float32", unit_roundoff=U[dtype])
        assert wide.verdict == "different", f"{fault}: {said(wide)}"


@pytest.mark.parametrize("narrow_sums", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CELLS)
def test_gradients_have_twins_in_the_format(name, dtype, narrow_sums):
    """Right ones are equal; those that lack half of what goes through the candidate are not."""
    case = with_cotangents(problem(name))
    for lost, verdicts in ((0.0, ("equal",)), (0.5, ("suspect", "different"))):
        arrays = Half(dtype, narrow_sums=narrow_sums).results(case.arrays, after=name == "gru_reset_after", lost=lost)
        origin = result_of(case, arrays["H"], dtype).origin
        verdict = judge.on(case, Result(origin, {key: a.astype(np.float32) for key, a in arrays.items()}))
        assert verdict.verdict in verdicts, said(verdict)
        assert {f.quantity for f in verdict.findings if f.verdict == "equal"} >= {"H", "final"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_traces_are_judged_in_the_format(dtype):
    case = with_cotangents(problem("gru"))
    for wrong in ("", "Z"):

        def kept(t, name, value, wrong=wrong):
            return rounded(value * (0.7 if name == wrong else 1), dtype).astype(np.float32)

        traced = sample_results.run(case, fault=kept)
        verdict = judge.on(case, Result(result_of(case, traced["H"], dtype).origin, traced))
        first = verdict.divergence.first_forward
        assert first.quantity == "trace.Z" if wrong else first is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_are_believed_where_they_are_finer(dtype):
    """Who says that sums are in float32 is held to it."""
    case = problem("gru_reset_after", d=22, h=64)
    H, claims = loop(case, dtype, narrow_sums=True), {"product": U[dtype], "sum": 2.0**-24}
    right = loop(case, dtype)
    assert judged(case, right, dtype, roundoff=claims).verdict == "equal"
    steps = [
        verdict.findings[0].bound
        for verdict in (judged(case, right, dtype), judged(case, right, dtype, roundoff={"sum": U[dtype]}))
    ]
    assert steps[1] > 2 * steps[0]
    assert judged(case, H, dtype).verdict in ("equal", "undetermined")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_float32_with_a_slip_is_not_made_equal_by_a_label(dtype):
    case = problem("gru")
    single = {name: array.astype(np.float32) for name, array in case.arrays.items()}
    right = Float32().states(single, after=False)
    assert judged(case, right, "float32").verdict == "equal"
    slip = right + np.float32(0.002)
    assert judged(case, slip, "float32").verdict == "different"
    for label, u in ((dtype, U[dtype]), ("float32", U[dtype])):
        verdict = judged(case, slip, label, unit_roundoff=u)
        assert verdict.verdict in ("suspect", "different"), said(verdict)


class Float32(Half):
    """The same loop in float32."""

    def __init__(self):
        super().__init__("float32")

    def __call__(self, array):
        return np.asarray(array).astype(np.float32)


def test_what_a_float32_happens_to_hold_is_no_half():
    """States that bfloat16 could hold, of a result that does not say so."""
    case = problem("gru", scale=0.0)
    H = np.stack([rounded(case.arrays["H0"], "bfloat16") * 0.5 ** (t + 1) for t in range(12)])
    assert delivered.of(result_of(case, H, "float32")).dtype == "float32"
    assert delivered.of(result_of(case, H, "float32", unit_roundoff=2.0**-9)).dtype == "bfloat16"
    assert delivered.of(result_of(case, H, "float32", unit_roundoff=2.0**-11)).dtype == "float16"
    assert (
        delivered.of(result_of(case, H, "float32", unit_roundoff=2.0**-9, roundoff={"sum": 2.0**-9})).dtype == "float32"
    )


@pytest.mark.parametrize("number", range(PROBLEMS))
def test_right_results_of_random_problems(number):
    random = np.random.RandomState(1000 + number)
    sizes = {
        "T": random.randint(1, 61),
        "n": random.randint(1, 5),
        "d": random.randint(1, 17),
        "h": random.randint(1, 33),
    }
    case = problem(
        CELLS[number % 2], **sizes, seed=number, scale=random.choice([0.5, 1, 2, 4]), of_x=random.choice([0.3, 1, 3])
    )
    for dtype in DTYPES:
        verdict = judged(case, loop(case, dtype, narrow_sums=number % 4 > 1), dtype)
        assert verdict.verdict in ("equal", "undetermined"), said(verdict)


def stored(path, result, dtype):
    """A result file with its tensors in the format, as PyTorch saves them."""
    bits = {
        name: array.astype(np.float16) if dtype == "float16" else (array.view(np.uint32) >> 16).astype(np.uint16)
        for name, array in result.arrays.items()
    }
    # As safetensors has it: the length of a header in JSON, that header, the numbers. NumPy has no bfloat16 to give it.
    header, start = {}, 0
    for name, array in bits.items():
        end = start + array.nbytes
        of = {
            "dtype": {"float16": "F16", "bfloat16": "BF16"}[dtype],
            "shape": array.shape,
            "data_offsets": [start, end],
        }
        header[name], start = of, end
    header["__metadata__"] = {"format": interchange.RESULT_FORMAT, "origin": json.dumps(asdict(result.origin))}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in bits.values()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_files_in_the_format_are_read(tmp_path, dtype):
    case, file = problem("gru"), tmp_path / "result.safetensors"
    result = result_of(case, loop(case, dtype), dtype)
    stored(file, result, dtype)
    read = interchange.read_result(file, case)
    assert all((np.asarray(read.arrays[name], np.float32) == array).all() for name, array in result.arrays.items())
    assert judge.on(case, read).verdict == "equal"
    # As float32 that says what it was, written by isogru itself.
    interchange.write_result(file, result)
    assert judge.on(case, interchange.read_result(file, case)).verdict == "equal"


def test_a_case_stays_float32(tmp_path):
    case, file = problem("gru"), tmp_path / "case.safetensors"
    arrays = {name: array.astype(np.float16) for name, array in case.arrays.items()}
    safetensors.numpy.save_file(arrays, file, {"format": interchange.CASE_FORMAT, "cell": "gru"})
    with pytest.raises(InterchangeError, match="is float16, should be float32"):
        interchange.read_case(file)


def test_a_training_in_half_precision_is_refused(text):
    case = cases.build(cases.training_case_names()[0], text)
    arrays = {name: array.astype(np.float32) for name, array in case.problem.parameters.items()}
    origin = Origin(
        case.name,
        case.digest,
        case.cell.name,
        case.cell.digest,
        "mine",
        "loop",
        "own",
        "bfloat16",
        "cpu",
        U["bfloat16"],
    )
    with pytest.raises(InterchangeError):
        judge.on(case, Result(origin, arrays))


@pytest.mark.parametrize("cell", CELLS)
def test_what_lies_between_two_functions_is_not_explained(cell):
    """States a third too large: with sums in bfloat16 they are within the bound of a candidate without its tanh too,
    and that is no proof of it.
    """
    case = problem(cell, T=10, n=6, d=22, h=32)
    H = rounded(1.3 * loop(case, "bfloat16"), "bfloat16").astype(np.float32)
    given = delivered.of(result_of(case, H, "bfloat16"))
    assert explain(case, H, given=given, pairs=False).verdict == "not explained"
