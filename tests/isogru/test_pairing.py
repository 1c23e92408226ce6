"""Which layer belongs to which, what is said of many, and conversions that write nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.isogru import grus

SAME = "the same function"


@pytest.fixture
def model(saved):
    """Two layers of one size under names of their own."""
    return saved("model", grus.torch_layer(prefix="encoder.") | grus.torch_layer(prefix="decoder.", seed=1))


@pytest.fixture
def renamed(saved):
    """The same under other names, in the other order."""
    return saved("renamed", grus.torch_layer(prefix="b_enc.") | grus.torch_layer(prefix="a_dec.", seed=1))


def test_layers_of_other_names_are_taken_in_order_and_that_is_said(isogru, model, renamed):
    done = isogru("same", model, renamed)
    # safetensors sorts by name: decoder is first in the one, a_dec in the other.
    assert (done.status, done.out.count(SAME)) == (0, 3)
    assert "in their order; --pair ONE=OTHER says which belong together" in done.err
    assert "--pair" not in isogru("same", model, model).err


def test_pairs_as_they_are_told(isogru, model, renamed):
    crossed = ["--pair", "encoder l0=a_dec l0", "--pair", "decoder l0=b_enc l0"]
    done = isogru("same", model, renamed, *crossed)
    assert (done.status, "encoder l0 and a_dec l0: different" in done.out, "order" in done.err) == (1, True, False)
    one = isogru("same", model, renamed, "--pair", "encoder l0=b_enc l0")
    assert (one.status, one.out.startswith(SAME)) == (0, True)
    assert f"not compared: 4 other tensors of {model}" in one.err
    # Places alone do, where they are one layer's.
    assert isogru("same", model, renamed, "--pair", "encoder=b_enc").status == 0
    for wrong, said in (("encoder", "names no pair"), ("no=b_enc", "no layer is called 'no'; there are "),
                        ("encoder=no", "no layer is called 'no'; there are ")):  # fmt: skip
        assert said in isogru("same", model, renamed, "--pair", wrong).err


def test_a_name_with_the_sign_in_it(isogru, saved):
    odd = saved("odd", grus.torch_layer(prefix="lr=1.") | grus.torch_layer(prefix="lr=2.", seed=1))
    assert isogru("same", odd, odd, "--pair", "lr=1 l0=lr=1 l0").status == 0
    assert isogru("same", odd, odd, "--pair", "lr=1 l0=lr=2 l0").status == 1


def test_names_that_go_together_come_before_the_order(isogru, saved):
    """One layer has its name in both files; the others have none in common."""
    layers = {name: grus.torch_layer(seed=seed) for seed, name in enumerate(("a", "m", "z"))}

    def file(name, names):
        return saved(name, {f"{new}.{own}": a for old, new in names.items() for own, a in layers[old].items()})

    one = file("one", {"a": "a", "m": "m", "z": "z"})
    other = file("other", {"z": "A.z", "a": "q", "m": "r"})
    done = isogru("same", one, other)
    assert (done.status, "z l0 and A.z l0: the same" in done.out) == (0, True)


def test_directions_and_cells_are_no_names(isogru, saved):
    torch = grus.torch_stack(layers=1, prefix="first.") | grus.torch_stack(layers=1, prefix="second.", seed=1)
    keras = {}
    for place in ("second", "first"):
        for way, suffix in (("backward_layer", "_l0_reverse"), ("forward_layer", "_l0")):
            made = grus.to_keras(torch, suffix, f"{place}.")
            keras |= {f"{place}/{way}/cell/{name}": array for name, array in made.items()}
    done = isogru("same", saved("torch", torch), saved("keras", keras))
    assert (done.status, done.out.count(SAME), "order" in done.err) == (0, 5, False), done


def test_into_a_template_in_pairs(isogru, model, renamed, tmp_path):
    out = tmp_path / "out.safetensors"
    done = isogru("convert", model, "--into", renamed, "--pair", "encoder=a_dec", "-o", out)
    assert done.status == 0, done.err
    assert isogru("same", model, out, "--pair", "encoder=a_dec").status == 0
    assert isogru("same", renamed, out, "--pair", "b_enc=b_enc").status == 0
    assert "--into names" in isogru("convert", model, "--to", "keras", "--pair", "encoder=a", "-o", out).err


def test_a_rehearsal_writes_nothing_and_finds_what_is_wrong(isogru, saved, model, tmp_path):
    out = tmp_path / "out.npz"
    given = ["convert", model, "--to", "keras", "-o", out]
    done = isogru(*given, "--dry-run")
    assert (done.status, out.exists()) == (0, False)
    assert f"would write {out} (keras.layers.GRU)" in done.out
    record = json.loads(isogru(*given, "--dry-run", "--json").out)
    assert isogru(*given).status == 0
    with np.load(out) as written:
        there = {name: f"{written[name].shape} {written[name].dtype}" for name in written.files}
    assert record["would_write"] == there
    assert all(f"  {name} {told}\n" in done.out for name, told in there.items())
    # Names that msgpack has no place for: the writer says so, of the file that was asked for.
    cells = grus.torch_layer(suffix="") | grus.torch_layer(suffix="", prefix="weight_ih.", seed=1)
    inside = ["convert", saved("cells", cells), "--to", "torch-cell", "-o", tmp_path / "no.msgpack"]
    rehearsed = isogru(*inside, "--dry-run")
    assert (rehearsed.status, "lies within another array" in rehearsed.err) == (2, True)
    assert rehearsed.err == isogru(*inside).err
    assert not (tmp_path / "no.msgpack").exists()


def test_three_parameters_are_told_and_all_where_they_are_asked_for(isogru, saved):
    files = [saved(name, grus.torch_layer(seed=i)) for i, name in enumerate(("one", "other"))]
    done = isogru("same", *files)
    assert (done.status, done.out.count(" is ")) == (1, 3)
    assert "; 7 more parameters, which -v tells; states up to" in done.out
    every = isogru("same", *files, "-v").out
    assert (every.count(" is "), "more parameters" in every) == (10, False)
    record = json.loads(isogru("same", *files, "--json").out)
    assert (len(record["differences"]), record["sentence"]) == (10, every.strip())
    apart = {d["parameter"]: abs(d["one"] - d["other"]) for d in record["differences"]}
    told = [text.partition("[")[0] for text in done.out.partition(": ")[2].split("; ")[:3]]
    assert told == sorted(apart, key=lambda name: -apart[name])[:3]


def test_what_is_measured_is_said_once(isogru, saved):
    files = [saved(name, grus.torch_stack(seed=i)) for i, name in enumerate(("one", "other"))]
    done = isogru("same", *files)
    assert (done.status, done.out.count("states up to"), done.out.count("T = 64")) == (1, 4, 1)
    assert done.out.splitlines()[-1].endswith("drawn from N(0, 1))")


def test_notes_are_told_once_for_a_file(isogru, saved):
    stack = {name: array.astype(np.float16) for name, array in grus.torch_stack().items()}
    half = saved("half", stack)
    done = isogru("same", half, saved("wide", {name: array.astype(np.float32) for name, array in stack.items()}))
    assert (done.status, done.err.count("is widened to")) == (0, 1)
    assert f"{half}: float16 is widened to float32, exactly" in done.err


def test_nothing_is_widened_into_a_template_of_the_same_dtype(isogru, saved, tmp_path):
    half, other = (
        saved(name, {n: a.astype(np.float16) for n, a in grus.torch_layer(seed=i).items()})
        for i, name in enumerate(("half", "other"))
    )
    out = tmp_path / "out.safetensors"
    done = isogru("convert", half, "--into", other, "-o", out)
    assert (done.status, "is widened to" in done.out) == (0, False)
    assert "is widened to" in isogru("convert", half, "--to", "torch", "-o", out).out


def test_layers_of_several_files_are_told_apart(isogru, saved, tmp_path):
    files = [saved(name, grus.torch_layer(seed=i, suffix="")) for i, name in enumerate(("fw", "bw"))]
    labels = ["--to-layer", "l0", "--to-layer", "l0_reverse"]
    done = isogru("convert", *files, "--to", "torch", *labels, "-o", tmp_path / "out.safetensors")
    assert [line.partition(", the layer to ")[0] for line in done.out.splitlines()[:2]] == list(map(str, files))


def test_layers_are_listed_as_they_are_told(isogru, saved):
    model = saved("model", grus.torch_layer(suffix="", prefix="cell."))
    lines = isogru("layers", model, "--from", "torch-cell").out.splitlines()
    assert [line.partition(":")[0] for line in lines[1:]] == ["  cell"]
    assert "no layer of keras" in isogru("layers", model, "--from", "keras").err


def test_an_lstm_is_listed_once_with_its_tensors(isogru, saved):
    lstm = {"rnn.weight_ih_l0": (16, 3), "rnn.weight_hh_l0": (16, 4), "rnn.bias_ih_l0": (16,), "rnn.bias_hh_l0": (16,)}
    file = saved("lstm", {n: np.ones(shape, "f") for n, shape in lstm.items()} | grus.torch_layer(prefix="gru."))
    out = isogru("layers", file).out
    assert (out.count("LSTM"), "  rnn: an LSTM, not judged" in out, "other tensor" in out) == (1, True, False)


def test_a_truncated_archive_is_called_so(isogru, tmp_path):
    np.savez(tmp_path / "whole.npz", **grus.torch_layer())
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "half.keras").write_bytes(content[: len(content) // 2])
    assert "truncated: it begins as a zip archive" in isogru("layers", tmp_path / "half.keras").err


def test_stacks_of_a_model_keep_their_places(isogru, saved, tmp_path):
    """Layers that names do not number, as those of ONNX and Keras: torch.nn.GRU has one size in all of its layers."""
    torch = grus.torch_stack(prefix="encoder.") | grus.torch_layer(8, 6, prefix="decoder.", seed=5)
    keras = {}
    for place, prefix, suffix in (
        ("encoder/forward_gru", "encoder.", "_l0"), ("encoder/backward_gru", "encoder.", "_l0_reverse"),
        ("encoder/forward_gru_1", "encoder.", "_l1"), ("encoder/backward_gru_1", "encoder.", "_l1_reverse"),
        ("decoder", "decoder.", "_l0"),
    ):  # fmt: skip
        keras |= {f"{place}/{name}": array for name, array in grus.to_keras(torch, suffix, prefix).items()}
    out = tmp_path / "out.safetensors"
    done = isogru("convert", saved("keras", keras), "--to", "torch", "-o", out)
    assert done.status == 0, done.err
    tensors = load_file(out)
    assert set(tensors) == set(torch)
    assert all(np.array_equal(array, torch[name]) for name, array in tensors.items())
