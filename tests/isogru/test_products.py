"""Products in a coarser format than the states: judged as such where that is said, and told where it would be equal."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import isogru
from isogru.runners.hints import hinted
from isogru.runners.verdict import CaseVerdict
from shared_spec import cases as catalogue
from shared_spec import cells, oracle
from shared_spec.errors import InterchangeError, UserError
from shared_spec.files import interchange
from shared_spec.files.interchange import Result
from shared_spec.files.origins import LIE
from shared_spec.readings import value
from shared_spec.readings.floats import rounded
from tests.spec.test_interchange import origin

CASES = ["gru-ordinary", "gru-zero_start"]


def computed(products, turned=False, kept=""):
    """A GRU whose products have factors of a format, and whose states are of the dtype that it is given."""

    def forward(X, H, p):
        def product(a, b):
            return (rounded(a, products) @ rounded(b, products)).astype(X.dtype)

        def sigmoid(a):
            with np.errstate(over="ignore"):
                return 1 / (1 + np.exp(-a))

        states = []
        for x in X:
            Z = sigmoid(product(x, p["W_xz"]) + product(H, p["W_hz"]) + p["b_z"])
            R = sigmoid(product(x, p["W_xr"]) + product(H, p["W_hr"]) + p["b_r"])
            C = np.tanh(product(x, p["W_xh"]) + product(R * H, p["W_hh"]) + p["b_h"])
            H = (1 - Z) * H + Z * C if turned else Z * H + (1 - Z) * C
            states.append(H.astype(kept or X.dtype))
        return np.stack(states)

    return forward


@pytest.mark.parametrize(
    ("dtype", "products"), [("float32", "bfloat16"), ("float32", "float16"), ("float64", "float32")]
)
def test_the_format_is_said_and_makes_it_equal(dtype, products):
    gru = computed(products)
    verdict = isogru.check(gru, cell="gru", dtype=dtype, cases=CASES)
    assert verdict.verdict in ("different", "suspect", "failed")
    option = re.search(r'say products="(\w+)" \(isogru check --products \1\)', verdict.sentence)
    assert option is not None, verdict.sentence
    assert option[1] == products
    followed = isogru.check(gru, cell="gru", dtype=dtype, cases=CASES, products=option[1])
    assert followed.sentence.startswith(f"equal to gru in {dtype} with products in {products}: states of 2 cases")


def test_another_function_is_told_no_format():
    verdict = isogru.check(computed("bfloat16", turned=True), cell="gru", cases=CASES)
    assert (verdict.verdict, verdict.hint) == ("different", "")
    said = isogru.check(computed("bfloat16", turned=True), cell="gru", cases=CASES, products="bfloat16")
    assert said.verdict == "different"


def scaled(off):
    """A GRU whose update gate is a little too large."""

    def forward(X, H, p):
        def step(x, H):
            values = {"X": x, "H": H, **p}
            Z = 1 / (1 + np.exp(-(x @ p["W_xz"] + H @ p["W_hz"] + p["b_z"])))
            exact = value.step(cells.cell("gru"), x, H, values)["H"]
            return (exact + Z * H * off).astype(x.dtype)

        return np.stack([H := step(x, H) for x in X])

    return forward


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("off", [3e-3, 1e-3, 1e-4])
def test_a_slight_fault_is_told_no_format(off, dtype):
    """Errors as large as those of a format, and within its bounds, that rounding has not made."""
    verdict = isogru.check(scaled(off), cell="gru", dtype=dtype, cases=CASES)
    assert (verdict.verdict, verdict.hint) == ("different", "")
    # Nothing has to be run to see that.
    assert hinted(verdict, None, gradients=False).hint == ""


def test_a_float64_that_is_none_is_told_no_format_that_is_not_like_it():
    """Where what it gave is seen only once it is judged in another."""
    slight = isogru.check(scaled(1e-3), cell="gru", dtype="float64", cases=CASES)
    equal = replace(slight, cases=tuple(replace(each, verdict="equal") for each in slight.cases))
    failed = CaseVerdict("gru-ordinary", "failed", f"computed with unit roundoff 6e-8: {LIE}", None)
    assert hinted(replace(slight, cases=(failed,)), lambda *_: equal, gradients=False).hint == ""


def test_a_format_that_leaves_it_open_gives_way_to_no_coarser_one():
    verdict = isogru.check(computed("float16"), cell="gru", cases=CASES)
    asked = []

    def again(dtype, products, gradients):
        asked.append(products)
        cases = tuple(replace(each, verdict="undetermined") for each in verdict.cases)
        return replace(verdict, products=products, cases=cases, hint="")

    bare = replace(verdict, hint="")
    assert hinted(bare, again, gradients=False).hint == ""
    assert asked == ["float16"]


def test_a_float64_that_is_none_is_told_no_coarser_format_than_leaves_it_open():
    bare = isogru.check(computed("float32", turned=True), cell="gru", dtype="float64", cases=CASES)
    assert bare.verdict == "failed"
    assert bare.hint == ""
    asked = []

    def again(dtype, products, gradients):
        asked.append(products)
        return replace(bare, cases=(replace(bare.cases[0], verdict="undetermined"),))

    assert hinted(bare, again, gradients=False).hint == ""
    assert asked == ["float32"]


def test_a_gru_is_checked_without_gradients_on_the_command_line(isogru, tmp_path):
    """As the hint says it: bfloat16 cannot hold every gradient, and the states are equal."""
    (tmp_path / "mine.py").write_text(
        "from tests.isogru.test_products import computed\n"
        'forward = computed("bfloat16")\n'
        "def backward(X, H0, parameters, dH):\n"
        "    raise ValueError('it is not asked for')\n"
    )
    given = ["check", f"{tmp_path / 'mine.py'}:forward", "--cell", "gru", "--case", "gru-ordinary"]
    options = ["--products", "bfloat16", "--gradients"]
    assert isogru(*given, *options, "backward").status == 1
    followed = isogru(*given, *options, "no")
    assert (followed.status, "with products in bfloat16: states of 1 case" in followed.out) == (0, True)


def test_states_of_another_dtype_are_told_which_one_to_say():
    gru = computed("float64", kept="float64")
    verdict = isogru.check(gru, cell="gru", cases=CASES)
    assert verdict.verdict == "failed"
    assert (
        'H is float64, should be float32; equal in float64, where that is meant: say dtype="float64"'
        in verdict.sentence
    )
    assert isogru.check(gru, cell="gru", cases=CASES, dtype="float64").verdict == "equal"
    assert isogru.check(computed("float32", turned=True, kept="float64"), cell="gru", cases=CASES).hint == ""


@pytest.mark.parametrize(
    ("dtype", "products"),
    [("float32", "float32"), ("float32", "tf32"), ("bfloat16", "float16"), ("float64", "float64")],
)
def test_products_are_coarser_than_states(dtype, products):
    with pytest.raises(UserError, match=f"products is '{products}', should be coarser than {dtype}"):
        isogru.check(computed("float32"), cell="gru", dtype=dtype, cases=CASES, products=products, arrays="numpy")


def test_nothing_is_coarser_than_bfloat16():
    with pytest.raises(UserError, match="coarser than bfloat16: nothing that is judged is; leave products out"):
        isogru.check(computed("float32"), cell="gru", dtype="bfloat16", products="float16", arrays="numpy")


def test_a_file_does_not_widen_its_own_bounds(tmp_path):
    case = catalogue.build("gru-ordinary")
    arrays = oracle.run(case.cell, case.arrays, dtype="float32")
    file = tmp_path / "result.safetensors"
    interchange.write_result(file, Result(origin(case, dtype="float32", products="bfloat16"), arrays))
    with pytest.raises(InterchangeError, match="says that its products are in 'bfloat16'"):
        interchange.read_result(file)
