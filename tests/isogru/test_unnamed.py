"""Files whose names no layout has: what is said of them is done, and gives the layer that they hold."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest

from tests.isogru import grus

D, H = 3, 4
LAYER = grus.torch_layer(D, H)
GATES = {"r": slice(0, H), "z": slice(H, 2 * H), "n": slice(2 * H, 3 * H)}
BLOCKS = {kind: {gate: LAYER[f"{kind}_l0"][rows] for gate, rows in GATES.items()} for kind in
          ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}  # fmt: skip


def apart(*names, turned=False):
    """A file with a matrix or a vector for each gate: names of the input's, of the state's and of the biases, in which
    {} is the gate."""
    made = {}
    for name, (kind, blocks) in zip(names, BLOCKS.items(), strict=False):
        for gate, block in blocks.items():
            made[name.format(gate)] = block.T if turned and kind.startswith("weight") else block
    return made


FILES = {
    "packed": {"w_ih": LAYER["weight_ih_l0"], "w_hh": LAYER["weight_hh_l0"], "b_hh": LAYER["bias_hh_l0"],
               "b_ih": LAYER["bias_ih_l0"]},
    "two linear layers": {"h2h.bias": LAYER["bias_hh_l0"], "h2h.weight": LAYER["weight_hh_l0"],
                          "x2h.bias": LAYER["bias_ih_l0"], "x2h.weight": LAYER["weight_ih_l0"]},
    "six linear layers": apart("gru.W_i{}.weight", "gru.W_h{}.weight", "gru.W_i{}.bias", "gru.W_h{}.bias"),
    "x2z and h2z": apart("x2{}.weight", "h2{}.weight", "x2{}.bias", "h2{}.bias"),
    "W, U, b and c": apart("W{}", "U{}", "b{}", "c{}"),
    "W, U, b and c, turned": apart("W_{}", "U_{}", "b_{}", "c_{}", turned=True),
    "W_i, W_h, b_i and b_h": apart("W_i{}", "W_h{}", "b_i{}", "b_h{}"),
}  # fmt: skip


def followed(isogru, folder, told):
    """The options that a message says to add, of the second file."""
    options = re.search(r"(?:could be|say) (--to \S+(?: --to-name \S+)+)", told)[1].rstrip(",;")
    return isogru("same", folder / "torch.npz", folder / "mine.npz", *shlex.split(options))


@pytest.mark.parametrize("file", FILES)
def test_the_names_tell_which_is_which(isogru, tmp_path, file):
    np.savez(tmp_path / "torch.npz", **LAYER)
    np.savez(tmp_path / "mine.npz", **FILES[file])
    done = isogru("same", tmp_path / "torch.npz", tmp_path / "mine.npz")
    assert done.status == 2, done
    assert "rnn" not in done.err.partition("could be")[2].partition("(or as")[0], done.err
    again = followed(isogru, tmp_path, done.err)
    assert (again.status, "the same function" in again.out) == (0, True), (done.err, again)


@pytest.mark.parametrize("turned", [False, True])
def test_one_bias_leaves_the_reset_gate_open(isogru, tmp_path, turned):
    """Both ways are said, and each is the layer that it says."""
    np.savez(tmp_path / "mine.npz", **apart("gru_1_W_{}", "gru_1_U_{}", "gru_1_b_{}", turned=turned))
    told = isogru("layers", tmp_path / "mine.npz").err
    ways = re.findall(r"(before|after) (?:the product|it), (?:say )?(--from \S+(?: --name [^\s,;]+)+)", told)
    assert [way for way, _ in ways] == ["before", "after"], told
    for way, options in ways:
        keras = grus.to_keras({**LAYER, "bias_hh_l0": np.zeros_like(LAYER["bias_hh_l0"])})
        keras = {**keras, "bias": keras["bias"][0]} if way == "before" else keras
        np.savez(tmp_path / "keras.npz", **keras)
        done = isogru("same", tmp_path / "mine.npz", tmp_path / "keras.npz", *shlex.split(options))
        assert (done.status, "the same function, if" in done.out) == (0, True), (options, done)


def test_of_layers_that_are_numbered_the_first_is_taken(isogru, tmp_path):
    """In the order of numbers: bias2 is of the layer of kernel0, bias10 of another."""
    keras = grus.to_keras(LAYER)
    names = {"kernel": (0, 8), "recurrent_kernel": (1, 9), "bias": (2, 10)}
    numbered = {f"{own}{i}": keras[own] + (i > 2) for own, numbers in names.items() for i in numbers[::-1]}
    np.savez(tmp_path / "torch.npz", **LAYER)
    np.savez(tmp_path / "mine.npz", **numbered)
    told = isogru("same", tmp_path / "torch.npz", tmp_path / "mine.npz").err
    again = followed(isogru, tmp_path, told)
    assert (again.status, "the same function" in again.out) == (0, True), (told, again)
    assert told.rstrip().endswith("bias is one of bias2, bias10")


@pytest.mark.parametrize("bias", ["W_{}.bias", "bias_{}", "b_{}"])
def test_a_bias_beside_matrices_that_have_none(isogru, tmp_path, bias):
    """The input's layers with a bias, the state's without; a tensor that no option uses is named."""
    np.savez(tmp_path / "torch.npz", **LAYER | {"bias_hh_l0": np.zeros_like(LAYER["bias_hh_l0"])})
    np.savez(tmp_path / "mine.npz", **apart("W_{}.weight", "U_{}.weight", bias), **{"head.weight": np.ones((2, H))})
    told = isogru("same", tmp_path / "torch.npz", tmp_path / "mine.npz").err
    assert "no option uses head.weight;" in told
    after = re.search(r"after it, (--to \S+(?: --to-name [^\s;]+)+)", told)[1]
    done = isogru("same", tmp_path / "torch.npz", tmp_path / "mine.npz", *shlex.split(after))
    assert (done.status, "the same function" in done.out) == (0, True), (told, done)


def test_a_layer_has_one_place(isogru, tmp_path):
    """A bias of another place is another layer's, and of two layers the first is told."""
    encoder, attention = apart("encoder.W_{}", "encoder.U_{}", "encoder.b_{}"), apart("", "", "attention.b_{}")
    np.savez(tmp_path / "two.npz", **apart("dec.W_{}", "dec.U_{}"), **encoder)
    told = isogru("layers", tmp_path / "two.npz").err
    assert "the gates of 2 GRUs stand apart (dec, encoder), and one is read at a time" in told
    options = told[: told.index("no option uses")]
    assert ("dec.W_z" in options, "encoder." in options.partition("one is read")[2]) == (True, False), told
    biases = {name: array for name, array in attention.items() if name}
    np.savez(tmp_path / "one.npz", **apart("gru.W_{}", "gru.U_{}"), **biases)
    told = isogru("layers", tmp_path / "one.npz").err
    assert "attention" not in told[told.index("stand apart") : told.index("no option uses")]
    assert "no option uses attention.b_r, attention.b_z, attention.b_n" in told


def test_square_matrices_may_be_transposed(isogru, tmp_path):
    layer = grus.torch_layer(H, H)
    blocks = {kind: {gate: layer[f"{kind}_l0"][rows] for gate, rows in GATES.items()} for kind in BLOCKS}
    names = {"weight_ih": "W_{}", "weight_hh": "U_{}", "bias_ih": "b_{}", "bias_hh": "c_{}"}
    made = {names[kind].format(gate): block for kind, each in blocks.items() for gate, block in each.items()}
    np.savez(tmp_path / "torch.npz", **layer)
    np.savez(tmp_path / "mine.npz", **made)
    told = isogru("same", tmp_path / "torch.npz", tmp_path / "mine.npz").err
    ways = re.findall(r"--to \S+(?: --to-name [^\s,;]+)+", told.partition("where they are (h, d), say")[2])
    held = [isogru("same", tmp_path / "torch.npz", tmp_path / "mine.npz", *shlex.split(way)) for way in ways]
    assert [each.status for each in held] == [0], told


def test_a_case_of_layers_that_are_named(isogru, tmp_path):
    np.savez(tmp_path / "mine.npz", **apart("W{}", "U{}", "b{}", "c{}"))
    np.save(tmp_path / "X.npy", np.zeros((2, 1, D)))
    given = (
        "case",
        "--weights",
        tmp_path / "mine.npz",
        "--input",
        tmp_path / "X.npy",
        "-o",
        tmp_path / "c.safetensors",
    )
    options = re.search(r"say (--from \S+(?: --name [^\s,;]+)+)", isogru(*given).err)[1]
    done = isogru(*given, *shlex.split(options))
    assert (done.status, (tmp_path / "c.safetensors").exists()) == (0, True), done
    # What the options use is no other tensor.
    assert "other tensor" not in isogru("layers", tmp_path / "mine.npz", *shlex.split(options)).out
