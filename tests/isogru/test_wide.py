"""Cases that hold numbers of float64 which float32 does not: what is held, on which numbers a result is judged, and
that this is said.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from isogru.judge import reference
from isogru.program_check import ProgramCheck
from isogru.runners.program import Limits, Program
from isogru.stacks import problem
from shared_spec import cases, oracle
from shared_spec.cells import cell, cells
from shared_spec.files.interchange import Case, read_case, write_case
from tests.isogru import grus

T, N, D, H = 6, 2, 3, 4
IN_FLOAT64, ROUNDED = "on the case's numbers in float64", "on the case's numbers rounded to float32"


@pytest.fixture
def mine(isogru, tmp_path):
    """A case of weights and an input in float64, and its states."""
    random = np.random.RandomState(5)
    torch = {name: random.standard_normal(a.shape) for name, a in grus.torch_layer(D, H).items()}
    X = random.standard_normal((T, N, D))
    save_file(torch, tmp_path / "w64.safetensors")
    np.save(tmp_path / "x64.npy", X)
    case = tmp_path / "case.safetensors"
    done = isogru("case", "--weights", tmp_path / "w64.safetensors", "--input", tmp_path / "x64.npy", "-o", case)
    told = "b_hh; what is computed in float32 is judged on them rounded to it"
    assert "in float64, since float32 does not hold the numbers of " in done.out
    assert (done.status, told in done.out) == (0, True), done
    return case, grus.states(X, *grus.of_torch(torch)), tmp_path


def rounded(case):
    """The states of a case's numbers rounded to float32, computed in float64."""
    held = read_case(case).held_in("float32")
    return oracle.run(held.cell, held.arrays)["H"]


def test_each_dtype_is_judged_on_its_own_numbers(isogru, mine):
    case, states, folder = mine
    assert load_file(case)["X"].dtype == np.float64
    for name, array, status, said in (
        ("wide", states, 0, IN_FLOAT64),
        ("other", rounded(case), 1, IN_FLOAT64),
        ("single", rounded(case).astype(np.float32), 0, ROUNDED),
        ("as64", rounded(case).astype(np.float32).astype(np.float64), 0, ROUNDED),
        ("off", states.astype(np.float32) + np.float32(1e-4), 1, ROUNDED),
    ):
        np.save(folder / f"{name}.npy", array)
        done = isogru("verdict", case, folder / f"{name}.npy", "--why")
        assert (done.status, said in done.out) == (status, True), done


def test_why_goes_by_the_same_numbers(isogru, mine):
    """A gate turned round is named on either."""
    case, _, folder = mine
    of = read_case(case)
    for dtype in ("float32", "float64"):
        held = of.held_in(dtype)
        turned = {name: -array if name in ("W_xz", "W_hz", "b_z") else array for name, array in held.arrays.items()}
        np.save(folder / "turned.npy", oracle.run(of.cell, turned, dtype=dtype)["H"])
        done = isogru("verdict", case, folder / "turned.npy", "--why")
        assert (done.status, "negate W_xz, W_hz and b_z" in done.out) == (1, True), done


def test_what_float32_holds_is_float32_in_the_file(isogru, mine):
    _, _, folder = mine
    save_file(grus.torch_layer(D, H, bias=False), folder / "w32.safetensors")
    np.save(folder / "x32.npy", np.load(folder / "x64.npy").astype(np.float32).astype(np.float64))
    case = folder / "single.safetensors"
    assert (
        isogru("case", "--weights", folder / "w32.safetensors", "--input", folder / "x32.npy", "-o", case).status == 0
    )
    assert {array.dtype for array in load_file(case).values()} == {np.dtype(np.float32)}


def test_a_case_of_sums_of_biases_is_in_one_dtype(isogru, mine):
    """Weights of float32, whose sum of two biases is no number of it: an answer computed from the file as it is."""
    _, _, folder = mine
    layer = {name: a.astype(np.float32) for name, a in grus.torch_layer(D, H).items()}
    layer["bias_ih_l0"] *= np.float32(1 / 3)
    save_file(layer, folder / "summed.safetensors")
    np.save(folder / "x32.npy", np.load(folder / "x64.npy").astype(np.float32))
    case = folder / "summed-case.safetensors"
    done = isogru("case", "--weights", folder / "summed.safetensors", "--input", folder / "x32.npy", "-o", case)
    assert (done.status, "does not hold the numbers of " in done.out) == (0, True), done
    held = load_file(case)
    assert {array.dtype for array in held.values()} == {np.dtype(np.float64)}
    np.save(folder / "states.npy", oracle.run(cell("gru_reset_after"), held)["H"])
    for array in (np.load(folder / "states.npy"), np.load(folder / "states.npy").astype(np.float32)):
        np.save(folder / "states.npy", array)
        done = isogru("verdict", case, folder / "states.npy")
        assert done.status == 0, done


def test_a_file_gives_back_every_digit(tmp_path):
    case = cases.build("gru_update_only-float64_values")
    write_case(tmp_path / "case.safetensors", case)
    assert read_case(tmp_path / "case.safetensors").digest == case.digest
    write_case(tmp_path / "case.safetensors", case, dtype="float32")
    assert read_case(tmp_path / "case.safetensors").digest == case.held_in("float32").digest != case.digest


@pytest.mark.parametrize("name", sorted(cells()))
def test_references_of_both_precisions_are_of_their_own_numbers(name):
    """Whichever is made first: the oracle of one is not that of the other."""
    case = cases.build(f"{name}-float64_values")
    for dtypes in (("float32", "float64"), ("float64", "float32", "bfloat16")):
        for dtype in dtypes:
            truth = oracle.run(case.cell, case.held_in(dtype).arrays)["H"]
            np.testing.assert_array_equal(reference.get(case, dtype).oracle["H"], truth)


def test_what_is_beyond_float32_is_for_float64_alone(isogru, mine):
    case, _, folder = mine
    of = read_case(case)
    write_case(case, Case(of.name, of.cell, {**of.arrays, "X": of.arrays["X"] * 1e39}))
    of = read_case(case)
    np.save(folder / "wide.npy", oracle.run(of.cell, of.arrays)["H"])
    assert isogru("verdict", case, folder / "wide.npy").status == 0
    np.save(folder / "single.npy", oracle.run(of.cell, of.arrays)["H"].astype(np.float32) / 3)
    done = isogru("verdict", case, folder / "single.npy")
    assert (done.status, "X holds" in done.err, "beyond float32; compute in float64" in done.err) == (2, True, True)


def test_a_stack_keeps_every_digit(isogru, mine):
    _, _, folder = mine
    random = np.random.RandomState(6)
    torch = {name: random.standard_normal(a.shape) for name, a in grus.torch_stack(D, H).items()}
    save_file(torch, folder / "stack.safetensors")
    case = folder / "stacked.safetensors"
    done = isogru("case", "--weights", folder / "stack.safetensors", "--input", folder / "x64.npy", "-o", case)
    assert done.status == 0, done
    stack = problem.read(case)
    np.testing.assert_array_equal(stack.X, np.load(folder / "x64.npy"))
    single = stack.held_in("float32")
    np.testing.assert_array_equal(single.X, stack.X.astype(np.float32))
    assert all(layer.held_in("float32").arrays.keys() == layer.arrays.keys() for layer in stack.layers)
    for each, of in zip(single.layers, stack.layers, strict=True):
        assert each.digest == of.held_in("float32").digest != of.digest


def test_a_program_is_given_the_numbers_of_its_dtype(tmp_path):
    """In each format; and the precision of a float64 is measured in each."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    case = cases.build("gru-float64_values")
    for format in ("npz", "safetensors"):
        for dtype in ("float32", "float64"):
            command = Program([sys.executable, str(program), "{case}", "{result}"], Limits(60.0, None))
            check = ProgramCheck(command, cell("gru"), dtype, format, False)
            ruling = check.judged([case], jobs=1, tell=lambda _: None)
            assert ruling.verdict.verdict == "equal", ruling.verdict.sentence
            assert ruling.verdict.roundoff["product"] == 2.0 ** -(24 if dtype == "float32" else 53)


PROGRAM = """
import sys
import numpy as np
from safetensors.numpy import load_file, save_file
given, result = sys.argv[1:]
p = dict(np.load(given)) if given.endswith("npz") else load_file(given)
sigmoid = lambda a: 1 / (1 + np.exp(-a))
states, H = [], p["H0"]
with np.errstate(over="ignore"):
    for x in p["X"]:
        Z = sigmoid(x @ p["W_xz"] + H @ p["W_hz"] + p["b_z"])
        R = sigmoid(x @ p["W_xr"] + H @ p["W_hr"] + p["b_r"])
        H = Z * H + (1 - Z) * np.tanh(x @ p["W_xh"] + (R * H) @ p["W_hh"] + p["b_h"])
        states.append(H)
H = np.stack(states)
np.savez(result, H=H) if result.endswith("npz") else save_file({"H": H}, result)
"""
