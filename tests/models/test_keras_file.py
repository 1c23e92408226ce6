"""Keras' files, written by Keras: what is read of their recurrent layers runs as Keras runs them."""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isogru.weight_files import keras as reader
from isogru.weight_files.contents import Contents, Described
from isogru.weight_files.keras import hdf5 as keras_hdf5
from shared_spec.errors import InterchangeError, UserError
from shared_spec.readings.arithmetic import Array

h5py = importlib.import_module("h5py")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
keras = importlib.import_module("keras")
L = keras.layers
pytestmark = [
    # Keras with JAX, and NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

D, H, STEPS = 3, 4, 5
ALL = (".keras", ".h5", ".weights.h5")
FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "hard_sigmoid(0.2, 0.5)": lambda a: np.clip(0.2 * a + 0.5, 0, 1),
    "hard_sigmoid(0.16666667, 0.5)": lambda a: np.clip(a / 6 + 0.5, 0, 1),
}


def sequential(*layers: Any) -> Any:
    keras.utils.set_random_seed(0)
    return seeded(keras.Sequential([keras.Input((STEPS, D)), *layers]))


def seeded(model: Any) -> Any:
    """With biases that are not zero."""
    numbers = np.random.default_rng(0)
    model.set_weights([numbers.normal(size=w.shape).astype(w.dtype) for w in values_of(model)])
    return model


def values_of(model: Any) -> list[Array]:
    return [np.asarray(keras.ops.convert_to_numpy(variable.value)) for variable in model.weights]


def saved(model: Any, path: Path) -> Path:
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return path


def run(contents: Contents, described: Described, X: Array) -> Array:
    """The states of a layer as the file describes it, in float64."""
    value = {role: np.float64(contents.tensors[name].load()) for role, name in described.tensors.items()}
    h = value["recurrent_kernel"].shape[0]
    f = FUNCTIONS[described.settings["candidate"]]
    state, states = np.zeros((len(X), h)), []
    for x in np.moveaxis(X[:, ::-1] if described.reverse else X, 1, 0):
        if described.layout == "keras-rnn":
            state = f(x @ value["kernel"] + state @ value["recurrent_kernel"] + value.get("bias", 0))
        else:
            s = FUNCTIONS[described.settings["gate"]]
            bias = np.broadcast_to(value.get("bias", np.zeros(3 * h)), (2, 3 * h)).copy()
            if described.layout == "keras-reset-before":
                bias[1] = 0
            a = np.split(x @ value["kernel"] + bias[0], 3, 1)
            k, b = np.split(value["recurrent_kernel"], 3, 1), np.split(bias[1], 3)
            z, r = (s(a[i] + state @ k[i] + b[i]) for i in (0, 1))
            inner = (r * state) @ k[2] if described.layout == "keras-reset-before" else r * (state @ k[2] + b[2])
            state = z * state + (1 - z) * f(a[2] + inner)
        states.append(state)
    return np.stack(states, 1)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"use_bias": False},
    {"reset_after": False},
    {"reset_after": False, "use_bias": False},
    {"recurrent_activation": "hard_sigmoid"},
    {"activation": "relu", "go_backwards": True},
]


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_one_layer_runs_as_keras_runs_it(ending: str, settings: dict[str, Any], tmp_path: Path) -> None:
    model = sequential(L.GRU(H, return_sequences=True, name="mine", **settings))
    contents = reader.read(saved(model, tmp_path / f"model{ending}"))
    (layer,) = contents.described
    assert layer.place == "mine"
    X = np.random.default_rng(1).normal(size=(2, STEPS, D)).astype(np.float32)
    assert np.abs(run(contents, layer, X) - np.asarray(model(X))).max() < 1e-5
    assert layer.layout == ("keras" if settings.get("reset_after", True) else "keras-reset-before")
    assert layer.settings["reset_after"] == str(settings.get("reset_after", True))
    assert layer.settings["use_bias"] == str(settings.get("use_bias", True))
    assert ("bias" in layer.tensors) == settings.get("use_bias", True)
    assert layer.settings["time"] == "second"


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_stack_runs_in_the_order_in_which_it_is_described(ending: str, tmp_path: Path) -> None:
    both = L.GRU(2, return_sequences=True, use_bias=False)
    other = L.GRU(2, return_sequences=True, go_backwards=True, reset_after=False, name="other")
    model = sequential(
        L.GRU(H, return_sequences=True),
        L.Bidirectional(both, backward_layer=other, name="pair"),
        L.SimpleRNN(2, return_sequences=True, activation="relu"),
        L.GRU(3, return_sequences=True),
    )
    contents = reader.read(saved(model, tmp_path / f"model{ending}"))
    one, forward, backward, simple, last = contents.described
    assert [d.layout for d in contents.described] == ["keras", "keras", "keras-reset-before", "keras-rnn", "keras"]
    assert forward.place.startswith("pair/forward_")
    assert backward.place == "pair/other"
    assert (forward.reverse, backward.reverse) == (False, True)
    assert forward.settings["merge_mode"] == "concat"
    X = np.random.default_rng(1).normal(size=(2, STEPS, D))
    Y = run(contents, one, X)
    Y = np.concatenate([run(contents, forward, Y), run(contents, backward, Y)[:, ::-1]], 2)
    Y = run(contents, last, run(contents, simple, Y))
    assert np.abs(Y - np.asarray(model(X.astype(np.float32)))).max() < 1e-5


def everything() -> tuple[Any, dict[str, tuple[str, Any]]]:
    """A model of models, and the place -> layout and the layer, of each that is read."""
    inner_in = keras.Input((STEPS, 2))
    inner_gru = L.GRU(4, return_sequences=True, name="deep")
    inner = keras.Model(inner_in, inner_gru(inner_in), name="encoder")
    pair = L.Bidirectional(L.GRU(3, return_sequences=True), name="pair")
    stack = L.RNN(
        [L.GRUCell(3, name="one"), L.GRUCell(2, reset_after=False, name="two")], return_sequences=True, name="stack"
    )
    own = L.RNN(L.GRUCell(3, name="cell_of_my_own"), return_sequences=True, go_backwards=True, name="own")
    simple = L.SimpleRNN(3, return_sequences=True, name="simple")
    held = L.GRU(2, name="held")
    given = keras.Input((STEPS, D))
    y = stack(pair(inner(L.Dense(2)(given))))
    y = L.LSTM(2, return_sequences=True, name="long")(simple(own(y)))
    y = L.TimeDistributed(held, name="times")(L.Reshape((STEPS, 2, 1))(y))
    cells = stack.cell.cells
    expected = {
        "encoder/deep": ("keras", inner_gru.cell),
        f"pair/{pair.forward_layer.name}": ("keras", pair.forward_layer.cell),
        f"pair/{pair.backward_layer.name}": ("keras", pair.backward_layer.cell),
        "stack/one": ("keras", cells[0]),
        "stack/two": ("keras-reset-before", cells[1]),
        "own": ("keras", own.cell),
        "simple": ("keras-rnn", simple.cell),
        "times/held": ("keras", held.cell),
    }
    return seeded(keras.Model(given, y)), expected


@pytest.mark.parametrize("ending", ALL)
def test_models_within_models(ending: str, tmp_path: Path) -> None:
    model, expected = everything()
    contents = reader.read(saved(model, tmp_path / f"model{ending}"))
    assert {d.place: d.layout for d in contents.described} == {place: layout for place, (layout, _) in expected.items()}
    assert [d.place for d in contents.described] == list(expected)
    for described in contents.described:
        cell = expected[described.place][1]
        for role, name in described.tensors.items():
            assert name == f"{described.place}/{role}"
            tensor = contents.tensors[name]
            value = np.asarray(keras.ops.convert_to_numpy(getattr(cell, role)))
            assert (tensor.shape, tensor.dtype) == (value.shape, "float32")
            np.testing.assert_array_equal(tensor.load(), value)
    assert [(f.place, f.what) for f in contents.foreign] == [("long", "an LSTM")]
    backward = {d.place for d in contents.described if d.reverse}
    named = list(expected)[2]
    # Weights alone tell of a Bidirectional, and of nothing else that goes backwards.
    assert backward == ({named} if ending == ".weights.h5" else {named, "own"})
    assert ("candidate" in contents.described[0].settings) == (ending != ".weights.h5")


@pytest.mark.parametrize("ending", ALL)
def test_the_state_of_an_optimizer_is_no_tensor(ending: str, tmp_path: Path) -> None:
    model = sequential(L.GRU(H), L.Dense(2))
    model.compile("adam", "mse")
    # As the first step of a training does.
    model.optimizer.build(model.trainable_variables)
    contents = reader.read(saved(model, tmp_path / f"model{ending}"))
    assert len(contents.described) == 1
    assert sum(tensor.shape == (D, 3 * H) for tensor in contents.tensors.values()) == 1


def test_weights_alone_do_not_settle_a_layer_without_bias(tmp_path: Path) -> None:
    model = sequential(L.GRU(H, use_bias=False, return_sequences=True, name="bare"), L.GRU(2, name="full"))
    contents = reader.read(saved(model, tmp_path / "model.weights.h5"))
    assert [d.place for d in contents.described] == ["full"]
    assert {n: t.shape for n, t in contents.tensors.items() if n.startswith("bare")} == {
        "bare/kernel": (D, 3 * H),
        "bare/recurrent_kernel": (H, 3 * H),
    }


def test_many_layers_of_weights_alone_come_in_the_models_order(tmp_path: Path) -> None:
    numbers = random.Random(0)
    kinds = [numbers.choice(["gru", "pair", "simple", "dense"]) for _ in range(30)]
    make = {
        "gru": lambda i: L.GRU(2, return_sequences=True, name=f"gru_of_{i}"),
        "pair": lambda i: L.Bidirectional(L.GRU(2, return_sequences=True, name=f"in_{i}"), name=f"pair_of_{i}"),
        "simple": lambda i: L.SimpleRNN(2, return_sequences=True, name=f"simple_of_{i}"),
        "dense": lambda i: L.Dense(3),
    }
    model = sequential(*(make[kind](i) for i, kind in enumerate(kinds)))
    contents = reader.read(saved(model, tmp_path / "model.weights.h5"))
    expected = []
    for i, kind in enumerate(kinds):
        expected += [f"{kind}_of_{i}"] if kind in ("gru", "simple") else []
        expected += [f"pair_of_{i}/forward_in_{i}", f"pair_of_{i}/backward_in_{i}"] if kind == "pair" else []
    assert contents.ordered
    assert [d.place for d in contents.described] == expected
    assert [d.reverse for d in contents.described] == ["backward" in place for place in expected]


def test_a_model_of_ones_own_is_read_by_its_weights(tmp_path: Path) -> None:
    class Own(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first = L.GRU(3, return_sequences=True, name="first_one")
            self.others = [L.GRU(2, return_sequences=True, name="second_one")]

        def call(self, x: Any) -> Any:
            return self.others[0](self.first(x))

    model = Own()
    model(np.zeros((1, 2, D), np.float32))
    for ending in (".keras", ".weights.h5"):
        contents = reader.read(saved(model, tmp_path / f"model{ending}"))
        assert [d.place for d in contents.described] == ["first_one", "second_one"]
        assert "candidate" not in contents.described[0].settings
        assert contents.ordered


def test_attributes_in_the_order_of_their_names_are_not_the_models_order(tmp_path: Path) -> None:
    """Keras 2 has a class of one's own under its attributes, and knows no "layers"."""
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        for place in ("a/cell", "b/forward_layer/cell", "b/backward_layer/cell"):
            for i, value in enumerate(weights().values()):
                file[f"{place}/vars/{i}"] = value
    contents = reader.read(tmp_path / "model.weights.h5")
    assert not contents.ordered
    places = [(d.place, d.reverse) for d in contents.described]
    assert places == [("a", False), ("b/forward_layer", False), ("b/backward_layer", True)]


def test_a_layer_that_two_models_share_is_described_once(tmp_path: Path) -> None:
    shared = L.GRU(D, return_sequences=True, name="shared")
    inner_in = keras.Input((STEPS, D))
    inner = keras.Model(inner_in, shared(inner_in), name="inner")
    given = keras.Input((STEPS, D))
    contents = reader.read(saved(keras.Model(given, inner(shared(given))), tmp_path / "model.keras"))
    assert [d.place for d in contents.described] == ["shared"]
    assert contents.foreign == ()


def test_a_class_of_ones_own_is_named_and_not_judged(tmp_path: Path) -> None:
    class Odd(L.GRU):  # type: ignore[misc, name-defined]
        pass

    for ending in (".keras", ".h5"):
        contents = reader.read(saved(sequential(Odd(H, name="odd")), tmp_path / f"model{ending}"))
        assert contents.described == ()
        assert [f.place for f in contents.foreign] == ["odd"]
        assert "class Odd" in contents.foreign[0].what


def test_narrow_floats_are_widened_exactly(tmp_path: Path) -> None:
    for dtype in ("float16", "bfloat16"):
        model = sequential(L.GRU(2, dtype=dtype, recurrent_initializer="zeros", name="half"))
        contents = reader.read(saved(model, tmp_path / f"{dtype}.weights.h5"))
        for name, weight in zip(contents.described[0].tensors.values(), values_of(model), strict=True):
            assert contents.tensors[name].dtype == dtype
            assert contents.tensors[name].load().dtype == np.float32
            np.testing.assert_array_equal(contents.tensors[name].load(), weight.astype(np.float32))


# Files of Keras 2 and tf.keras, which current packages do not write: their groups and attributes, made by hand.


def weights(kind: str = "after", h: int = H, d: int = D, seed: int = 0) -> dict[str, Array]:
    numbers = np.random.default_rng(seed)
    bias = {"after": (2, 3 * h), "before": (3 * h,), "cudnn": (6 * h,), "none": None}[kind]
    shapes = {"kernel": (d, 3 * h), "recurrent_kernel": (h, 3 * h)} | ({"bias": bias} if bias else {})
    return {role: numbers.normal(size=shape).astype(np.float32) for role, shape in shapes.items()}


def legacy(path: Path, layers: dict[str, dict[str, Array]], config: Any = None, version: str | None = "2.2.4") -> Path:
    """`layers`: the outermost layer -> the full names of its weights -> values."""
    with h5py.File(path, "w") as file:
        group = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
            group = file.create_group("model_weights")
        for place in {file, group}:
            if version:
                place.attrs["keras_version"], place.attrs["backend"] = version.encode(), b"tensorflow"
        group.attrs["layer_names"] = [name.encode() for name in layers]
        for name, tensors in layers.items():
            inner = group.create_group(name)
            inner.attrs["weight_names"] = [key.encode() for key in tensors]
            for key, value in tensors.items():
                inner[key] = value
    return path


def under(prefix: str, tensors: dict[str, Array]) -> dict[str, Array]:
    return {f"{prefix}/{role}:0": value for role, value in tensors.items()}


def layer(kind: str, name: str, **settings: Any) -> dict[str, Any]:
    functions = {"activation": "tanh", "recurrent_activation": "hard_sigmoid", "use_bias": True, "go_backwards": False}
    return {"class_name": kind, "config": {"name": name, "units": H, **functions, **settings}}


def test_keras_2_whole(tmp_path: Path) -> None:
    """Keras 2.2.4: no group for the cell, a Bidirectional that names its layer once, a GRU without reset_after."""
    one, two, three, four = (weights(k, seed=i) for i, k in enumerate(["before", "after", "before", "before"]))
    pair = under("bidirectional_1/forward_gru_3", three) | under("bidirectional_1/backward_gru_3", four)
    old = layer("GRU", "gru_1")
    path = legacy(
        tmp_path / "model.h5",
        {"gru_1": under("gru_1", one), "gru_2": under("gru_2", two), "bidirectional_1": pair},
        {
            "class_name": "Sequential",
            "config": [
                old,
                layer("GRU", "gru_2", reset_after=True, recurrent_activation="sigmoid", go_backwards=True),
                {
                    "class_name": "Bidirectional",
                    "config": {
                        "name": "bidirectional_1",
                        "merge_mode": "sum",
                        "layer": layer("GRU", "gru_3", reset_after=False),
                    },
                },
            ],
        },
    )
    contents = reader.read(path)
    assert dict(contents.metadata) == {"keras_version": "2.2.4", "backend": "tensorflow"}
    assert [(d.place, d.layout, d.reverse) for d in contents.described] == [
        ("gru_1", "keras-reset-before", False),
        ("gru_2", "keras", True),
        ("bidirectional_1/forward_gru_3", "keras-reset-before", False),
        ("bidirectional_1/backward_gru_3", "keras-reset-before", True),
    ]
    assert contents.described[0].settings["gate"] == "hard_sigmoid(0.2, 0.5)"
    assert contents.described[1].settings["gate"] == "sigmoid"
    assert contents.described[2].settings["merge_mode"] == "sum"
    for described, given in zip(contents.described, (one, two, three, four), strict=True):
        for role, value in given.items():
            np.testing.assert_array_equal(contents.tensors[described.tensors[role]].load(), value)


def test_tf_keras_names_cells_and_numbers_them(tmp_path: Path) -> None:
    """tf.keras 2.3 and later: "gru/gru_cell_1/kernel:0"; an inner layer's name left out by TimeDistributed."""
    layers = {
        "gru": under("gru/gru_cell_7", weights(seed=1)),
        "times": under("times/gru_cell_9", weights(seed=2)),
        "encoder": under("inner/gru_cell", weights(seed=3)) | under("last/gru_cell_2", weights("none", seed=4)),
    }
    times = {
        "class_name": "TimeDistributed",
        "config": {"name": "times", "layer": layer("GRU", "held", reset_after=True)},
    }
    inner = [
        layer("GRU", "inner", reset_after=True),
        layer("GRU", "last", reset_after=True, use_bias=False, time_major=True),
    ]
    encoder = {"class_name": "Functional", "config": {"name": "encoder", "layers": inner}, "name": "encoder"}
    config = {"class_name": "Functional", "config": {"layers": [layer("GRU", "gru", reset_after=True), times, encoder]}}
    contents = reader.read(legacy(tmp_path / "whole.h5", layers, config, "2.4.0"))
    assert [d.place for d in contents.described] == ["gru", "times/held", "encoder/inner", "encoder/last"]
    assert [d.settings["time"] for d in contents.described] == ["second"] * 3 + ["first"]
    alone = reader.read(legacy(tmp_path / "weights.h5", layers, None, "2.4.0"))
    assert [d.place for d in alone.described] == ["gru", "times", "encoder/inner"]
    assert "encoder/last/recurrent_kernel" in alone.tensors
    for file in (contents, alone):
        for i, described in enumerate(file.described):
            given = weights(seed=i + 1)["kernel"]
            np.testing.assert_array_equal(file.tensors[described.tensors["kernel"]].load(), given)


def test_frozen_layers_that_come_last_are_found_by_name(tmp_path: Path) -> None:
    layers = {"inner": under("second", weights(seed=2)) | under("first", weights(seed=1))}
    both = [layer("GRU", name, reset_after=True) for name in ("first", "second")]
    config = {
        "class_name": "Model",
        "config": {"layers": [{"class_name": "Model", "config": {"name": "inner", "layers": both}}]},
    }
    contents = reader.read(legacy(tmp_path / "model.h5", layers, config))
    assert [d.place for d in contents.described] == ["inner/first", "inner/second"]
    np.testing.assert_array_equal(contents.tensors["inner/first/kernel"].load(), weights(seed=1)["kernel"])


@pytest.mark.parametrize("whole", [True, False])
def test_cudnn(whole: bool, tmp_path: Path) -> None:
    config = {
        "class_name": "Sequential",
        "config": {"layers": [{"class_name": "CuDNNGRU", "config": {"name": "c", "units": H}}]},
    }
    path = legacy(tmp_path / "model.h5", {"c": under("c", weights("cudnn"))}, config if whole else None)
    (described,) = reader.read(path).described
    assert (described.place, described.layout) == ("c", "keras-cudnn")
    assert (described.settings["candidate"], described.settings["gate"]) == ("tanh", "sigmoid")
    assert described.settings["reset_after"] == "True"


def test_keras_1_is_named(tmp_path: Path) -> None:
    config = {
        "class_name": "Sequential",
        "config": [{"class_name": "GRU", "config": {"name": "gru_1", "output_dim": H}}],
    }
    names = {f"gru_1_{kind}_{gate}": np.zeros((H, H), np.float32) for gate in "zrh" for kind in "WUb"}
    contents = reader.read(legacy(tmp_path / "model.h5", {"gru_1": names}, config, None))
    assert contents.described == ()
    assert "Keras 1" in contents.foreign[0].what


def test_a_configuration_that_the_weights_contradict_is_not_believed(tmp_path: Path) -> None:
    for settings in (
        {"reset_after": False},
        {"reset_after": True, "units": 5},
        {"reset_after": True, "use_bias": False},
    ):
        config = {"class_name": "Sequential", "config": {"layers": [layer("GRU", "g", **settings)]}}
        contents = reader.read(legacy(tmp_path / "model.h5", {"g": under("g", weights())}, config))
        assert contents.described == ()
        assert "not the shapes" in contents.foreign[0].what
    config["config"]["layers"].append(layer("GRU", "other"))
    contents = reader.read(legacy(tmp_path / "model.h5", {"g": under("g", weights())}, config))
    assert contents.foreign[1].what.startswith("a GRU of which the file has no weights")


def test_names_in_pieces_are_joined(tmp_path: Path) -> None:
    path = legacy(tmp_path / "model.h5", {f"g{i}": under(f"g{i}", weights(seed=i)) for i in range(4)})
    with h5py.File(path, "r+") as file:
        names = file.attrs["layer_names"]
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:3], names[3:]
    assert [d.place for d in reader.read(path).described] == ["g0", "g1", "g2", "g3"]


@pytest.mark.parametrize("change", ["windows", "numbers", "dependencies"])
def test_keras_2_in_its_newer_format(change: str, tmp_path: Path) -> None:
    """Paths with backslashes; numbers left out; "_layer_checkpoint_dependencies" for "layers"."""
    path = saved(sequential(L.GRU(2, return_sequences=True, name="a"), L.GRU(3, name="b")), tmp_path / "made.keras")
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
        archive.extract("model.weights.h5", tmp_path)
    rename = {
        "windows": lambda name: name.replace("/", "\\"),
        "numbers": lambda name: name.replace("gru_1", "gru_2"),
        "dependencies": lambda name: name.replace("layers/", "_layer_checkpoint_dependencies/"),
    }[change]
    with h5py.File(tmp_path / "model.weights.h5") as old, h5py.File(tmp_path / "new.h5", "w") as new:
        names: list[str] = []
        old.visit(names.append)
        for name in names:
            if hasattr(old[name], "shape"):
                new.create_dataset(rename(name), data=old[name][()])
    copy = tmp_path / "copy.keras"
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config)
        archive.writestr("metadata.json", '{"keras_version": "2.13.1"}')
        archive.write(tmp_path / "new.h5", "model.weights.h5")
    contents, expected = reader.read(copy), reader.read(path)
    assert [d.tensors for d in contents.described] == [d.tensors for d in expected.described]
    for described in expected.described:
        for name in described.tensors.values():
            np.testing.assert_array_equal(contents.tensors[name].load(), expected.tensors[name].load())


# What is written.


@pytest.mark.parametrize("ending", ALL)
def test_a_filled_copy_is_read_by_keras(ending: str, tmp_path: Path) -> None:
    def make() -> Any:
        pair = L.Bidirectional(L.GRU(2, return_sequences=True, name="in"), name="pair")
        return sequential(L.GRU(H, return_sequences=True, name="g"), pair, L.Dense(2))

    template, path = saved(make(), tmp_path / f"template{ending}"), tmp_path / f"filled{ending}"
    before = template.read_bytes()
    contents = reader.read(template)
    numbers = np.random.default_rng(3)
    names = [name for d in contents.described for name in d.tensors.values()]
    values = {n: numbers.normal(size=contents.tensors[n].shape).astype(np.float32) for n in names}
    reader.fill(template, path, values)
    if ending == ".weights.h5":
        model = make()
        model.load_weights(path)
    else:
        model = keras.models.load_model(path)
    flat = values_of(model)
    order = ["g", "pair/forward_in", "pair/backward_in"]
    for value, name in zip(
        flat, [f"{place}/{role}" for place in order for role in ("kernel", "recurrent_kernel", "bias")], strict=False
    ):
        np.testing.assert_array_equal(value, values[name])
    for value, old in zip(flat[9:], values_of(make())[9:], strict=True):
        np.testing.assert_array_equal(value, old)
    assert template.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_weights_come_out_of_a_whole_model(tmp_path: Path) -> None:
    def make() -> Any:
        return sequential(L.GRU(H, name="g"))

    template, path = saved(make(), tmp_path / "template.keras"), tmp_path / "filled.weights.h5"
    reader.fill(template, path, {"g/kernel": np.ones((D, 3 * H), np.float32)})
    model = make()
    model.load_weights(path)
    assert np.all(values_of(model)[0] == 1)


def test_what_cannot_be_filled_is_refused_and_nothing_written(tmp_path: Path) -> None:
    model = sequential(L.GRU(2, name="g", dtype="float32"))
    template = saved(model, tmp_path / "template.weights.h5")
    good = np.ones((D, 6), np.float32)
    for name, value, says in [
        ("g/other", good, "no g/other"),
        ("g/kernel", good[:, :3], r"\(3, 6\) there"),
        ("g/kernel", good.astype(np.float64) / 3, "does not hold"),
        ("g/kernel", good.astype(np.float64) * 1e300, "does not hold"),
    ]:
        with pytest.raises(InterchangeError, match=says):
            reader.fill(template, tmp_path / "out.weights.h5", {name: value})
    old = saved(model, tmp_path / "old.h5")
    for given, name in [(template, "out.keras"), (template, "out.h5"), (old, "out.weights.h5"), (old, "out.npz")]:
        with pytest.raises(InterchangeError, match="out"):
            reader.fill(given, tmp_path / name, {"g/kernel": good})
    half = saved(
        sequential(L.GRU(2, name="g", dtype="bfloat16", recurrent_initializer="zeros")), tmp_path / "h.weights.h5"
    )
    with pytest.raises(InterchangeError, match="bfloat16"):
        reader.fill(half, tmp_path / "out.weights.h5", {"g/kernel": good})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h.weights.h5", "old.h5", "template.weights.h5"]
    reader.fill(template, tmp_path / "out.weights.h5", {"g/kernel": np.full((D, 6), np.nan)})
    assert np.isnan(reader.read(tmp_path / "out.weights.h5").tensors["g/kernel"].load()).all()


# What is refused.


def everything_of(path: Path) -> list[Array]:
    return [tensor.load() for tensor in reader.read(path).tensors.values()]


def refused(path: Path, says: str) -> None:
    with pytest.raises(InterchangeError, match=says) as caught:
        everything_of(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.replace(str(path), "").isprintable()


def test_links_are_not_followed(tmp_path: Path) -> None:
    secret = legacy(tmp_path / "secret.h5", {"g": under("g", weights())})
    links: dict[str, Any] = {
        "external": h5py.ExternalLink(str(secret), "/g/g/kernel:0"),
        "soft": h5py.SoftLink("/g/g/bias:0"),
        "dangling": h5py.SoftLink("/nowhere"),
    }
    for name, link in links.items():
        path = legacy(tmp_path / f"{name}.h5", {"g": under("g", weights())})
        with h5py.File(path, "r+") as file:
            del file["g/g/kernel:0"]
            file["g/g/kernel:0"] = link
        refused(path, "kernel:0 is a link to another place or file, and none is followed")


def test_links_in_a_circle(tmp_path: Path) -> None:
    path = legacy(tmp_path / "loop.h5", {"g": under("g", weights())})
    with h5py.File(path, "r+") as file:
        file["g/again"] = file["g"]
    refused(path, "again")
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        file["/".join("x" * 200)] = 1.0
    refused(tmp_path / "deep.h5", "too deep")


def test_storage_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(400))
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("kernel", (10,), "f4", external=[(str(tmp_path / "secret"), 0, 40)])
    refused(tmp_path / "external.h5", "kernel lies in another file")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((10,), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "external.h5"), "kernel", (10,))
        file.create_virtual_dataset("kernel", layout)
    refused(tmp_path / "virtual.h5", "kernel lies in another file")


def test_shapes_beyond_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "never.h5", "w") as file:
        file.create_dataset("kernel", (2**20, 2**20), "f4")
    refused(tmp_path / "never.h5", "kernel announces 4398046511104 bytes, and the file has")
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        file.create_dataset("kernel", (2**20, 2**20), "f4", chunks=(64, 64), compression="gzip")
    refused(tmp_path / "packed.h5", "kernel announces 4398046511104 bytes")
    with h5py.File(tmp_path / "holes.h5", "w") as file:
        made = file.create_dataset("kernel", (100, 100), "f4", chunks=(10, 10), compression="gzip")
        made[:10, :10] = 1
    refused(tmp_path / "holes.h5", "of its 100 pieces, 1 are stored")
    with h5py.File(tmp_path / "unwritten.h5", "w") as file:
        file.create_dataset("kernel", (5, 5), "f4")
    refused(tmp_path / "unwritten.h5", "needs 100 bytes, which are not stored")


def test_a_packed_dataset_is_read_unless_it_is_a_bomb(tmp_path: Path) -> None:
    value = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    with h5py.File(tmp_path / "good.h5", "w") as file:
        file.create_dataset("kernel", data=value, chunks=(7, 9), compression="gzip", shuffle=True, fletcher32=True)
    np.testing.assert_array_equal(reader.read(tmp_path / "good.h5").tensors["kernel"].load(), value)
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        made = file.create_dataset("kernel", (10, 10), "f4", chunks=(10, 10), compression="gzip")
        made.id.write_direct_chunk((0, 0), zlib.compress(bytes(10**8), 9))
    tracemalloc.start()
    refused(tmp_path / "bomb.h5", "unpacks to other than the 400 bytes")
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("kernel", data=value, compression="lzf")
    refused(tmp_path / "other.h5", "filter 32000")


def archive_of(path: Path, members: dict[str, bytes], **settings: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content, **settings)
    return path


def test_archives(tmp_path: Path) -> None:
    made = saved(sequential(L.GRU(2, name="g")), tmp_path / "made.keras")
    with zipfile.ZipFile(made) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    weights_, config = "model.weights.h5", "config.json"
    refused(archive_of(tmp_path / "bomb.keras", parts | {weights_: bytes(10**8)}), "unpacks from")
    refused(archive_of(tmp_path / "json.keras", parts | {config: b"[" * 10**5}), "damaged")
    refused(archive_of(tmp_path / "text.keras", parts | {config: b"\xff"}), "damaged")
    refused(archive_of(tmp_path / "none.keras", parts | {weights_: b"no HDF5"}), "damaged or truncated")
    deep = b'{"class_name": "A", "config": {"layer": ' * 3000 + b"{}" + b"}}" * 3000
    with pytest.raises(InterchangeError, match=r"deep\.keras: "):
        reader.read(archive_of(tmp_path / "deep.keras", parts | {config: deep}))
    for odd in (
        b"3",
        b"[]",
        b"{}",
        b'{"class_name": 3}',
        b'{"class_name": "Bidirectional", "config": {"layer": {"class_name": "GRU", "config": []}}}',
    ):
        (described,) = reader.read(archive_of(tmp_path / "odd.keras", parts | {config: odd})).described
        assert described.place == "g"
    with zipfile.ZipFile(tmp_path / "twice.keras", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(weights_, parts[weights_])
    refused(tmp_path / "twice.keras", "two members")
    locked = bytearray(made.read_bytes())
    for at in (locked.find(b"PK\x03\x04") + 6, locked.find(b"PK\x01\x02") + 8):
        locked[at] |= 1
    (tmp_path / "locked.keras").write_bytes(locked)
    refused(tmp_path / "locked.keras", "encrypted")


def test_names_that_a_terminal_would_obey(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "names.h5", "w") as file:
        file.create_dataset("a\n\x1b[31mb", (2**30,), "f4")
    refused(tmp_path / "names.h5", r"a\\n\\x1b\[31mb announces")


def test_what_is_recognised(tmp_path: Path) -> None:
    model = sequential(L.GRU(2))
    for ending in ALL:
        path = saved(model, tmp_path / f"model{ending}")
        assert reader.recognises(path.read_bytes()[:4096], path)
    other = archive_of(tmp_path / "other.keras", {"config.json": b"{}"})
    assert not reader.recognises(other.read_bytes()[:4096], other)
    (tmp_path / "cut.keras").write_bytes(other.read_bytes()[:40])
    assert not reader.recognises(b"PK\x03\x04", tmp_path / "cut.keras")
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["some/kernel"] = np.ones(3)
    contents = reader.read(tmp_path / "plain.h5")
    assert contents.kind == "an HDF5 file"
    assert list(contents.tensors) == ["some/kernel"]
    assert contents.tensors["some/kernel"].load().dtype == np.float64


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = legacy(tmp_path / "model.h5", {"g": under("g", weights())})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"pip install h5py$"):
        reader.read(path)


@pytest.mark.usefixtures("own_process")
@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_a_gru_costs_no_more_than_itself(ending: str, tmp_path: Path) -> None:
    model = sequential(L.GRU(H, return_sequences=True), L.Dense(2**13), L.Dense(2**9))
    path = saved(model, tmp_path / f"model{ending}")
    assert path.stat().st_size > 2**24
    tracemalloc.start()
    contents = reader.read(path)
    for name in contents.described[0].tensors.values():
        contents.tensors[name].load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.usefixtures("own_process")
def test_what_the_library_never_ends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heap of texts, of which one takes no room: HDF5 1.14 goes round in it for ever."""
    config = {"class_name": "Sequential", "config": {"layers": [layer("GRU", "g", reset_after=True)]}}
    path = legacy(tmp_path / "model.h5", {"g": under("g", weights())}, config)
    assert len(reader.read(path).described) == 1
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL") + 16
    content[at : at + 16] = bytes(16)
    path.write_bytes(content)
    monkeypatch.setattr(keras_hdf5, "PATIENCE", 1)
    refused(path, "the library of HDF5 itself fails on it")


@pytest.mark.usefixtures("own_process")
@pytest.mark.parametrize(("ending", "flips"), [(".h5", 8), (".weights.h5", 4), (".keras", 4)])
def test_damage_is_told_in_a_sentence(ending: str, flips: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_hdf5, "PATIENCE", 5)
    model = sequential(L.Bidirectional(L.GRU(2, return_sequences=True)), L.GRU(2))
    content = saved(model, tmp_path / f"model{ending}").read_bytes()
    numbers = random.Random(5)
    damaged = [content[: len(content) * i // 6] for i in range(6)]
    for _ in range(flips):
        flipped = bytearray(content)
        for _ in range(numbers.choice([1, 4, 40])):
            flipped[numbers.randrange(len(flipped))] = numbers.randrange(256)
        damaged.append(bytes(flipped))
    path, messages = tmp_path / f"damaged{ending}", []
    for case in damaged:
        path.write_bytes(case)
        try:
            everything_of(path)
        except UserError as error:
            messages.append(str(error))
    assert len(messages) >= 6
    assert [message for message in messages if not message.isprintable()] == []
