"""Gradients by the names of the layer's own tensors."""

from __future__ import annotations

import numpy as np
import pytest

from shared_spec import oracle
from shared_spec.files.interchange import read_case
from shared_spec.weights.layouts import layout
from shared_spec.weights.packing import pack
from tests.isogru import grus

T, N, D, H = 6, 2, 3, 4


@pytest.fixture(params=["torch", "keras"])
def mine(request, isogru, tmp_path):
    """A case with dH, of weights in a layout, and the gradients of its tensors in float32."""
    tensors = grus.torch_layer(D, H)
    tensors = tensors if request.param == "torch" else grus.to_keras(tensors)
    random = np.random.RandomState(3)
    np.savez(tmp_path / "gru.npz", **{f"encoder.{name}": array for name, array in tensors.items()})
    np.save(tmp_path / "X.npy", random.standard_normal((T, N, D)).astype(np.float32))
    np.save(tmp_path / "dH.npy", random.standard_normal((T, N, H)).astype(np.float32))
    weights = ("case", "--weights", tmp_path / "gru.npz", "--input", tmp_path / "X.npy", "-o")
    assert isogru(*weights, tmp_path / "c.st", "--cotangent", tmp_path / "dH.npy").status == 0
    assert isogru(*weights, tmp_path / "states.st").status == 0
    case = read_case(tmp_path / "c.st").held_in("float32")
    made = oracle.run(case.cell, case.arrays)
    held = {name: made[f"grad.{name}"].astype(np.float32) for name in case.cell.parameters}
    held |= {two: held[one] for two, one in layout(request.param).second.items()}
    return pack(layout(request.param), held), made["H"].astype(np.float32), tmp_path


@pytest.mark.parametrize("start", ["", "grad.", "encoder.", "grad.encoder."])
def test_by_the_names_of_the_layer(isogru, mine, start):
    gradients, states, folder = mine
    np.savez(folder / "mine.npz", H=states, **{f"{start}{name}": array for name, array in gradients.items()})
    done = isogru("verdict", folder / "c.st", folder / "mine.npz")
    assert (done.status, "✓ grad.b_hz[" in done.out, "✓ grad.W_hr[" in done.out) == (0, True, True), done


def test_each_of_two_biases_is_judged(isogru, mine):
    gradients, _, folder = mine
    name = list(gradients)[-1]
    second = gradients[name].copy()
    of_hidden = second[1] if second.ndim == 2 else second
    of_hidden[:H] += 1
    np.savez(folder / "mine.npz", **{**gradients, name: second})
    done = isogru("verdict", folder / "c.st", folder / "mine.npz", "--why")
    wrong = {line.split()[1].partition("[")[0] for line in done.out.splitlines() if line.strip().startswith("✗ grad")}
    assert (done.status, wrong) == (1, {"grad.b_hz"} if second.ndim == 2 else {"grad.b_hr"}), done


def test_a_part_of_them(isogru, mine):
    gradients, _, folder = mine
    name = next(iter(gradients))
    np.savez(folder / "mine.npz", **{name: gradients[name]})
    done = isogru("verdict", folder / "c.st", folder / "mine.npz")
    assert (done.status, "✓ grad.W_xz[" in done.out, "grad.W_hz" in done.out.partition("✓ grad")[2]) == (0, True, False)
    assert "not judged: H, final, grad.X, grad.H0, grad.W_hz" in done.out


def test_what_is_refused(isogru, mine):
    gradients, _, folder = mine
    np.savez(folder / "mine.npz", **gradients)
    done = isogru("verdict", folder / "states.st", folder / "mine.npz")
    assert (done.status, "the case has no dH; write it with --cotangent dH.npy" in done.err) == (2, True), done
    name = next(iter(gradients))
    np.savez(folder / "mine.npz", **{name: gradients[name].T})
    done = isogru("verdict", folder / "c.st", folder / "mine.npz")
    assert (done.status, f"{name} has shape" in done.err) == (2, True), done


def test_a_gradient_that_is_there_twice_is_refused(isogru, mine):
    """Neither of the two is taken for both."""
    gradients, _, folder = mine
    name = next(iter(gradients))
    np.savez(folder / "mine.npz", **gradients, **{"grad.W_xz": np.ones((D, H), np.float32)})
    done = isogru("verdict", folder / "c.st", folder / "mine.npz")
    assert (done.status, "grad.W_xz is there by itself, and in " in done.err) == (2, True), done
    np.savez(folder / "mine.npz", **gradients, **{f"grad.{name}": 2 * gradients[name]})
    done = isogru("verdict", folder / "c.st", folder / "mine.npz")
    assert (done.status, "are one gradient; leave one of them out" in done.err) == (2, True), done


def test_no_path_is_named_for_what_is_not_searched(isogru, mine):
    """The gradient of a second bias alone is off, and that of H0 is not there: a path to H0 would explain nothing."""
    gradients, states, folder = mine
    name = list(gradients)[-1]
    second = gradients[name].copy()
    (second[1] if second.ndim == 2 else second)[:H] *= 2
    np.savez(folder / "mine.npz", **{**gradients, name: second}, H=states)
    done = isogru("verdict", folder / "c.st", folder / "mine.npz", "--why")
    assert (done.status, "is not searched" in done.out, "H0 " in done.out.partition("why:")[2]) == (1, True, False), (
        done
    )
