"""Flax' msgpack files: those that Flax writes are read, those that are written Flax reads, and others are refused."""

from __future__ import annotations

import contextlib
import functools
import random
import struct

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax
import pytest
from flax import linen, nnx, serialization, traverse_util
from flax.training import train_state

from isogru.weight_files import msgpack
from shared_spec.errors import InterchangeError, UserError
from tests.models import refusals
from tests.models.flax_weights import variables_of

T, n, d, h = 5, 2, 3, 4
Ext = msgspec.msgpack.Ext


class Both(linen.Module):
    """A bidirectional layer, one more, and what comes after."""

    @linen.compact
    def __call__(self, X):
        cells = [linen.GRUCell(h) for _ in range(2)]
        X = linen.Bidirectional(*map(linen.RNN, cells))(X)
        return linen.Dense(2)(linen.RNN(linen.GRUCell(h, name="top"))(X))


@functools.cache
def parameters(dtype=None):
    variables = variables_of(Both(), jnp.ones((n, T, d)))
    return variables if dtype is None else cast(variables, dtype)


def cast(tree, dtype):
    """By NumPy: JAX would compile it for each shape."""
    return jax.tree.map(lambda array: jnp.asarray(np.asarray(array).astype(jnp.dtype(dtype))), tree)


def flat(tree):
    return {"/".join(map(str, path)): np.asarray(array) for path, array in traverse_util.flatten_dict(tree).items()}


def loaded(path):
    return {name: tensor.load() for name, tensor in msgpack.read(path).tensors.items()}


def same(one, other):
    assert set(one) == set(other)
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name], other[name])


def packed(shape=(2,), dtype="float32", raw=b"\0" * 8):
    return msgspec.msgpack.encode((shape, dtype, raw))


def refused(path, content):
    return refusals.refused(loaded, path, content)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.msgpack"
    path.write_bytes(serialization.to_bytes(parameters()))
    return path


def test_every_array_by_its_path(file):
    same(loaded(file), flat(parameters()))
    tensors = msgpack.read(file).tensors
    assert tensors["params/GRUCell_0/ir/kernel"].shape == (d, h)
    assert tensors["params/top/hn/bias"].dtype == "float32"
    assert msgpack.recognises(file.read_bytes()[:4096], file)


def test_what_the_optimizer_keeps_is_left_out(tmp_path):
    params = parameters()["params"]
    state = train_state.TrainState.create(apply_fn=Both().apply, params=params, tx=optax.adam(0.1))
    (tmp_path / "x").write_bytes(serialization.to_bytes(state))
    arrays = loaded(tmp_path / "x")
    assert not [name for name in arrays if "mu" in name.split("/")]
    same({name: array for name, array in arrays.items() if name != "step"}, flat({"params": params}))


def test_an_optimizer_alone_is_not(tmp_path):
    (tmp_path / "x").write_bytes(serialization.msgpack_serialize({"opt_state": {"mu": np.ones(2)}}))
    assert list(loaded(tmp_path / "x")) == ["opt_state/mu"]


def test_numbers_as_keys_as_nnx_has_them(tmp_path):
    layers = [nnx.RNN(nnx.GRUCell(d if layer == 0 else h, h, rngs=nnx.Rngs(0))) for layer in range(2)]
    tree = nnx.to_pure_dict(nnx.state(nnx.Sequential(*layers), nnx.Param))
    (tmp_path / "x").write_bytes(serialization.msgpack_serialize(jax.tree.map(np.asarray, tree)))
    same(loaded(tmp_path / "x"), flat(tree))
    assert "layers/1/cell/dense_h/kernel" in loaded(tmp_path / "x")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
def test_narrow_floats_are_widened(tmp_path, dtype):
    narrow = parameters(dtype=dtype)
    (tmp_path / "x").write_bytes(serialization.to_bytes(narrow))
    same(loaded(tmp_path / "x"), flat(cast(narrow, "float32")))
    assert {tensor.dtype for tensor in msgpack.read(tmp_path / "x").tensors.values()} == {dtype}


def test_other_dtypes_scalars_and_lists(tmp_path):
    dtypes = ("float64", "int8", "uint8", "int64", "bool", "complex64")
    tree = {dtype: np.ones((2, 3), dtype) for dtype in dtypes}
    tree["row"] = [np.float32(3), {"inner": np.zeros((0, 2))}]
    tree["others"] = [None, True, 1.5, -3, -300, 70_000, 2**40, 1j, "text", b"bytes", []]
    (tmp_path / "x").write_bytes(serialization.msgpack_serialize(tree))
    arrays = loaded(tmp_path / "x")
    same({dtype: arrays[dtype] for dtype in dtypes}, {dtype: tree[dtype] for dtype in dtypes})
    assert arrays["row/0"] == np.float32(3)
    assert arrays["row/1/inner"].shape == (0, 2)
    assert len(arrays) == len(dtypes) + 2


def test_large_arrays_lie_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 20)
    monkeypatch.setattr(msgpack, "CHUNK", 20)
    tree = {"a": {"b": np.arange(12, dtype=np.float32).reshape(3, 4)}, "c": np.ones(2)}
    (tmp_path / "x").write_bytes(serialization.msgpack_serialize(tree))
    assert b"__msgpack_chunked_array__" in (tmp_path / "x").read_bytes()
    same(loaded(tmp_path / "x"), flat(tree))
    msgpack.write(tmp_path / "y", flat(tree), {})
    assert (tmp_path / "y").read_bytes() == (tmp_path / "x").read_bytes()
    msgpack.fill(tmp_path / "x", tmp_path / "z", {"a/b": tree["a"]["b"] + 1})
    np.testing.assert_array_equal(loaded(tmp_path / "z")["a/b"], tree["a"]["b"] + 1)


@pytest.mark.parametrize("between", ["/", "."])
def test_what_is_written_flax_restores(tmp_path, between):
    tree = parameters()
    names = {name.replace("/", between): array for name, array in flat(tree).items()}
    msgpack.write(tmp_path / "x", names, {"not": "kept"})
    template = jax.tree.map(jnp.zeros_like, tree)
    same(flat(serialization.from_bytes(template, (tmp_path / "x").read_bytes())), flat(tree))
    same(loaded(tmp_path / "x"), flat(tree))


def test_what_is_written_does_not_depend_on_how_memory_lies(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for name, given in {"x": array.T, "y": np.ascontiguousarray(array.T).astype(">f4")}.items():
        msgpack.write(tmp_path / name, {"a": given}, {})
        np.testing.assert_array_equal(loaded(tmp_path / name)["a"], array.T)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({"a": np.ones(2), "a/b": np.ones(2)}, "'a/b' lies within another array"),
        ({"a": np.array(["text"])}, "which is not written"),
        ({"\ud800": np.ones(2)}, "cannot be written in UTF-8"),
    ],
)
def test_what_cannot_be_written(tmp_path, tensors, why):
    with pytest.raises(InterchangeError, match=why):
        msgpack.write(tmp_path / "x", tensors, {})
    assert not list(tmp_path.iterdir())


def test_a_template_is_filled_and_nothing_else_in_it_changes(file, tmp_path):
    name, values = "params/top/hz/kernel", np.full((h, h), 7, np.float32)
    msgpack.fill(file, tmp_path / "x", {name: values})
    expected = flat(parameters())
    expected[name] = values
    same(flat(serialization.from_bytes(parameters(), (tmp_path / "x").read_bytes())), expected)
    msgpack.fill(tmp_path / "x", tmp_path / "x", {name: flat(parameters())[name]})
    assert (tmp_path / "x").read_bytes() == file.read_bytes()


def test_a_template_that_does_not_fit_is_refused(file, tmp_path):
    for values, why in ((np.ones(h), "has the shape"), (np.full((h, h), 0.1), "does not hold the values of float64")):
        with pytest.raises(InterchangeError, match=why):
            msgpack.fill(file, tmp_path / "x", {"params/top/hz/kernel": values})
    assert not (tmp_path / "x").exists()


def test_only_maps_that_begin_with_a_text_are_recognised(tmp_path):
    long = msgspec.msgpack.encode({"ü" * 3000: 1})
    ours = [b"\x81\xa1a\x01", b"\xde\0\x10\xa1a\x01", b"\xdf\0\0\0\x01\xd9\x01a\x01", long[:4096], long[:4095]]
    assert all(msgpack.recognises(head, tmp_path) for head in ours)
    others = {
        "HDF5": b"\x89HDF\r\n\x1a\n",
        "PNG": b"\x89PNG\r\n",
        "a pickle": b"\x80\x04\x95\xa1a",
        "PyTorch's": b"\x80\x02\x8a\nl\xfc\x9cF\xf9",
        "a zip archive": b"PK\x03\x04",
        "NumPy's": b"\x93NUMPY",
        "text": b"hello",
        "Latin-1": b"\xdeorn was here",
        "UTF-16": b"\xff\xfea\0",
        "numbers as keys": b"\x81\x01\xa1a",
        "an empty map": b"\x80\xa1a",
        "a name that is none": b"\x81\xa2\xff\xff\x01",
        "what nothing begins with": b"\x81\xa1a\xc1",
        "nothing": b"",
        "a byte": b"\x81",
    }
    assert not [what for what, head in others.items() if msgpack.recognises(head, tmp_path)]


def test_bytes_are_no_arrays(tmp_path):
    sentence = refused(tmp_path / "x", msgspec.msgpack.encode(dict.fromkeys("abcd", b"1234") | {"e": 5}))
    assert "msgpack without any array, but 'a' (bytes), 'b' (bytes), 'c' (bytes) and 2 more; save the" in sentence
    assert "but 'a' (extension 5), 'b' (number);" in refused(
        tmp_path / "x", msgspec.msgpack.encode({"a": Ext(5, b"x"), "b": 1})
    )


def nested(levels):
    return b"\x81\xa1a" * levels + b"\xc0"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x81\xa1a", "'a' takes 1 bytes, and 0 are left"),
        (b"\xdf\xff\xff\xff\xff\xa1a\x01", "announces 4294967295 values"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff\x01", "announces 4294967295 values of 'a'"),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff\x01", "'a' takes 4294967295 bytes"),
        (b"\x81\xdb\xff\xff\xff\xffa", "a key of '' takes 4294967295 bytes"),
        (nested(1000), "or 64 levels"),
        (b"\x82\xa1a\x01\xa1a\x01", "two values of the name 'a'"),
        (b"\x82\xa3\x1b[2\x01\xa3\x1b[2\x01", r"two values of the name '\x1b[2'"),
        (b"\x81\xa1a\x81\xa1\xff\x01", "a key of 'a' is not UTF-8"),
        (b"\x81\xa1a\x81\xc0\x01", "a key of 'a' is no text but other"),
        (b"\x81\xa1a\xc1", "begins with 0xc1"),
        (msgspec.msgpack.encode({"a": Ext(1, packed())}) + b"x", "1 bytes follow"),
        (msgspec.msgpack.encode({"a": Ext(1, packed((3,)))}), "'a' is no array as Flax packs it"),
        (msgspec.msgpack.encode({"a": Ext(1, packed((2**40, 2**40)))}), "'a' is no array as Flax packs it"),
        (msgspec.msgpack.encode({"a": Ext(1, packed((-2,)))}), "'a' is no array as Flax packs it"),
        (msgspec.msgpack.encode({"a": Ext(1, packed((1,) * 33))}), "'a' is no array as Flax packs it"),
        (msgspec.msgpack.encode({"a": Ext(1, packed() + b"x")}), "'a' is no array as Flax packs it"),
        (msgspec.msgpack.encode({"a": Ext(1, b"12345")}), "'a' is no array as Flax packs it"),
        (msgspec.msgpack.encode({"a": Ext(3, packed(dtype="<U2"))}), "of dtype '<U2', which is not read"),
        (msgspec.msgpack.encode({"a": Ext(1, packed((0, 2**62, 2**62), raw=b""))}), "cannot be read"),
        (
            msgspec.msgpack.encode({"a/b": Ext(1, packed()), "a": {"b": Ext(1, packed())}}),
            "two arrays of the name 'a/b'",
        ),
        (msgspec.msgpack.encode({"a": {"__msgpack_chunked_array__": True}}), "the chunks of 'a' make no array"),
        (msgspec.msgpack.encode({"a": []}), "without any array, but nothing"),
    ],
)
def test_what_is_damaged_or_hostile_is_refused(tmp_path, content, why):
    assert why in refused(tmp_path / "x", content)


def test_values_without_end_are_refused(tmp_path, monkeypatch):
    # A million take seconds.
    monkeypatch.setattr(msgpack, "MOST_VALUES", 1000)
    content = b"\x81\xa1a\xdd" + struct.pack(">I", 2000) + b"\xc0" * 2000
    assert "more than 1000 values" in refused(tmp_path / "x", content)


def test_every_truncation_is_refused(file, tmp_path):
    whole = file.read_bytes()
    for length in range(1, len(whole), len(whole) // 40):
        refused(tmp_path / "x", whole[:length])


def test_flipped_bytes_end_in_arrays_or_in_a_sentence(tmp_path):
    whole = serialization.to_bytes(variables_of(linen.GRUCell(2), jnp.ones((1, 2)), jnp.ones((1, 2))))
    drawn = random.Random(0)
    for _ in range(400):
        content = bytearray(whole)
        content[drawn.randrange(len(content))] ^= 1 << drawn.randrange(8)
        (tmp_path / "x").write_bytes(content)
        msgpack.recognises(bytes(content), tmp_path / "x")
        with contextlib.suppress(UserError):
            loaded(tmp_path / "x")


def test_nothing_is_loaded_before_it_is_asked_for(tmp_path):
    size = 2**31
    with (tmp_path / "x").open("wb") as file:
        head = b"\x93\x91\xce" + struct.pack(">I", size) + b"\xa5uint8\xc6" + struct.pack(">I", size)
        file.write(b"\x82\xa1a\xc9" + struct.pack(">IB", len(head) + size, 1) + head)
        file.seek(size, 1)
        file.write(b"\xa1b" + msgspec.msgpack.encode(Ext(1, packed())))
    tensors = msgpack.read(tmp_path / "x").tensors
    assert tensors["a"].shape == (size,)
    np.testing.assert_array_equal(tensors["b"].load(), [0, 0])
