"""Weights from one layout to another: what is exact comes back to the bit, what is not says so and by how much."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from shared_spec import oracle
from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.weights import convert, layouts
from shared_spec.weights.packing import pack, unpack
from tests.spec.drawn import ALL, H, drawn, same_bits, sized

BY_CELL = {name: [n for n in ALL if layouts.layout(n).cell == name] for name in layouts.own()}
DTYPES = ["float32", "float64"]


def sums(layout, tensors):
    """The parameters that the cell sees, in float64: every second bias added, what the layer lacks zero."""
    parameters = {name: array.astype(np.float64) for name, array in unpack(layout, tensors).items()}
    for second, first in layout.second.items():
        parameters[first] = parameters[first] + parameters.pop(second)
    return parameters | {name: np.zeros(H) for name in layout.without}


def planned(a, b, parameters):
    source, target = sized(a), sized(b)
    return convert.plan(source, pack(source, parameters), target)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("a", ALL)
def test_every_pair_of_one_cell(a, dtype):
    """Exact both ways means back to the bit; folding keeps the sums; only an inner bias has no place."""
    source = sized(a)
    given = drawn(source, dtype)
    packed = pack(source, given)
    before = sums(source, packed)
    # Thirty for each, which tests of their own would take as long again for.
    for b in BY_CELL[source.cell]:
        check_pair(source, sized(b), packed, before)


def check_pair(source, target, packed, before):
    there = convert.plan(source, packed, target)
    lost = set(source.holds) - set(target.holds)
    if "b_hh" in lost and "b_hh" not in source.second:
        assert there.verdict == "impossible"
        return
    dtype = next(iter(packed.values())).dtype
    assert there.verdict == ("exact after folding" if lost else "exact")
    assert {fold.second for fold in there.folded} == lost
    assert all(tensor.flags.c_contiguous and tensor.dtype == dtype for tensor in there.tensors.values())
    u = 2.0**-24 if dtype == "float32" else 2.0**-53
    after = sums(target, there.tensors)
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=4 * u, atol=u)
    if not lost:
        back = convert.plan(target, there.tensors, source)
        assert back.verdict == "exact"
        assert same_bits(back.tensors, packed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_biases_stay_two_where_they_can(dtype):
    given = drawn(layouts.layout("torch"), dtype)
    there = planned("torch", "keras", given)
    assert there.sentence == "exact: every value is kept to the bit"
    bias = there.tensors["bias"]
    np.testing.assert_array_equal(bias[0], np.concatenate([given["b_z"], given["b_r"], given["b_h"]]))
    np.testing.assert_array_equal(bias[1], np.concatenate([given["b_hz"], given["b_hr"], given["b_hh"]]))


def test_from_one_bias_to_two_the_second_is_zero():
    there = planned("equinox", "torch", drawn(layouts.layout("equinox")))
    assert there.sentence == "exact: every value is kept to the bit; b_hz and b_hr of torch are zero"
    assert not there.tensors["bias_hh_l0"][: 2 * H].any()
    assert planned("keras-rnn", "torch-rnn", drawn(layouts.layout("keras-rnn"))).sentence.endswith(
        "b_hh of torch-rnn is zero"
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_folding_says_what_it_rounds(dtype):
    given = drawn(layouts.layout("torch"), dtype)
    there = planned("torch", "equinox", given)
    assert there.verdict == "exact after folding"
    assert [(fold.second, fold.first) for fold in there.folded] == [("b_hz", "b_z"), ("b_hr", "b_r")]
    parameters = unpack(layouts.layout("equinox"), there.tensors)
    for fold in there.folded:
        np.testing.assert_array_equal(parameters[fold.first], given[fold.first] + given[fold.second])
        assert parameters[fold.first].dtype == dtype
    if dtype == "float32":
        exact = given["b_z"].astype(np.float64) + given["b_hz"].astype(np.float64)
        assert there.folded[0].rounding == np.abs(exact - parameters["b_z"]).max() > 0
    assert re.fullmatch(
        r"exact after folding: b_hz into b_z and b_hr into b_r, one rounding each, \d\.\de-\d\d at most", there.sentence
    )


def test_folding_without_rounding():
    given = drawn(layouts.layout("torch"))
    for second, first in layouts.layout("torch").second.items():
        given[second] = given[first] = np.round(8 * given[first]) / np.float32(8)
    said = "exact after folding: b_hz into b_z and b_hr into b_r, each sum without rounding"
    assert planned("torch", "equinox", given).sentence == said


def test_a_second_bias_that_is_zero_is_not_folded():
    given = drawn(layouts.layout("torch"))
    given["b_z"][0] = -0.0
    given["b_hz"][:] = given["b_hr"][:] = 0
    there = planned("torch", "flax-linen", given)
    assert there.verdict == "exact"
    assert np.signbit(there.tensors["iz.bias"][0])


def test_folding_beyond_the_dtype_is_refused():
    given = drawn(layouts.layout("torch"))
    given["b_r"][2] = given["b_hr"][2] = 3e38
    with pytest.raises(UserError, match=r"b_r\[2\] \+ b_hr\[2\] is beyond float32: these biases cannot be folded"):
        planned("torch", "mlx", given)


def test_the_second_bias_of_a_reset_before_gru_is_folded_and_never_taken_for_the_inner_one():
    """onnx-reset-before and onnx have the same names and shapes; b_hh means another thing in each."""
    given = drawn(layouts.layout("onnx-reset-before"))
    given["W_hh"] = np.diag(np.diag(given["W_hh"]))
    there = planned("onnx-reset-before", "onnx", given)
    assert there.verdict == "exact after folding"
    assert [fold.second for fold in there.folded] == ["b_hh"]
    parameters = unpack(layouts.layout("onnx"), there.tensors)
    assert not parameters["b_hh"].any()
    np.testing.assert_array_equal(parameters["b_h"], given["b_h"] + given["b_hh"])
    np.testing.assert_array_equal(parameters["b_hz"], given["b_hz"])
    assert planned("onnx-reset-before", "gru", drawn(layouts.layout("onnx-reset-before"))).verdict == (
        "exact after folding"
    )


def test_a_zero_inner_bias_needs_no_place():
    given = drawn(layouts.layout("keras"))
    assert planned("keras", "flax-nnx", given).verdict == "impossible"
    given["b_hh"][:] = 0
    assert planned("keras", "flax-nnx", given).verdict == "exact after folding"
    nnx = drawn(layouts.layout("flax-nnx"))
    there = planned("flax-nnx", "keras", nnx)
    assert there.verdict == "exact"
    back = convert.plan(layouts.layout("keras"), there.tensors, layouts.layout("flax-nnx"))
    assert back.verdict == "exact"
    assert same_bits(back.tensors, pack(layouts.layout("flax-nnx"), nnx))


def test_a_diagonal_recurrent_matrix_makes_both_resets_the_same():
    given = drawn(layouts.layout("gru_reset_after"))
    given["W_hh"] = np.diag(np.diag(given["W_hh"]))
    assert planned("gru_reset_after", "haiku", given).sentence.startswith(
        "impossible: haiku has no bias inside the product with the reset gate, and b_hh is not zero. "
    )
    given["b_hh"][:] = 0
    there = planned("gru_reset_after", "haiku", given)
    assert there.sentence == (
        "exact: every value is kept to the bit; "
        "W_hh is diagonal: the reset gate before or after the product with it is the same"
    )
    back = convert.plan(layouts.layout("haiku"), there.tensors, layouts.layout("gru_reset_after"))
    assert back.verdict == "exact"
    assert same_bits(back.tensors, pack(layouts.layout("gru_reset_after"), given))
    # And it is: the two cells on the same numbers.
    random = np.random.RandomState(0)
    X, H0 = random.standard_normal((9, 2, 3)), random.standard_normal((2, H))
    one, two = (
        oracle.states(cell(name), X, H0, {k: a.astype(np.float64) for k, a in given.items()})
        for name in ("gru_reset_after", "gru")
    )
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        ("torch", "flax-nnx", "flax-nnx has no bias inside the product with the reset gate, and b_hh is not zero"),
        (
            "torch",
            "haiku",
            "the reset gate acts after the product with W_hh in torch, before it in haiku; haiku has no b",
        ),
        (
            "keras",
            "keras-reset-before",
            "the reset gate acts after the product with W_hh in keras, before it in keras-r",
        ),
        (
            "haiku",
            "torch",
            "the reset gate acts before the product with W_hh in haiku, after it in torch. The smallest",
        ),
        (
            "flax-nnx",
            "gru",
            "the reset gate acts after the product with W_hh in flax-nnx, before it in gru. The smallest",
        ),
    ],
)
def test_what_is_impossible_says_why_and_what_it_would_cost(a, b, why, dtype):
    given = drawn(layouts.layout(a), dtype)
    there = planned(a, b, given)
    assert there.verdict == "impossible"
    assert there.sentence.startswith(f"impossible: {why}")
    assert there.sentence.endswith(f"(measured with these weights on {convert.PROBE})")
    assert there.cost.error == min(there.cost.tried.values()) == there.cost.tried[there.cost.way]
    # The cost again, by the oracle on the tensors that would be written.
    source, target = sized(a), sized(b)
    random = np.random.RandomState(convert.SEED)
    X = random.standard_normal((convert.STEPS, convert.SEQUENCES, 3))
    H0 = np.tanh(random.standard_normal((convert.SEQUENCES, H)))
    truth = oracle.states(cell(source.cell), X, H0, sums(source, pack(source, given)))
    states = oracle.states(cell(target.cell), X, H0, sums(target, there.tensors))
    assert there.cost.error == pytest.approx(np.abs(states - truth).max(), rel=1e-6)
    assert 1e-3 < there.cost.error < 2


def test_the_mean_of_the_reset_gate_costs_least_where_the_gate_stands_still():
    """R = 1/2 throughout: half of the inner bias is then all of it, and nothing is lost but a rounding."""
    given = drawn(layouts.layout("torch"), "float64")
    for name in ("W_xr", "W_hr", "b_r", "b_hr"):
        given[name][:] = 0
    there = planned("torch", "flax-nnx", given)
    assert there.cost.way == "b_hh times the mean of R added to b_h"
    assert there.cost.error < 1e-14
    assert min(there.cost.tried["b_hh left out"], there.cost.tried["b_hh added to b_h"]) > 1e-2


def test_cells_that_have_nothing_in_common():
    with pytest.raises(UserError, match="torch computes gru_reset_after and keras-rnn rnn: no weights make the one in"):
        planned("torch", "keras-rnn", drawn(layouts.layout("torch")))


def test_the_table_in_the_terminal(command):
    rows = json.loads(command("shared_spec", "layouts", "--json").stdout)
    assert rows == [layouts.facts(layout) for layout in layouts.layouts().values()]
    lines = command("shared_spec", "layouts").stdout.splitlines()
    assert lines[0].split() == ["layout", "gates", "kernel", "biases", "reset", "inner", "Z", "axes", "proven"]
    assert "haste is not proven here: it is built with nvcc and runs on CUDA alone" in lines[len(rows) + 1 :]
    assert len(lines) == len(rows) + 1 + sum(bool(row["unproven"]) for row in rows)
    assert max(map(len, lines)) <= 80
    by_name = {line.split()[0]: line for line in lines[1 : len(rows) + 1]}
    assert re.fullmatch(r"haiku +z r h +in, out +one +before +no +renews +one step +yes", by_name["haiku"])
    assert re.fullmatch(r"haste .* no", by_name["haste"])
