"""The ends of float16 and bfloat16: bounds that allow everything, overflow, and what is too small to be normal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isogru import judge, reason
from shared_spec.cells import cell
from shared_spec.files.interchange import Result
from shared_spec.readings import bound, floats, span
from tests.isogru.half_problems import DTYPES, U, judged, loop, problem, result_of, said, with_cotangents
from tests.isogru.halves import Half, rounded


@pytest.fixture(autouse=True, scope="module")
def _references(tmp_path_factory):
    """Of problems that nobody else has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOGRU_REFERENCE", str(tmp_path_factory.mktemp("references")))
        yield


@pytest.fixture(autouse=True)
def _own_results():
    """In place of the one that shares references with other tests."""


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_vacuous_bound_passes_nothing(dtype):
    """Wide sums in the format itself: k u is 1 and more in bfloat16, in float16 with large weights too."""
    case = problem("gru", T=3, d=20, h=300 if dtype == "bfloat16" else 800, scale=3.0)
    claims = {"product": U[dtype], "sum": U[dtype]}
    H = loop(case, dtype, narrow_sums=True)
    verdict = judged(case, H, dtype, roundoff=claims)
    assert verdict.verdict == "undetermined", said(verdict)
    assert f"{dtype} cannot hold H[0,0,0]" in said(verdict)
    made = reason.why(case, result_of(case, H, dtype, roundoff=claims), verdict)
    assert made.sentence == "not explained: nothing is known to be wrong, the verdict is undetermined"
    assert "the bound is vacuous from step 0 on" in said(verdict)
    assert judged(case, np.full((3, 3, case.arrays["H0"].shape[1]), 5.0), dtype, roundoff=claims).verdict == "different"


def test_a_bound_that_zeros_pass_is_vacuous():
    """States so small that a machine may flush all of them."""
    case = problem("gru", scale=5e-4, of_x=1e-3)
    case = replace(case, arrays={**case.arrays, "H0": np.zeros((3, 4))})
    verdict = judged(case, loop(case, "float16"), "float16")
    assert verdict.verdict == "undetermined", said(verdict)
    assert "zeros would be within it" in said(verdict)
    assert judged(case, loop(case, "bfloat16"), "bfloat16").verdict == "equal"


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_that_zeros_would_pass_are_vacuous(dtype):
    """Cotangents too small for float16; bfloat16 holds them."""
    case = with_cotangents(problem("gru"))
    case = replace(case, arrays={**case.arrays, "dH": case.arrays["dH"] * 1e-9})
    arrays = Half(dtype).results(case.arrays, after=False)
    result = Result(
        result_of(case, arrays["H"], dtype).origin, {key: a.astype(np.float32) for key, a in arrays.items()}
    )
    findings = {finding.quantity: finding for finding in judge.on(case, result).findings}
    assert findings["H"].verdict == "equal"
    assert findings["grad.X"].verdict == ("equal" if dtype == "bfloat16" else "undetermined")


def test_what_float16_cannot_hold_is_undetermined():
    """Inputs beyond 65504 in one step of one row: the others are judged."""
    case = problem("gru")
    X = case.arrays["X"].copy()
    X[6, 1] = 1e5
    case = replace(case, arrays={**case.arrays, "X": X})
    H = loop(case, "float16")
    verdict = judged(case, H, "float16")
    assert verdict.verdict == "undetermined", said(verdict)
    assert verdict.findings[0].first_undetermined[:2] == (6, 1)
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
    verdict = judged(case, loop(case, "float16", narrow_sums=narrow_sums), "float16")
    assert verdict.verdict == "undetermined", said(verdict)
    assert verdict.findings[0].first_undetermined[:2] == (6, 1)


def test_gradients_that_float16_cannot_hold():
    """Beyond 65504, by cotangents within it: what overflows is not accused, and what does not is judged."""
    case = with_cotangents(problem("gru"))
    case = replace(case, arrays={**case.arrays, "dH": np.clip(case.arrays["dH"] * 2e4, -6e4, 6e4)})
    with np.errstate(invalid="ignore"):
        arrays = Half("float16").results(case.arrays, after=False)
    assert not all(np.isfinite(array).all() for array in arrays.values())
    origin = result_of(case, arrays["H"], "float16").origin
    verdict = judge.on(case, Result(origin, {key: a.astype(np.float32) for key, a in arrays.items()}))
    assert verdict.verdict == "undetermined", said(verdict)
    assert {finding.verdict for finding in verdict.findings} == {"equal", "undetermined"}
    off = {key: a.astype(np.float32) * (-1 if key == "grad.X" else 1) for key, a in arrays.items()}
    assert judge.on(case, Result(origin, off)).verdict in ("suspect", "different")


def test_sums_that_stagnate_are_explained_by_sums_in_the_format():
    """One number added to itself 600 times: each time it is rounded to the same side."""
    case = problem("gru", d=600, T=2)
    alike = {name: np.full_like(a, np.float32(0.005)) for name, a in case.arrays.items() if name.startswith("W_x")}
    case = replace(case, arrays={**case.arrays, "X": np.ones_like(case.arrays["X"]), **alike})
    right = judged(case, loop(case, "float16"), "float16")
    assert right.verdict == "equal"
    assert "with sums in float32" in said(right)
    H = loop(case, "float16", narrow_sums=True)
    verdict = judged(case, H, "float16")
    assert verdict.verdict == "equal", said(verdict)
    assert "with sums in float16" in said(verdict)
    assert judged(case, H, "float16", roundoff={"product": U["float16"], "sum": 2.0**-24}).verdict == "different"


def test_subnormal_weights_may_be_flushed():
    """Below 6e-5 a machine may take zero for a number of float16."""
    case = problem("gru")
    small = {name: array * 1e-5 if name.startswith("W") else array for name, array in case.arrays.items()}
    case = replace(case, arrays=small)
    flushed = {name: array * (np.abs(rounded(array, "float16")) >= 2.0**-14) for name, array in small.items()}
    for arrays in (small, flushed):
        verdict = judged(case, loop(case, "float16", arrays=arrays), "float16")
        assert verdict.verdict == "equal", said(verdict)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_given_may_be_rounded_to_the_format(dtype):
    """One more half of a unit for what it does not hold."""
    case = problem("gru")
    held = {name: floats.rounded(array, dtype).astype(np.float64) for name, array in case.arrays.items()}

    def allowed(arrays, stored, u=U[dtype]):
        P = {name: arrays[name] for name in case.cell.parameters}
        return bound.step(case.cell, arrays["X"][0], arrays["H0"], P, u=u, stored=stored)[1]

    underflow = allowed(held, dtype, u=2.0**-40)
    assert (allowed(held, dtype) < 1.01 * (allowed(held, "") + underflow)).all()
    assert (allowed(case.arrays, dtype) > allowed(case.arrays, "") + 0.1 * U[dtype]).all()


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
