"""Two files of weights: the same function or not, and what differs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy

from shared_spec.errors import UserError
from shared_spec.weights import convert, layouts, same
from shared_spec.weights.packing import pack
from tests.spec.drawn import D, H, drawn


def converted(a, b, **changes):
    """The tensors of layout a, and what `convert` makes of them in b, with some of a's parameters changed before."""
    source, target = layouts.layout(a), layouts.layout(b)
    tensors = pack(source, {**drawn(source), **changes})
    return source, tensors, target, convert.plan(source, tensors, target).tensors


@pytest.mark.parametrize(
    ("a", "b"), [("torch", "keras"), ("gluon", "onnx"), ("equinox", "mlx"), ("torch-rnn", "torch-rnn")]
)
def test_what_is_converted_to_the_bit_is_the_same(a, b):
    comparison = same.compare(*converted(a, b))
    assert (comparison.verdict, comparison.differences, comparison.error) == (same.SAME, (), 0.0)
    assert comparison.sentence == "the same function: every parameter, of two biases their sum, to the bit"


def test_what_is_folded_is_the_same_but_for_rounding():
    comparison = same.compare(*converted("torch", "equinox"))
    assert comparison.verdict == same.ROUNDED
    assert {d.parameter for d in comparison.differences} <= {"b_z", "b_r"}
    assert 0 < comparison.error < 1e-6
    assert comparison.sentence.startswith("the same function but for one rounding of a parameter: b_")


def test_one_weight_that_differs_is_named():
    source, tensors, target, others = converted("torch", "keras")
    # W_hr is the second block of three in Keras.
    others["recurrent_kernel"][1, H + 2] += 0.25
    comparison = same.compare(source, tensors, target, others)
    assert comparison.verdict == same.DIFFERENT
    (difference,) = comparison.differences
    assert (difference.parameter, difference.index) == ("W_hr", (1, 2))
    assert difference.other - difference.one == pytest.approx(0.25, rel=1e-6)
    assert comparison.error > 1e-3
    assert comparison.sentence.startswith("different: W_hr[1, 2] is ")


def test_gates_in_another_order_differ():
    source, tensors, _, others = converted("torch", "torch")
    swapped = {name: np.concatenate([a[H : 2 * H], a[:H], a[2 * H :]]) for name, a in others.items()}
    comparison = same.compare(source, tensors, source, swapped)
    assert {d.parameter for d in comparison.differences} >= {"W_xr", "W_xz", "W_hr", "W_hz"}
    assert comparison.verdict == same.DIFFERENT


def test_the_other_reset_placement_differs_with_the_same_parameters():
    after = layouts.layout("gru_reset_after")
    parameters = drawn(after) | {"b_hh": np.zeros(H, np.float32)}
    before = {name: array for name, array in parameters.items() if name != "b_hh"}
    comparison = same.compare(after, parameters, layouts.layout("gru"), before)
    assert (comparison.verdict, comparison.differences) == (same.DIFFERENT, ())
    assert "the reset gate acts after the product with W_hh in gru_reset_after, before it in gru" in comparison.sentence
    assert comparison.error > 1e-2
    diagonal = {"W_hh": np.diag(np.arange(1, H + 1)).astype(np.float32)}
    comparison = same.compare(after, parameters | diagonal, layouts.layout("gru"), before | diagonal)
    assert comparison.verdict == same.SAME


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("torch", "torch-rnn", "torch computes gru_reset_after and torch-rnn rnn: two different cells"),
        ("torch", "keras", f"torch has {D} inputs and {H} units, keras {D} and {H + 1}: two different problems"),
    ],
)
def test_what_cannot_be_compared(a, b, said):
    one, other = layouts.layout(a), layouts.layout(b)
    with pytest.raises(UserError, match=said):
        same.compare(one, pack(one, drawn(one)), other, pack(other, drawn(other, h=H + (a == "torch"))))


def test_the_command_line(command, tmp_path):
    _, tensors, _, others = converted("torch", "keras")
    one, other = tmp_path / "torch.safetensors", tmp_path / "keras.safetensors"
    safetensors.numpy.save_file(tensors, one)
    safetensors.numpy.save_file(others, other)
    arguments = ("isogru", "same", "--from", "torch", str(one), "--to", "keras", str(other))
    done = command(*arguments)
    said = f'the same function, if {other} has recurrent_activation="sigmoid" and activation="tanh", which it does not '
    said += "say: every parameter, of two biases their sum, to the bit\n"
    assert (done.returncode, done.stdout) == (0, said), done.stderr
    others["bias"][1, -1] += 1
    safetensors.numpy.save_file(others, other)
    done = command(*arguments, "--json")
    record = json.loads(done.stdout)
    assert (done.returncode, record["verdict"], record["differences"][0]["parameter"]) == (1, "different", "b_hh")
    done = command("isogru", "same", "--from", "keras", str(one), "--to", "keras", str(other))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no layer of keras; the layers are of torch" in done.stderr


def test_float32_of_float64_is_rounding():
    layout = layouts.layout("torch")
    double = pack(layout, drawn(layout, "float64"))
    # Their sum is small, and each was rounded.
    double["bias_ih_l0"][0], double["bias_hh_l0"][0] = 1.1, -1.1 + 1e-7
    single = {name: array.astype(np.float32) for name, array in double.items()}
    assert same.compare(layout, double, layout, single).verdict == same.ROUNDED
    single["bias_ih_l0"][0] += np.float32(1e-6)
    assert same.compare(layout, double, layout, single).verdict == same.DIFFERENT


def test_biases_whose_sum_overflows():
    layout = layouts.layout("torch")
    tensors = pack(layout, drawn(layout, "float64"))
    tensors["bias_ih_l0"][0] = tensors["bias_hh_l0"][0] = 1.7e308
    with pytest.raises(UserError, match=r"b_r \+ b_hr of torch is beyond float64: nothing can be compared"):
        same.compare(layout, tensors, layout, pack(layout, drawn(layout, "float64")))


def test_shapes_of_another_layout_are_named(command, tmp_path):
    before = layouts.layout("keras-reset-before")
    file = tmp_path / "keras.safetensors"
    safetensors.numpy.save_file(pack(before, drawn(before)), file)
    for arguments in (("same", str(file)), ("convert", "-o", str(tmp_path / "out"))):
        done = command("isogru", *arguments, "--from", "keras", "--to", "keras", str(file))
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"{file}: bias has shape " in done.stderr
        assert "; these shapes are those of keras-reset-before" in done.stderr
    refused = command("isogru", "convert", "-o", str(file), "--from", "keras", "--to", "torch", str(file))
    assert (refused.returncode, "would overwrite what is read" in refused.stderr) == (2, True)


def test_a_layer_inside_a_model(command, tmp_path):
    _, tensors, _, others = converted("torch", "keras")
    one, other = tmp_path / "model.safetensors", tmp_path / "keras.safetensors"
    safetensors.numpy.save_file({f"rnn.{name}": array for name, array in tensors.items()}, one)
    safetensors.numpy.save_file({f"gru.{name}": array for name, array in others.items()}, other)
    arguments = ("isogru", "same", "--from", "torch", str(one), "--to", "keras", str(other))
    done = command(*arguments, "--prefix", "rnn.", "--to-prefix", "gru.")
    assert (done.returncode, done.stdout.startswith("the same function")) == (0, True), done.stderr
    assert command(*arguments).returncode == 0
    wrong = command(*arguments, "--prefix", "gru.")
    assert (wrong.returncode, "no recurrent layer stands under 'gru.'; there are rnn." in wrong.stderr) == (2, True)
