"""MXNet's parameter files: read without MXNet, written as MXNet writes them, filled; refused where they are damaged.

The files were made by MXNet 1.9.1: files/mxnet/make.py.
"""

from __future__ import annotations

import contextlib
import random
import struct
from pathlib import Path

import numpy as np
import pytest

from isogru.weight_files import mxnet
from shared_spec.errors import InterchangeError, UserError
from tests.models import refusals

FILES = Path(__file__).parent / "files" / "mxnet"
DENSE = [path for path in sorted(FILES.glob("*.params")) if path.stem not in ("sparse", "numpy_semantics")]
ONE_ARRAY = struct.pack("<IiIq", mxnet.V2, 0, 1, 2) + mxnet.CPU + struct.pack("<i", 0) + b"\0" * 8


def loaded(path):
    return {name: tensor.load() for name, tensor in mxnet.read(path).tensors.items()}


def a_list(*arrays, names=()):
    return b"".join(
        [
            mxnet.LIST,
            struct.pack("<Q", len(arrays)),
            *arrays,
            struct.pack("<Q", len(names)),
            *(struct.pack("<Q", len(name)) + name for name in names),
        ]
    )


def refused(path, content):
    return refusals.refused(loaded, path, content)


@pytest.mark.parametrize("way", ["save_parameters", "collect_params"])
def test_names_shapes_and_order_are_those_of_the_file(way):
    names = {
        "save_parameters": [f"0._unfused.{layer}.{side}_cell." for layer in "01" for side in "lr"],
        "collect_params": [f"model_gru0_{side}{layer}_" for layer in "01" for side in "lr"],
    }
    kinds = ("i2h_weight", "h2h_weight", "i2h_bias", "h2h_bias")
    tensors = mxnet.read(FILES / f"model.{way}.params").tensors
    assert list(tensors)[:16] == [prefix + kind for prefix in names[way] for kind in kinds]
    assert [tensor.shape for tensor in tensors.values()][8:12] == [(12, 8), (12, 4), (12,), (12,)]
    assert {tensor.dtype for tensor in tensors.values()} == {"float32"}


def test_two_ways_of_saving_hold_the_same_numbers():
    one, other = (loaded(FILES / f"gru_stack.{way}.params") for way in ("save_parameters", "collect_params"))
    for left, right in zip(one.values(), other.values(), strict=True):
        np.testing.assert_array_equal(left, right)


def gru(X, weights, reverse=False):
    """A layer as Gluon computes it, gates in the order r, z, n."""
    W, R, b, c = (weights[kind].astype(np.float64) for kind in ("i2h_weight", "h2h_weight", "i2h_bias", "h2h_bias"))
    H, states = np.zeros((X.shape[1], R.shape[1])), []
    for x in X[::-1] if reverse else X:
        i, k = np.split(x @ W.T + b, 3, axis=1), np.split(H @ R.T + c, 3, axis=1)
        r, z = (1 / (1 + np.exp(-(i[gate] + k[gate]))) for gate in (0, 1))
        H = (1 - z) * np.tanh(i[2] + r * k[2]) + z * H
        states.append(H)
    return np.stack(states[::-1] if reverse else states)


@pytest.mark.parametrize(
    ("network", "layers"),
    [
        ("gru", [["_unfused.0."]]),
        ("gru_stack", [["_unfused.0."], ["_unfused.1."]]),
        ("gru_both_ways", [[f"_unfused.{layer}.{side}_cell." for side in "lr"] for layer in "01"]),
        ("gru_cell", [[""]]),
        ("gru_cells", [["0."], ["1."]]),
        ("gru_cells_both_ways", [["l_cell.", "r_cell."]]),
    ],
)
def test_what_the_names_say_is_what_mxnet_computed(network, layers):
    there = loaded(FILES / f"{network}.save_parameters.params")
    with np.load(FILES / "outputs.npz") as outputs:
        X, H = outputs["X"], outputs[network]
    for directions in layers:
        cells = [{n.removeprefix(p): a for n, a in there.items() if n.startswith(p)} for p in directions]
        X = np.concatenate([gru(X, cell, reverse=bool(number)) for number, cell in enumerate(cells)], axis=2)
    np.testing.assert_allclose(X, H, atol=1e-6)


def test_export_writes_arg_before_the_names_which_is_taken_off():
    assert b"arg:model_gru0_l0_i2h_weight" in (FILES / "export-0000.params").read_bytes()
    assert "model_gru0_l0_i2h_weight" in mxnet.read(FILES / "export-0000.params").tensors


def test_every_dtype():
    tensors = mxnet.read(FILES / "dtypes.params").tensors
    assert [tensor.dtype for tensor in tensors.values()] == list(tensors)
    for name, tensor in tensors.items():
        expected = np.array([[1, 0, 3]]).astype(name)
        assert tensor.load().dtype == ("float32" if name == "float16" else name)
        np.testing.assert_array_equal(tensor.load(), expected)


def test_bfloat16_is_widened(tmp_path):
    array = struct.pack("<IiIq", mxnet.V2, 0, 1, 2) + mxnet.CPU + struct.pack("<iHH", 12, 0x3F80, 0xC040)
    (tmp_path / "x").write_bytes(a_list(array, names=[b"a"]))
    np.testing.assert_array_equal(loaded(tmp_path / "x")["a"], np.array([1, -3], np.float32))


def test_a_list_without_names_has_numbers():
    np.testing.assert_array_equal(loaded(FILES / "no_names.params")["1"], [[3]])


def test_arrays_saved_under_numpy_semantics():
    arrays = loaded(FILES / "numpy_semantics.params")
    assert arrays["scalar"].shape == ()
    assert arrays["scalar"] == 3.5
    assert arrays["none"].shape == (0, 3)
    np.testing.assert_array_equal(arrays["vector"], [1, 2])


@pytest.mark.parametrize("head", [struct.pack("<IIqq", mxnet.V1, 2, 2, 1), struct.pack("<III", 2, 2, 1)])
def test_older_versions(tmp_path, head):
    (tmp_path / "x").write_bytes(a_list(head + mxnet.CPU + struct.pack("<iff", 0, 5, 6), names=[b"a"]))
    np.testing.assert_array_equal(loaded(tmp_path / "x")["a"], [[5], [6]])


def test_sparse_arrays_are_passed_over():
    tensors = mxnet.read(FILES / "sparse.params").tensors
    np.testing.assert_array_equal(tensors["dense"].load(), [[0, 0], [1, 2], [0, 3]])
    assert tensors["rows"].shape == tensors["csr"].shape == (3, 2)
    for name in ("rows", "csr"):
        with pytest.raises(InterchangeError, match=f"'{name}' is sparse; save what its tostype"):
            tensors[name].load()


# Names are always written, and without "arg:".
@pytest.mark.parametrize("file", [f for f in DENSE if f.stem not in ("no_names", "export-0000")], ids=lambda f: f.stem)
def test_what_is_written_is_byte_for_byte_what_mxnet_wrote(tmp_path, file):
    arrays = loaded(file)
    if file.stem == "dtypes":
        arrays["float16"] = arrays["float16"].astype(np.float16)
    mxnet.write(tmp_path / "x.params", arrays, {"not": "kept"})
    assert (tmp_path / "x.params").read_bytes() == file.read_bytes()


def test_what_is_written_does_not_depend_on_how_memory_lies(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    mxnet.write(tmp_path / "one.params", {"a": array.T}, {})
    mxnet.write(tmp_path / "other.params", {"a": np.ascontiguousarray(array.T).astype(">f4")}, {})
    assert (tmp_path / "one.params").read_bytes() == (tmp_path / "other.params").read_bytes()
    np.testing.assert_array_equal(loaded(tmp_path / "one.params")["a"], array.T)


@pytest.mark.parametrize(
    ("array", "why"),
    [(np.ones(2, np.complex64), "complex64, which MXNet does not have"), (np.float32(1), "without axes")],
)
def test_what_mxnet_cannot_have_is_not_written(tmp_path, array, why):
    with pytest.raises(InterchangeError, match=why):
        mxnet.write(tmp_path / "x.params", {"a": array}, {})
    assert not list(tmp_path.iterdir())


def test_a_template_is_filled_and_nothing_else_in_it_changes(tmp_path):
    template, filled = FILES / "export-0000.params", tmp_path / "x.params"
    name = "model_gru0_r1_h2h_weight"
    values = np.arange(48, dtype=np.float32).reshape(12, 4)
    mxnet.fill(template, filled, {name: values})
    before, after = loaded(template), loaded(filled)
    np.testing.assert_array_equal(after.pop(name), values)
    old = before.pop(name)
    assert list(before) == list(after)
    for one, other in zip(before.values(), after.values(), strict=True):
        np.testing.assert_array_equal(one, other)
    mxnet.fill(filled, filled, {name: old})
    assert filled.read_bytes() == template.read_bytes()


@pytest.mark.parametrize(
    ("file", "name", "values", "why"),
    [
        ("gru.save_parameters", "nobody", np.ones(2, np.float32), "no array of the name 'nobody'"),
        ("gru.save_parameters", "_unfused.0.i2h_bias", np.ones(3, np.float32), r"shape \(12,\), its values \(3,\)"),
        (
            "gru.save_parameters",
            "_unfused.0.i2h_bias",
            np.full(12, 0.1),
            "float32, which does not hold the values of float64",
        ),
        ("dtypes", "float16", np.full((1, 3), 1e9, np.float32), "float16, which does not hold the values of float32"),
        ("dtypes", "int8", np.ones((1, 3), np.float32), "is int8, which is not filled"),
        ("sparse", "rows", np.ones((3, 2), np.float32), "is sparse"),
    ],
)
def test_a_template_that_does_not_fit_is_refused(tmp_path, file, name, values, why):
    with pytest.raises(InterchangeError, match=why):
        mxnet.fill(FILES / f"{file}.params", tmp_path / "x.params", {name: values})
    assert not list(tmp_path.iterdir())


def test_only_such_files_are_recognised(tmp_path):
    assert all(mxnet.recognises(path.read_bytes()[:4096], path) for path in DENSE)
    # safetensors with a header of 0x112 bytes, and nothing.
    for head in (struct.pack("<Q", 0x112) + b'{"__metadata__', b"", b"\x12\x01"):
        assert not mxnet.recognises(head, tmp_path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (mxnet.LIST, "the number of arrays takes 8 bytes, and 0 are left"),
        (mxnet.LIST + struct.pack("<Q", 2**60), "announces 1152921504606846976 arrays"),
        (a_list(ONE_ARRAY, names=[b"a", b"b"]), "1 arrays and 2 names"),
        (a_list(ONE_ARRAY, ONE_ARRAY, names=[b"arg:a", b"aux:a"]), "two arrays of the name 'a'"),
        (a_list(ONE_ARRAY, ONE_ARRAY, names=[b"\x1b[2J\n", b"\x1b[2J\n"]), r"two arrays of the name '\x1b[2J\n'"),
        (a_list(ONE_ARRAY, names=[b"\xff"]), "is not UTF-8"),
        (a_list(ONE_ARRAY, names=[b"a"]) + b"x", "1 bytes follow"),
        (a_list(ONE_ARRAY)[:-8] + struct.pack("<QQ", 1, 2**63), "a name takes 9223372036854775808 bytes"),
        (
            a_list(struct.pack("<IiIqqiii", mxnet.V2, 0, 2, 2**40, 2**40, 1, 0, 0)),
            "array 0 takes 4835703278458516698824704 bytes",
        ),
        (a_list(struct.pack("<IiIqiii", mxnet.V2, 0, 1, -2, 1, 0, 0)), r"the shape \(-2,\)".replace("\\", "")),
        (a_list(struct.pack("<IiI", mxnet.V2, 0, 33)), "33 axes"),
        (a_list(struct.pack("<IiI", mxnet.V2, 7, 1)), "storage type 7"),
        (a_list(struct.pack("<IiIqiii", mxnet.V2, 0, 1, 0, 1, 0, 99)), "dtype with the number 99"),
        (a_list(struct.pack("<IiI", mxnet.V2, 0, 0), names=[b"a"]), "saved before it had a shape"),
        (a_list(struct.pack("<IiIqqqiii", mxnet.V2, 0, 3, 0, 2**62, 2**62, 1, 0, 0), names=[b"a"]), "cannot be read"),
    ],
)
def test_what_is_damaged_is_refused(tmp_path, content, why):
    assert why in refused(tmp_path / "x.params", content)


def test_every_truncation_is_refused(tmp_path):
    whole = (FILES / "gru.save_parameters.params").read_bytes()
    for length in range(16, len(whole), len(whole) // 40):
        refused(tmp_path / "x.params", whole[:length])


@pytest.mark.parametrize("file", ["gru.save_parameters", "sparse", "dtypes", "numpy_semantics"])
def test_flipped_bytes_end_in_arrays_or_in_a_sentence(tmp_path, file):
    whole = (FILES / f"{file}.params").read_bytes()
    drawn = random.Random(0)
    for _ in range(200):
        content = bytearray(whole)
        content[drawn.randrange(len(content))] ^= 1 << drawn.randrange(8)
        (tmp_path / "x.params").write_bytes(content)
        with contextlib.suppress(UserError):
            loaded(tmp_path / "x.params")


def test_nothing_is_loaded_before_it_is_asked_for(tmp_path):
    size = 2**33
    with (tmp_path / "x.params").open("wb") as file:
        file.write(mxnet.LIST + struct.pack("<Q", 2) + struct.pack("<IiIq", mxnet.V2, 0, 1, size))
        file.write(mxnet.CPU + struct.pack("<i", 3))
        file.seek(size, 1)
        file.write(ONE_ARRAY + struct.pack("<QQcQc", 2, 1, b"a", 1, b"b"))
    tensors = mxnet.read(tmp_path / "x.params").tensors
    assert tensors["a"].shape == (size,)
    np.testing.assert_array_equal(tensors["b"].load(), [0, 0])


def test_a_file_that_shrinks_after_it_was_opened(tmp_path):
    whole = (FILES / "gru.save_parameters.params").read_bytes()
    (tmp_path / "x.params").write_bytes(whole)
    tensors = mxnet.read(tmp_path / "x.params").tensors
    (tmp_path / "x.params").write_bytes(whole[:100])
    with pytest.raises(InterchangeError, match="cannot be read"):
        tensors["_unfused.0.i2h_weight"].load()
    (tmp_path / "x.params").unlink()
    with pytest.raises(InterchangeError, match="cannot be read"):
        tensors["_unfused.0.i2h_weight"].load()
