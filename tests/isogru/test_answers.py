"""A case of one's own, and what somebody computed for it, as they saved it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shared_spec import oracle
from shared_spec.files.interchange import read_case
from shared_spec.readings.floats import rounded
from tests.isogru import grus

T, N, D, H = 6, 2, 3, 4


@pytest.fixture
def mine(isogru, tmp_path):
    """A case of one's own weights and input, and the states that they give, in float32."""
    torch = grus.torch_layer(D, H)
    X = np.random.RandomState(3).standard_normal((T, N, D)).astype(np.float32)
    save_file(torch, tmp_path / "gru.safetensors")
    np.save(tmp_path / "X.npy", X)
    case = tmp_path / "mine.safetensors"
    done = isogru("case", "--weights", tmp_path / "gru.safetensors", "--input", tmp_path / "X.npy", "-o", case)
    assert (done.status, f"wrote {case} (gru_reset_after, name mine; T = 6, n = 2, d = 3, h = 4)" in done.out) == (
        0,
        True,
    ), done
    states = grus.states(X.astype(float), *grus.of_torch(torch)).astype(np.float32)
    return case, states, tmp_path


def test_states_in_any_file(isogru, mine):
    case, states, folder = mine
    np.save(folder / "time.npy", states)
    np.save(folder / "batch.npy", states.swapaxes(0, 1))
    np.save(folder / "last.npy", states[-1])
    np.savez(folder / "both.npz", output=states, h_n=states[-1])
    save_file({"H": states}, folder / "plain.safetensors")
    for name, said in (
        ("time.npy", "not there, and not judged: final"),
        ("batch.npy", f"the batch comes first in it, as its shape {(N, T, H)} tells"),
        ("last.npy", "not there, and not judged: H"),
        ("both.npz", "judged in float32, as the file has it: how it was computed was not measured"),
        ("plain.safetensors", "not there, and not judged: final"),
    ):
        done = isogru("verdict", case, folder / name)
        assert (done.status, said in done.out) == (0, True), done
        assert done.out.startswith(f"✓ equal: {folder / name}\n")


@pytest.mark.parametrize("printed", [str, lambda value: f"{value:.9g}"], ids=["fewest digits", "nine"])
def test_float32_that_was_printed(isogru, mine, printed):
    """As JSON has it: read as float64 its values are no numbers of float32, and are judged in it all the same."""
    case, states, folder = mine
    (folder / "states.json").write_text(json.dumps([float(printed(value)) for value in states.ravel()]))
    array = np.array(json.loads((folder / "states.json").read_text()), "float64").reshape(states.shape)
    assert not np.array_equal(array, states)
    np.save(folder / "printed.npy", array)
    done = isogru("verdict", case, folder / "printed.npy")
    assert (done.status, "numbers of float32, or print as such" in done.out) == (0, True), done
    # Of float64 there is nothing of that.
    np.save(folder / "wide.npy", array * (1 + 1e-9))
    assert isogru("verdict", case, folder / "wide.npy").status == 1


def test_float32_saved_as_float64_where_sequences_end_early(isogru, mine):
    """What stands past an end is the case's, and no number of float32."""
    _, _, folder = mine
    np.save(folder / "lengths.npy", np.array([T, T - 2]))
    np.save(folder / "H0.npy", np.full((N, H), 1 / 3))
    weights = ("--weights", folder / "gru.safetensors", "--input", folder / "X.npy")
    ends = folder / "ends.safetensors"
    made = isogru("case", *weights, "--h0", folder / "H0.npy", "--lengths", folder / "lengths.npy", "-o", ends)
    assert made.status == 0, made
    of = read_case(ends)
    single = oracle.run(of.cell, of.held_in("float32").arrays)["H"].astype(np.float32)
    single[T - 2 :, 1] = 0
    for dtype in (np.float32, np.float64):
        np.save(folder / "ended.npy", single.astype(dtype))
        done = isogru("verdict", ends, folder / "ended.npy")
        assert done.status == 0, done


def test_axes_of_length_one_count_for_nothing(isogru, mine):
    """ONNX' states, torch's last state; a tuple of both, whose names say nothing."""
    case, states, folder = mine
    np.savez(folder / "onnx.npz", Y=states[:, None], Y_h=states[-1:])
    np.savez(folder / "tuple.npz", states, states[-1:])
    done = isogru("verdict", case, folder / "onnx.npz")
    assert (done.status, "✓ H[" in done.out, "✓ final[" in done.out) == (0, True, True), done
    done = isogru("verdict", case, folder / "tuple.npz")
    assert (done.status, "arr_1 is taken as final, as its shape tells" in done.out) == (0, True), done
    np.savez(folder / "wrong.npz", states, states[:1])
    assert isogru("verdict", case, folder / "wrong.npz").status == 1


def test_one_sequence_without_a_batch(isogru, mine):
    _, states, folder = mine
    X, case = np.load(folder / "X.npy")[:, 0], folder / "one.safetensors"
    np.save(folder / "one.npy", X)
    np.save(folder / "h0.npy", np.zeros((1, 1, H), np.float32))
    given = ["--weights", folder / "gru.safetensors", "--input", folder / "one.npy", "--h0", folder / "h0.npy"]
    done = isogru("case", *given, "-o", case)
    assert (done.status, "T = 6, n = 1, d = 3, h = 4" in done.out) == (0, True), done
    np.save(folder / "H.npy", states[:, 0])
    np.save(folder / "last.npy", states[-1, 0])
    assert isogru("verdict", case, folder / "H.npy", folder / "last.npy").status == 0
    np.save(folder / "last.npy", states[0, 0])
    assert isogru("verdict", case, folder / "last.npy").status == 1


@pytest.mark.parametrize("wide", ["float32", "float64"])
@pytest.mark.parametrize("kept", ["float32", "float16", "bfloat16"])
def test_a_wider_file_than_its_values(isogru, mine, kept, wide):
    """NumPy has no bfloat16, and lists become float64: the values tell what they are numbers of."""
    case, states, folder = mine
    np.save(folder / "H.npy", rounded(states, kept).astype(wide))
    done = isogru("verdict", case, folder / "H.npy")
    said = f"judged in {kept}: the file is of {wide}, and all its values are numbers of {kept}"
    assert (done.status, said in done.out) == (0, kept != wide), done
    np.save(folder / "H.npy", rounded(states[::-1], kept).astype(wide))
    assert isogru("verdict", case, folder / "H.npy").status == 1


def test_few_values_tell_no_format(isogru, mine):
    """Zeros are numbers of every format, and are judged in the one of their file."""
    case, states, folder = mine
    np.save(folder / "H.npy", np.zeros_like(states))
    done = isogru("verdict", case, folder / "H.npy")
    assert (done.status, "judged in float32, as the file has it" in done.out) == (1, True), done


def test_printed_numbers_are_named(isogru, mine):
    case, states, folder = mine
    np.save(folder / "H.npy", np.round(states, 3))
    done = isogru("verdict", case, folder / "H.npy")
    assert (done.status, "every value has at most 3 decimals" in done.out) == (1, True), done


def test_wrong_states_are_different(isogru, mine):
    case, states, folder = mine
    for name, wrong in (("time", states[::-1]), ("late", np.roll(states, 1, 0)), ("off", states + np.float32(1e-4))):
        np.save(folder / f"{name}.npy", wrong)
        assert isogru("verdict", case, folder / f"{name}.npy").status == 1
    np.save(folder / "last.npy", states[-1] + np.float32(1e-3))
    assert isogru("verdict", case, folder / "last.npy").status == 1
    (record,) = json.loads(isogru("verdict", "--json", case, folder / "last.npy").out)
    assert (record["verdict"], record["findings"][0]["quantity"]) == ("different", "final")
    assert "not there, and not judged: H" in record["notes"]


def test_where_shapes_do_not_tell_values_do(isogru, tmp_path):
    """T = n: the states are taken with the batch first only where that makes them equal."""
    torch = grus.torch_layer(D, H)
    X = np.random.RandomState(3).standard_normal((4, 4, D)).astype(np.float32)
    save_file(torch, tmp_path / "gru.safetensors")
    np.save(tmp_path / "X.npy", X)
    case = tmp_path / "square.safetensors"
    isogru("case", "--weights", tmp_path / "gru.safetensors", "--input", tmp_path / "X.npy", "-o", case)
    states = grus.states(X.astype(float), *grus.of_torch(torch)).astype(np.float32)
    np.save(tmp_path / "H.npy", states.swapaxes(0, 1))
    done = isogru("verdict", case, tmp_path / "H.npy")
    assert (done.status, "the batch comes first in it, as its values tell" in done.out) == (0, True)
    assert isogru("verdict", case, tmp_path / "H.npy", "--time", "first").status == 1
    assert "as was said" in isogru("verdict", case, tmp_path / "H.npy", "--time", "second").out
    np.save(tmp_path / "H.npy", -states)
    wrong = isogru("verdict", case, tmp_path / "H.npy")
    assert (wrong.status, "batch comes first" in wrong.out) == (1, False)


def test_a_result_file_with_the_batch_first(isogru, command, tmp_path):
    case, result = tmp_path / "case.safetensors", tmp_path / "result.safetensors"
    isogru("case", "gru-ordinary", "-o", case)
    command("shared_spec", "run", str(case), "-o", str(result))
    assert isogru("verdict", case, result).status == 0
    import safetensors

    with safetensors.safe_open(result, framework="numpy") as file:
        metadata = file.metadata()
    arrays = load_file(result)
    save_file({**arrays, "H": np.ascontiguousarray(arrays["H"].swapaxes(0, 1))}, result, metadata)
    done = isogru("verdict", case, result)
    assert (done.status, "the batch comes first in it" in done.out) == (0, True)
    # What is not there of a result file is not judged either.
    save_file({"final": arrays["final"]}, result, metadata)
    done = isogru("verdict", case, result)
    assert (done.status, "not there, and not judged: H, the gradients" in done.out) == (0, True), done


def test_gradients_are_judged_where_they_are_there(isogru, mine):
    case, states, folder = mine
    np.save(folder / "dH.npy", np.ones_like(states))
    weights, X = folder / "gru.safetensors", folder / "X.npy"
    pulled = folder / "pulled.safetensors"
    arguments = ["case", "--weights", weights, "--input", X, "--cotangent", folder / "dH.npy", "-o", pulled]
    assert isogru(*arguments).status == 0
    from shared_spec import oracle
    from shared_spec.files.interchange import read_case

    of = read_case(pulled)
    right = oracle.run(of.cell, of.arrays, dtype="float32")
    np.savez(folder / "some.npz", **{"H": right["H"], "grad.W_hh": right["grad.W_hh"]})
    done = isogru("verdict", pulled, folder / "some.npz")
    assert (done.status, "✓ grad.W_hh" in done.out, "not judged: final, grad.X, grad.H0" in done.out) == (0, True, True)
    np.savez(folder / "some.npz", **{"H": right["H"], "grad.W_hh": 2 * right["grad.W_hh"]})
    assert isogru("verdict", pulled, folder / "some.npz").status == 1
    assert "tensor grad.W_hh is superfluous" in isogru("verdict", case, folder / "some.npz").err


def test_what_is_no_answer(isogru, mine):
    case, states, folder = mine
    np.save(folder / "shape.npy", states[:, :, :2])
    np.save(folder / "half.npy", (100 * states).astype(np.int32))
    np.savez(folder / "names.npz", H=states, gates=states)
    for name, said in (
        ("shape.npy", "the array has shape (6, 2, 2); all states are (T, n, h) = (6, 2, 4), or (n, T, h) = (2, 6, 4)"),
        ("half.npy", "int32; save all of them in one of float32, float64, float16, bfloat16"),
        (
            "names.npz",
            "gates, of shape (6, 2, 4), is no part of a result; name all states H",
        ),
        ("nothing.npy", "no such file"),
    ):
        assert said in isogru("verdict", case, folder / name).err
    assert "--time is 'third', should be first or second" in isogru("verdict", case, case, "--time", "third").err


@pytest.mark.parametrize("kind", ["csv", "txt", "bin", "json"])
def test_bare_numbers_are_saved_by_the_line_that_is_said(isogru, mine, kind):
    case, states, folder = mine
    file = folder / f"states.{kind}"
    if kind == "bin":
        states.tofile(file)
    elif kind == "json":
        file.write_text(json.dumps(states.tolist()))
    else:
        np.savetxt(file, states.reshape(-1, H), delimiter="," if kind == "csv" else " ")
    done = isogru("verdict", case, file)
    told = f"isogru: {file}: no file of arrays: it says neither shape nor dtype; save it as .npy: "
    assert (done.status, done.err.startswith(told)) == (2, True), done
    exec(done.err.removeprefix(told).partition(", with ")[0])
    assert isogru("verdict", case, folder / "states.npy").status == 0
    assert np.load(folder / "states.npy").dtype == (np.float32 if kind == "bin" else np.float64)


def test_an_input_of_bare_numbers(isogru, mine):
    _, _, folder = mine
    X = np.random.RandomState(4).standard_normal((T, D))
    np.savetxt(folder / "bare.csv", X, delimiter=",")
    asked = ["case", "--weights", folder / "gru.safetensors", "-o", folder / "bare.safetensors", "--input"]
    done = isogru(*asked, folder / "bare.csv")
    line, _, more = done.err.partition("save it as .npy: ")[2].partition(", with ")
    assert (done.status, more) == (2, "the number of sequences for the 1\n")
    exec(line)
    assert isogru(*asked, folder / "bare.npy").status == 0
    np.testing.assert_array_equal(load_file(folder / "bare.safetensors")["X"], X[:, None])


def test_cases_that_cannot_be_made(isogru, mine, tmp_path):
    _, _, folder = mine
    weights, X, out = folder / "gru.safetensors", folder / "X.npy", folder / "out.safetensors"
    save_file(grus.torch_stack(D, H), folder / "stack.safetensors")
    np.save(folder / "nan.npy", np.full((T, N, D), np.nan))
    for arguments, said in (
        ([], "say which case: one of the catalogue by its NAME, or --weights FILE with --input FILE"),
        (["gru-ordinary", "--weights", weights], "say which case"),
        (["gru-ordinary", "--input", X], "go with --weights; a case of the catalogue has its own"),
        (["--weights", weights], "--weights goes with --input"),
        (
            ["--weights", folder / "stack.safetensors", "--input", X, "--cotangent", X],
            "4 layers; --cotangent is of one alone; say which one with --prefix or --layer",
        ),
        (["--weights", weights, "--input", folder / "nan.npy"], "a case holds finite numbers"),
        (["--weights", weights, "--input", X, "--h0", X], "H0 has shape (6, 2, 3), should be (n, h) = (2, 4)"),
        (["--weights", weights, "--input", weights], "4 arrays; save the one that is meant"),
        (["--weights", weights, "--input", X, "--time", "third"], "--time is 'third', should be first or second"),
    ):
        assert said in isogru("case", *arguments, "-o", out).err, said
    assert not out.exists()
    assert "would overwrite what is read" in isogru("case", "--weights", weights, "--input", X, "-o", X).err
    np.save(folder / "batch.npy", np.load(X).swapaxes(0, 1))
    turned = ["case", "--weights", weights, "--input", folder / "batch.npy", "--time", "second", "-o", out]
    assert isogru(*turned).status == 0
    np.testing.assert_array_equal(load_file(out)["X"], np.load(X))
