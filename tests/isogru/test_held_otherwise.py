"""Weights that a file holds otherwise than as a model's plain arrays: in parts, as objects or text, in other order."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest

from tests.isogru import grus

D, H = 5, 4
LAYER = grus.torch_layer(D, H)


def in_parts(v, g):
    """As PyTorch makes it of weight norm, in float32."""
    norm = np.sqrt((v * v).sum(1, keepdims=True, dtype=np.float32))
    return v * (g / norm)


@pytest.mark.parametrize(("off", "status"), [(0, 0), (1e-5, 1)])
def test_weight_norm_is_the_same_but_for_its_rounding(isogru, tmp_path, off, status):
    """What PyTorch computes of a direction and a length is rounded more than once; what is further off is not that."""
    v = LAYER["weight_hh_l0"]
    g = np.random.RandomState(1).uniform(0.5, 2, (len(v), 1)).astype(np.float32)
    parts = {"weight_hh_l0_v": v, "weight_hh_l0_g": g}
    rest = {name: array for name, array in LAYER.items() if name != "weight_hh_l0"}
    plain = in_parts(v, g)
    assert not np.array_equal(
        plain, (g * (v.astype(float) / np.linalg.norm(v.astype(float), axis=1)[:, None])).astype("f")
    )
    np.savez(tmp_path / "parts.npz", **rest, **parts)
    np.savez(tmp_path / "plain.npz", **rest, weight_hh_l0=plain * np.float32(1 + off))
    done = isogru("same", tmp_path / "parts.npz", tmp_path / "plain.npz")
    assert (done.status, "the same function but for" in done.out) == (status, not status), done


@pytest.mark.parametrize(
    ("name", "times", "status"),
    [
        ("weight_hh_l0", 1 + 1.5e-6, 0),
        ("weight_hh_l0", 1.78, 1),
        ("bias_ih_l0", 1 + 1.5e-6, 1),
        ("weight_ih_l0", 1 + 1.5e-6, 1),
    ],
)
def test_only_what_is_worked_out_is_rounded_more_than_once(isogru, tmp_path, name, times, status):
    """Of 64 columns a norm in float32 may be 36 roundings off; the biases are none of it, and neither is W_ih."""
    layer = grus.torch_layer(D, 64)
    v = layer["weight_hh_l0"]
    g = np.random.RandomState(1).uniform(0.5, 2, (len(v), 1)).astype(np.float32)
    rest = {name: array for name, array in layer.items() if name != "weight_hh_l0"}
    np.savez(tmp_path / "parts.npz", **rest, weight_hh_l0_v=v, weight_hh_l0_g=g)
    plain = rest | {"weight_hh_l0": in_parts(v, g)}
    np.savez(tmp_path / "plain.npz", **plain | {name: plain[name] * np.float32(times)})
    done = isogru("same", tmp_path / "parts.npz", tmp_path / "plain.npz")
    several = "the several roundings with which W_hz and W_hr and W_hh are worked out, at most 2.1e-06 of a value"
    assert (done.status, several in done.out, "one rounding" in done.out) == (status, not status, False), done


@pytest.mark.parametrize(("times", "status"), [(1 + 2**-10, 0), (1.1, 1)])
def test_weight_norm_in_half_precision_adds_up_in_float32(isogru, tmp_path, times, status):
    """However many columns there are, the roundings to float16 are four."""
    v, g = np.ones((3 * 512, 512), np.float16), np.full((3 * 512, 1), 2.0, np.float16)
    rest = {"weight_ih_l0": np.ones((3 * 512, 1), np.float16)}
    np.savez(tmp_path / "parts.npz", **rest, weight_hh_l0_v=v, weight_hh_l0_g=g)
    W = (g / np.sqrt(512.0) * v * times).astype(np.float16)
    np.savez(tmp_path / "plain.npz", **rest, weight_hh_l0=W)
    done = isogru("same", tmp_path / "parts.npz", tmp_path / "plain.npz")
    assert (done.status, "the same function but for" in done.out) == (status, not status), done


@pytest.mark.follows("save the arrays where it was made, with numpy.savez(FILE, **arrays), or *arrays of a list")
@pytest.mark.parametrize("arrays", [LAYER, list(grus.to_keras(LAYER).values())], ids=["by name", "a list"])
def test_objects_are_saved_as_arrays(isogru, tmp_path, arrays):
    np.savez(tmp_path / "torch.npz", **LAYER)
    objects = np.empty(1, object)
    objects[0] = arrays
    np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
    told = isogru("layers", tmp_path / "objects.npy")
    assert (told.status, "damaged" in told.err) == (2, False), told
    code = re.search(r"numpy\.savez\(FILE, \*\*arrays\)", told.err)[0]
    code = code.replace("**", "*") if isinstance(arrays, list) else code
    exec(code, {"numpy": np, "FILE": tmp_path / "mine.npz", "arrays": arrays})
    assert isogru("same", tmp_path / "torch.npz", tmp_path / "mine.npz").status == 0


LISTS = {name: array.tolist() for name, array in LAYER.items()}


@pytest.mark.parametrize("held", [LISTS, list(LISTS.values()), {"model": {"gru": LISTS}, "other": [1]}],
                         ids=["by name", "a list", "levels"])  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_json_is_saved_as_arrays(isogru, tmp_path, monkeypatch, held, dtype):
    third = 1 / 3 if dtype == "float64" else 0.0
    (tmp_path / "mine.json").write_text(
        json.dumps([*held, [third]] if isinstance(held, list) else {**held, "x": [third]})
    )
    monkeypatch.chdir(tmp_path)
    told = isogru("layers", "mine.json").err
    exec(re.search(r"import json, numpy, pathlib; .*\)(?=; what)", told)[0], {})
    with np.load("mine.npz") as saved:
        arrays = list(saved.values())
    assert {array.dtype.name for array in arrays} == {dtype}
    assert all(any(np.array_equal(array, each) for each in arrays) for array in LAYER.values())


@pytest.mark.parametrize("held", [{"name": "gru", "W": [1.0]}, {"W": [[1], [2, 3]]}, [{"W": [1.0]}], [1.0, 2.0], {}])
def test_json_that_is_more_than_arrays_is_told_no_line(isogru, tmp_path, held):
    """No line that would fail."""
    (tmp_path / "mine.json").write_text(json.dumps(held))
    told = isogru("layers", tmp_path / "mine.json")
    assert (told.status, "as .npz; what can be read" in told.err, "import json" in told.err) == (2, True, False), told


def test_layers_in_another_order_are_named(isogru, tmp_path):
    stack = grus.torch_stack(D, H, layers=1)
    turned = {name.removesuffix("_reverse") if name.endswith("_reverse") else f"{name}_reverse": array
              for name, array in stack.items()}  # fmt: skip
    np.savez(tmp_path / "one.npz", **stack)
    np.savez(tmp_path / "other.npz", **turned)
    done = isogru("same", tmp_path / "one.npz", tmp_path / "other.npz", "--why")
    assert f"the weights of l0 are those of l0_reverse of {tmp_path / 'other.npz'}" in done.out
    pair = shlex.split(re.search(r"with (--pair \S+)", done.out)[1])
    held = isogru("same", tmp_path / "one.npz", tmp_path / "other.npz", *pair)
    # They run in other directions, and have the same weights.
    assert held.out.startswith("different: l0 runs from the first step to the last"), held
    assert "W_" not in held.out
    assert "not explained" not in done.out


def test_two_layers_taken_in_a_wrong_order(isogru, tmp_path):
    enc, dec = grus.torch_layer(D, H, prefix="enc.", seed=1), grus.torch_layer(D, H, prefix="dec.", seed=2)
    np.savez(tmp_path / "one.npz", **enc, **dec)
    np.savez(
        tmp_path / "other.npz",
        **{name.replace("enc.", "a.").replace("dec.", "b."): v for name, v in {**enc, **dec}.items()},
    )
    done = isogru("same", tmp_path / "one.npz", tmp_path / "other.npz", "--why")
    pairs = [shlex.split(pair)[1] for pair in re.findall(r"with (--pair (?:'[^']*'|\S+))", done.out)]
    asked = [option for pair in pairs for option in ("--pair", pair)]
    assert (done.status, len(pairs)) == (1, 2), done
    assert isogru("same", tmp_path / "one.npz", tmp_path / "other.npz", *asked).status == 0
    record = json.loads(isogru("same", tmp_path / "one.npz", tmp_path / "other.npz", "--why", "--json").out)
    assert all(
        f"with --pair {shlex.quote(pair)}" in each["remedy"] for pair, each in zip(pairs, record["why"], strict=True)
    )


def test_layers_of_other_cells_are_no_partners(isogru, tmp_path):
    """A GRU and an RNN of the same sizes, both off: each is held against what it could be alone."""
    for seed, name in enumerate(("one", "other")):
        rnn = {name: array[:H] for name, array in grus.torch_layer(D, H, prefix="dec.", seed=seed).items()}
        np.savez(tmp_path / f"{name}.npz", **grus.torch_layer(D, H, prefix="enc.", seed=seed), **rnn)
    done = isogru("same", tmp_path / "one.npz", tmp_path / "other.npz", "--why")
    assert (done.status, done.out.count("why: "), "two different cells" in done.err) == (1, 2, False), done


def test_a_wrong_order_of_values_is_said_once(isogru, tmp_path):
    np.savez(tmp_path / "torch.npz", **LAYER)
    keras = grus.to_keras(LAYER)
    np.savez(tmp_path / "keras.npz", **{**keras, "kernel": keras["kernel"].T.reshape(keras["kernel"].shape)})
    done = isogru("same", tmp_path / "torch.npz", tmp_path / "keras.npz", "--why")
    assert (done.status, "not explained" in done.out) == (1, False), done
