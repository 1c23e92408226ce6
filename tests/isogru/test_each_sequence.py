"""What became of a batch's sequences, and of a stack's layers: named, and what is said to do about it done."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from isogru import stacks
from isogru.explain import EXPLAINED, UNEXPLAINED, explain
from shared_spec import oracle
from tests.isogru import grus
from tests.isogru.planted import drawn

T, N, D, H = 7, 3, 5, 4
LENGTHS = (7, 5, 2)
ORDER = [2, 0, 1]


@pytest.fixture
def case():
    return drawn("gru_reset_after", (T, N, D, H), 0)


def states(case, **others):
    """The right states, float32, of the case with other arrays."""
    arrays = {name: array.astype(np.float32) for name, array in {**case.arrays, **others}.items()}
    return oracle.run(case.cell, arrays)["H"].astype(np.float32)


def ended(H, *, held):
    """States that are zero past LENGTHS, or kept there."""
    H = H.copy()
    for row, length in enumerate(LENGTHS):
        H[length:, row] = H[length - 1, row] if held else 0
    return H


WAYS = {
    "zeros past the ends": (
        lambda case: ended(states(case), held=False),
        "it gives zeros, as packed sequences and ONNX do: their lengths are 7, 5, 2",
    ),
    "held past the ends": (
        lambda case: ended(states(case), held=True),
        "it holds the last state, as a mask of Keras does: their lengths are 7, 5, 2",
    ),
    "zeros in one, held in another": (
        lambda case: np.where(np.arange(N)[:, None] == 1, ended(states(case), held=True), ended(states(case), held=0)),
        "past their ends some are zero, others hold the last state: their lengths are 7, 5, 2",
    ),
    "another order": (
        lambda case: states(case)[:, ORDER],
        "number 0 of the result is number 2 of the case, 1 is 0, 2 is 1",
    ),
    "reshaped": (
        lambda case: states(case).reshape(N, T, H).swapaxes(0, 1),
        "its numbers lie time first, under a shape with the batch first",
    ),
    "reshaped with the batch first": (
        lambda case: states(case).swapaxes(0, 1).reshape(T, N, H),
        "its numbers lie batch first, under a shape with the time first",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_was_done_is_named(case, way):
    made, told = WAYS[way]
    explanation = explain(case, made(case))
    assert (explanation.verdict, told in explanation.sentence) == (EXPLAINED, True), explanation.sentence
    assert explanation.causes[0].ratio <= 1 < explanation.ratio
    assert explanation.remedy
    # It is no case of one's own, which could be written with other lengths.
    assert "write the case" not in explanation.remedy


@pytest.mark.parametrize("way", ["another start", "another start of one", "its input is zero", "noise"])
def test_a_first_step_that_is_off_has_no_cause(case, way):
    """What is wrong with it shows nothing more: many a state, and many a fault, leads to any one after it."""
    start = [[0], [0.5], [0]] if way == "another start of one" else 0.5
    H = states(case, H0=case.arrays["H0"] + start)
    if way == "its input is zero":
        H = states(case, X=np.concatenate([np.zeros((1, N, D)), case.arrays["X"][1:]]))
    elif way == "noise":
        first = np.random.RandomState(0).uniform(-0.9, 0.9, (N, H.shape[2]))
        rest = replace(case, arrays={**case.arrays, "X": case.arrays["X"][1:], "H0": first.astype("f")})
        H = np.concatenate([first[None].astype("f"), states(rest)])
    explanation = explain(case, H)
    assert explanation.verdict == UNEXPLAINED
    of = " in 1 of the sequences, counted from 0" if way == "another start of one" else ""
    said = f"not explained: the first step alone is off{of}; every step after it is right by itself, as from another"
    assert explanation.sentence.startswith(said), explanation.sentence
    turned = replace(case, reverse=True)
    assert "the first step that it computes, of the input the last, alone is off" in explain(turned, H).sentence


def test_a_layer_that_runs_backwards_is_told_in_the_order_of_its_input(case):
    """A case has it in the order in which it is computed."""
    case = replace(case, reverse=True)
    gap = states(case)
    there = np.delete(case.arrays["X"][:, 0], 2, axis=0)[:, None]
    gap[:, 0] = np.insert(states(case, X=there, H0=case.arrays["H0"][:1])[:, 0], 2, gap[1, 0], axis=0)
    told = explain(case, gap).sentence
    assert f"1 of sequence 0, counted from 0, the first of them step {T - 1 - 2}" in told, told
    H = states(case)
    for given in (H[::-1].reshape(N, T, H.shape[2]).swapaxes(0, 1)[::-1], H.reshape(N, T, H.shape[2]).swapaxes(0, 1)):
        assert "under a shape with the batch first" in explain(case, given).sentence
    late = states(case, X=np.concatenate([case.arrays["X"][2:], case.arrays["X"][:2]]))
    H[:2, 1], H[2:, 1] = case.arrays["H0"][1], late[:-2, 1]
    told = explain(case, H).sentence
    assert f"it holds the start state, as a mask of Keras does: their lengths are {T}, {T - 2}, {T}" in told, told


def test_states_with_the_batch_first_are_called_that():
    """Where there are as many steps as sequences, the shape does not show it, and no reshape was needed."""
    case = drawn("gru_reset_after", (N, N, D, H), 0)
    explanation = explain(case, states(case).swapaxes(0, 1))
    assert "the batch comes first in its states" in explanation.sentence
    assert explanation.remedy == "exchange the first two axes of the states"


def test_a_mask_with_gaps(case):
    """Steps 0 and 1 of one sequence are passed over: padding comes before it."""
    late = states(case, X=np.concatenate([case.arrays["X"][2:], case.arrays["X"][:2]]))
    H = states(case)
    H[:2, 1], H[2:, 1] = case.arrays["H0"][1], late[:-2, 1]
    told = "steps are passed over and the state is kept, as a mask does: 2 of sequence 1, counted from 0, the first"
    assert told in explain(case, H).sentence


@pytest.mark.parametrize("wrong", ["nothing was computed", "one step is zero", "one number is off", "two are the same"])
def test_what_is_none_of_it(case, wrong):
    H = states(case)
    if wrong == "nothing was computed":
        H = np.zeros_like(H)
    elif wrong == "one step is zero":
        H[3, 1] = 0
    elif wrong == "one number is off":
        H[0, 0, 0] += 0.1
        H[4, 1, 1] += 0.1
    else:
        H[:, 1] = H[:, 0]
    assert explain(case, H, pairs=False).verdict == UNEXPLAINED


@pytest.fixture
def mine(isogru, tmp_path):
    """A case of one's own, as files."""
    layer = grus.torch_layer(D, H)
    X = np.random.RandomState(3).standard_normal((T, N, D)).astype(np.float32)
    np.savez(tmp_path / "gru.npz", **layer)
    np.save(tmp_path / "X.npy", X)
    weights = ("case", "--weights", tmp_path / "gru.npz", "--input", tmp_path / "X.npy", "-o", tmp_path / "c.st")
    assert isogru(*weights).status == 0
    return weights, grus.states(X.astype(float), *grus.of_torch(layer)).astype(np.float32), tmp_path


@pytest.mark.parametrize("there", ["all", "last"])
def test_lengths_are_written_as_is_said(isogru, mine, there, monkeypatch):
    weights, right, folder = mine
    last = np.stack([right[length - 1, row] for row, length in enumerate(LENGTHS)])
    np.save(folder / "mine.npy", ended(right, held=False) if there == "all" else last)
    told = isogru("verdict", folder / "c.st", folder / "mine.npy", "--why").out
    code = re.search(r"write the case with (--lengths lengths\.npy), these: (numpy\.save\(.*\))", told)
    monkeypatch.chdir(folder)
    exec(code[2], {"numpy": np})
    assert isogru(*weights, *code[1].split()).status == 0
    assert isogru("verdict", folder / "c.st", folder / "mine.npy").status == 0


@pytest.mark.parametrize("there", ["H", "final"])
def test_sequences_are_put_in_order_as_is_said(isogru, mine, there):
    _, right, folder = mine
    np.save(folder / "mine.npy", right[:, ORDER] if there == "H" else right[-1][ORDER])
    told = isogru("verdict", folder / "c.st", folder / "mine.npy", "--why").out
    code = re.search(r"packed sequence do: (.*), with time first", told)[1]
    np.save(folder / "mended.npy", eval(code, {there: np.load(folder / "mine.npy")}))
    assert isogru("verdict", folder / "c.st", folder / "mended.npy").status == 0


def test_the_state_of_a_step_before_the_last(isogru, mine):
    _, right, folder = mine
    np.save(folder / "mine.npy", right[2])
    told = isogru("verdict", folder / "c.st", folder / "mine.npy", "--why").out
    assert f"equal if it is the state after 3 of {T} steps" in told


@pytest.mark.parametrize("how", ["flat", "rows", "turned", "with the start", "sequences as rows"])
def test_arrays_of_other_shapes_are_saved_as_is_said(isogru, mine, how):
    _, right, folder = mine
    given = {
        "flat": right.ravel(),
        "rows": right.reshape(T * N, H),
        "turned": right.transpose(2, 0, 1),
        "with the start": np.concatenate([np.zeros((1, N, H), "f"), right]),
        "sequences as rows": right.swapaxes(0, 1).reshape(N, T * H),
    }[how]
    np.save(folder / "mine.npy", given)
    told = isogru("verdict", folder / "c.st", folder / "mine.npy")
    codes = re.findall(r"H(?:\.\w+)?[(\[][^H]*[)\]](?=$|,| )", told.err.strip().rpartition("; ")[2])
    code = codes[-1] if how == "sequences as rows" else codes[0]
    np.save(folder / "mended.npy", eval(code, {"H": given}))
    done = isogru("verdict", folder / "c.st", folder / "mended.npy")
    assert (told.status, done.status) == (2, 0), (told, code, done)


# Stacks.


def both_layers(torch, X, starts=None, lengths=None):
    """All states of each layer and direction of a stack in order, and the last ones."""
    below, states, last = X.astype(float), [], []
    for level in (0, 1):
        for number, direction in enumerate(("", "_reverse")):
            H = np.zeros((*X.shape[:2], 4))
            for row, length in enumerate(lengths or (len(X),) * X.shape[1]):
                given = grus.of_torch(torch, f"_l{level}{direction}")
                H[:length, row] = grus.states(below[:length, row, None], *given, reverse=bool(number))[:, 0]
            states.append(H)
            ends = [0 if number else length - 1 for length in lengths or (len(X),) * X.shape[1]]
            last.append(np.stack([H[end, row] for row, end in enumerate(ends)]))
        below = np.concatenate(states[-2:], axis=2)
    return np.stack(states).astype("f"), np.stack(last).astype("f")


@pytest.fixture
def stack(isogru, tmp_path):
    torch = grus.torch_stack(D, 4)
    X = np.random.RandomState(3).standard_normal((T, N, D)).astype(np.float32)
    np.savez(tmp_path / "gru.npz", **torch)
    np.save(tmp_path / "X.npy", X)
    weights = ("case", "--weights", tmp_path / "gru.npz", "--input", tmp_path / "X.npy", "-o", tmp_path / "s.st")
    assert isogru(*weights).status == 0
    return weights, torch, X, tmp_path


def test_last_states_in_any_shape(isogru, stack):
    _, torch, X, folder = stack
    _, last = both_layers(torch, X)
    for array in (last, last.reshape(2, 2, N, 4), last.swapaxes(0, 1), np.concatenate(last[2:], axis=1)):
        np.save(folder / "mine.npy", array)
        done = isogru("verdict", folder / "s.st", folder / "mine.npy")
        assert (done.status, "l1_reverse.final" in done.out) == (0, True), (array.shape, done)


@pytest.mark.parametrize("what", ["layers", "directions", "sequences", "ends", "last ends", "last step", "nothing"])
def test_a_stack_is_told_what_was_done_otherwise(isogru, stack, what):
    _, torch, X, folder = stack
    H, last = both_layers(torch, X)
    short, short_last = both_layers(torch, X, lengths=LENGTHS)
    given, said = {
        "layers": (last[[0, 2, 1, 3]], "the last states stand in another order: l0, l1, l0_reverse, l1_reverse"),
        "directions": (np.concatenate([H[3], H[2]], axis=2), "both directions are exchanged in the states"),
        "sequences": (np.concatenate(H[2:], axis=2)[:, ORDER], "the sequences stand in another order"),
        "ends": (np.concatenate(short[2:], axis=2), "it gives zeros, as packed sequences and ONNX do"),
        "last ends": (short_last, "sequences end early: their lengths are 7, 5, 2"),
        "last step": (np.concatenate([H[2][-1], H[3][-1]], axis=1), "it is taken at the last step in both directions"),
        "nothing": (np.concatenate([H[2] + 0.1, H[3]], axis=2), "l1: why: not explained"),
    }[what]
    np.save(folder / "mine.npy", given)
    done = isogru("verdict", folder / "s.st", folder / "mine.npy", "--why")
    assert (done.status, said in done.out) == (1, True), done
    assert ("the stack: why: equal if" in done.out) == (what != "nothing")


@pytest.mark.parametrize("states", ["right", "off", "halves exchanged"])
def test_the_last_step_is_named_only_where_the_states_are_right(isogru, stack, states):
    _, torch, X, folder = stack
    H, _ = both_layers(torch, X)
    whole = np.concatenate(H[2:], axis=2)
    h_n = whole[-1].copy()
    if states == "off":
        whole[2, :, 0] += 0.3
    elif states == "halves exchanged":
        whole = np.concatenate([H[3], H[2]], axis=2)
    np.savez(folder / "mine.npz", l0=np.concatenate(H[:2], axis=2), H=whole, h_n=h_n)
    done = isogru("verdict", folder / "s.st", folder / "mine.npz", "--why")
    assert done.status == 1
    assert ("at the last step in both directions" in done.out) == (states == "right"), done
    assert ("l1: why:" in done.out) == (states != "right")


@pytest.mark.parametrize("name", ["H", ""])
def test_states_of_one_step_beside_the_last_ones(isogru, name, tmp_path):
    """Of X (1, n, d), as nn.GRU gives both: (1, n, width) are all states where nothing calls them the last ones."""
    torch = grus.torch_stack(D, H, layers=1)
    X = np.random.RandomState(3).standard_normal((1, N, D)).astype(np.float32)
    np.savez(tmp_path / "gru.npz", **torch)
    np.save(tmp_path / "X.npy", X)
    weights = ("case", "--weights", tmp_path / "gru.npz", "--input", tmp_path / "X.npy", "-o", tmp_path / "s.st")
    assert isogru(*weights).status == 0
    right = last_layer(stacks.read(tmp_path / "s.st"))
    last = np.stack([right[0, :, :H], right[0, :, H:]])
    if name:
        np.savez(tmp_path / "mine.npz", H=right, h_n=last)
    else:
        np.savez(tmp_path / "mine.npz", right, last)
    done = isogru("verdict", tmp_path / "s.st", tmp_path / "mine.npz")
    assert (done.status, "l0_reverse.final" in done.out, "l0_reverse.H" in done.out) == (0, True, True), done


def last_layer(of):
    """What the oracle gives of a stack: the states of both directions of its last layer."""
    below = of.X
    for level in range(of.depth):
        given = []
        for each in of.at(level):
            own = of.on(each, below)
            H = oracle.run(own.cell, own.arrays)["H"]
            given.append(H[::-1] if each.reverse else H)
        below = np.concatenate(given, axis=2)
    return below.astype(np.float32)


@pytest.mark.parametrize("how", ["ignored", "in another order"])
def test_start_states_of_a_stack(isogru, stack, how):
    weights, torch, X, folder = stack
    np.save(folder / "h0.npy", np.random.RandomState(1).standard_normal((4, N, 4)).astype("f"))
    if how == "ignored":
        H, _ = both_layers(torch, X)
        np.save(folder / "mine.npy", np.concatenate(H[2:], axis=2))
    else:
        # What is right of the start states in another order is wrong of these.
        np.save(folder / "other.npy", np.load(folder / "h0.npy")[[0, 2, 1, 3]])
        assert isogru(*weights, "--h0", folder / "other.npy").status == 0
        np.save(folder / "mine.npy", last_layer(stacks.read(folder / "s.st")))
    assert isogru(*weights, "--h0", folder / "h0.npy").status == 0
    done = isogru("verdict", folder / "s.st", folder / "mine.npy", "--why")
    said = "they count as zero" if how == "ignored" else "all that run forwards before all that run backwards"
    assert (done.status, f"the start states {'are' if how == 'ignored' else 'stand'}" in done.out) == (1, True), done
    assert said in done.out
