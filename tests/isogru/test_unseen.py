"""What explain cannot see: each row of the table in docs/explain.md, done, and what is said then."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from isogru import formats, judge, reason
from isogru.answers import origin
from isogru.edits import edited, unedited
from isogru.explain import explain
from isogru.judge import delivered
from shared_spec import oracle
from shared_spec.files.interchange import Case, Result
from shared_spec.readings import value
from tests.isogru.planted import SIZES, drawn, planted

PAGE = (Path(__file__).parents[2] / "docs" / "explain.md").read_text()
CASE = drawn("gru_reset_after", SIZES[0], 1)


def with_weights(**changed):
    arrays = {name: np.asarray(array, np.float32) for name, array in {**CASE.arrays, **changed}.items()}
    return oracle.run(CASE.cell, arrays, dtype="float32")["H"]


def one_number():
    W = CASE.arrays["W_hh"].copy()
    W[0, 0] += 1e-3
    return CASE, with_weights(W_hh=W)


def lower_precision():
    return CASE, with_weights(W_hh=CASE.arrays["W_hh"].astype(np.float16))


def three_edits():
    return CASE, planted(CASE, "order_rz: W_x", "order_zh: W_h", "second_bias_missing")


def dropout():
    return CASE, stepwise(lambda H, drawn: H * (drawn.random_sample(H.shape) > 0.1))


def clipped_state():
    return CASE, stepwise(lambda H, _: np.clip(H, -0.5, 0.5))


def stepwise(after):
    """What a layer gives that does something to each state."""
    parameters = {name: array.astype(np.float32) for name, array in CASE.parameters.items()}
    state, states, drawn = CASE.arrays["H0"].astype(np.float32), [], np.random.RandomState(2)
    for X in CASE.arrays["X"].astype(np.float32):
        made = value.step(CASE.cell, X, state, parameters)["H"]
        state = np.asarray(after(made, drawn), np.float32)
        states.append(state)
    return np.stack(states)


def start_ignored():
    case = Case(CASE.name, CASE.cell, {**CASE.arrays, "H0": np.zeros_like(CASE.arrays["H0"])})
    edit = edited(unedited(case), [])
    return case, edit.states(case.arrays["X"].astype("f"), case.arrays["H0"].astype("f"))


def padding_turned():
    """A layer that runs backwards over the padding too, in a batch of sequences that end early."""
    lengths = (7, 4, 2)
    there = np.arange(7)[:, None] < np.array(lengths)
    X = np.where(there[:, :, None], CASE.arrays["X"], 0)
    case = Case(CASE.name, CASE.cell, {**CASE.arrays, "X": X}, lengths=lengths)
    H = with_weights(X=X[::-1])[::-1]
    return case, np.ascontiguousarray(H)


STATES = {
    "one wrong number": one_number,
    "lower precision": lower_precision,
    "three edits at once": three_edits,
    "what the case does not show": start_ignored,
    "time reversed over the padding": padding_turned,
    "dropout between steps": dropout,
    "a clipped state": clipped_state,
}


def sentences(*, pairs):
    """By the first column of the table, what is said."""
    for what, made in STATES.items():
        yield what, explain(*made(), pairs=pairs).sentence
    too_large = stepwise(lambda H, _: H * 1.001)
    narrow = formats.with_products(Result(origin(CASE, "own", "float32"), {"H": too_large}), "bfloat16")
    yield "what its precision hides", explain(CASE, too_large, given=delivered.of(narrow), pairs=pairs).sentence
    whole = oracle.run(CASE.cell, {**CASE.arrays, "dH": np.ones_like(CASE.arrays["X"][:, :, :1] + CASE.arrays["H0"])})
    asked = Case(CASE.name, CASE.cell, {**CASE.arrays, "dH": np.ones(whole["H"].shape)})
    off = {"H": whole["H"], "grad.W_xz": whole["grad.W_xz"] * 1.01}
    for what, arrays in {"one gradient": off, "states that are not there": {"final": -whole["final"]}}.items():
        result = Result(origin(asked, "own", "float64"), arrays)
        yield what, reason.why(asked, result, judge.on(asked, result, partial=True, kept=False), pairs=pairs).sentence


def table():
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| \*?([^|*]+)\*? \|$", PAGE.partition("## What it cannot see")[2], re.M)
    return {what: said for what, said in rows if what != "what"}


def test_each_row_says_what_is_said():
    said = dict(sentences(pairs=False))
    assert set(said) == set(table())
    for what, sentence in said.items():
        # How many edits were tried is another number for pairs.
        assert re.sub(r"of \d+ edits", "of N edits", sentence) == re.sub(r"of \d+ edits", "of N edits", table()[what])


@pytest.mark.parametrize("what", ["one wrong number", "three edits at once"])
def test_states_of_the_examples_are_wrong(what):
    case, H = STATES[what]()
    result = Result(origin(case, "own", "float32"), {"H": H})
    assert judge.on(case, result, partial=True, kept=False).verdict == "different"


if __name__ == "__main__":
    for what, sentence in sentences(pairs=True):
        print(f"{what}: {sentence}")
