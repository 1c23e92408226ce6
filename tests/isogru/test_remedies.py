"""Remedies by the names of somebody's own tensors: where each parameter stands, and what to do, to the letter."""

from __future__ import annotations

import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from isogru.blocks import blocks
from isogru.conventions import conventions
from isogru.remedies import of_file, remedy
from shared_spec.cells import cell
from shared_spec.errors import InterchangeError
from shared_spec.files.interchange import read_case
from shared_spec.files.sources import Source
from shared_spec.weights.layouts import layout, layouts
from shared_spec.weights.packing import pack
from tests.isogru import grus

SIZES = {"d": 3, "h": 4}


def held(of):
    drawn = np.random.RandomState(0)
    shapes = {key: cell(of.cell).parameters[of.second.get(key, key)] for key in of.holds}
    return {key: drawn.standard_normal([SIZES[s] for s in shape]) for key, shape in shapes.items()}


def source(name, prefix="encoder."):
    return Source("gru.pt", name, {own: f"{prefix}{own}" for own in layout(name).tensors})


@pytest.mark.parametrize("name", layouts())
def test_every_parameter_is_where_it_is_said_to_be(name):
    of = layout(name)
    parameters, sign = held(of), {True: -1, False: 1}
    tensors = pack(of, parameters)
    there = blocks(source(name, ""), SIZES)
    assert set(there) == set(parameters)
    for key, block in there.items():
        index = str(block).lstrip("-").removeprefix(block.tensor)
        value = sign[block.negated] * eval(f"whole{index}", {"whole": tensors[block.tensor]})
        np.testing.assert_array_equal(value, parameters[key], err_msg=f"{key} = {block}")


def test_the_second_direction_of_a_tensor_that_holds_two():
    two = Source("model.onnx", "onnx", {"W": "W1", "R": "R1"}, row=1)
    assert str(blocks(two, SIZES)["W_hr"]) == "R1[1, 4:8].T"
    assert "b_z" not in blocks(two, SIZES)


def test_a_layout_that_is_not_known_leaves_the_plain_remedy():
    other, convention = Source("gru.pt", "of-another-time", {}), conventions()["order_rz: W_h"]
    assert remedy(convention, "plain", other, SIZES) == remedy(convention, "plain", None, SIZES) == "plain"
    assert of_file(convention, other, SIZES) == convention.remedy


@pytest.mark.parametrize(
    ("name", "convention", "said"),
    [
        ("torch", "order_rz: W_h", "encoder.weight_hh_l0 holds r in rows 0:4, z in rows 4:8, h in rows 8:12"),
        ("keras", "order_rz: W_x", "encoder.kernel holds z in columns 0:4, r in columns 4:8, h in columns 8:12"),
        ("keras", "order_rz: the second bias", "encoder.bias[1] holds z in elements 0:4, r in elements 4:8"),
        ("flax-linen", "order_rz: W_h", "encoder.hz.kernel is z, encoder.hr.kernel is r, encoder.hn.kernel is h"),
        ("onnx", "second_bias_missing", "(in gru.pt: b_hz = encoder.B[0, 12:16], b_hr = encoder.B[0, 16:20]"),
        ("torch", "second_bias_missing", "(in gru.pt: encoder.bias_hh_l0)"),
        ("onnx", "reset_before", "set linear_before_reset=1, as the layer of gru.pt has it"),
        ("onnx-reset-before", "reset_after", "set linear_before_reset=0, as the layer of gru.pt has it"),
        ("keras", "reset_before", "set reset_after=True, as"),
        ("keras-reset-before", "reset_after", "set reset_after=False, as"),
        ("torch", "reset_before", "write C = tanh(X @ W_xh + b_h + R * (H @ W_hh + b_hh)), as torch.nn.GRU has it"),
        ("flax-nnx", "gates_hard_sigmoid", "set gate_fn=sigmoid"),
        ("torch", "gates_hard_sigmoid", "use sigmoid in the gates, as torch.nn.GRU does"),
        ("keras", "candidate_relu", 'set activation="tanh"'),
        ("torch", "time_reversed", "run from the first step to the last (go_backwards=False)"),
    ],
)
def test_a_remedy_is_said_of_the_users_layer(name, convention, said):
    each = conventions()[convention]
    assert said in remedy(each, each.remedy, source(name), SIZES)


MENDED = ("torch", "keras", "gluon", "onnx", "mlx", "flax-linen", "tf1", "cudnn-flat")
EXCHANGED = [
    (name, f"{order}: {place}")
    for name in MENDED
    for order in ("order_rz", "order_zh")
    for place in ("every weight and bias", "W_h", "both biases")
    # A layer may have no second biases that could be exchanged.
    if conventions()[f"{order}: {place}"].of_weights(held(layout(name))) is not None
]


def test_blocks_of_each_layout_are_exchanged():
    assert {name for name, _ in EXCHANGED} == {*MENDED}


@pytest.mark.parametrize(("name", "exchanged"), EXCHANGED)
def test_blocks_that_are_exchanged_as_is_said_are_right_again(name, exchanged):
    of, convention = layout(name), conventions()[exchanged]
    parameters = held(of)
    tensors, right = pack(of, convention.of_weights(parameters)), pack(of, parameters)
    said = of_file(convention, source(name, ""), SIZES).removeprefix("in gru.pt exchange ")
    for words in re.split(r", (?!\d*:?\d+[\],])", said):
        _exchange(tensors, words)
    for key, array in right.items():
        np.testing.assert_array_equal(tensors[key], array, err_msg=said)


def _exchange(tensors, words):
    """What a sentence says, done to tensors."""

    def part(name, index=None):
        own = next(key for key in sorted(tensors, key=len, reverse=True) if name.startswith(key))
        return eval(f"whole{name.removeprefix(own)}{index or ''}[...]", {"whole": tensors[own]})

    pairs = []
    if match := re.fullmatch(r"(rows|columns|elements) (\S+) and (\S+) of (.+)", words):
        axis, one, other, names = match.groups()
        for name in names.split(" and "):
            index = "[:, {}]" if axis == "columns" else "[{}]"
            pairs.append((part(name, index.format(one)), part(name, index.format(other))))
    else:
        one, other = words.split(" with ")
        pairs.append((part(one), part(other)))
    for one, other in pairs:
        kept = one.copy()
        one[...] = other
        other[...] = kept


def test_why_names_the_tensors_of_the_weights(isogru, tmp_path):
    """A case keeps where its weights come from, and a file of states that were computed otherwise is told so."""
    torch = grus.torch_layer(3, 4)
    weights, X, case = tmp_path / "gru.safetensors", tmp_path / "X.npy", tmp_path / "case.safetensors"
    save_file({f"module.encoder.{name}": array for name, array in torch.items()}, weights)
    np.save(X, np.random.RandomState(3).standard_normal((6, 2, 3)).astype(np.float32))
    assert isogru("case", "--weights", weights, "--input", X, "-o", case).status == 0
    r, z, h = np.split(torch["weight_hh_l0"], 3)
    wrong = {**torch, "weight_hh_l0": np.concatenate([z, r, h])}
    np.save(tmp_path / "H.npy", grus.states(np.load(X).astype(float), *grus.of_torch(wrong)).astype(np.float32))
    done = isogru("verdict", case, tmp_path / "H.npy", "--why")
    told = "module.encoder.weight_hh_l0 holds r in rows 0:4, z in rows 4:8, h in rows 8:12"
    assert (done.status, f"remedy: read {weights.name} in its order: {told}\n" in done.out) == (1, True), done


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ('{"file": 3}', "weights: damaged: file: expected str, got int; write the case again"),
        (
            '{"file": "a", "layout": "torch", "names": {"x": "a\\nb"}}',
            "name of 'x' is 'a\\nb', should be a line of text",
        ),
        ("[", "weights: damaged"),
    ],
)
def test_where_weights_come_from_is_checked_at_the_door(isogru, tmp_path, metadata, said):
    case = tmp_path / "case.safetensors"
    assert isogru("case", "gru-ordinary", "-o", case).status == 0
    save_file(load_file(case), case, {"format": "isogru-case/1", "cell": "gru", "name": "own", "weights": metadata})
    with pytest.raises(InterchangeError, match=re.escape(said)):
        read_case(case)
