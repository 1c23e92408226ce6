"""Results in float16 and bfloat16: what is right is equal in that precision, what is wrong is not, and where the
precision tells nothing nothing is said.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import safetensors.numpy

from isogru import judge
from isogru.judge import delivered
from shared_spec import cases
from shared_spec.cells import cell
from shared_spec.errors import InterchangeError
from shared_spec.files import interchange
from shared_spec.files.interchange import Case, Origin, Result
from shared_spec.readings import bound, floats, span
from tests import made
from tests.isogru.halves import Half, rounded

DTYPES = ("float16", "bfloat16")
U = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
CELLS = ("gru", "gru_reset_after")


@pytest.fixture(autouse=True, scope="module")
def _references(tmp_path_factory):
    """Of problems that nobody else has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOGRU_REFERENCE", str(tmp_path_factory.mktemp("references")))
        yield


@pytest.fixture(autouse=True)
def _own_results():
    """In place of the one that shares references with other tests."""


def problem(name, *, T=12, n=3, d=5, h=4, seed=0, scale=1.0, of_x=1.0):
    """Weights uniform within scale / sqrt(h), as PyTorch draws them."""
    random, the_cell = np.random.RandomState(seed), cell(name)
    sizes = {"T": T, "n": n, "d": d, "h": h}
    arrays = {
        key: random.uniform(-scale, scale, [sizes[s] for s in symbols]) / np.sqrt(h)
        for key, symbols in the_cell.parameters.items()
    }
    arrays |= {"X": of_x * random.standard_normal((T, n, d)), "H0": random.uniform(-1, 1, (n, h))}
    return Case("mine", the_cell, {key: a.astype(np.float32).astype(np.float64) for key, a in arrays.items()})


def result_of(case, H, dtype, **changes):
    u = {**U, "float32": 2.0**-24}[dtype]
    known = Origin(case.name, case.digest, case.cell.name, case.cell.digest, "mine", "loop", "own", dtype, "cpu", u)
    H = H.astype(np.float32)
    return Result(replace(known, **changes), {"H": H, "final": H[-1].copy()})


def judged(case, H, dtype, **changes):
    return judge.on(case, result_of(case, H, dtype, **changes))


def loop(case, dtype, *, narrow_sums=False, arrays=None, **options):
    after = case.cell.name == "gru_reset_after"
    options = {"after": after, **options}
    return Half(dtype, narrow_sums=narrow_sums).states(case.arrays if arrays is None else arrays, **options)


def said(found):
    return f"{found.verdict}: {found.worst_finding.sentence(found.origin)}"


@pytest.mark.parametrize("narrow_sums", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CELLS)
def test_what_is_right_is_equal(name, dtype, narrow_sums):
    case = problem(name)
    found = judged(case, loop(case, dtype, narrow_sums=narrow_sums), dtype)
    assert found.verdict == "equal", said(found)
    assert f"judged in {dtype}, as the file has it, with sums in float32" in said(found)


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


def with_cotangents(case):
    dH = np.random.RandomState(9).standard_normal((len(case.arrays["X"]), *case.arrays["H0"].shape))
    return replace(case, arrays={**case.arrays, "dH": dH.astype(np.float32).astype(np.float64)})


@pytest.mark.parametrize("narrow_sums", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CELLS)
def test_gradients_have_twins_in_the_format(name, dtype, narrow_sums):
    """Right ones are equal; those that lack half of what goes through the candidate are not."""
    case = with_cotangents(problem(name))
    for lost, verdicts in ((0.0, ("equal",)), (0.5, ("suspect", "different"))):
        arrays = Half(dtype, narrow_sums=narrow_sums).results(case.arrays, after=name == "gru_reset_after", lost=lost)
        origin = result_of(case, arrays["H"], dtype).origin
        found = judge.on(case, Result(origin, {key: a.astype(np.float32) for key, a in arrays.items()}))
        assert found.verdict in verdicts, said(found)
        assert {f.quantity for f in found.findings if f.verdict == "equal"} >= {"H", "final"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_that_zeros_would_pass_are_vacuous(dtype):
    """Cotangents too small for float16; bfloat16 holds them."""
    case = with_cotangents(problem("gru"))
    case = replace(case, arrays={**case.arrays, "dH": case.arrays["dH"] * 1e-9})
    arrays = Half(dtype).results(case.arrays, after=False)
    result = Result(
        result_of(case, arrays["H"], dtype).origin, {key: a.astype(np.float32) for key, a in arrays.items()}
    )
    found = {finding.quantity: finding for finding in judge.on(case, result).findings}
    assert found["H"].verdict == "equal"
    assert found["grad.X"].verdict == ("equal" if dtype == "bfloat16" else "undetermined")


@pytest.mark.parametrize("dtype", DTYPES)
def test_traces_are_judged_in_the_format(dtype):
    case = with_cotangents(problem("gru"))
    for wrong in ("", "Z"):

        def kept(t, name, value, wrong=wrong):
            return rounded(value * (0.7 if name == wrong else 1), dtype).astype(np.float32)

        traced = made.run(case, fault=kept)
        found = judge.on(case, Result(result_of(case, traced["H"], dtype).origin, traced))
        first = found.divergence.first_forward
        assert first.quantity == "trace.Z" if wrong else first is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_are_believed_where_they_are_finer(dtype):
    """Who says that sums are in float32 is held to it."""
    case = problem("gru_reset_after", d=22, h=64)
    H, claims = loop(case, dtype, narrow_sums=True), {"product": U[dtype], "sum": 2.0**-24}
    right = loop(case, dtype)
    assert judged(case, right, dtype, roundoff=claims).verdict == "equal"
    steps = [
        found.findings[0].bound
        for found in (judged(case, right, dtype), judged(case, right, dtype, roundoff={"sum": U[dtype]}))
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
        found = judged(case, slip, label, unit_roundoff=u)
        assert found.verdict in ("suspect", "different"), said(found)


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


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_vacuous_bound_passes_nothing(dtype):
    """Wide sums in the format itself: k u is 1 and more in bfloat16, in float16 with large weights too."""
    case = problem("gru", T=3, d=20, h=300 if dtype == "bfloat16" else 800, scale=3.0)
    claims = {"product": U[dtype], "sum": U[dtype]}
    found = judged(case, loop(case, dtype, narrow_sums=True), dtype, roundoff=claims)
    assert found.verdict == "undetermined", said(found)
    assert f"cannot be told in {dtype}: the bound is vacuous from step 0 on" in said(found)
    assert judged(case, np.full((3, 3, case.arrays["H0"].shape[1]), 5.0), dtype, roundoff=claims).verdict == "different"


def test_a_bound_that_zeros_pass_is_vacuous():
    """States so small that a machine may flush all of them."""
    case = problem("gru", scale=1e-3, of_x=1e-3)
    case = replace(case, arrays={**case.arrays, "H0": np.zeros((3, 4))})
    found = judged(case, loop(case, "float16"), "float16")
    assert found.verdict == "undetermined", said(found)
    assert "zeros would be within it" in said(found)
    assert judged(case, loop(case, "bfloat16"), "bfloat16").verdict == "equal"


def test_what_float16_cannot_hold_is_undetermined():
    """Inputs beyond 65504 in one step of one row: the others are judged."""
    case = problem("gru")
    X = case.arrays["X"].copy()
    X[6, 1] = 1e5
    case = replace(case, arrays={**case.arrays, "X": X})
    H = loop(case, "float16")
    found = judged(case, H, "float16")
    assert found.verdict == "undetermined", said(found)
    assert found.findings[0].first_undetermined[:2] == (6, 1)
    assert judged(case, loop(case, "bfloat16"), "bfloat16").verdict == "equal"
    # Elsewhere what is wrong is wrong, and what is no number is too.
    for place in ((5, 1), (6, 0)):
        for wrong in (0.5, np.nan):
            off = H.copy()
            off[place] += wrong
            assert judged(case, off, "float16").verdict == "different"


@pytest.mark.parametrize("narrow_sums", [False, True])
def test_sums_that_float16_cannot_hold_are_undetermined(narrow_sums):
    """Of numbers that it holds; in float32 they cancel, in float16 infinity is taken from infinity."""
    case = problem("gru")
    X = case.arrays["X"].copy()
    X[6, 1] = [4e4, 4e4, -4e4, -4e4, 0.1]
    weights = {name: np.full_like(a, 2.0) for name, a in case.arrays.items() if name.startswith("W_x")}
    case = replace(case, arrays={**case.arrays, "X": X, **weights})
    found = judged(case, loop(case, "float16", narrow_sums=narrow_sums), "float16")
    assert found.verdict == "undetermined", said(found)
    assert found.findings[0].first_undetermined[:2] == (6, 1)


def test_sums_that_stagnate_are_explained_by_sums_in_the_format():
    """One number added to itself 600 times: each time it is rounded to the same side."""
    case = problem("gru", d=600, T=2)
    alike = {name: np.full_like(a, np.float32(0.005)) for name, a in case.arrays.items() if name.startswith("W_x")}
    case = replace(case, arrays={**case.arrays, "X": np.ones_like(case.arrays["X"]), **alike})
    right = judged(case, loop(case, "float16"), "float16")
    assert right.verdict == "equal"
    assert "with sums in float32" in said(right)
    H = loop(case, "float16", narrow_sums=True)
    found = judged(case, H, "float16")
    assert found.verdict == "equal", said(found)
    assert "with sums in float16" in said(found)
    assert judged(case, H, "float16", roundoff={"product": U["float16"], "sum": 2.0**-24}).verdict == "different"


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_given_may_be_rounded_to_the_format(dtype):
    """One more half of a unit for what it does not hold."""
    case = problem("gru")
    held = {name: floats.rounded(array, dtype).astype(np.float64) for name, array in case.arrays.items()}

    def allowed(arrays, stored):
        P = {name: arrays[name] for name in case.cell.parameters}
        return bound.step(case.cell, arrays["X"][0], arrays["H0"], P, u=U[dtype], stored=stored)[1]

    assert (allowed(held, dtype) < 1.01 * allowed(held, "") + 1e-3).all()
    assert (allowed(case.arrays, dtype) > allowed(case.arrays, "") + 0.1 * U[dtype]).all()


def test_subnormal_weights_may_be_flushed():
    """Below 6e-5 a machine may take zero for a number of float16."""
    case = problem("gru")
    small = {name: array * 1e-5 if name.startswith("W") else array for name, array in case.arrays.items()}
    case = replace(case, arrays=small)
    flushed = {name: array * (np.abs(rounded(array, "float16")) >= 2.0**-14) for name, array in small.items()}
    for arrays in (small, flushed):
        found = judged(case, loop(case, "float16", arrays=arrays), "float16")
        assert found.verdict == "equal", said(found)


@pytest.mark.parametrize("number", range(100))
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
        found = judged(case, loop(case, dtype, narrow_sums=number % 4 > 1), dtype)
        assert found.verdict in ("equal", "undetermined"), said(found)


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


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding(dtype):
    random = np.random.RandomState(0)
    wide = random.standard_normal(20000) * 10.0 ** random.uniform(-45, 40, 20000)
    ends = [0.0, np.inf, -np.inf, 65504, 65519.9, 65520, 1 + U[dtype], 1 + 3 * U[dtype], 1 + U[dtype] + 2.0**-40]
    for array in (wide, np.array(ends), wide[np.abs(wide) < 3e38].astype(np.float32)):
        assert (floats.rounded(array, dtype) == rounded(array, dtype)).all()
    assert np.isnan(floats.rounded(np.array([np.nan]), dtype)).all()


@pytest.mark.parametrize("name", ["gru", "gru_reset_after", "gru_reset_only", "gru_update_only", "rnn"])
def test_the_span_of_a_state(name):
    least, most = span.state(cell(name), np.array([-3.0, 0.2, 4.0]))
    gated = name in ("gru", "gru_reset_after", "gru_update_only")
    assert least.tolist() == [-3.0 if gated else -1.0, -1.0, -1.0]
    assert most.tolist() == [1.0, 1.0, 4.0 if gated else 1.0]
