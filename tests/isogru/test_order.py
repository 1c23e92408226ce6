"""Layers that run from the last step to the first, and sequences that end early: answers in the order of the input."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from shared_spec.__main__ import app
from shared_spec.files.interchange import read_case, write_case
from tests.isogru import grus

T, N, D, H = 6, 3, 3, 4
LENGTHS = (6, 2, 1)


@pytest.fixture
def weights(tmp_path):
    """A layer of both directions."""
    torch = grus.torch_stack(D, H, layers=1)
    save_file(torch, tmp_path / "gru.safetensors")
    X = np.random.RandomState(3).standard_normal((T, N, D)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "lengths.npy", np.array(LENGTHS))
    np.save(tmp_path / "mask.npy", np.arange(T)[None] < np.array(LENGTHS)[:, None])
    return torch, X, tmp_path


def made(isogru, folder, *options, layer="l0_reverse"):
    """The case that is made of the weights."""
    case = folder / "case.safetensors"
    given = ["--weights", folder / "gru.safetensors", "--layer", layer, "--input", folder / "X.npy", "-o", case]
    done = isogru("case", *given, *options)
    assert done.status == 0, done
    return case


def padded(torch, X, suffix, past):
    """All states of sequences that end early, what lies past their ends, and the last states."""
    states, last, reverse = np.zeros((T, N, H), np.float32), [], suffix == "_l0_reverse"
    for row, length in enumerate(LENGTHS):
        one = grus.states(X[:length, row, None].astype(float), *grus.of_torch(torch, suffix), reverse=reverse)
        states[:length, row] = one[:, 0]
        last.append(states[0 if reverse else length - 1, row])
        states[length:, row] = {"zeros": 0, "held": last[-1], "other": 7}[past]
    return states, np.stack(last)


def test_a_layer_that_runs_backwards(isogru, weights):
    torch, X, folder = weights
    case = made(isogru, folder)
    states = grus.states(X.astype(float), *grus.of_torch(torch, "_l0_reverse"), reverse=True).astype(np.float32)
    right, wrong = {"own": states, "last": states[0]}, {"turned": states[::-1], "end": states[-1]}
    for name, array in (right | wrong).items():
        np.save(folder / f"{name}.npy", array)
        done = isogru("verdict", case, folder / f"{name}.npy")
        assert done.status == (name in wrong), done
    assert "it runs from the last step to the first: H[t] here is its own at T - 1 - t" in done.out


@pytest.mark.parametrize(
    ("forward", "turn", "sentence", "remedy"),
    [
        (True, 1, "time runs from the first step to the last", "run from the last step to the first"),
        (
            True,
            -1,
            "time runs from the first step to the last, and the states are",
            "run from the last step to the first",
        ),
        (False, -1, "the states are stored in the order in which they were computed", "turn the states round"),
    ],
)
def test_why_says_what_a_layer_that_runs_backwards_should_do(isogru, weights, forward, turn, sentence, remedy):
    torch, X, folder = weights
    states = grus.states(X.astype(float), *grus.of_torch(torch, "_l0_reverse"), reverse=not forward)
    np.save(folder / "own.npy", states[::turn].astype(np.float32))
    done = isogru("verdict", made(isogru, folder), folder / "own.npy", "--why")
    assert done.status == 1
    assert f"why: equal if {sentence}" in done.out
    assert f"remedy: {remedy}" in done.out


def test_a_layer_that_gives_its_states_as_it_computes_them(isogru, weights):
    """As Keras' go_backwards does; who turned them round did nothing wrong."""
    torch, X, folder = weights
    case = made(isogru, folder)
    known = read_case(case)
    write_case(case, replace(known, source=msgspec.structs.replace(known.source, computed=True)))
    states = grus.states(X.astype(float), *grus.of_torch(torch, "_l0_reverse"), reverse=True).astype(np.float32)
    for turn, said in (
        (-1, "Keras' go_backwards gives its states in the order"),
        (1, "were turned round, as"),
    ):
        np.save(folder / "own.npy", states[::turn])
        done = isogru("verdict", case, folder / "own.npy")
        assert (done.status, said in done.out) == (0, True), done
    np.save(folder / "own.npy", -states)
    assert isogru("verdict", case, folder / "own.npy").status == 1


def test_what_a_file_does_not_say_is_said(isogru, weights):
    torch, X, folder = weights
    states = grus.states(X.astype(float), *grus.of_torch(torch), reverse=True).astype(np.float32)
    np.save(folder / "own.npy", states)
    assert isogru("verdict", made(isogru, folder, "--reverse", layer="l0"), folder / "own.npy").status == 0
    assert isogru("verdict", made(isogru, folder, layer="l0"), folder / "own.npy").status == 1


@pytest.mark.parametrize("file", ["lengths.npy", "mask.npy"])
@pytest.mark.parametrize(
    ("past", "said"),
    [
        ("zeros", "2 of 3 sequences end early; past them it gives zeros, as packed sequences and ONNX do"),
        ("held", "2 of 3 sequences end early; past them it holds the last state, as a mask of Keras does"),
        ("other", "2 of 3 sequences end early; what it gives past them is not judged"),
    ],
)
@pytest.mark.parametrize("suffix", ["_l0", "_l0_reverse"])
def test_sequences_that_end_early(isogru, weights, suffix, past, said, file):
    torch, X, folder = weights
    case = made(isogru, folder, "--lengths", folder / file, layer=suffix[1:])
    assert read_case(case).lengths == LENGTHS
    states, last = padded(torch, X, suffix, past)
    np.savez(folder / "own.npz", H=states, final=last)
    np.save(folder / "last.npy", last)
    done = isogru("verdict", case, folder / "own.npz", folder / "last.npy")
    assert (done.status, said in done.out) == (0, True), done
    # A state before an end, the last one, and one that is carried on past the end.
    for name, wrong in (("H", (0, 1, 2)), ("H", (0, 2, 0)), ("final", (2, 1))):
        arrays = {"H": states.copy(), "final": last.copy()}
        arrays[name][wrong] += np.float32(1e-3)
        np.savez(folder / "wrong.npz", **arrays)
        assert isogru("verdict", case, folder / "wrong.npz").status == 1


@pytest.mark.parametrize("suffix", ["_l0", "_l0_reverse"])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("turned", "time runs from the first step to the last|time is reversed: the last step comes first"),
        ("stored", "the states are stored"),
        ("swapped", "the gates r and z are exchanged in W_h"),
    ],
)
def test_why_of_sequences_that_end_early(isogru, weights, suffix, how, said):
    """Each within its own length: what lies past the ends is no step, and proves nothing."""
    torch, X, folder = weights
    if how == "swapped":
        r, z, h = np.split(torch[f"weight_hh{suffix}"], 3)
        torch = {**torch, f"weight_hh{suffix}": np.concatenate([z, r, h])}
    answer, reverse = np.zeros((T, N, H), np.float32), (suffix == "_l0_reverse") != (how == "turned")
    for row, length in enumerate(LENGTHS):
        one = grus.states(X[:length, row, None].astype(float), *grus.of_torch(torch, suffix), reverse=reverse)[:, 0]
        answer[:length, row] = one[::-1] if how == "stored" else one
    np.save(folder / "own.npy", answer)
    case = made(isogru, folder, "--lengths", folder / "lengths.npy", layer=suffix[1:])
    done = isogru("verdict", case, folder / "own.npy", "--why")
    assert done.status == 1
    assert any(f"why: equal if {each}" in done.out for each in said.split("|")), done.out


def test_gradients_are_in_the_order_of_the_input(isogru, weights):
    """Those of a forward problem that was turned round by hand, turned back."""
    _, _, folder = weights
    dH = np.random.RandomState(4).standard_normal((T, N, H)).astype(np.float32)
    np.save(folder / "dH.npy", dH)
    case = made(isogru, folder, "--cotangent", folder / "dH.npy")
    result = folder / "result.safetensors"
    assert CliRunner().invoke(app, ["run", str(case), "-o", str(result), "--dtype", "float32"]).exit_code == 0
    arrays = load_file(result)
    own = {"H": arrays["H"][::-1].copy(), "grad.X": arrays["grad.X"][::-1].copy(), "grad.W_hz": arrays["grad.W_hz"]}
    np.savez(folder / "own.npz", **own)
    assert isogru("verdict", case, folder / "own.npz").status == 0
    np.savez(folder / "wrong.npz", **{**own, "grad.X": arrays["grad.X"]})
    (record,) = json.loads(isogru("verdict", "--json", case, folder / "wrong.npz").out)
    assert {f["quantity"]: f["verdict"] for f in record["findings"]}["grad.X"] == "different"


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([6, 0, 1]), "lengths is 0; they are 3 whole numbers from 1 to 6, or a mask (n, T) = (3, 6)"),
        (np.array([6, 2.5, 1]), "one of the lengths is 2.5; they are 3 whole numbers from 1 to 6"),
        (np.array([7, 2, 1]), "one of the lengths is 7; they are 3 whole numbers from 1 to 6"),
        (np.array([6, 2]), "lengths have shape (2,)"),
        (np.array([[1, 0, 1, 0, 0, 0]] * 3), "a mask has a zero before a one"),
        (np.zeros((3, 6)), "they are 3 whole numbers from 1 to 6"),
    ],
)
def test_lengths_that_are_none(isogru, weights, array, words):
    _, _, folder = weights
    np.save(folder / "wrong.npy", array)
    case = folder / "none.safetensors"
    given = ["--weights", folder / "gru.safetensors", "--layer", "l0", "--input", folder / "X.npy", "-o", case]
    done = isogru("case", *given, "--lengths", folder / "wrong.npy")
    assert (done.status, words in done.err, case.exists()) == (2, True, False), done


@pytest.mark.parametrize("axis", [0, 1])
def test_an_input_that_is_empty(isogru, weights, axis):
    _, _, folder = weights
    np.save(folder / "empty.npy", np.take(np.load(folder / "X.npy"), [], axis=axis))
    case = folder / "none.safetensors"
    given = ["--weights", folder / "gru.safetensors", "--layer", "l0", "--input", folder / "empty.npy", "-o", case]
    done = isogru("case", *given)
    assert (done.status, "at least one step of one sequence" in done.err, case.exists()) == (2, True, False), done


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"direction": "up"}, "direction is 'up', should be forward or reverse"),
        ({"lengths": "[1, 2]"}, "lengths are '[1, 2]', should be 3 whole numbers from 1 to 6"),
        ({"lengths": "[1, 2, 7]"}, "should be 3 whole numbers from 1 to 6"),
        ({"lengths": "{"}, "should be 3 whole numbers from 1 to 6"),
    ],
)
def test_a_case_that_says_what_cannot_be(isogru, weights, metadata, words):
    _, _, folder = weights
    case = made(isogru, folder, layer="l0")
    said = {"format": "isogru-case/1", "cell": "gru_reset_after", **metadata}
    save_file(load_file(case), folder / "odd.safetensors", said)
    np.save(folder / "H.npy", np.zeros((T, N, H), np.float32))
    done = isogru("verdict", folder / "odd.safetensors", folder / "H.npy")
    assert (done.status, words in done.err) == (2, True), done
