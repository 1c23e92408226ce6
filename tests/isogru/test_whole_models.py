"""Files that people have, by names and shapes: which layers they hold, whether they are the same, one into another.

The kinds are those of public reports: stacks inside models, cells by other names, no bias, half precision, other
activations, CuDNNGRU, weight norm, names of Flax and Gluon, both directions in one tensor.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shared_spec.weights import layouts
from shared_spec.weights.packing import pack, unpack
from tests.isogru import grus
from tests.spec.drawn import drawn

SIGMOID_AND_TANH = 'recurrent_activation="sigmoid" and activation="tanh"'
TO_THE_BIT = "every parameter, of two biases their sum, to the bit"


@pytest.fixture
def stack():
    """Two layers in both directions inside a model, under torch's names, and a layer beside."""
    return {**grus.torch_stack(prefix="encoder."), "fc.weight": np.ones((3, 8), np.float32)}


def outputs(X, stack, prefix=""):
    """What a stack of two bidirectional layers gives, by torch's names."""
    for suffix in ("_l0", "_l1"):
        both = [grus.states(X, *grus.of_torch(stack, suffix + r, prefix), reverse=bool(r)) for r in ("", "_reverse")]
        X = np.concatenate(both, -1)
    return X


def test_the_layers_of_a_stack_inside_a_model(isogru, saved, stack):
    done = isogru("layers", saved("model", stack))
    lines = done.out.splitlines()
    assert (done.status, lines[-1]) == (0, "  1 other tensor: fc.weight")
    assert [line.split(":")[0].strip() for line in lines[1:5]] == [
        f"encoder {label}" for label in ("l0", "l0_reverse", "l1", "l1_reverse")
    ]
    assert (
        "torch (torch.nn.GRU), by names and shapes; d = 8, h = 4, two biases, float32, last step to first" in lines[4]
    )
    (record,) = json.loads(isogru("layers", "--json", saved("model", stack)).out)
    assert [(each["layer"], each["d"]) for each in record["layers"]] == [
        ("l0", 3), ("l0_reverse", 3), ("l1", 8), ("l1_reverse", 8)
    ]  # fmt: skip
    assert record["layers"][1]["tensors"]["weight_ih_l0"] == "encoder.weight_ih_l0_reverse"


def test_a_stack_goes_to_keras_one_layer_at_a_time(isogru, saved, stack, tmp_path):
    model, X = saved("model", stack), np.random.RandomState(1).standard_normal((6, 2, 3))
    given = X
    for number in (0, 1):
        both = []
        for reverse in ("", "_reverse"):
            out = tmp_path / f"l{number}{reverse}.safetensors"
            done = isogru("convert", model, "--layer", f"l{number}{reverse}", "--to", "keras", "-o", out)
            assert done.status == 0, done.err
            assert done.out.startswith("exact: every value is kept to the bit; the same function if the target (")
            assert f"(keras.layers.GRU) has {SIGMOID_AND_TANH}" in done.out
            assert ("runs from the last step to the first" in done.out) == bool(reverse)
            tensors = load_file(out)
            args = grus.of_keras(tensors["kernel"], tensors["recurrent_kernel"], tensors["bias"])
            both.append(grus.states(X, *args, reverse=bool(reverse)))
        X = np.concatenate(both, -1)
    np.testing.assert_allclose(X, outputs(given, stack, "encoder."), atol=1e-6)


@pytest.mark.parametrize("layout", ["keras", "gluon", "onnx", "torch"])
def test_a_whole_stack_goes_there_and_back(isogru, saved, stack, tmp_path, layout):
    model, there, back = saved("model", stack), tmp_path / "there.safetensors", tmp_path / "back.safetensors"
    done = isogru("convert", model, "--to", layout, "-o", there)
    assert done.status == 0, done.err
    assert done.out.count("exact: every value is kept to the bit") == 4
    assert "the layers are connected alike" in done.out
    same = isogru("same", model, there, *(["--to", layout] if layout == "onnx" else []))
    assert (same.status, same.out.splitlines()[-1].endswith("4 layers")) == (0, True), same
    if layout == "onnx":
        assert {name: array.shape[0] for name, array in load_file(there).items()} == dict.fromkeys(
            [f"l{n}.{name}" for n in (0, 1) for name in "WRB"], 2
        )
    options = ["--from", layout, "--to-prefix", "encoder."]
    assert isogru("convert", there, *options, "--to", "torch", "-o", back).status == 0
    tensors = load_file(back)
    assert set(tensors) == set(stack) - {"fc.weight"}
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, stack[name])


def test_four_files_of_keras_become_one_stack(isogru, saved, stack, tmp_path):
    files = [
        saved(f"keras{s}", grus.to_keras(stack, s, "encoder.")) for s in ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
    ]
    labels = [word for label in ("l0", "l0_reverse", "l1", "l1_reverse") for word in ("--to-layer", label)]
    out = tmp_path / "out.safetensors"
    done = isogru("convert", *files, "--to", "torch", "--to-prefix", "encoder.", *labels, "-o", out)
    assert done.status == 0, done.err
    tensors = load_file(out)
    assert set(tensors) == set(stack) - {"fc.weight"}
    assert all(np.array_equal(array, stack[name]) for name, array in tensors.items())
    short = isogru("convert", *files, "--to", "torch", "--to-layer", "l0", "-o", tmp_path / "no.safetensors")
    assert "4 layers and 1 times --to-layer; give it once for each layer" in short.err
    twice = isogru(
        "convert", *files[:2], "--to", "torch", "--to-layer", "l0", "--to-layer", "l0", "-o", tmp_path / "no"
    )
    assert "two layers would be written as weight_ih_l0" in twice.err
    assert not (tmp_path / "no").exists()


def test_two_layers_that_are_no_stack_keep_their_places(isogru, saved, tmp_path):
    """A GRUCell for each direction, and an encoder beside a decoder."""
    cells = grus.torch_layer(suffix="", prefix="enc_f.") | grus.torch_layer(suffix="", prefix="enc_b.", seed=1)
    out = tmp_path / "out.safetensors"
    assert isogru("convert", saved("cells", cells), "--to", "keras", "-o", out).status == 0
    tensors = load_file(out)
    for prefix in ("enc_f.", "enc_b."):
        for name, array in grus.to_keras(cells, "", prefix).items():
            np.testing.assert_array_equal(tensors[f"{prefix}{name}"], array)
    parallel = grus.torch_layer(3, prefix="module.encoder.gru.") | grus.torch_layer(5, prefix="module.decoder.gru.")
    done = isogru(
        "convert", saved("parallel", parallel), "--to", "torch-cell", "--prefix", "module.encoder.", "-o", out
    )
    assert done.status == 0, done.err
    assert isogru("same", saved("parallel", parallel), out, "--prefix", "module.encoder.").status == 0


def test_a_file_with_more_layers_asks_which(isogru, saved, stack):
    one, model = saved("one", grus.to_keras(stack, "_l1", "encoder.")), saved("model", stack)
    done = isogru("same", one, model)
    assert "has 1 layer (the layer)" in done.err
    assert done.err.endswith("say which of the 4 are meant, such as --to-layer l0\n")
    assert isogru("same", one, model, "--to-layer", "l0").status == 2
    assert isogru("same", one, model, "--to-layer", "l1").status == 0
    assert isogru("same", model, one, "--layer", "l1", "--prefix", "encoder.").status == 0
    assert isogru("same", model, one, "--layer", "l1_reverse").status == 1
    hint = isogru("same", model, one, "--layer", "l7").err
    assert hint.endswith(": no layer l7; there are l0, l0_reverse, l1, l1_reverse\n")
    hint = isogru("same", model, one, "--prefix", "decoder.").err
    assert hint.endswith(": no recurrent layer stands under 'decoder.'; there are encoder.\n")


def test_what_weights_do_not_say_is_a_condition(isogru, saved):
    torch = grus.torch_layer()
    one, other = saved("torch", torch), saved("keras", grus.to_keras(torch))
    done = isogru("same", one, other)
    assert done.out == f"the same function, if {other} has {SIGMOID_AND_TANH}, which it does not say: {TO_THE_BIT}\n"
    assert isogru("same", one, one).out == f"the same function: {TO_THE_BIT}\n"
    both = isogru("same", other, other).out
    assert both.startswith(f"the same function, if both have {SIGMOID_AND_TANH}, which the files do not say: ")
    rnn = {"weight_ih_l0": torch["weight_ih_l0"][:4], "weight_hh_l0": torch["weight_hh_l0"][:4]}
    assert 'if both have nonlinearity="tanh"' in isogru("same", saved("rnn", rnn), saved("rnn", rnn)).out
    onnx = {"W": torch["weight_ih_l0"][None], "R": torch["weight_hh_l0"][None]}
    assert isogru("same", saved("onnx", onnx), saved("onnx", onnx)).status == 2
    said = isogru("same", "--from", "onnx", saved("onnx", onnx), "--to", "onnx", saved("onnx", onnx)).out
    assert said.startswith("the same function, if both have linear_before_reset=1 and activations Sigmoid, Tanh")


def test_two_readings_that_are_other_functions_are_asked_for(isogru, saved, tmp_path):
    torch = grus.torch_layer(bias=False)
    zeros = grus.torch_layer() | {name: np.zeros(12, np.float32) for name in ("bias_ih_l0", "bias_hh_l0")} | torch
    tensors = {name: array for name, array in grus.to_keras(zeros).items() if name != "bias"}
    one, keras = saved("torch", torch), saved("keras", tensors)
    asked = isogru("same", one, keras)
    assert "the layer (kernel, recurrent_kernel) can be read in" in asked.err
    assert "which are different functions, and the file does not say which: --to keras (keras.layers.GRU)" in asked.err
    assert "--to keras-reset-before (keras.layers.GRU(reset_after=False))" in asked.err
    done = isogru("same", one, "--to", "keras", keras)
    assert (done.status, "has no bias, which counts as zero" in done.err) == (0, True)
    assert isogru("same", one, "--to", "keras-reset-before", keras).status == 1
    assert isogru("same", one, saved("zeros", zeros)).status == 0
    shown = isogru("layers", keras).out
    assert "keras or keras-reset-before" in shown
    assert "different functions, and the file does not say which; same and convert take --from" in shown
    # Into a target without bias: a zero one goes, another is refused.
    done = isogru("convert", saved("zeros", zeros), "--to", "keras", "--no-bias", "-o", tmp_path / "none.safetensors")
    assert (done.status, set(load_file(tmp_path / "none.safetensors"))) == (0, {"kernel", "recurrent_kernel"})
    refused = isogru("convert", saved("full", grus.torch_layer()), "--to", "keras", "--no-bias", "-o", tmp_path / "no")
    assert "has a bias that is not zero: it would be another function" in refused.err
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(("dtype", "digits"), [("float16", 11), ("bfloat16", 8)])
def test_half_precision_is_widened_exactly(isogru, tmp_path, dtype, digits):
    full, narrow = grus.torch_layer(), {}
    for name, array in full.items():
        exponent = np.floor(np.log2(np.abs(array)))
        narrow[name] = (np.round(array / 2.0 ** (exponent + 1 - digits)) * 2.0 ** (exponent + 1 - digits)).astype("f")
    header, memory = {}, b""
    for name, array in narrow.items():
        half = (
            array.astype("<f2").tobytes() if dtype == "float16" else (array.view("<u4") >> 16).astype("<u2").tobytes()
        )
        kind = {"float16": "F16", "bfloat16": "BF16"}[dtype]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [len(memory), len(memory) + len(half)]}
        memory += half
    text = json.dumps(header).encode()
    (tmp_path / "half.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + memory)
    save_file(full, tmp_path / "full.safetensors")
    save_file(narrow, tmp_path / "narrow.safetensors")
    half = tmp_path / "half.safetensors"
    done = isogru("same", half, tmp_path / "full.safetensors")
    assert done.out.startswith(f"the same function but for one rounding of a parameter to {dtype}: ")
    assert (done.status, f"{dtype} is widened to float32, exactly" in done.err) == (0, True)
    assert isogru("same", half, tmp_path / "narrow.safetensors").out == f"the same function: {TO_THE_BIT}\n"
    assert isogru("convert", half, "--to", "torch", "-o", tmp_path / "out.safetensors").status == 0
    for name, array in load_file(tmp_path / "out.safetensors").items():
        np.testing.assert_array_equal(array, narrow[name])
    further = {name: array + np.float32(0.01) for name, array in full.items()}
    save_file(further, tmp_path / "further.safetensors")
    assert isogru("same", half, tmp_path / "further.safetensors").status == 1


def test_cudnn_gru_of_keras_2(isogru, saved, tmp_path):
    """Each gate's matrix is stored transposed in the shape of the other; its two biases are one vector."""
    keras = grus.to_keras(grus.torch_layer(4, 5))
    kernel = np.concatenate([k.T.reshape(k.shape) for k in np.split(keras["kernel"], 3, 1)], 1)
    recurrent = np.concatenate([k.T for k in np.split(keras["recurrent_kernel"], 3, 1)], 1)
    cudnn = saved("cudnn", {"kernel": kernel, "recurrent_kernel": recurrent, "bias": keras["bias"].reshape(-1)})
    out = tmp_path / "out.safetensors"
    assert isogru("convert", cudnn, "--to", "keras", "-o", out).status == 0
    assert all(np.array_equal(array, keras[name]) for name, array in load_file(out).items())
    before = saved("before", {**keras, "bias": keras["bias"][0]})
    refused = isogru("convert", before, "--to", "keras", "-o", tmp_path / "no.safetensors")
    assert (
        "impossible: the reset gate acts before the product with W_hh in keras-reset-before, after it in keras"
        in refused.err
    )
    assert isogru("same", before, saved("keras", keras)).status == 1


def test_weight_norm_is_multiplied_out(isogru, saved):
    torch = grus.torch_layer()
    v = torch.pop("weight_hh_l0")
    g = (1.5 * np.linalg.norm(v, axis=1, keepdims=True)).astype("f")
    plain = saved(
        "plain",
        {
            **torch,
            "weight_hh_l0": (g * (v.astype(float) / np.linalg.norm(v.astype(float), axis=1, keepdims=True))).astype(
                "f"
            ),
        },
    )
    for parts in (
        {"weight_hh_l0_g": g, "weight_hh_l0_v": v},
        {"parametrizations.weight_hh_l0.original0": g, "parametrizations.weight_hh_l0.original1": v},
    ):
        done = isogru("same", saved("norm", {**torch, **parts}), plain)
        assert (done.status, "* v / |v|" in done.err) == (0, True), done
    assert isogru("same", saved("norm", {**torch, "weight_hh_l0_g": 2 * g, "weight_hh_l0_v": v}), plain).status == 1


@pytest.mark.parametrize("separator", ["/", "."])
def test_flax_by_its_own_names(isogru, saved, separator):
    torch = grus.torch_layer()
    W_x, W_h, b_x, b_h = grus.of_torch(torch)
    flax = {}
    for gate in "rzn":
        flax |= {
            f"i{gate}/kernel": W_x[gate],
            f"i{gate}/bias": b_x[gate] + (b_h[gate] if gate != "n" else 0),
            f"h{gate}/kernel": W_h[gate],
        }
    flax["hn/bias"] = b_h["n"]
    named = {f"params/GRUCell_0/{name}".replace("/", separator): array.astype("f") for name, array in flax.items()}
    done = isogru("same", saved("torch", torch), saved("flax", named))
    assert (done.status, "gate_fn=sigmoid and activation_fn=tanh" in done.out) == (0, True), done


def test_gluon_in_both_directions(isogru, saved):
    torch = grus.torch_stack(layers=1)
    gluon = {}
    for reverse, letter in (("", "l"), ("_reverse", "r")):
        for kind, name in (("weight", "weight"), ("bias", "bias")):
            for ours, theirs in (("ih", "i2h"), ("hh", "h2h")):
                gluon[f"gru0_{letter}0_{theirs}_{kind}"] = torch[f"{name}_{ours}_l0{reverse}"]
    assert isogru("same", saved("torch", torch), saved("gluon", gluon)).status == 0
    assert isogru("same", saved("torch", torch), saved("gluon", gluon), "--layer", "l0", "--to-layer", "r0").status == 1


def test_names_that_nothing_knows(isogru, saved, tmp_path):
    torch = grus.torch_layer()
    W, R = (
        np.concatenate([torch[f"weight_{kind}_l0"].reshape(3, 4, -1)[[1, 0, 2]]], 1).reshape(1, 12, -1)
        for kind in ("ih", "hh")
    )
    b = [np.split(torch[f"bias_{kind}_l0"], 3) for kind in ("ih", "hh")]
    B = np.concatenate([block for p in b for block in (p[1], p[0], p[2])])[None]
    tensors = {"onnx::GRU_30": W, "onnx::GRU_31": R, "onnx::GRU_32": B, "fc.weight": np.zeros((2, 4), "f")}
    file = saved("names", tensors)
    hint = isogru("convert", file, "--to", "torch", "-o", tmp_path / "out.safetensors").err
    asked = "--from onnx --name W=onnx::GRU_30 --name R=onnx::GRU_31 --name B=onnx::GRU_32"
    assert asked in hint
    done = isogru("convert", file, *asked.split(), "--to", "torch", "-o", tmp_path / "out.safetensors")
    assert (done.status, "if" in done.out) == (0, True), done.err
    assert all(np.array_equal(array, torch[name]) for name, array in load_file(tmp_path / "out.safetensors").items())
    for options, said in (
        (["--name", "W=onnx::GRU_30"], "--name names the tensors of a layout; say of which with --from"),
        (["--from", "onnx", "--name", "W"], "'W' names no tensor; write TENSOR=NAME"),
        (["--from", "onnx", "--name", "Q=onnx::GRU_30"], "onnx has no tensor Q; it has W, R, B"),
        (["--from", "onnx", "--name", "W=nothing"], "no tensor nothing; there are "),
        (["--from", "onnx", "--name", "W=onnx::GRU_30"], "onnx needs R too: --name R=..."),
        (["--from", "onnx", "--name", "W=onnx::GRU_31", "--name", "R=onnx::GRU_30"], "R has shape (1, 12, 3)"),
    ):
        assert said in isogru("convert", file, *options, "--to", "torch", "-o", tmp_path / "no").err
    assert not (tmp_path / "no").exists()


def test_transposed_matrices_are_told(isogru, saved):
    turned = {name: array.T for name, array in grus.torch_layer().items()}
    said = isogru("layers", saved("turned", turned)).err
    assert "the matrices are transposed: weight_ih_l0 has shape (3, 12), which torch has as (12, 3)" in said


def test_a_scrambled_file_is_told(isogru, saved, tmp_path):
    """What safetensors.numpy.save_file makes of a transposed view: the right shape, the memory of the other order."""
    torch = grus.torch_layer()
    keras = grus.to_keras(torch)
    memory = {
        name: array.T.copy().reshape(array.shape) if array.ndim == 2 and name != "bias" else array
        for name, array in keras.items()
    }
    done = isogru("same", saved("torch", torch), saved("scrambled", memory))
    assert done.status == 1
    assert "kernel and recurrent_kernel of " in done.out
    assert "have the right values in the wrong order, as safetensors writes a transposed view" in done.out
    inner = {**keras, "bias": keras["bias"][::-1]}
    assert "wrong order" not in isogru("same", saved("torch", torch), saved("inner", inner)).out
    other = {**memory, "kernel": memory["kernel"] + 1}
    assert "wrong order" not in isogru("same", saved("torch", torch), saved("other", other)).out


def test_an_lstm_and_tensors_that_are_none(isogru, saved):
    lstm = {"rnn.weight_ih_l0": np.ones((16, 3), "f"), "rnn.weight_hh_l0": np.ones((16, 4), "f")}
    shown = isogru("layers", saved("lstm", lstm))
    assert (shown.status, "rnn: an LSTM, not judged" in shown.out, "other" in shown.out) == (0, True, False)
    assert "is an LSTM, which is not judged" in isogru("same", saved("lstm", lstm), saved("lstm", lstm)).err
    integers = {name: (100 * array).astype(np.int8) for name, array in grus.torch_layer().items()}
    said = isogru("convert", saved("integers", integers), "--to", "keras", "-o", saved("x", {}).with_name("no")).err
    assert "weight_ih_l0 is int8, and no scale stands beside it; weights are floats" in said
    assert (
        "a safetensors file without any weights in it; save the model's weights"
        in isogru("layers", saved("nothing", {})).err
    )


def test_numbered_arrays_by_their_shapes(isogru, saved, tmp_path):
    """numpy.savez(file, *layer.get_weights()) names arrays by their numbers alone."""
    torch = grus.torch_layer()
    keras = grus.to_keras(torch)
    np.savez(tmp_path / "weights.npz", *keras.values(), np.ones((4, 2), np.float32))
    done = isogru("same", saved("torch", torch), tmp_path / "weights.npz")
    assert (done.status, SIGMOID_AND_TANH in done.out) == (0, True), done


def test_float64_into_a_layer_that_runs_float32_alone(isogru, saved, tmp_path):
    file = saved("double", grus.torch_layer(dtype="float64"))
    done = isogru("convert", file, "--to", "mlx", "-o", tmp_path / "out.safetensors")
    assert "mlx.nn.GRU runs in float32 alone, and these weights are float64" in done.out


@pytest.mark.parametrize("ending", [".npz", ".params", ".safetensors"])
def test_the_ending_tells_what_is_written(isogru, saved, tmp_path, ending):
    torch = grus.torch_layer()
    file, out = saved("torch", torch), tmp_path / f"out{ending}"
    assert isogru("convert", file, "--to", "gluon", "-o", out).status == 0
    assert isogru("same", file, out).out == f"the same function: {TO_THE_BIT}\n"
    # And into a file that is there, under its names.
    changed = saved("changed", grus.torch_layer(seed=5))
    again = tmp_path / f"again{ending}"
    assert isogru("convert", changed, "--into", out, "-o", again).status == 0
    assert isogru("same", changed, again).status == 0
    assert isogru("same", file, again).status == 1


def test_endings_that_are_not_written(isogru, saved, tmp_path):
    file = saved("torch", grus.torch_layer())
    for name, said in (
        ("gru.bin2", "the ending tells what is written; new files: .safetensors, "),
        ("gru.weights.h5", "a Keras file is only written into one that is there: let the model save its own, and name"),
        ("gru.onnx", "an ONNX model is only written into one that is there"),
        ("gru.npy", "the ending tells what is written"),
        ("gru.index", "a TensorFlow checkpoint is read and not written; what is written: .safetensors, "),
    ):
        assert said in isogru("convert", file, "--to", "torch", "-o", tmp_path / name).err
        assert not (tmp_path / name).exists()
    wrong = isogru("convert", file, "--into", file, "-o", tmp_path / "out.npz").err
    assert "is a safetensors file; give the output an ending of its own, .safetensors" in wrong
    said = isogru("convert", file, "-o", tmp_path / "out").err
    assert "say what to write: a layout with --to, or with --into a file" in said


def test_into_a_file_of_another_dtype_or_without_bias(isogru, saved, tmp_path):
    double, single = saved("double", grus.torch_layer(dtype="float64")), saved("single", grus.torch_layer(seed=3))
    out = tmp_path / "out.safetensors"
    refused = isogru("convert", double, "--into", single, "-o", out)
    assert "is float64, and " in refused.err
    assert "holds float32, which would round it; save the template in float64" in refused.err
    norm = {**grus.torch_layer(), "weight_hh_l0_v": grus.torch_layer()["weight_hh_l0"]}
    norm["weight_hh_l0_g"] = np.ones((12, 1), np.float32)
    del norm["weight_hh_l0"]
    refused = isogru("convert", single, "--into", saved("norm", norm), "-o", out)
    assert "which cannot be filled; save the template with plain weights" in refused.err
    larger = saved("larger", grus.torch_layer(5, 6))
    for refused in (isogru("convert", single, "--into", larger, "-o", out), isogru("same", single, larger)):
        assert f"l0 has 3 inputs and 4 units, l0 of {larger} 5 and 6: two different problems" in refused.err
    half = saved("half", {name: array.astype(np.float16) for name, array in grus.torch_layer().items()})
    refused = isogru("convert", single, "--into", half, "-o", out)
    assert "holds float16, which would round it; save the template in float32" in refused.err
    bare = saved("bare", grus.torch_layer(bias=False))
    assert "has a bias that is not zero" in isogru("convert", single, "--into", bare, "-o", out).err
    assert not out.exists()
    assert isogru("convert", bare, "--into", single, "-o", out).status == 0
    assert isogru("same", bare, out).status == 0


def test_an_output_that_is_an_input_is_refused(isogru, saved, tmp_path):
    file = saved("torch", grus.torch_layer())
    before = file.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(file)
    (tmp_path / "hard.safetensors").hardlink_to(file)
    for out in (file, tmp_path / "link.safetensors", tmp_path / "hard.safetensors"):
        assert "would overwrite what is read" in isogru("convert", file, "--to", "keras", "-o", out).err
    assert file.read_bytes() == before


def test_control_characters_of_a_file_are_escaped(isogru, saved):
    tensors = {f"\x1b[31mred\n.{name}": array for name, array in grus.torch_layer().items()}
    shown = isogru("layers", saved("red", tensors)).out
    assert "\x1b" not in shown
    assert "\\x1b[31mred\\n l0: torch" in shown


def test_one_vector_that_holds_everything(isogru, saved, tmp_path):
    """Its length does not tell how many units: 3 h (d + h) + 6 h."""
    torch = layouts.layout("torch")
    given = grus.torch_layer(3, 4)
    vector = pack(layouts.layout("cudnn-flat"), unpack(torch, given))
    file, out = saved("flat", vector), tmp_path / "out.safetensors"
    asked = isogru("convert", file, "--from", "cudnn-flat", "--to", "torch", "-o", out)
    assert "say how many units the layer has with --units" in asked.err
    assert isogru("convert", file, "--from", "cudnn-flat", "--units", 4, "--to", "torch", "-o", out).status == 0
    assert all(np.array_equal(array, given[name]) for name, array in load_file(out).items())
    assert isogru("same", saved("torch", given), file, "--to", "cudnn-flat", "--to-units", 4).status == 0
    assert isogru("same", saved("torch", given), file, "--to", "cudnn-flat", "--to-units", 5).status == 2


def mlx(places, seed=7):
    """Weights under MLX' names, which name no direction but in the place."""
    layout, made = layouts.layout("mlx"), {}
    for i, (place, d) in enumerate(places.items()):
        made |= {f"{place}{name}": array for name, array in pack(layout, drawn(layout, seed=seed + i, d=d)).items()}
    return made


def test_layers_are_paired_by_their_names_before_their_order(isogru, saved, tmp_path):
    """safetensors sorts a decoder before its encoder; a template has them in the model's order, under other places."""
    torch = grus.torch_layer(prefix="model.encoder.") | grus.torch_layer(prefix="model.decoder.", seed=1)
    model = saved("model", torch)
    template = tmp_path / "template.npz"
    blank = {**grus.torch_layer(prefix="encoder.", seed=8), **grus.torch_layer(prefix="decoder.", seed=9)}
    np.savez(template, **blank)
    done = isogru("convert", model, "--into", template, "-o", tmp_path / "out.npz")
    assert "model.encoder l0 to encoder.weight_ih_l0" in done.out
    tensors = np.load(tmp_path / "out.npz")
    for place in ("encoder", "decoder"):
        np.testing.assert_array_equal(tensors[f"{place}.weight_ih_l0"], torch[f"model.{place}.weight_ih_l0"])
    assert isogru("same", model, tmp_path / "out.npz").status == 0


def test_both_directions_are_paired_forward_with_forward(isogru, saved, tmp_path):
    """Names that sort the backward layer first, and do not number layers: bw, bw2, fw, fw2."""
    torch = grus.torch_stack(prefix="rnn.")
    model = saved("model", torch)
    places = {"fw.": 3, "bw.": 3, "fw2.": 8, "bw2.": 8}
    template, out = saved("template", mlx(places)), tmp_path / "out.safetensors"
    done = isogru("convert", model, "--into", template, "-o", out)
    assert done.status == 0, done.err
    for line in ("rnn l0 to fw.Wx", "rnn l0_reverse to bw.Wx", "rnn l1 to fw2.Wx", "rnn l1_reverse to bw2.Wx"):
        assert line in done.out
    same = isogru("same", model, out)
    assert (same.status, "different" in same.out) == (0, False), same
    refused = isogru("convert", model, "--layer", "l0", "--into", template, "--to-prefix", "bw.", "-o", tmp_path / "no")
    assert "runs from the first step to the last, and bw of" in refused.err
    assert "from the last step to the first: it would be another function" in refused.err
    assert not (tmp_path / "no").exists()


def test_a_reverse_layer_alone_comes_with_its_condition(isogru, saved, tmp_path):
    model, out = saved("model", grus.torch_stack(prefix="rnn.")), tmp_path / "out.safetensors"
    done = isogru("convert", model, "--layer", "l0_reverse", "--to", "torch", "-o", out)
    assert "the same function if the target of rnn l0_reverse runs from the last step to the first" in done.out
    assert "weight_ih_l0" in load_file(out)
    done = isogru("convert", model, "--layer", "l0_reverse", "--to", "torch", "--to-layer", "l0_reverse", "-o", out)
    assert "runs from" not in done.out


def test_several_layers_are_chosen_and_prefixes_end_at_a_separator(isogru, saved, tmp_path):
    model, out = saved("model", grus.torch_stack(prefix="rnn.")), tmp_path / "out.safetensors"
    done = isogru("convert", model, "--layer", "l0", "--layer", "l0_reverse", "--to", "torch", "-o", out)
    assert (done.status, {name.split("_")[-1] for name in load_file(out)}) == (0, {"l0", "reverse"})
    two = saved("two", mlx({"fwd.": 3, "fwd2.": 4}))
    assert isogru("same", two, two, "--prefix", "fwd", "--to-prefix", "fwd.").status == 0
    # Names that load_state_dict takes: places end with a dot, and levels are joined by dots.
    flat = saved("flat", {name.replace(".", "/"): array for name, array in mlx({"net.fwd.": 3}).items()})
    assert isogru("convert", flat, "--to", "torch", "-o", out).status == 0
    assert set(load_file(out)) >= {"weight_ih_l0"}
    assert isogru("convert", flat, "--to", "torch", "--to-prefix", "rnn", "-o", out).status == 0
    assert all(name.startswith("rnn.") for name in load_file(out))


def test_what_is_left_alone_is_said(isogru, saved, tmp_path):
    torch = {**grus.torch_layer(prefix="rnn."), "head.weight": np.ones((2, 4), np.float32)}
    model, bare = saved("model", torch), saved("bare", grus.torch_layer())
    assert f"not compared: 1 other tensor of {model}" in isogru("same", bare, model).err
    out = tmp_path / "out.safetensors"
    assert f"not carried: 1 other tensor of {model}" in isogru("convert", model, "--to", "keras", "-o", out).out
    assert f"left as they were: 1 other tensor of {model}" in isogru("convert", bare, "--into", model, "-o", out).out
    done = isogru("layers", bare, tmp_path / "nothing", model)
    assert (done.status, done.out.count("a safetensors file"), done.err.count("no such file")) == (2, 2, 1)
