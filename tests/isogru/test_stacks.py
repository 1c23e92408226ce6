"""Several layers in one case: stacks of one direction or both, and what somebody computed of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from isogru import stacks
from shared_spec.errors import InterchangeError
from shared_spec.files.interchange import read_case
from tests.isogru import grus

T, N, D, H = 6, 2, 3, 4
BOTH = ("", "_reverse")


def states(torch, X, layers=(0, 1), lengths=None):
    """All states of each layer, float64, and the last ones; past the ends zero, as packed sequences have it."""
    given, levels, last = X.astype(float), {}, []
    steps, sequences = X.shape[:2]
    for layer in layers:
        both_directions = []
        for direction in BOTH:
            both = np.zeros((steps, sequences, H))
            for row, length in enumerate(lengths or (steps,) * sequences):
                one = grus.of_torch(torch, f"_l{layer}{direction}")
                both[:length, row] = grus.states(given[:length, row, None], *one, reverse=bool(direction))[:, 0]
            both_directions.append(both)
            ends = [0 if direction else length - 1 for length in lengths or (steps,) * sequences]
            last.append(np.stack([both[end, row] for row, end in enumerate(ends)]))
        levels[layer] = given = np.concatenate(both_directions, axis=2)
    return levels, np.stack(last)


@pytest.fixture
def mine(isogru, tmp_path):
    """A stack of two layers of both directions, in a model, and its states in float32."""
    torch = grus.torch_stack(D, H)
    X = np.random.RandomState(3).standard_normal((T, N, D)).astype(np.float32)
    save_file({f"module.rnn.{name}": array for name, array in torch.items()}, tmp_path / "gru.safetensors")
    np.save(tmp_path / "X.npy", X)
    case = tmp_path / "stack.safetensors"
    done = isogru("case", "--weights", tmp_path / "gru.safetensors", "--input", tmp_path / "X.npy", "-o", case)
    assert done.status == 0, done
    assert "4 layers, taken as one stack: module.rnn l0 and module.rnn l0_reverse -> module.rnn l1 and" in done.out
    levels, last = states(torch, X)
    return case, torch, X, levels, last, tmp_path


def test_what_a_layer_of_torch_gives(isogru, mine):
    case, _, _, levels, last, folder = mine
    np.savez(folder / "both.npz", output=levels[1].astype("f"), h_n=last.astype("f"))
    np.savez(folder / "tuple.npz", levels[1].astype("f"), last.astype("f"))
    np.save(folder / "batch.npy", levels[1].swapaxes(0, 1).astype("f"))
    np.save(folder / "last.npy", levels[1].astype("f"))
    np.savez(folder / "all.npz", l0=levels[0].astype("f"), l1=levels[1].astype("f"))
    for name, said in (
        ("both.npz", "not there: all states of l0, but for the last ones"),
        ("tuple.npz", "✓ l1_reverse.final["),
        ("batch.npy", "the batch comes first in it"),
        ("last.npy", "what l1 took from below is not there, so that it is held against the whole stack, within what"),
        ("all.npz", "✓ l0_reverse.H["),
    ):
        done = isogru("verdict", case, folder / name)
        assert (done.status, said in done.out) == (0, True), done
    assert "not there" not in done.out
    # Sums of two biases, which float32 rounds, are in the stack as they are.
    np.savez(folder / "wide.npz", l0=levels[0], l1=levels[1])
    done = isogru("verdict", case, folder / "wide.npz")
    assert (done.status, "on the case's numbers in float64" in done.out) == (0, True), done


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("there", ["all", "last"])
def test_a_wrong_layer_is_found_where_it_is(isogru, mine, level, there):
    """Where the states below are there, only the layer that is wrong is; and why is said."""
    case, torch, X, _, _, folder = mine
    name = f"weight_hh_l{level}_reverse"
    r, z, h = np.split(torch[name], 3)
    levels, last = states({**torch, name: np.concatenate([z, r, h])}, X)
    arrays = {"l0": levels[0], "l1": levels[1]} if there == "all" else {"output": levels[1], "h_n": last}
    np.savez(folder / "wrong.npz", **{key: array.astype("f") for key, array in arrays.items()})
    done = isogru("verdict", case, folder / "wrong.npz", "--why")
    wrong = [line.split()[1].partition(".")[0] for line in done.out.splitlines() if line.strip().startswith("✗ l")]
    assert done.status == 1
    if there == "all":
        assert set(wrong) == {f"l{level}_reverse"}
        assert f"l{level}_reverse: why: equal if the gates r and z are exchanged in W_h (" in done.out
        assert f"module.rnn.weight_hh_l{level}_reverse holds r in rows 0:4, z in rows 4:8, h in rows 8:12" in done.out
    else:
        assert f"l{level}_reverse" in wrong
        assert "l1_reverse: why: not explained: what it took from the layer below is not there; save all" in done.out


def test_of_three_layers_the_one_below_is_named(isogru, mine):
    _, _, X, _, _, folder = mine
    torch = grus.torch_stack(D, H, layers=3)
    save_file(torch, folder / "three.safetensors")
    asked = ("case", "--weights", folder / "three.safetensors", "--input", folder / "X.npy", "-o", folder / "three.st")
    assert isogru(*asked).status == 0
    levels, _ = states(torch, X, layers=(0, 1, 2))
    np.save(folder / "wrong.npy", -levels[2].astype("f"))
    done = isogru("verdict", folder / "three.st", folder / "wrong.npy", "--why")
    assert (done.status, "save all states of that too, under its name, l1\n" in done.out) == (1, True), done


def test_what_lies_below_is_no_fault_of_the_layer_above(isogru, mine):
    """States of l1 that are right for what l0 gave, which is wrong."""
    case, torch, X, _, _, folder = mine
    levels, _ = states({**torch, "weight_hh_l0": -torch["weight_hh_l0"]}, X)
    np.savez(folder / "mine.npz", l0=levels[0].astype("f"), l1=levels[1].astype("f"))
    record = json.loads(isogru("verdict", case, folder / "mine.npz", "--json").out)[0]
    verdicts = {finding["quantity"]: finding["verdict"] for finding in record["findings"]}
    assert verdicts == {"l0.H": "different", "l0_reverse.H": "equal", "l1.H": "equal", "l1_reverse.H": "equal"}


@pytest.mark.parametrize("there", ["all", "last"])
def test_sequences_that_end_early(isogru, mine, there):
    _, torch, X, _, _, folder = mine
    lengths = (T, 2)
    np.save(folder / "lengths.npy", np.array(lengths))
    asked = ["case", "--weights", folder / "gru.safetensors", "--input", folder / "X.npy"]
    case = folder / "early.safetensors"
    assert isogru(*asked, "--lengths", folder / "lengths.npy", "-o", case).status == 0
    levels, last = states(torch, X, lengths=lengths)
    arrays = {"l0": levels[0], "l1": levels[1]} if there == "all" else {"output": levels[1], "h_n": last}
    for wrong in (False, True):
        arrays = {key: array.astype("f") for key, array in arrays.items()}
        if wrong:
            next(reversed(arrays.values()))[:] += 1e-4
        np.savez(folder / "mine.npz", **arrays)
        done = isogru("verdict", case, folder / "mine.npz")
        assert (done.status == 1) == wrong, done


@pytest.mark.parametrize("kept", ["float16", "bfloat16"])
def test_halves_in_a_wider_file(isogru, mine, kept):
    from shared_spec.readings.floats import rounded

    case, _, _, levels, _, folder = mine
    np.save(folder / "half.npy", rounded(levels[1], kept).astype("f"))
    done = isogru("verdict", case, folder / "half.npy")
    assert (done.status, f"judged in {kept}: the file is of float32" in done.out) == (0, True), done


def test_start_states_and_one_layer_alone(isogru, mine):
    folder = mine[-1]
    asked = ["case", "--weights", folder / "gru.safetensors", "--input", folder / "X.npy", "-o", folder / "h0.st"]
    np.save(folder / "h0.npy", np.zeros((4, N, H)))
    assert isogru(*asked, "--h0", folder / "h0.npy").status == 0
    assert stacks.read(folder / "h0.st").layers[3].name == "l1_reverse"
    np.save(folder / "h0.npy", np.zeros((2, N, H)))
    assert (
        "H0 has shape (2, 2, 4), should be (layers, n, h) = (4, 2, 4)" in isogru(*asked, "--h0", folder / "h0.npy").err
    )
    assert isogru(*asked, "--layer", "l0").status == 0
    assert read_case(folder / "h0.st").arrays["X"].shape == (T, N, D)


def test_what_is_no_answer_to_a_stack(isogru, mine):
    case, _, _, levels, _, folder = mine
    np.save(folder / "shape.npy", levels[1][:, :, :H])
    np.savez(folder / "twice.npz", output=levels[1], states=levels[1])
    np.save(folder / "int.npy", np.ones((T, N, 2 * H), int))
    for name, said in (
        (
            "shape.npy",
            "the array has shape (6, 2, 4); all states of the last layer are (6, 2, 8), or (2, 6, 8), the last",
        ),
        ("twice.npz", "states has shape (6, 2, 8); all states of the last layer"),
        ("int.npy", "int64; save all states in one of float32, float64, float16, bfloat16"),
    ):
        assert said in isogru("verdict", case, folder / name).err
    assert "a stack; isogru verdict --why" in isogru("explain", case, folder / "shape.npy").err
    assert "a stack; --claim is of one layer" in isogru("verdict", case, folder / "shape.npy", "--claim", "gru").err


def test_one_layer_of_both_directions_has_none_below(isogru, mine):
    _, torch, _, levels, _, folder = mine
    save_file({name: array for name, array in torch.items() if "_l0" in name}, folder / "one.safetensors")
    asked = ("case", "--weights", folder / "one.safetensors", "--input", folder / "X.npy", "-o", folder / "one.st")
    assert isogru(*asked).status == 0
    np.save(folder / "shape.npy", levels[0][:, :, :H])
    done = isogru("verdict", folder / "one.st", folder / "shape.npy")
    assert done.status == 2
    assert done.err.endswith("the last states of all (2, 2, 4), those of the last layer (2, 8)\n"), done


@pytest.mark.parametrize(("time", "status"), [("", 0), ("second", 0), ("first", 1)])
def test_as_many_steps_as_sequences(isogru, mine, time, status):
    """Values tell which comes first, unless it is said."""
    _, torch, X, _, _, folder = mine
    np.save(folder / "X.npy", X[:N])
    asked = ("case", "--weights", folder / "gru.safetensors", "--input", folder / "X.npy", "-o", folder / "square.st")
    assert isogru(*asked).status == 0
    levels, _ = states(torch, X[:N])
    np.save(folder / "batch.npy", levels[1].swapaxes(0, 1).astype("f"))
    said = ("--time", time) if time else ()
    assert isogru("verdict", folder / "square.st", folder / "batch.npy", *said).status == status


def test_layers_that_are_no_stack(isogru, mine):
    _, torch, _, _, _, folder = mine
    apart = {
        name.replace("_l1", "_l0").replace("weight", "other.weight").replace("bias", "other.bias"): a
        for name, a in torch.items()
        if "_l1" in name
    }
    save_file(
        {
            **{n: a for n, a in torch.items() if "_l1" not in n},
            **{n: a[:, :5] if "ih" in n and a.ndim > 1 else a for n, a in apart.items()},
        },
        folder / "two.safetensors",
    )
    asked = ["case", "--weights", folder / "two.safetensors", "--input", folder / "X.npy", "-o", folder / "no.st"]
    assert "which are no stack: other l0 has 5 inputs, and what is below gives 8; say which" in isogru(*asked).err
    asked[2] = folder / "gru.safetensors"
    assert "--cotangent is of one alone; say which one" in isogru(*asked, "--cotangent", folder / "X.npy").err
    assert "--reverse is of one alone; say which one" in isogru(*asked, "--reverse").err
    assert not (folder / "no.st").exists()


def test_an_old_reader_refuses_it(mine):
    with pytest.raises(InterchangeError, match="its format is isogru-stack/1, should be isogru-case/1"):
        read_case(mine[0])


def without(name):
    return lambda tensors, metadata: ({k: a for k, a in tensors.items() if k != name}, metadata)


def with_metadata(**given):
    return lambda tensors, metadata: (tensors, {**metadata, **given})


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (without("l1.W_hz"), "l1.W_hz is missing, should be (h, h) = (4, 4)"),
        (without("l1.b_h"), "l1.H0 has shape (2, 4), should be (n, h) = (2, 0)"),
        (without("X"), "a stack has X (T, n, d) and layers"),
        (with_metadata(layers="[]"), "a stack has X (T, n, d) and layers"),
        (with_metadata(layers="["), "layers: damaged"),
        (
            with_metadata(layers='[{"label":"l0","level":1,"reverse":false,"cell":"gru"}]'),
            "l0 is of level 1, out of order",
        ),
        (with_metadata(layers='[{"label":"l0","level":0,"reverse":false,"cell":"gru"}]'), "is superfluous"),
        (with_metadata(layers='[{"label":"l0","level":0,"reverse":false,"cell":"lstm"}]'), "no cell 'lstm'"),
        (
            with_metadata(
                layers='[{"label":"l0","level":0,"reverse":false,"cell":"gru",'
                '"source":{"file":"a\\nb","layout":"torch","names":{}}}]'
            ),
            "weights' file is 'a\\nb', should be a line of text",
        ),
        (with_metadata(format="isogru-stack/2"), "format isogru-stack/2 is newer than isogru-stack/1"),
        (lambda tensors, metadata: ({**tensors, "X": tensors["X"] * np.float32("nan")}, metadata), "finite numbers"),
    ],
)
def test_a_stack_that_is_damaged(mine, edit, said):
    import safetensors

    with safetensors.safe_open(mine[0], "numpy") as file:
        metadata = file.metadata()
    tensors, metadata = edit(load_file(mine[0]), metadata)
    save_file(tensors, mine[0], metadata)
    assert stacks.is_stack(mine[0])
    with pytest.raises(InterchangeError) as refused:
        stacks.read(mine[0])
    assert said in str(refused.value)
