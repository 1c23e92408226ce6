"""What Keras' files say of a class of one's own, of weights in shards, and of the precision that is computed in."""

from __future__ import annotations

import importlib
import json
import os
import warnings

import numpy as np
import pytest

from isogru import weight_files
from isogru.models.own_case import own_case
from isogru.models.recognition import recognise
from isogru.models.selection import Wish
from shared_spec.errors import InterchangeError
from tests.isogru import grus

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
importlib.import_module("h5py")
keras = importlib.import_module("keras")
D, H = 3, 4


def save(how):
    """What Keras warns of when it saves is not what is tested here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        how()


def own(blocks=2):
    """A class of one's own with layers that it names by its attributes alone, made after others."""
    layers = keras.layers

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder = layers.GRU(H, return_sequences=True)
            self.both = layers.Bidirectional(layers.GRU(H, return_sequences=True))
            self.given = layers.GRU(H, return_sequences=True, name="by_hand")
            self.blocks = [layers.GRU(H, return_sequences=True) for _ in range(blocks)]

        def call(self, X):
            X = self.given(self.both(self.encoder(X)))
            for block in self.blocks:
                X = block(X)
            return X

    for _ in range(3):
        layers.GRU(2)
    model = Own()
    model(np.zeros((1, 2, D), np.float32))
    return model


@pytest.fixture
def functional():
    given = keras.Input((None, D))
    both = keras.layers.Bidirectional(keras.layers.GRU(H, return_sequences=True), name="both")(given)
    return keras.Model(given, keras.layers.GRU(H, name="last")(both))


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_layers_have_the_names_of_their_attributes(ending, tmp_path):
    model, path = own(), tmp_path / f"model{ending}"
    save(lambda: model.save(path) if ending == ".keras" else model.save_weights(path))
    places = [readings[0].title for readings in recognise(weight_files.read(path)).layers]
    assert sorted(places) == [
        "blocks/gru", "blocks/gru_1", "both/backward_layer", "both/forward_layer", "by_hand", "encoder"
    ]  # fmt: skip


def test_attributes_are_the_names_of_torchs_modules(tmp_path, isogru):
    """Names decide who is whose partner, though Keras' file is in the order of the alphabet."""
    shapes = {"encoder": D, "both": H, "given": 2 * H}
    model, torch = own(blocks=0), {}
    for seed, (name, d) in enumerate(shapes.items()):
        torch |= grus.torch_stack(d, H, 1, f"{name}.", seed, ("", "_reverse") if name == "both" else ("",))
    model.encoder.set_weights(list(grus.to_keras(torch, "_l0", "encoder.").values()))
    model.given.set_weights(list(grus.to_keras(torch, "_l0", "given.").values()))
    ways = [grus.to_keras(torch, suffix, "both.").values() for suffix in ("_l0", "_l0_reverse")]
    model.both.set_weights([array for way in ways for array in way])
    save(lambda: model.save_weights(tmp_path / "model.weights.h5"))
    np.savez(tmp_path / "torch.npz", **torch)
    done = isogru("same", tmp_path / "torch.npz", tmp_path / "model.weights.h5")
    assert done.status == 0, done
    assert "encoder l0 and encoder: the same" in done.out


def test_weights_in_shards_are_one_file(functional, tmp_path, isogru):
    """Also where a shard ends within a layer."""
    save(lambda: functional.save_weights(tmp_path / "parts.weights.json", max_shard_size=4e-7))
    save(lambda: functional.save(tmp_path / "model.keras"))
    assert len(list(tmp_path.glob("*.weights.h5"))) > 2
    contents = weight_files.read(tmp_path / "parts.weights.json")
    assert [each.place.partition("/")[0] for each in contents.described] == ["both", "both", "last"]
    assert [each.reverse for each in contents.described] == [False, True, False]
    done = isogru("same", tmp_path / "parts.weights.json", tmp_path / "model.keras")
    assert (done.status, done.out.count("to the bit")) == (0, 3)


def test_shards_that_are_not_there(functional, tmp_path):
    index = tmp_path / "parts.weights.json"
    save(lambda: functional.save_weights(index, max_shard_size=4e-7))
    whole = json.loads(index.read_text())
    shard = next(iter(whole["weight_map"].values()))[0]
    for name, says in (("../a.weights.h5", "is not in the index' own folder"), ("no.weights.h5", "is not beside it")):
        index.write_text(json.dumps({"weight_map": {"/a": [name]}}))
        with pytest.raises(InterchangeError, match=says):
            weight_files.read(index)
    (tmp_path / "twin.weights.h5").write_bytes((tmp_path / shard).read_bytes())
    index.write_text(json.dumps({"weight_map": {"/a": [shard, "twin.weights.h5"]}}))
    with pytest.raises(InterchangeError, match="two shards have"):
        weight_files.read(index)
    for other in ({}, {"weight_map": 3}, {"weight_map": {"a": [3]}}, {"weight_map": {"a": "b.safetensors"}}):
        index.write_text(json.dumps(other))
        with pytest.raises(InterchangeError, match="looks like JSON"):
            weight_files.read(index)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_mixed_policy_is_said(policy, tmp_path, isogru):
    model = keras.Sequential([keras.Input((None, D)), keras.layers.GRU(H, dtype=policy)])
    save(lambda: model.save(tmp_path / "mixed.keras"))
    said = f"it computes with the policy {policy}, and keeps its weights in float32"
    assert said in isogru("layers", tmp_path / "mixed.keras").out
    done = isogru("same", tmp_path / "mixed.keras", tmp_path / "mixed.keras")
    assert (done.status, said in done.err) == (0, True)


@pytest.mark.parametrize("ending", [".keras", ".h5", ".weights.h5"])
def test_a_bidirectional_is_told_from_a_layer_that_goes_backwards_by_the_file_not_by_names(tmp_path, ending):
    """The one gives its states in the order of time, the other as it computes them."""
    layers = keras.layers
    given = keras.Input((None, D))
    alone = layers.GRU(H, return_sequences=True, go_backwards=True, name="backward_gru")(given)
    second = layers.GRU(H, return_sequences=True, go_backwards=True, name="other")
    both = layers.Bidirectional(layers.GRU(H, return_sequences=True), backward_layer=second, name="pair")(alone)
    model, file = keras.Model(given, both), tmp_path / f"model{ending}"
    save(lambda: model.save_weights(file) if ending == ".weights.h5" else model.save(file))
    backwards = {}
    for readings in recognise(weight_files.read(file)).layers:
        layer = readings[0]
        if layer.position.reverse:
            np.save(tmp_path / "X.npy", np.zeros((2, 1, layer.sizes["d"]), np.float32))
            case, _ = own_case("case", file, Wish(layers=(layer.label,)), tmp_path / "X.npy", None, None)
            backwards[layer.title.rpartition("/")[2]] = case.source.computed
    if ending == ".weights.h5":
        # Weights alone tell that one of a pair goes backwards; of another layer a name at most does.
        assert (len(backwards), set(backwards.values())) == (2, {False}), backwards
    else:
        assert backwards == {"backward_gru": True, second.name: False}


def test_only_the_second_layer_of_a_bidirectional_is_turned_round_by_it(tmp_path):
    """Both may go backwards by themselves."""
    layers = keras.layers
    given = keras.Input((None, D))
    back = layers.GRU(H, return_sequences=True, go_backwards=True, name="gru")
    forth = layers.GRU(H, return_sequences=True, name="other")
    model = keras.Model(given, layers.Bidirectional(back, backward_layer=forth, name="pair")(given))
    file = tmp_path / "model.keras"
    save(lambda: model.save(file))
    np.save(tmp_path / "X.npy", np.zeros((2, 1, D), np.float32))
    computed = {}
    for readings in recognise(weight_files.read(file)).layers:
        layer = readings[0]
        case, _ = own_case("case", file, Wish(layers=(layer.label,)), tmp_path / "X.npy", None, None)
        computed[bool(layer.position.reverse)] = case.source.computed
    assert computed == {True: True, False: False}
