"""How layers pack parameters, as data. That each layer does so is shown in tests/rosetta and tests/equivalence."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from shared_spec.cells import cells
from shared_spec.errors import SpecificationError, UserError
from shared_spec.weights import layouts
from shared_spec.weights.packing import pack, sizes, unpack
from tests import tox_settings
from tests.spec.drawn import ALL, H, drawn, same_bits, sized

ROOT = Path(__file__).parents[2]


def test_the_table_has_every_layer_that_it_should():
    wanted = {"torch", "keras", "keras-reset-before", "flax-linen", "flax-nnx", "gluon", "onnx", "onnx-reset-before"}
    wanted |= {"equinox", "haiku", "haste", "mlx", "cudnn", "torch-rnn", "keras-rnn", "flax-rnn", "gluon-rnn"}
    wanted |= {"torch-cell", "paddle", "candle", "keras-cudnn", "tf1", "tf1-cudnn", "mxnet-fused", "openvino"}
    wanted |= {"openvino-before", "burn", "burn-reset-before", "tensorrt", "rnnoise", "nnlib", "nnlib-reset-before"}
    wanted |= {"cudnn-flat", "torch-rnn-cell", "onnx-rnn", "mlx-rnn"}
    assert set(layouts.layouts()) == wanted
    assert set(layouts.own()) == {"gru", "gru_reset_after", "rnn"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_unpacking_undoes_packing_to_the_bit(name, dtype):
    layout = sized(name)
    # Transposed and strided arrays, as they come out of frameworks; zeros with a sign.
    parameters = {k: np.asfortranarray(np.repeat(a, 2, axis=0)[::2]) for k, a in drawn(layout, dtype).items()}
    parameters["b_h"][0] = -0.0
    tensors = pack(layout, parameters)
    assert all(tensor.flags.c_contiguous and tensor.dtype == dtype for tensor in tensors.values())
    assert same_bits(unpack(layout, tensors), parameters)
    # And every value is somewhere: as many numbers as there were.
    assert sum(t.size for t in tensors.values()) == sum(p.size for p in parameters.values())
    turned = {k: np.asfortranarray(np.repeat(a, 2, axis=0)[::2]) for k, a in tensors.items()}
    assert same_bits(unpack(layout, turned), parameters)


def test_packing_by_hand():
    """Two layouts that share nothing, spelled out."""
    torch, haiku = layouts.layout("torch"), layouts.layout("haiku")
    p = drawn(torch)
    np.testing.assert_array_equal(
        pack(torch, p)["weight_hh_l0"], np.concatenate([p["W_hr"].T, p["W_hz"].T, p["W_hh"].T], 0)
    )
    np.testing.assert_array_equal(pack(torch, p)["bias_hh_l0"], np.concatenate([p["b_hr"], p["b_hz"], p["b_hh"]]))
    p = drawn(haiku)
    np.testing.assert_array_equal(pack(haiku, p)["w_i"], np.concatenate([-p["W_xz"], p["W_xr"], p["W_xh"]], 1))
    onnx = layouts.layout("onnx")
    p = drawn(onnx)
    tensors = pack(onnx, p)
    assert {name: t.shape for name, t in tensors.items()} == {"W": (1, 12, 3), "R": (1, 12, 4), "B": (1, 24)}
    np.testing.assert_array_equal(tensors["B"][0, 12:16], p["b_hz"])


def test_packing_by_hand_of_blocks():
    """TensorFlow 1: the input's matrix above the state's, and one tensor for two gates."""
    tf1 = layouts.layout("tf1")
    p = drawn(tf1)
    tensors = pack(tf1, p)
    np.testing.assert_array_equal(tensors["gates/kernel"], np.block([[p["W_xr"], p["W_xz"]], [p["W_hr"], p["W_hz"]]]))
    np.testing.assert_array_equal(tensors["candidate/kernel"], np.concatenate([p["W_xh"], p["W_hh"]]))
    assert layouts.facts(tf1)["tensors"]["gates/kernel"] == "(d + h, 2h)"
    assert layouts.facts(tf1)["gates"] == "r z, h"


def test_packing_by_hand_of_turned_blocks():
    """CuDNNGRU: every gate's values in the order of its transpose, under the shape that it had."""
    cudnn = layouts.layout("keras-cudnn")
    p = drawn(cudnn)
    tensors = pack(cudnn, p)
    np.testing.assert_array_equal(tensors["kernel"][:, :H].ravel(), p["W_xz"].T.ravel())
    np.testing.assert_array_equal(tensors["recurrent_kernel"][:, H : 2 * H], p["W_hr"].T)
    np.testing.assert_array_equal(tensors["bias"][3 * H : 4 * H], p["b_hz"])
    assert tensors["kernel"].shape == (3, 3 * H)


def test_packing_by_hand_of_one_vector():
    """MXNet and cuDNN: all matrices, then all biases; as torch.nn.GRU has them, laid out one after the other."""
    torch, fused = layouts.layout("torch"), layouts.layout("mxnet-fused")
    p = drawn(torch)
    packed = pack(torch, p)
    order = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    whole = np.concatenate([packed[name].ravel() for name in order])
    np.testing.assert_array_equal(pack(fused, p)["parameters"], whole)
    np.testing.assert_array_equal(pack(layouts.layout("cudnn-flat"), p)["opaque_kernel"], whole)


def test_one_vector_does_not_tell_how_many_units():
    fused = layouts.layout("mxnet-fused")
    p = drawn(fused, d=5, h=3)
    tensors = pack(fused, p)
    said = r"parameters has shape (90,), which (3dh + 3hh + 6h,) is for more than one number of units h: say how many"
    with pytest.raises(UserError, match=re.escape(said)):
        unpack(fused, tensors)
    # Two ways to say it.
    assert same_bits(unpack(fused, tensors, known={"h": 3}), p)
    assert same_bits(unpack(fused.of_units(3), tensors), p)
    # Of other lengths there is no d for some h.
    assert sizes(fused, {"parameters": (90,)}, known={"h": 2}) == {"d": 11, "h": 2}
    with pytest.raises(UserError, match=re.escape("parameters has shape (90,), should be (3dh + 3hh + 6h,)")):
        sizes(fused, {"parameters": (90,)}, known={"h": 4})
    with pytest.raises(UserError, match=re.escape("parameters has shape (9, 10), should be (3dh + 3hh + 6h,)")):
        sizes(fused, {"parameters": (9, 10)}, known={"h": 3})


def test_known_units_that_the_shapes_contradict():
    torch = layouts.layout("torch")
    with pytest.raises(UserError, match=re.escape("weight_ih_l0 has shape (12, 3), should be (3h, d) = (15, 3)")):
        unpack(torch, pack(torch, drawn(torch)), known={"h": 5})


def test_parameters_are_copies():
    """A tensor that is one parameter alone is not that parameter: who changes one does not change the other."""
    for name in ("flax-linen", "torch"):
        layout = layouts.layout(name)
        tensors = pack(layout, drawn(layout))
        before = {key: array.copy() for key, array in tensors.items()}
        for array in unpack(layout, tensors).values():
            array[:] = 0
        assert same_bits(tensors, before)


def test_second_biases_not_given_are_zero():
    keras = layouts.layout("keras")
    given = {name: array for name, array in drawn(keras).items() if name not in keras.second}
    bias = pack(keras, given)["bias"]
    assert not bias[1, : 2 * H].any()
    np.testing.assert_array_equal(bias[1, 2 * H :], given["b_hh"])


def test_packing_refuses_what_has_no_place():
    nnx = layouts.layout("flax-nnx")
    with pytest.raises(UserError, match="flax-nnx has no b_hh; it has W_xz, W_hz, b_z"):
        pack(nnx, {**drawn(nnx), "b_hh": np.zeros(H)})
    with pytest.raises(UserError, match="W_hr is missing; flax-nnx has W_xz"):
        pack(nnx, {name: a for name, a in drawn(nnx).items() if name != "W_hr"})


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("torch", {"weight_ih_l0": (10, 3)}, "weight_ih_l0 has shape (10, 3), should be (3h, d)"),
        ("torch", {"weight_hh_l0": (15, 5)}, "weight_hh_l0 has shape (15, 5), should be (3h, h) = (12, 4)"),
        ("torch", {"weight_hh_l0": (4, 12)}, "weight_hh_l0 has shape (4, 12), should be (3h, h) = (12, 4)"),
        ("torch", {"bias_ih_l0": (12, 1)}, "bias_ih_l0 has shape (12, 1), should be (3h,) = (12,)"),
        ("torch", {"weight_ih_l0": (0, 3)}, "weight_ih_l0 has shape (0, 3), should be (3h, d)"),
        ("keras", {"bias": (12,)}, "bias has shape (12,), should be (2, 3h) = (2, 12)"),
        ("keras-reset-before", {"bias": (2, 12)}, "bias has shape (2, 12), should be (3h,) = (12,)"),
        ("onnx", {"W": (2, 12, 3)}, "should be (1, 3h, d) = (1, 12, 3); one direction is converted at a time: take"),
        ("flax-linen", {"in.bias": (5,)}, "in.bias has shape (5,), should be (h,) = (4,)"),
        ("tf1", {"gates/kernel": (4, 8)}, "gates/kernel has shape (4, 8), should be (d + h, 2h)"),
        ("tf1", {"gates/kernel": (7, 9)}, "gates/kernel has shape (7, 9), should be (d + h, 2h)"),
        ("tf1", {"candidate/kernel": (8, 4)}, "candidate/kernel has shape (8, 4), should be (d + h, h) = (7, 4)"),
        ("keras-cudnn", {"bias": (2, 12)}, "bias has shape (2, 12), should be (6h,) = (24,)"),
        ("openvino", {"B": (1, 24)}, "B has shape (1, 24), should be (1, 4h) = (1, 16)"),
    ],
)
def test_shapes_that_do_not_fit(name, change, said):
    layout = layouts.layout(name)
    tensors = {**pack(layout, drawn(layout)), **{key: np.zeros(shape) for key, shape in change.items()}}
    with pytest.raises(UserError, match=re.escape(said)):
        unpack(layout, tensors)


def test_sizes_are_found_in_every_layout():
    for name in ALL:
        layout = sized(name, h=7)
        shapes = {key: tensor.shape for key, tensor in pack(layout, drawn(layout, d=5, h=7)).items()}
        assert sizes(layout, shapes) == {"d": 5, "h": 7}


def test_facts():
    torch, keras, haiku, nnx, rnn = (
        layouts.facts(layouts.layout(name)) for name in ("torch", "keras", "haiku", "flax-nnx", "keras-rnn")
    )
    assert (torch["gates"], torch["transposed"], torch["biases"], torch["time"]) == ("r z h", True, 2, "time first")
    assert torch["tensors"]["weight_ih_l0"] == "(3h, d)"
    assert torch["folded"] == ["b_hz into b_z", "b_hr into b_r"]
    assert (keras["gates"], keras["transposed"], keras["time"]) == ("z r h", False, "batch first")
    assert (haiku["update"], haiku["reset"], haiku["inner_bias"]) == ("Z renews the state", "before", False)
    assert (nnx["update"], nnx["reset"], nnx["inner_bias"]) == ("Z keeps the state", "after", False)
    assert (rnn["update"], rnn["reset"], rnn["gates"], rnn["biases"]) == ("none", "none", "h", 1)
    for layout in layouts.layouts().values():
        assert bool(layout.proven) != bool(layout.unproven)
    assert layouts.layout("keras-cudnn").biased
    assert not layouts.layout("keras").biased


def test_where_the_reset_gate_acts_is_read_off_the_equations():
    assert {name: layouts.reset_of(each) for name, each in cells().items()} == {
        "gru": "before",
        "gru_reset_after": "after",
        "gru_reset_only": "before",
        "gru_update_only": "none",
        "rnn": "none",
    }


def test_every_proof_has_its_environment_and_its_module():
    """Claimed in the table, run by the module, and started by tox."""
    text = (ROOT / "tox.ini").read_text()
    proofs = {each.proven for each in layouts.layouts().values() if each.proven}
    assert proofs == {name for name in tox_settings.env_list(text) if name.startswith("rosetta-")}
    commands = {name: settings["commands"] for name, settings in tox_settings.environments(text).items()}
    for proof in proofs:
        package = proof.removeprefix("rosetta-")
        # Right here, or at the end of a `tox exec`.
        assert f"python -m frameworks.adapters {package}" in [each.split(" -- ")[-1] for each in commands[proof]]
        tree = ast.parse((ROOT / "frameworks" / "adapters" / f"{package}.py").read_text())
        (run,) = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["LAYOUTS"]
        ]
        assert {key.value for key in run.keys} == {n for n, each in layouts.layouts().items() if each.proven == proof}


def test_unknown_layout():
    with pytest.raises(
        UserError, match=r"no layout 'caffe'; the layouts are torch, torch-cell, .* keras, keras-reset-before, .* gru,"
    ):
        layouts.layout("caffe")


TORCH = 'weight_hh_l0 = { parts = ["W_hr", "W_hz", "W_hh"], transpose = true }'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"ir.bias" = { parts = ["b_r"] }\n', "", r"\[flax-linen\] b_r is in no tensor; list it in `without` if"),
        ('["W_hr", "W_hz", "W_hh"], t', '["W_hr", "W_hz", "W_hz"], t', r"\[torch\] W_hh is in no tensor"),
        ('["W_hr", "W_hz", "W_hh"], t', '["W_hr", "W_hz", "W_hh", "W_hz"], t', r"\[torch\] W_hz is packed 2 times"),
        ('["W_hr", "W_hz", "W_hh"], t', '["W_hr", "W_hz", "W_ho"], t', r"no parameter 'W_ho'; there are W_xz"),
        ('["W_hr", "W_hz", "W_hh"], t', '["W_hr", "W_xz", "W_hh"], t', r"W_hr, W_xz, W_hh do not go together along a"),
        (
            TORCH,
            TORCH.replace("true", '"yes"'),
            r"weight_hh_l0: axis is a whole number, transpose, turned, flat true or",
        ),
        (TORCH, TORCH.replace(", t", ", axis = 2, t"), r"weight_hh_l0: W_hr has 2 axes, no axis 2"),
        (TORCH, TORCH.replace("transpose", "transposed"), r"weight_hh_l0 has parts, rows or blocks, axis, transpose,"),
        (TORCH, "weight_hh_l0 = { axis = 0 }", r"weight_hh_l0 has either parts, a list of parameters, or rows"),
        (TORCH, "weight_hh_l0 = { parts = [] }", r"weight_hh_l0 has either parts, a list of parameters, or rows"),
        (TORCH, TORCH.replace("true", "true, turned = true"), r"weight_hh_l0: either transpose or turned"),
        (TORCH, TORCH.replace("true", "true, flat = 1"), r"weight_hh_l0: axis is a whole number, transpose, turned, f"),
        (
            TORCH,
            TORCH.replace("true", "true, flat = true, axis = 1"),
            r"weight_hh_l0: what is flat has parts, and no a",
        ),
        (
            '"ir.bias" = { parts = ["b_r"] }',
            '"ir.bias" = { parts = ["b_r"], turned = true }',
            r"b_r has 1 axes, nothing to",
        ),
        (
            'blocks = [["W_xh"], ["W_hh"]]',
            'blocks = [["W_xh"], ["b_h"]]',
            r"candidate/kernel: blocks are matrices, and",
        ),
        (
            'blocks = [["W_xh"], ["W_hh"]]',
            'blocks = [["W_xh"], ["W_hh", "W_hz"]]',
            r"rows of different widths, \(d, h\) an",
        ),
        ('blocks = [["W_xh"], ["W_hh"]]', 'blocks = [["W_xh", "W_hh"]]', r"W_xh, W_hh do not go together along axis 1"),
        ('[["b_z", "b_r", "b_h"], ["b_hz", "b_hr", "b_hh"]]', '[["b_z"], ["b_r", "b_h"]]', r"rows of different shapes"),
        ('cell = "gru_reset_after"', 'cell = "lstm"', r"\[torch\] no cell 'lstm'; the cells are gru"),
        ('time = "first"', 'time = "last"', r"\[torch\] time is 'last', should be one of first, second, step"),
        ('package = "torch"\n', "", r"\[torch\] a layout says its package"),
        ('package = "torch"\n', 'package = "torch"\npackages = "torch"\n', r"\[torch\] a layout has no 'packages'"),
        ('proven = "rosetta-torch"\n', "", r"\[torch\] a layout is either proven, by a tox environment, or unproven"),
        ('without = ["b_hh"]', 'without = ["b_o"]', r"\[flax-nnx\] without is \['b_o'\], should be a list of paramet"),
        ('without = ["b_hh"]\n', "", r"\[flax-nnx\] b_hh is in no tensor; list it in `without` if the layer takes it"),
        ("isogru-layouts/1", "isogru-layouts/2", r"this isogru reads 'isogru-layouts/1'; update isogru"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(monkeypatch, tmp_path, old, new, said):
    wrong = tmp_path / "layouts.toml"
    text = layouts.FILE.read_text()
    assert old in text
    wrong.write_text(text.replace(old, new, 1))
    monkeypatch.setattr(layouts, "FILE", wrong)
    with pytest.raises(SpecificationError, match=said) as refusal:
        layouts.layouts.__wrapped__()
    assert "isogru-layouts" in said or re.match(r"layouts\.toml:\d+:\d+: \[", str(refusal.value))


def test_the_place_is_the_line_of_the_tensor(monkeypatch, tmp_path):
    wrong = tmp_path / "layouts.toml"
    wrong.write_text(layouts.FILE.read_text().replace('Wh = { parts = ["W_hr"', 'Wh = { parts = ["W_h"'))
    monkeypatch.setattr(layouts, "FILE", wrong)
    line = next(i for i, text in enumerate(wrong.read_text().splitlines(), 1) if text.startswith("Wh = "))
    with pytest.raises(SpecificationError, match=rf"layouts\.toml:{line}:1: \[mlx\] Wh: no parameter 'W_h'"):
        layouts.layouts.__wrapped__()
