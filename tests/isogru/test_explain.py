"""Why two GRUs differ, named and proven: faults that were planted, right results, files of weights, the commands."""

from __future__ import annotations

import functools
import json
import os
import random

import numpy as np
import pytest
from safetensors.numpy import save_file

import isogru as public
from isogru.conventions import conventions
from isogru.edits import edited, unedited
from isogru.explain import AMBIGUOUS, EQUAL, EXPLAINED, UNEXPLAINED, explain, probe, same_function
from isogru.explain_weights import explain_weights
from isogru.judge.delivered import Delivered
from shared_spec import oracle
from shared_spec.errors import UserError
from shared_spec.files.interchange import Case, read_case, write_case
from shared_spec.readings.arithmetic import Unlike
from shared_spec.weights.layouts import layout
from shared_spec.weights.packing import pack
from tests.isogru.grus import to_keras, torch_layer
from tests.isogru.planted import SIZES, drawn, planted

GATED = ("gru", "gru_reset_after")
CELLS = (*GATED, "gru_reset_only", "gru_update_only", "rnn")
PLANTED = int(os.environ.get("ISOGRU_PLANTED") or 0)
"""How many random pairs are planted, instead of a few; each convention is then planted in every cell at every size."""


def named(explanation):
    """Every list of conventions that an explanation names, or says to be the same as one that it names."""
    return [names for cause in explanation.causes for names in (cause.names, *cause.alike)]


@functools.cache
def chosen():
    """What is planted in each cell at each size: of a convention the cells and sizes in which it is another function
    take turns; those of fewer gates come first, since fewer conventions make another function of them.
    """
    there = {(cell, seed): {} for seed in range(len(SIZES)) for cell in reversed(CELLS)}
    places = [*there]
    for turn, name in enumerate(conventions()):
        for cell, seed in places[turn % len(places) :] + places[: turn % len(places)]:
            if (H := planted(drawn(cell, SIZES[seed], seed), name)) is not None:
                there[cell, seed][name] = H
                if not PLANTED:
                    break
    return there


def test_every_convention_takes_its_turn():
    assert len(set().union(*chosen().values())) > 90
    # Of each kind, in each cell.
    for cell in CELLS:
        names = set().union(*(chosen()[cell, seed] for seed in range(len(SIZES))))
        told = [conventions()[name] for name in names]
        assert len(told) > 5
        assert any(each.weights for each in told)
        assert any(each.sequence for each in told)
        assert not all(each.weights or each.sequence for each in told)


@pytest.mark.parametrize("seed", range(len(SIZES)))
@pytest.mark.parametrize("cell", CELLS)
def test_every_convention_is_named_alone_and_rightly(cell, seed):
    case = drawn(cell, SIZES[seed], seed)
    for name, H in chosen()[cell, seed].items():
        explanation = explain(case, H, pairs=False)
        assert (explanation.verdict, (name,) in named(explanation)) == (EXPLAINED, True), (name, explanation.sentence)
        # Outside all rounding before, inside after.
        assert explanation.causes[0].ratio <= 1 < explanation.ratio


def test_pairs_are_named():
    # Of 200 pairs all were, by python -m tests.explained; each takes a second.
    drawing, right, count, missed = random.Random(14), 0, PLANTED or 2, []
    while right + len(missed) < count:
        case = drawn(drawing.choice(GATED), drawing.choice(SIZES), drawing.randrange(1000))
        pair = drawing.sample(list(conventions()), 2)
        H = planted(case, *pair)
        if H is None:
            continue
        explanation = explain(case, H)
        cause = explanation.causes[0].names if explanation.causes else ()
        if explanation.verdict == EXPLAINED and same_function(
            *([conventions()[n] for n in p] for p in (cause, pair)), probe(case)
        ):
            right += 1
        else:
            missed.append((pair, explanation.sentence))
    assert right >= 0.9 * count, missed


@pytest.mark.parametrize(
    "pair",
    [
        ("update_turned", "time_reversed"),
        ("order_rz: W_h", "not_carried"),
        ("order_rz: W_h", "recurrent_z_transposed"),
        ("recurrent_z_transposed", "order_rz: W_h"),
        ("candidate_relu", "reset_before"),
    ],
)
def test_a_pair_is_named_in_its_order(pair):
    case = drawn("gru_reset_after", SIZES[0], 1)
    explanation = explain(case, planted(case, *pair))
    assert explanation.verdict == EXPLAINED
    # Of edits of two kinds either comes first.
    weights = all(conventions()[name].weights for name in pair)
    assert pair in named(explanation) or (not weights and pair[::-1] in named(explanation)), named(explanation)


@pytest.mark.parametrize("sizes", SIZES)
def test_sequences_are_undone_in_the_order_in_which_they_were_done(sizes):
    case = drawn("gru", sizes, 1)
    X, H0 = case.arrays["X"], case.arrays["H0"]
    edits = [each for each in conventions().values() if each.sequence]
    exact = Delivered("float64", 2.0**-53, (2.0**-53,))
    for one in edits:
        for other in edits:
            edit = edited(unedited(case), [one, other])
            if (H := edit.states(X, H0)) is not None:
                assert edit.ratio(edit.run(X, H0, H), exact) <= 1, (one.name, other.name)


def test_every_state_must_be_inside_the_bound():
    case = drawn("gru", SIZES[0], 1)
    right = planted(case, "update_turned")
    # Of each step one in every row: each unit in some.
    for t, n in np.ndindex(right.shape[:2]):
        h = (t + n) % right.shape[2]
        H = right.copy()
        H[t, n, h] += np.float32(1e-3)
        assert explain(case, H, pairs=False).verdict == UNEXPLAINED, (t, n, h)


def test_the_state_that_no_step_makes_must_be_right_too():
    case = drawn("gru", SIZES[0], 1)
    H = planted(case, "states_late")
    assert explain(case, H, pairs=False).causes[0].names == ("states_late",)
    # No step starts from it: H0 is that of the case.
    H[0, 0, 0] += np.float32(1e-3)
    assert explain(case, H, pairs=False).verdict == UNEXPLAINED


@pytest.mark.parametrize("bits", [2, 4, 5, 6])
def test_a_bound_that_says_nothing_proves_nothing(bits):
    """In so coarse a precision relu in the gates would allow what is right, what is wrong, and nearly everything."""
    case = drawn("gru", SIZES[0], 1)
    explanation = explain(case, planted(case, "update_turned"), unit_roundoff=2.0**-bits, pairs=False)
    assert explanation.verdict == UNEXPLAINED, explanation.sentence


@pytest.mark.parametrize("cell", GATED)
def test_right_results_are_equal_and_not_explained(cell):
    for seed in range(18):
        case = drawn(cell, SIZES[seed % len(SIZES)], seed)
        narrow = {name: array.astype(np.float32) for name, array in case.arrays.items()}
        parameters = {name: narrow[name] for name in case.cell.parameters}
        # Another library's sums and functions, or the same sums in another order.
        arithmetic = Unlike("float32", seed) if seed % 2 else Backwards()
        H = oracle.states(case.cell, narrow["X"], narrow["H0"], parameters, arithmetic=arithmetic)
        assert H.dtype == np.float32
        explanation = explain(case, H)
        assert (explanation.verdict, explanation.causes, explanation.tried) == (EQUAL, (), 0), explanation.sentence


class Backwards(oracle.Plain):
    """Products whose terms are added from the last to the first, one after the other."""

    def product(self, a, b):
        total = a[..., -1:] * b[-1]
        for i in range(len(b) - 2, -1, -1):
            total = total + a[..., i : i + 1] * b[i]
        return total


def test_what_no_edit_makes_equal_is_not_explained():
    case = drawn("gru", SIZES[0], 1)
    H = unedited(case).states(case.arrays["X"], case.arrays["H0"])
    H[3, 1, 2] += 1e-3
    explanation = explain(case, H)
    assert explanation.verdict == UNEXPLAINED
    assert explanation.sentence == f"not explained: none of {explanation.tried} edits makes it equal"
    assert explanation.tried > 1000


def test_a_value_that_is_no_number_is_said():
    case = drawn("gru", SIZES[0], 1)
    H = unedited(case).states(case.arrays["X"], case.arrays["H0"])
    H[-1, 0, 0] = np.nan
    assert explain(case, H).sentence == "not explained: H[6,0,0] is nan, the first that is no finite number"


def test_a_cause_is_found_in_the_steps_before_an_overflow():
    case = drawn("gru", (12, 3, 5, 4), 1)
    H = planted(case, "gates_linear")
    assert not np.isfinite(H).all()
    explanation = explain(case, H, pairs=False)
    assert (explanation.verdict, explanation.causes[0].names) == (EXPLAINED, ("gates_linear",))
    assert "looked at up to there: H[" in explanation.sentence


def test_causes_that_a_case_cannot_tell_apart_are_said_with_a_case_that_does():
    case = drawn("gru", SIZES[0], 1)
    for name in ("b_z", "b_r", "b_h"):
        case.arrays[name][...] = 0
    H = planted(case, "order_rz: every weight and bias")
    explanation = explain(case, H)
    assert explanation.verdict == AMBIGUOUS
    assert {("order_rz: every weight and bias",), ("order_rz: W_x and W_h",)} <= {c.names for c in explanation.causes}
    assert "every weight and bias, or if the gates r and z are exchanged in W_x and W_h" in explanation.sentence
    again = explain(explanation.telling, planted(explanation.telling, "order_rz: W_x and W_h"))
    assert (again.verdict, again.causes[0].names) == (EXPLAINED, ("order_rz: W_x and W_h",))


@pytest.mark.parametrize("name", ["update_turned", "start_ignored", "order_rz: W_h", "reset_before", "time_reversed"])
def test_conventions_are_named_in_float16_too(name):
    case = drawn("gru_reset_after", SIZES[0], 1)
    states = oracle.states
    narrow = {key: array.astype(np.float16).astype(np.float64) for key, array in case.arrays.items()}
    case = Case(case.name, case.cell, narrow)
    H = planted(case, name, dtype="float16")
    assert H.dtype == np.float16
    explanation = explain(case, H, pairs=False)
    assert (explanation.verdict, (name,) in named(explanation)) == (EXPLAINED, True), explanation.sentence
    parameters = {key: narrow[key].astype(np.float16) for key in case.cell.parameters}
    right = states(case.cell, *(narrow[key].astype(np.float16) for key in ("X", "H0")), parameters)
    assert explain(case, right).verdict == EQUAL


def test_the_unit_roundoff_is_heeded():
    """float64 that was computed in float32 is not what any edit gives in float64."""
    case = drawn("gru", SIZES[0], 1)
    H = planted(case, "update_turned").astype(np.float64)
    assert explain(case, H, pairs=False).verdict == UNEXPLAINED
    assert explain(case, H, pairs=False, unit_roundoff=2.0**-24).causes[0].names == ("update_turned",)


def test_states_of_another_shape_or_dtype_are_refused():
    case = drawn("gru", SIZES[0], 1)
    with pytest.raises(UserError, match=r"H has shape \(3, 7, 4\), should be \(T, n, h\) = \(7, 3, 4\)"):
        explain(case, np.zeros((3, 7, 4), np.float32))
    with pytest.raises(UserError, match="H is int32; say its unit roundoff"):
        explain(case, np.zeros((7, 3, 4), np.int32))


def test_the_public_face_has_it():
    case = drawn("gru", SIZES[0], 1)
    assert public.explain(case, planted(case, "update_turned")).sentence.startswith(
        "equal if the update gate is turned"
    )


def by_hand(case, how):
    """States as somebody computes them, in float32, with one mistake: nothing of isogru is in it."""
    a = {name: array.astype(np.float32) for name, array in case.arrays.items()}
    X, H, states = a["X"], a["H0"], []
    hard, order = how == "hard", (lambda steps: steps[::-1]) if how == "reversed" else (lambda steps: steps)

    def gate(x):
        return np.clip(np.float32(0.2) * x + np.float32(0.5), 0, 1) if hard else 1 / (1 + np.exp(-x))

    if how == "batch first":
        X, H = X.swapaxes(0, 1), 0 * a["X"][:, 0, :1] + np.zeros(len(a["b_h"]), np.float32)
    if how == "zero start":
        H = 0 * H
    if how == "transposed":
        a |= {name: a[name].T for name in ("W_hz", "W_hr", "W_hh")}
    if how == "bias out":
        a["b_h"], a["b_hh"] = a["b_h"] + a["b_hh"], 0 * a["b_hh"]
    start = H
    for x in order(X):
        z = gate(x @ a["W_xz"] + H @ a["W_hz"] + a["b_z"])
        r = gate(x @ a["W_xr"] + H @ a["W_hr"] + a["b_r"])
        if how == "swapped":
            z, r = r, z
        inner = (r * H) @ a["W_hh"] if how == "before" else r * (H @ a["W_hh"] + a["b_hh"])
        n = x @ a["W_xh"] + a["b_h"] + inner
        n = np.maximum(n, 0) if how == "relu" else np.tanh(n)
        new = (1 - z) * H + z * n if how == "flipped" else z * H + (1 - z) * n
        states.append(H if how == "late" else new)
        H = start if how == "stale" else new
    made = np.stack(order(states))
    return np.ascontiguousarray(made.swapaxes(0, 1) if how == "batch first" else made)


OF_HAND = {
    "flipped": "the update gate is turned round",
    "stale": "the state is not carried on",
    "before": "the reset gate acts before the product with W_hh",
    "swapped": "the gates r and z are exchanged in every weight and bias",
    "hard": "the gates use hard_sigmoid with slope 0.2",
    "relu": "the candidate state uses relu",
    "batch first": "batch and time are exchanged",
    "zero start": "the start state H0 is ignored",
    "transposed": "the recurrent blocks, W_h*, are transposed",
    "bias out": "b_hh was moved out of the reset gate",
    "reversed": "time is reversed",
    "late": "the states are late by one",
}


@pytest.mark.parametrize(("how", "words"), OF_HAND.items())
def test_the_command_names_what_somebody_did(tmp_path, isogru, how, words):
    case = drawn("gru_reset_after", SIZES[0], 4)
    write_case(tmp_path / "case.safetensors", case)
    np.save(tmp_path / "mine.npy", by_hand(case, how))
    status, out, _ = isogru("explain", tmp_path / "case.safetensors", tmp_path / "mine.npy")
    assert (status, out.splitlines()[0]) == (1, f"different: {tmp_path / 'mine.npy'}")
    assert out.splitlines()[1].startswith(f"why: equal if {words}")
    assert out.splitlines()[2].startswith("remedy: ")
    output = isogru("verdict", tmp_path / "case.safetensors", tmp_path / "mine.npy", "--why")
    assert (output.status, f"why: equal if {words}" in output.out) == (1, True)
    record = json.loads(isogru("explain", tmp_path / "case.safetensors", tmp_path / "mine.npy", "--json").out)
    assert (record["verdict"], record["why"]["verdict"]) == ("different", "explained")


def test_the_command_has_nothing_to_say_of_what_is_equal(tmp_path, isogru):
    case = drawn("gru_reset_after", SIZES[0], 4)
    write_case(tmp_path / "case.safetensors", case)
    np.save(tmp_path / "mine.npy", by_hand(case, "right"))
    output = isogru("explain", tmp_path / "case.safetensors", tmp_path / "mine.npy")
    assert (output.status, output.out.splitlines()[1][:24]) == (0, "why: nothing to explain:")
    assert "why" not in isogru("verdict", tmp_path / "case.safetensors", tmp_path / "mine.npy", "--why").out


def test_the_command_says_what_is_not_searched(tmp_path, isogru):
    case = drawn("gru_reset_after", SIZES[0], 4)
    write_case(tmp_path / "case.safetensors", case)
    H = by_hand(case, "right")
    np.savez(tmp_path / "mine.npz", H=H, final=H[0])
    output = isogru("explain", tmp_path / "case.safetensors", tmp_path / "mine.npz")
    assert (output.status, output.out.splitlines()[1]) == (
        1,
        "why: not explained: every step of H is right by itself, and final is not searched",
    )
    np.savez(tmp_path / "last.npz", final=-H[0])
    assert "does not hold the states H" in isogru("explain", tmp_path / "case.safetensors", tmp_path / "last.npz").out


def test_the_command_writes_a_case_that_tells_causes_apart(tmp_path, isogru):
    case = drawn("gru", SIZES[0], 1)
    for name in ("b_z", "b_r", "b_h"):
        case.arrays[name][...] = 0
    write_case(tmp_path / "case.safetensors", case)
    np.save(tmp_path / "mine.npy", planted(case, "order_rz: every weight and bias"))
    telling = tmp_path / "telling.safetensors"
    output = isogru("explain", tmp_path / "case.safetensors", tmp_path / "mine.npy", "-o", telling)
    assert (output.status, "cannot tell apart" in output.out) == (1, True)
    assert read_case(telling).arrays["b_z"].all()


# Files of weights.


def swapped(array, axis=-1):
    z, r, h = np.split(array, 3, axis)
    return np.concatenate([r, z, h], axis)


def blocks_transposed(array):
    return np.concatenate([block.T for block in np.split(array, 3, 1)], 1)


def summed(bias):
    return np.stack([bias[0] + bias[1]] * 2)


def folded(bias):
    return np.stack([bias[0] + bias[1], 0 * bias[1]])


def printed(array):
    return np.array([float(f"{x:.6f}") for x in array.ravel()], np.float32).reshape(array.shape)


OF_FILES = {
    "order": (lambda k, r, b: (swapped(k), swapped(r), swapped(b)), "the gates r and z are exchanged in every weight"),
    "order of one": (lambda k, r, b: (k, swapped(r), b), "the gates r and z are exchanged in W_h"),
    "twice": (lambda k, r, b: (k, r, summed(b)), "both biases hold the sum of the two, b_ih + b_hh"),
    "one bias": (lambda k, r, b: (k, r, np.stack([b[0], 0 * b[1]])), "the second bias, b_hh (bias_hh), is missing"),
    "inner": (lambda k, r, b: (k, r, folded(b)), "b_hh was moved out of the reset gate"),
    "untransposed": (lambda k, r, b: (k, blocks_transposed(r), b), "the recurrent blocks, W_h*, are transposed"),
    "six decimals": (lambda k, r, b: (printed(k), printed(r), printed(b)), "each number is rounded to 6 decimals"),
    "float16": (
        lambda k, r, b: tuple(a.astype(np.float16).astype(np.float32) for a in (k, r, b)),
        "each number is rounded to float16",
    ),
    "two": (lambda k, r, b: (swapped(k), blocks_transposed(r), b), ", and "),
}


@pytest.mark.parametrize("how", OF_FILES)
def test_files_of_weights_are_told_in_what_way_they_differ(tmp_path, isogru, how):
    edit, words = OF_FILES[how]
    tensors = torch_layer(seed=8)
    right = to_keras(tensors)
    wrong = edit(right["kernel"], right["recurrent_kernel"], right["bias"])
    one, other = tmp_path / "torch.safetensors", tmp_path / "keras.safetensors"
    save_file(tensors, one)
    save_file({k: np.ascontiguousarray(a) for k, a in zip(right, wrong, strict=True)}, other)
    status, out, _ = isogru("same", one, other, "--why")
    assert status == 1
    why = next(line for line in out.splitlines() if line.startswith("why: "))
    assert why.startswith(f"why: {other} is {one}, but ")
    assert words in why
    record = json.loads(isogru("same", one, other, "--why", "--json").out)
    assert record["why"][0]["verdict"] == "explained"
    # Without being asked it says nothing of it, and of what is the same there is nothing to say.
    assert "why" not in isogru("same", one, other).out
    save_file(right, other)
    assert "why" not in isogru("same", one, other, "--why").out


def test_cells_that_are_two_are_named_first(tmp_path, isogru):
    """What the weights differ by is not the cause then, and a remedy of weights alone would mislead."""
    right = to_keras(torch_layer(seed=8))
    after, before = tmp_path / "after.safetensors", tmp_path / "before.safetensors"
    save_file(right, after)
    for recurrent, words in ((right["recurrent_kernel"], ""), (swapped(right["recurrent_kernel"]), "exchange")):
        tensors = {"kernel": right["kernel"], "recurrent_kernel": recurrent, "bias": right["bias"][0]}
        save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, before)
        status, out, _ = isogru("same", after, before, "--why")
        assert status == 1
        why, remedy = out.splitlines()[1:]
        assert why.startswith(
            f"why: the reset gate acts after the product with W_hh in {after}, before it in {before}, "
        )
        told = [f"build the layer of {after} with reset_after=False", f"of {before} with reset_after=True"]
        assert all(words in remedy for words in told), remedy
        assert "second bias" not in remedy
        assert words in remedy


def test_either_file_may_be_the_wrong_one():
    tensors, keras = torch_layer(seed=8), layout("keras")
    right = to_keras(tensors)
    wrong = {**right, "bias": folded(right["bias"])}
    explanation = explain_weights(keras, wrong, layout("torch"), tensors)
    assert explanation.sentence == "ONE is OTHER, but b_hh was moved out of the reset gate: it is added to b_h"
    assert explanation.names == ("inner_bias_out",)


def test_weights_drawn_anew_are_not_explained():
    one, other = torch_layer(seed=1), torch_layer(seed=2)
    explanation = explain_weights(layout("torch"), one, layout("torch"), other)
    assert (explanation.verdict, explanation.tried > 1000) == (UNEXPLAINED, True)
    assert explain_weights(layout("torch"), one, layout("torch"), one).verdict == EQUAL


@pytest.mark.parametrize("name", ["torch", "keras-reset-before", "haiku"])
def test_every_edit_of_weights_is_named_in_a_file(name):
    of, chosen = layout(name), np.random.RandomState(3)
    shapes = {"d": 3, "h": 4}
    held = {
        key: chosen.standard_normal([shapes[s] for s in symbols]).astype(np.float32)
        for key in of.holds
        for symbols in [drawn(of.cell, SIZES[0], 1).cell.parameters[of.second.get(key, key)]]
    }
    there = {key: each.of_weights(held) for key, each in conventions().items() if each.weights}
    there = {key: made for key, made in there.items() if made is not None}
    assert len(there) > 20
    for key, made in there.items():
        given, changed = (pack(of, {n: a.astype(np.float32) for n, a in h.items()}) for h in (held, made))
        explanation = explain_weights(of, given, of, changed)
        if explanation.verdict == EQUAL:
            # Such as second biases that are exchanged with the first ones: their sum is the same.
            assert key in ("biases_exchanged", "outer_bias_in", "inner_bias_out")
            continue
        assert explanation.verdict == EXPLAINED, key
        (named_first,) = explanation.names
        again = conventions()[named_first].of_weights(held)
        assert again is not None
        # Another name is right where it comes to the same weights.
        both = [pack(of, {n: a.astype(np.float32) for n, a in h.items()}) for h in (again, made)]
        assert explain_weights(of, both[0], of, both[1], pairs=False).verdict == EQUAL, (key, named_first)
