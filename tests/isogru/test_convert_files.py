"""The command convert, on files of one layer: there and back, what is refused, and what is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file, save_file

import isogru.weight_files.safetensors as safetensors_files
from shared_spec.errors import InterchangeError
from shared_spec.weights import layouts
from shared_spec.weights.packing import pack, pack_away
from tests.spec.drawn import drawn, same_bits

KERAS = '; the same function if the target (keras.layers.GRU) has recurrent_activation="sigmoid" and activation="tanh"'


@pytest.fixture
def file(tmp_path):
    layout = layouts.layout("torch")
    save_file(pack(layout, drawn(layout)), tmp_path / "in.safetensors", {"format": "pt"})
    return tmp_path / "in.safetensors"


def rewrite(file, metadata=None, **tensors):
    arrays = {**load_file(file), **tensors}
    save_file({name: array for name, array in arrays.items() if array is not None}, file, metadata)


def test_there_and_back(isogru, file, tmp_path):
    there, back = tmp_path / "there.safetensors", tmp_path / "back.safetensors"
    done = isogru("convert", "--from", "torch", "--to", "keras", file, "-o", there)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"exact: every value is kept to the bit{KERAS}",
        f"wrote {there} (keras.layers.GRU)",
    ]
    assert isogru("convert", "--from", "keras", "--to", "torch", there, "-o", back).status == 0
    assert same_bits(load_file(back), load_file(file))
    with safetensors.safe_open(there, framework="numpy") as opened:
        metadata = opened.metadata()
    assert (metadata["format"], metadata["layout"]) == ("isogru-weights/1", "keras")
    assert json.loads(metadata["conversion"])["verdict"] == "exact"


def test_the_old_names_of_the_commands(process, file, tmp_path):
    """python -m shared_spec convert and same, which are these."""
    there = tmp_path / "there"
    done = process("shared_spec", "convert", "--from", "torch", "--to", "keras", str(file), "-o", str(there))
    assert (done.returncode, done.stderr, done.stdout.startswith("exact: ")) == (0, "", True)
    done = process("shared_spec", "same", "--from", "torch", str(file), "--to", "keras", str(there), "--json")
    record = json.loads(done.stdout)
    assert (done.returncode, record["verdict"], record["differences"]) == (0, "the same", [])
    assert len(record["conditions"]) == 1


def test_impossible_is_refused_unless_lossy(isogru, file, tmp_path):
    out = tmp_path / "out.safetensors"
    refused = isogru("convert", "--to", "haiku", file, "-o", out)
    assert "isogru: impossible: the reset gate acts after the product with W_hh in torch" in refused.err
    assert refused.err.endswith("; --lossy writes that\n")
    assert not out.exists()
    done = isogru("convert", "--to", "haiku", file, "-o", out, "--lossy")
    assert (done.status, done.out.splitlines()[1]) == (0, f"wrote {out} (haiku.GRU, lossy)")
    assert done.out.startswith("impossible: ")
    record = json.loads(isogru("convert", "--to", "haiku", file, "-o", out, "--lossy", "--json").out)
    assert (record["verdict"], record["lossy"], record["from"], record["to"]) == ("impossible", True, "torch", "haiku")
    assert record["cost"]["error"] == min(record["cost"]["tried"].values())


def test_a_case_gives_weights(isogru, tmp_path):
    """The specification's own names are a layout, and a case file holds them, and says of which cell."""
    case, out = tmp_path / "case.safetensors", tmp_path / "out.safetensors"
    isogru("case", "gru_reset_after-ordinary", "-o", case)
    for options in (["--from", "gru_reset_after"], []):
        done = isogru("convert", case, *options, "--to", "torch", "-o", out)
        assert done.status == 0, done.err
        assert set(load_file(out)) == set(layouts.layout("torch").tensors)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bias_hh_l0": None}, "tensor bias_hh_l0 is missing; torch has weight_ih_l0 (3h, d), weight_hh_l0 (3h, h), "),
        ({"weight_hr_l0": np.ones((2, 4), np.float32)}, "weight_hr_l0 is a projection of an LSTM; no GRU has one"),
        ({"weight_ih_l0": np.ones((10, 3), np.float32)}, "weight_ih_l0 has shape (10, 3), should be (3h, d)"),
        ({"bias_ih_l0": np.ones(9, np.float32)}, "bias_ih_l0 has shape (9,), should be (3h,) = (12,)"),
        (
            {"bias_ih_l0": np.ones(12, np.int64)},
            "bias_ih_l0 is int64, and no scale stands beside it",
        ),
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
def test_files_that_are_refused(isogru, file, tmp_path, change, said):
    out = tmp_path / "out.safetensors"
    rewrite(file, **change)
    done = isogru("convert", "--from", "torch", "--to", "keras", file, "-o", out)
    assert done.err.startswith(f"isogru: {file}: ")
    assert said in done.err
    assert not out.exists()


def test_several_dtypes_go_together(isogru, file, tmp_path):
    rewrite(file, bias_ih_l0=np.full(12, 1 / 3))
    done = isogru("convert", file, "--to", "torch", "-o", tmp_path / "out.safetensors")
    assert "float32 and float64 go together as float64" in done.out
    assert load_file(tmp_path / "out.safetensors")["bias_ih_l0"][0] == 1 / 3


def test_names_of_another_layout_are_recognised(isogru, file, tmp_path):
    rewrite(file, bias_hh_l0=None, bias_ih_l0=None)
    said = isogru("convert", "--from", "mlx", "--to", "keras", file, "-o", tmp_path / "out").err
    assert said.endswith(": no layer of mlx; the layers are of torch\n")
    assert (
        "no layout 'caffe'; the layouts are torch, "
        in isogru("convert", "--from", "caffe", "--to", "keras", file, "-o", tmp_path / "out").err
    )
    assert (
        "torch computes gru_reset_after and torch-rnn rnn: no weights make the one into the other"
        in isogru("convert", "--to", "torch-rnn", file, "-o", tmp_path / "out").err
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "empty; save the weights again"),
        (b"\x80\x04\x95pickle", "a bare pickle, which is never run"),
        (b'{"weights": []}', "looks like JSON"),
        (b"weights\n", "text, not weights; what can be read: a safetensors file (.safetensors), "),
        (b"\xff\x00\xfe\x01" * 100, "of a kind that is not known"),
        (b"\xff\xff\x00\x00\x00\x00\x00\x00{" + b" " * 100, "damaged or truncated: its header says 65535 bytes"),
    ],
)
def test_files_that_are_none(isogru, tmp_path, content, said):
    if content is not None:
        (tmp_path / "in").write_bytes(content)
    for arguments in (
        ["convert", tmp_path / "in", "--to", "keras", "-o", tmp_path / "out"],
        ["layers", tmp_path / "in"],
    ):
        done = isogru(*arguments)
        assert (done.status, done.err.startswith(f"isogru: {tmp_path / 'in'}: ")) == (2, True)
        assert said in done.err
    assert not (tmp_path / "out").exists()


def test_what_is_no_regular_file(isogru, tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, said in (("", "a directory; name a file"), ("pipe", "no regular file"), ("loop", "cannot be read")):
        assert said in isogru("layers", tmp_path / name).err


def test_an_output_that_cannot_be_written(isogru, file, tmp_path):
    done = isogru("convert", file, "--to", "keras", "-o", tmp_path / "in.safetensors" / "out")
    assert "cannot be written" in done.err


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_refused_or_read(isogru, file, tmp_path, seed):
    """Cut short and with flipped bytes: one sentence and exit status 2, or weights that happen to be others."""
    random = np.random.RandomState(seed)
    whole = file.read_bytes()
    for _ in range(25):
        damaged = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            damaged[random.randint(len(whole))] ^= 1 << random.randint(8)
        (tmp_path / "in").write_bytes(damaged)
        assert isogru("convert", tmp_path / "in", "--to", "keras", "-o", tmp_path / "out").status in (0, 2)
        (tmp_path / "in").write_bytes(whole[: random.randint(len(whole))])
        assert isogru("convert", tmp_path / "in", "--to", "keras", "-o", tmp_path / "out").status == 2


def test_a_template_that_cannot_be_filled_leaves_nothing(tmp_path):
    """The second tensor is refused when the first is written already."""
    template = tmp_path / "template.safetensors"
    save_file({"a": np.zeros(3, np.float32), "b": np.zeros(3, np.float16)}, template)
    given = {"a": np.ones(3, np.float32), "b": np.full(3, 1e-9, np.float32)}
    with pytest.raises(InterchangeError, match="array 'b' is float16, which does not hold"):
        safetensors_files.fill(template, tmp_path / "out.safetensors", given)
    assert [path.name for path in tmp_path.iterdir()] == ["template.safetensors"]
    safetensors_files.fill(template, tmp_path / "out.safetensors", {**given, "b": np.ones(3, np.float32)})
    assert all((array == 1).all() for array in load_file(tmp_path / "out.safetensors").values())


def test_what_is_packed_away_is_gone():
    layout = layouts.layout("torch")
    held = drawn(layout)
    packed = pack(layout, held)
    assert held
    assert same_bits(pack_away(layout, held), packed)
    assert held == {}
