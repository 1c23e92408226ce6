"""TensorFlow's checkpoints, written by TensorFlow and read without it; and indexes on which TensorFlow would abort."""

from __future__ import annotations

import importlib
import os
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isogru.models.recognition import recognise
from isogru.weight_files import tensorflow as reader
from shared_spec.errors import InterchangeError, UserError
from shared_spec.readings.arithmetic import Array

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = importlib.import_module("tensorflow")

D, H = 3, 4
GRU = {"gates/kernel": (D + H, 2 * H), "gates/bias": (2 * H,), "candidate/kernel": (D + H, H), "candidate/bias": (H,)}


def saved(prefix: Path, tensors: dict[str, Any], slices: list[str] | None = None) -> Path:
    """As TensorFlow 1's Saver writes them."""
    pieces = slices or [""] * len(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=list(tensors), shape_and_slices=pieces, tensors=list(tensors.values())
    )
    return prefix.with_name(f"{prefix.name}.index")


def gru(prefix: str = "rnn/gru_cell", seed: int = 0) -> dict[str, Array]:
    numbers = np.random.default_rng(seed)
    return {f"{prefix}/{name}": numbers.normal(size=shape).astype(np.float32) for name, shape in GRU.items()}


def refused(path: Path, says: str) -> None:
    with pytest.raises(InterchangeError, match=says) as caught:
        everything_of(path)
    assert str(caught.value).isprintable()


def everything_of(path: Path) -> dict[str, Array]:
    return {name: tensor.load() for name, tensor in reader.read(path).tensors.items()}


def test_variables_of_tensorflow_1(tmp_path: Path) -> None:
    weights = gru()
    kept = {f"rnn/gru_cell/gates/kernel/{slot}": np.zeros((D + H, 2 * H), np.float32) for slot in ("Adam", "Adam_1")}
    index = saved(tmp_path / "model.ckpt-7", weights | kept | {"global_step": np.int64(7), "words": np.array([b"a"])})
    contents = reader.read(index)
    assert sorted(contents.tensors) == sorted([*weights, "global_step"])
    assert contents.kind == "a TensorFlow checkpoint"
    assert (contents.described, contents.ordered) == ((), False)
    for name, value in weights.items():
        assert (contents.tensors[name].shape, contents.tensors[name].dtype) == (value.shape, "float32")
        np.testing.assert_array_equal(contents.tensors[name].load(), value)
    np.testing.assert_array_equal(contents.tensors["global_step"].load(), 7)
    values = index.with_name("model.ckpt-7.data-00000-of-00001")
    assert list(reader.read(values).tensors) == list(contents.tensors)


def test_a_variable_called_as_a_slot_is_kept(tmp_path: Path) -> None:
    assert list(everything_of(saved(tmp_path / "x", {"people/Adam": np.ones(2)}))) == ["people/Adam"]


def test_objects_of_tensorflow_2(tmp_path: Path) -> None:
    class Cell(tf.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(np.arange(D * 3.0 * H).reshape(D, -1))
            self.bias = tf.Variable(tf.ones(3 * H))

    class Model(tf.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layers = [Cell() for _ in range(11)]

    model = Model()
    optimizer = tf.Module()
    optimizer.velocity = [tf.Variable(tf.zeros(3))]
    path = tf.train.Checkpoint(model=model, optimizer=optimizer).save(str(tmp_path / "ckpt"))
    contents = reader.read(Path(f"{path}.index"))
    assert list(contents.tensors) == [f"model/layers/{i}/{name}" for i in range(11) for name in ("bias", "kernel")]
    assert contents.tensors["model/layers/0/kernel"].dtype == "float64"
    np.testing.assert_array_equal(contents.tensors["model/layers/10/kernel"].load(), model.layers[10].kernel.numpy())


@pytest.mark.parametrize("dtype", list(reader.DTYPES.values()))
def test_every_dtype_is_read_as_tensorflow_reads_it(dtype: str, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 100, size=(7, 5)).astype(np.float32)
    given = tf.cast(numbers, tf.as_dtype(dtype))
    index = saved(tmp_path / "x", {"v": given})
    tensor = reader.read(index).tensors["v"]
    own = tf.train.load_checkpoint(str(tmp_path / "x")).get_tensor("v")
    assert tensor.dtype == dtype
    wide = {"bfloat16": "float32", "float16": "float32", "float8_e5m2": "float32", "float8_e4m3fn": "float32"}
    assert tensor.load().dtype == wide.get(dtype, dtype)
    np.testing.assert_array_equal(tensor.load(), own.astype(wide.get(dtype, dtype)))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (64,), (1000, 301)], ids=str)
def test_checksums_are_tensorflows(shape: tuple[int, ...], tmp_path: Path) -> None:
    value = np.random.default_rng(1).normal(size=shape)
    np.testing.assert_array_equal(everything_of(saved(tmp_path / "x", {"v": value}))["v"], value)


def test_several_files_of_values(tmp_path: Path) -> None:
    one, other = gru("a"), gru("b", 1)
    saved(tmp_path / "one", one)
    saved(tmp_path / "other", other)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / "one"), str(tmp_path / "other")], destination_prefix=str(tmp_path / "both")
    )
    arrays = everything_of(tmp_path / "both.index")
    assert len(arrays) == 8
    for name, value in (one | other).items():
        np.testing.assert_array_equal(arrays[name], value)
    (tmp_path / "both.data-00001-of-00002").unlink()
    refused(tmp_path / "both.index", "both.data-00001-of-00002, which is not beside it")


def test_what_is_recognised(tmp_path: Path) -> None:
    index = saved(tmp_path / "x", gru())
    values = tmp_path / "x.data-00000-of-00001"
    assert reader.recognises(b"", index)
    assert reader.recognises(values.read_bytes(), values)
    index.unlink()
    assert not reader.recognises(values.read_bytes(), values)
    (tmp_path / "short.index").write_bytes(reader.MAGIC)
    (tmp_path / "other.index").write_bytes(bytes(100))
    for name in ("short.index", "other.index"):
        assert not reader.recognises(b"", tmp_path / name)


def test_damaged_values(tmp_path: Path) -> None:
    index = saved(tmp_path / "x", gru())
    values = tmp_path / "x.data-00000-of-00001"
    content = values.read_bytes()
    values.write_bytes(content[:-1])
    refused(index, "damaged or truncated")
    values.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(index, "is not what its checksum says")


@pytest.mark.parametrize(
    ("shape", "cuts"),
    [
        ((4, 6), ["0,2:0,6", "2,2:0,6"]),
        ((4, 6), ["-:0,5", "-:5,1"]),
        ((300, 5), ["0,63:-", "63,1:-", "64,136:-", "200,100:0,1", "200,100:1,4"]),
        ((20000,), ["0,8191", "8191,1", "8192,11808"]),
    ],
    ids=str,
)
def test_a_partitioned_variable_is_put_together(shape: tuple[int, ...], cuts: list[str], tmp_path: Path) -> None:
    whole = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    places = []
    for cut in cuts:
        ends = [None if axis == "-" else tuple(map(int, axis.split(","))) for axis in cut.split(":")]
        places.append(tuple(slice(None) if end is None else slice(end[0], sum(end)) for end in ends))
    sizes = " ".join(map(str, shape))
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "x"),
        tensor_names=["a\x00b\xff/v"] * len(cuts),
        shape_and_slices=[f"{sizes} {cut}" for cut in cuts],
        tensors=[whole[place] for place in places],
    )
    arrays = everything_of(tmp_path / "x.index")
    assert list(arrays) == ["a\x00b\xff/v"]
    np.testing.assert_array_equal(arrays["a\x00b\xff/v"], whole)


def test_a_partitioned_gru_is_a_layer(tmp_path: Path) -> None:
    weights = gru()
    names, cuts, parts = [], [], []
    for name, value in weights.items():
        size = f"{' '.join(map(str, value.shape))} "
        half = value.shape[0] // 2
        for start, stop in ((0, half), (half, value.shape[0])):
            names.append(name)
            cuts.append(f"{size}{start},{stop - start}{':-' if value.ndim == 2 else ''}")
            parts.append(value[start:stop])
    tf.raw_ops.SaveV2(prefix=str(tmp_path / "x"), tensor_names=names, shape_and_slices=cuts, tensors=parts)
    (readings,) = recognise(reader.read(tmp_path / "x.index")).layers
    assert [layer.layout.name for layer in readings] == ["tf1"]
    for own, value in readings[0].tensors().items():
        np.testing.assert_array_equal(value, weights[f"rnn/gru_cell/{own}"])


@pytest.mark.parametrize(
    ("cuts", "says"),
    [(["0,2:0,6"], "its parts do not make it up"), (["0,2:0,6", "0,2:0,6"], "overlap")],
    ids=["missing", "twice"],
)
def test_parts_that_are_no_whole(cuts: list[str], says: str, tmp_path: Path) -> None:
    part = np.ones((2, 6), np.float32)
    index = saved(tmp_path / "x", {"v": part}, ["4 6 0,2:0,6"])
    if len(cuts) == 1:
        refused(index, says)
        return
    extents = b"".join(varint(0x0A) + varint(len(e)) + e for e in (b"\x08\x00\x10\x02", b"\x08\x00\x10\x06"))
    sliced = entry(shape=(4, 6), size=0) + 2 * (b"\x3a" + varint(len(extents)) + extents)
    values = entry(shape=(2, 6), size=48)[:-4] + struct.pack("<I", reader.masked(part.tobytes()))
    (tmp_path / "x.data-00000-of-00001").write_bytes(part.tobytes())
    key = reader.slices.key("v", ((0, 2), (0, 6)))
    refused(table(index, [HEADER, (key, values), (b"v", sliced)]), says)


def keras_model(kind: str) -> Any:
    keras = importlib.import_module("keras")
    layers = keras.layers
    if kind == "functional":
        given = keras.Input((None, D))
        both = layers.Bidirectional(layers.GRU(H, return_sequences=True), name="both")(given)
        return keras.Model(given, layers.Dense(2, name="head")(layers.GRU(H, name="last")(both)))

    class Own(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first = layers.GRU(H, return_sequences=True)
            self.stack = [layers.GRU(H, return_sequences=True), layers.GRU(H)]
            self.head = layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            inputs = self.first(inputs)
            for layer in self.stack:
                inputs = layer(inputs)
            return self.head(inputs)

    model = Own()
    model(np.zeros((1, 2, D), np.float32))
    return model


@pytest.fixture(scope="module", params=["functional", "own"])
def trained(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """A model that has been fitted, by single operations: to have an optimizer it need not be a program."""
    model = keras_model(request.param)
    model.compile("adam", "mse", run_eagerly=True)
    model.fit(np.zeros((1, 2, D), np.float32), np.zeros((1, 2), np.float32), verbose=0)
    return request.param, model


@pytest.mark.parametrize("how", ["checkpoint", "exported"])
def test_a_compiled_model_has_its_layers(trained: tuple[str, Any], how: str, tmp_path: Path) -> None:
    """TensorFlow reaches their variables through the optimizer, and an exported model has lists of variables alone."""
    kind, model = trained
    if how == "checkpoint":
        index = Path(f"{tf.train.Checkpoint(model=model).save(str(tmp_path / 'x'))}.index")
    else:
        model.export(str(tmp_path / "saved"), verbose=False)
        index = tmp_path / "saved" / "variables" / "variables.index"
    layers = recognise(reader.read(index)).layers
    cells = [layer.get_weights() for layer in (model.layers if kind == "functional" else (model.first, *model.stack))]
    cells = [weights[i : i + 3] for weights in cells for i in range(0, len(weights) - 2, 3)]
    assert len(layers) == len(cells) == 3
    held = [list(readings[0].tensors().values()) for readings in layers]
    for weights in cells:
        # Each layer's own three tensors stand together.
        assert any(all(map(np.array_equal, weights, tensors)) for tensors in held)
    assert not any("optimizer" in readings[0].position.place for readings in layers)
    backwards = [readings[0].position.reverse for readings in layers].count(True)
    assert backwards == (kind == "functional")


def varint(value: int) -> bytes:
    value, out = value % 2**64, bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def table(path: Path, entries: list[tuple[bytes, bytes]], twice: int = 1) -> Path:
    """An index by hand, with checksums that are right."""
    content = bytearray()

    def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
        body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in pairs) + struct.pack(
            "<II", 0, 1
        )
        at = len(content)
        content.extend(body + b"\0" + struct.pack("<I", reader.masked(body + b"\0")))
        return varint(at) + varint(len(body))

    data = block(entries)
    footer = block([]) + block([(b"z" * (i + 1), data) for i in range(twice)])
    path.write_bytes(content + footer.ljust(40, b"\0") + reader.MAGIC)
    return path


def entry(dtype: int = 1, shape: tuple[int, ...] = (2, 2), shard: int = 0, offset: int = 0, size: int = 16) -> bytes:
    sizes = b"".join(b"\x12" + varint(len(b"\x08" + varint(n))) + b"\x08" + varint(n) for n in shape)
    crc = struct.pack("<I", reader.masked(bytes(16)))
    numbers = b"".join(bytes([key << 3]) + varint(value) for key, value in ((3, shard), (4, offset), (5, size)))
    return b"\x08" + varint(dtype) + b"\x12" + varint(len(sizes)) + sizes + numbers + b"\x35" + crc


HEADER = (b"", b"\x08\x01")


def test_an_index_by_hand_is_read_as_tensorflow_reads_it(tmp_path: Path) -> None:
    (tmp_path / "x.data-00000-of-00001").write_bytes(bytes(16))
    index = table(tmp_path / "x.index", [HEADER, (b"v", entry())])
    assert everything_of(index)["v"].shape == (2, 2)
    assert tf.train.load_checkpoint(str(tmp_path / "x")).get_tensor("v").shape == (2, 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"shape": (-5, 2)},
        {"shape": (2**62, 2**62)},
        {"shape": (1,) * 300},
        {"shape": (2**34,), "size": 2**36},
        {"shape": (2**20,)},
        {"offset": -8},
        {"offset": 8},
        {"size": -3},
        {"size": 2**40},
        {"shard": 7},
        {"shard": 2**40},
    ],
    ids=str,
)
def test_sizes_that_nothing_has(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "x.data-00000-of-00001").write_bytes(bytes(16))
    refused(table(tmp_path / "x.index", [HEADER, (b"v", entry(**settings))]), "x.index: ")


def test_dtypes_that_are_no_weights_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.data-00000-of-00001").write_bytes(bytes(16))
    entries = [(bytes([65 + i]), entry(dtype)) for i, dtype in enumerate((1, 7, 20, 21, 77, 101))]
    assert list(everything_of(table(tmp_path / "x.index", [HEADER, *entries]))) == ["A"]


def test_tables_that_are_no_index(tmp_path: Path) -> None:
    (tmp_path / "x.data-00000-of-00001").write_bytes(bytes(16))
    path = tmp_path / "x.index"
    for entries, says in [
        ([], "no checkpoint of a kind that is read"),
        ([(b"", b"\x0a\x01a")], "no checkpoint of a kind that is read"),
        ([(b"", b"\x08\x01\x10\x01")], "no checkpoint of a kind that is read"),
        ([(b"", b"\xff" * 20)], "a number in it has no end"),
        ([HEADER, (b"v", b"\x0a\x7f")], "an entry of it is cut off"),
        ([HEADER, (b"v", entry()), (b"v", entry())], "a name twice"),
        ([HEADER, (b"v", entry()), (b"v" + reader.VALUE.encode(), entry())], "two variables of the name v"),
        ([HEADER, (b"\xff", entry())], "damaged"),
        ([HEADER, (b"a\n\x1b[31m", entry(shard=3))], r"a\\n\\x1b\[31m lies in"),
    ]:
        refused(table(path, entries), says)
    refused(table(path, [HEADER, (b"v", entry())], twice=2), "twice")


def test_damage_is_told_in_a_sentence(tmp_path: Path) -> None:
    index = saved(tmp_path / "x", gru("a") | gru("b\nc", 1))
    content, numbers = index.read_bytes(), random.Random(5)
    damaged = [content[: len(content) * i // 20] for i in range(20)]
    for _ in range(200):
        flipped = bytearray(content)
        flipped[numbers.randrange(len(flipped))] ^= 1 << numbers.randrange(8)
        damaged.append(bytes(flipped))
    messages = []
    for case in damaged:
        index.write_bytes(case)
        try:
            everything_of(index)
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > 150
    assert [message for message in messages if not message.isprintable()] == []
