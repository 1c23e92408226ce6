"""Weights from one layout to another: what is exact comes back to the bit, what is not says so and by how much."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from shared_spec import oracle
from shared_spec.cells import cell
from shared_spec.errors import InterchangeError, UserError
from shared_spec.weights import convert, layouts, weight_file
from shared_spec.weights.packing import pack, unpack
from tests.spec.drawn import ALL, H, drawn, same_bits

BY_CELL = {name: [n for n in ALL if layouts.layout(n).cell == name] for name in layouts.own()}
PAIRS = [(a, b) for names in BY_CELL.values() for a in names for b in names]
DTYPES = ["float32", "float64"]


def sums(layout, tensors):
    """The parameters that the cell sees, in float64: every second bias added, what the layer lacks zero."""
    found = {name: array.astype(np.float64) for name, array in unpack(layout, tensors).items()}
    for second, first in layout.second.items():
        found[first] = found[first] + found.pop(second)
    return found | {name: np.zeros(H) for name in layout.without}


def planned(a, b, parameters):
    source, target = layouts.layout(a), layouts.layout(b)
    return convert.plan(source, pack(source, parameters), target)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_every_pair_of_one_cell(a, b, dtype):
    """Exact both ways means back to the bit; folding keeps the sums; only an inner bias has no place."""
    source, target = layouts.layout(a), layouts.layout(b)
    given = drawn(source, dtype)
    there = planned(a, b, given)
    lost = set(source.holds) - set(target.holds)
    if "b_hh" in lost and "b_hh" not in source.second:
        assert there.verdict == "impossible"
        return
    assert there.verdict == ("exact after folding" if lost else "exact")
    assert {fold.second for fold in there.folded} == lost
    assert all(tensor.flags.c_contiguous and tensor.dtype == dtype for tensor in there.tensors.values())
    u = 2.0**-24 if dtype == "float32" else 2.0**-53
    before, after = sums(source, pack(source, given)), sums(target, there.tensors)
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=4 * u, atol=u)
    if not lost:
        back = convert.plan(target, there.tensors, source)
        assert back.verdict == "exact"
        assert same_bits(back.tensors, pack(source, given))


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
    found = unpack(layouts.layout("equinox"), there.tensors)
    for fold in there.folded:
        np.testing.assert_array_equal(found[fold.first], given[fold.first] + given[fold.second])
        assert found[fold.first].dtype == dtype
    if dtype == "float32":
        exact = given["b_z"].astype(np.float64) + given["b_hz"].astype(np.float64)
        assert there.folded[0].rounding == np.abs(exact - found["b_z"]).max() > 0
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
    found = unpack(layouts.layout("onnx"), there.tensors)
    assert not found["b_hh"].any()
    np.testing.assert_array_equal(found["b_h"], given["b_h"] + given["b_hh"])
    np.testing.assert_array_equal(found["b_hz"], given["b_hz"])
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
    source, target = layouts.layout(a), layouts.layout(b)
    random = np.random.RandomState(convert.SEED)
    X = random.standard_normal((convert.STEPS, convert.SEQUENCES, 3))
    H0 = np.tanh(random.standard_normal((convert.SEQUENCES, H)))
    truth = oracle.states(cell(source.cell), X, H0, sums(source, pack(source, given)))
    found = oracle.states(cell(target.cell), X, H0, sums(target, there.tensors))
    assert there.cost.error == pytest.approx(np.abs(found - truth).max(), rel=1e-6)
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


# The files, and the command.


@pytest.fixture
def file(tmp_path):
    layout = layouts.layout("torch")
    safetensors.numpy.save_file(pack(layout, drawn(layout)), tmp_path / "in.safetensors", {"format": "pt"})
    return tmp_path / "in.safetensors"


def rewrite(file, metadata=None, **tensors):
    arrays = {**safetensors.numpy.load_file(file), **tensors}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    safetensors.numpy.save_file(arrays, file, metadata)


def convert_file(command, file, out, *options, of="torch", to="keras"):
    return command("shared_spec", "convert", "--from", of, "--to", to, str(file), "-o", str(out), *options)


def test_there_and_back_by_the_command(command, file, tmp_path):
    there, back = tmp_path / "there.safetensors", tmp_path / "back.safetensors"
    done = convert_file(command, file, there)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["exact: every value is kept to the bit", f"wrote {there} (keras.layers.GRU)"]
    assert convert_file(command, there, back, of="keras", to="torch").returncode == 0
    assert same_bits(safetensors.numpy.load_file(back), safetensors.numpy.load_file(file))
    with safetensors.safe_open(there, framework="numpy") as opened:
        metadata = opened.metadata()
    assert (metadata["format"], metadata["layout"]) == ("isogru-weights/1", "keras")
    assert json.loads(metadata["conversion"])["verdict"] == "exact"


def test_impossible_is_refused_unless_lossy(command, file, tmp_path):
    out = tmp_path / "out.safetensors"
    refused = convert_file(command, file, out, to="haiku")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert refused.stderr.startswith("isogru: impossible: the reset gate acts after the product with W_hh in torch")
    assert refused.stderr.endswith("; --lossy writes that\n")
    assert not out.exists()
    done = convert_file(command, file, out, "--lossy", to="haiku")
    assert (done.returncode, done.stdout.splitlines()[1]) == (0, f"wrote {out} (haiku.GRU, lossy)")
    assert done.stdout.startswith("impossible: ")
    record = json.loads(convert_file(command, file, out, "--lossy", "--json", to="haiku").stdout)
    assert (record["verdict"], record["lossy"], record["from"], record["to"]) == ("impossible", True, "torch", "haiku")
    assert record["cost"]["error"] == min(record["cost"]["tried"].values())


def test_a_case_gives_weights(command, tmp_path):
    """The specification's own names are a layout, and a case file holds them."""
    case, out = tmp_path / "case.safetensors", tmp_path / "out.safetensors"
    command("shared_spec", "case", "gru_reset_after-ordinary", "-o", str(case))
    done = convert_file(command, case, out, of="gru_reset_after", to="torch")
    assert done.returncode == 0, done.stderr
    assert set(safetensors.numpy.load_file(out)) == set(layouts.layout("torch").tensors)


def test_inside_a_bigger_model(command, file, tmp_path):
    out = tmp_path / "out.safetensors"
    plain = weight_file.read(file, layouts.layout("torch"))
    bigger = {f"model.rnn.{name}": array for name, array in plain.items()}
    bigger |= {"model.rnn.weight_ih_l0_reverse": np.ones(3, np.float16), "head.weight": np.ones(3, np.float16)}
    bigger |= {f"model.rnn.{name.replace('l0', 'l1')}": 2 * array for name, array in plain.items()}
    safetensors.numpy.save_file(bigger, file)
    alone = convert_file(command, file, out)
    assert "stands alone; say which is meant: --prefix model.rnn." in alone.stderr
    several = convert_file(command, file, out, "--prefix", "model.rnn.")
    assert several.returncode == 2
    assert (
        "is of another layer or direction; one at a time is converted: say which with --layer (l0, l0_reverse, l1)"
        in (several.stderr)
    )
    torch = layouts.layout("torch")
    for layer, factor in (("l0", 1), ("l1", 2)):
        done = convert_file(command, file, out, "--prefix", "model.rnn.", "--layer", layer)
        assert done.returncode == 0, done.stderr
        back = convert.plan(layouts.layout("keras"), safetensors.numpy.load_file(out), torch).tensors
        assert same_bits(back, {name: np.float32(factor) * array for name, array in plain.items()})
    missing = convert_file(command, file, out, "--prefix", "model.rnn.", "--layer", "l7")
    assert "no layer l7; there are l0, l0_reverse, l1" in missing.stderr
    nowhere = convert_file(command, file, out, "--prefix", "decoder.")
    assert "no tensor begins with 'decoder.'; there are " in nowhere.stderr
    unlayered = convert_file(command, file, out, "--prefix", "model.rnn.", "--layer", "l1", of="keras", to="torch")
    assert "keras has no layers in its names (kernel, recurrent_kernel, bias): leave --layer out" in unlayered.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bias_hh_l0": None}, "tensor bias_hh_l0 is missing; torch has weight_ih_l0 (3h, d), weight_hh_l0 (3h, h), "),
        ({"weight_hr_l0": np.ones((2, 4), np.float32)}, "tensor weight_hr_l0 is none of torch, which has weight_ih_l0"),
        (
            {"weight_ih_l1": np.ones((12, 4), np.float32)},
            "weight_ih_l1 is of another layer or direction; one at a time",
        ),
        ({"weight_ih_l0": np.ones((10, 3), np.float32)}, "weight_ih_l0 has shape (10, 3), should be (3h, d)"),
        ({"bias_ih_l0": np.ones(9, np.float32)}, "bias_ih_l0 has shape (9,), should be (3h,) = (12,)"),
        ({"bias_ih_l0": np.ones(12, np.float16)}, "bias_ih_l0 is float16; float32 and float64 can be converted"),
        ({"bias_ih_l0": np.ones(12, np.int64)}, "bias_ih_l0 is int64; float32 and float64 can be converted"),
        ({"bias_ih_l0": np.ones(12)}, "tensors of several dtypes; convert all of them to float32 or float64 first"),
        ({"bias_ih_l0": np.array([0, np.nan] * 6, np.float32)}, "bias_ih_l0[1] is nan; weights are finite numbers"),
        (
            {"bias_hh_l0": np.array([0] * 11 + [np.inf], np.float32)},
            "bias_hh_l0[11] is inf; weights are finite numbers",
        ),
        ({"metadata": {"format": "isogru-weights/2"}}, "format isogru-weights/2 is newer than isogru-weights/1, which"),
        (
            {"metadata": {"format": "isogru-weights/1", "layout": "gluon"}},
            "says that its layout is gluon, not torch",
        ),
    ],
)
def test_files_that_are_refused(command, file, tmp_path, change, said):
    out = tmp_path / "out.safetensors"
    rewrite(file, **change)
    done = convert_file(command, file, out)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"isogru: {file}: ")
    assert said in done.stderr
    assert not out.exists()


def test_bfloat16_is_refused_by_name(file):
    header, start = {}, 0
    for name, array in safetensors.numpy.load_file(file).items():
        end = start + 2 * array.size
        header[name] = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(start))
    with pytest.raises(InterchangeError, match="weight_ih_l0 is bfloat16; float32 and float64 can be converted"):
        weight_file.read(file, layouts.layout("torch"))


def test_names_of_another_layout_are_recognised(file):
    said = r"none of the tensors of mlx, Wx \(3h, d\), .*; these are the names of torch or torch-rnn"
    with pytest.raises(InterchangeError, match=said):
        weight_file.read(file, layouts.layout("mlx"))
    rewrite(file, bias_hh_l0=None)
    with pytest.raises(InterchangeError, match=r"none of the tensors of mlx, .*; there are bias_ih_l0, weight_hh_l0, "):
        weight_file.read(file, layouts.layout("mlx"))


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), (b"", "damaged, truncated or not safetensors"), (b"\x80\x04pickle", "damaged, truncated")],
)
def test_files_that_are_none(command, tmp_path, content, said):
    if content is not None:
        (tmp_path / "in").write_bytes(content)
    done = convert_file(command, tmp_path / "in", tmp_path / "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"isogru: {tmp_path / 'in'}: {said}" in done.stderr


def test_requests_that_are_wrong(command, file, tmp_path):
    out = tmp_path / "out"
    out.write_text("as it was")
    for options, said in (
        ({"of": "caffe"}, "no layout 'caffe'; the layouts are torch, keras"),
        ({"to": "caffe"}, "no layout 'caffe'; the layouts are torch, keras"),
        (
            {"to": "torch-rnn"},
            "torch computes gru_reset_after and torch-rnn rnn: no weights make the one into the other",
        ),
    ):
        done = convert_file(command, file, out, **options)
        assert (done.returncode, done.stderr.count("\n"), said in done.stderr) == (2, 1, True), done.stderr
    assert out.read_text() == "as it was"
    unwritable = convert_file(command, file, tmp_path / "in.safetensors" / "out")
    assert (unwritable.returncode, "cannot be written" in unwritable.stderr) == (2, True)


def test_the_table_in_the_terminal(command):
    rows = json.loads(command("shared_spec", "layouts", "--json").stdout)
    assert rows == [layouts.facts(layout) for layout in layouts.layouts().values()]
    lines = command("shared_spec", "layouts").stdout.splitlines()
    assert lines[0].split() == ["layout", "gates", "kernel", "biases", "reset", "inner", "Z", "axes", "proven"]
    assert lines[len(rows) + 1] == "haste is not proven here: it is built with nvcc and runs on CUDA alone"
    assert len(lines) == len(rows) + 3
    assert max(map(len, lines)) <= 80
    assert re.fullmatch(r"haiku +z r h +in, out +one +before +no +renews +one step +yes", lines[10])
    assert re.fullmatch(r"haste .* no", lines[11])
