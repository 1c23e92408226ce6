"""Faults planted in a folder of a framework: the stub's, whose arrays are NumPy's. What is planted is what the edit
says, and what is right is back afterwards.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from frameworks.harness.score import loops, steps
from frameworks.harness.score.planting import planted, trained
from isogru.conventions import every, read_table
from isogru.edits import edited, unedited
from isogru.score.drawing import HERE
from isogru.score.faults import CHANGES_STATES, applies
from isogru.training_faults import Setting
from shared_spec import language_model
from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.readings import functions
from tests.isogru.planted import SIZES, drawn
from tests.stub import cells as stub

OPERATIONS = SimpleNamespace(
    constant=np.copy,
    concatenate=lambda arrays, axis: np.concatenate(arrays, axis),
    turned=lambda x: x[::-1],
    exchanged=lambda x: x.swapaxes(0, 1),
    reshaped=np.reshape,
    zeros=lambda like, shape: np.zeros(shape, like.dtype),
    clipped=np.clip,
    function=lambda name: {"relu": functions.function("relu"), "tanh": np.tanh, "sigmoid": stub.sigmoid}.get(name),
    narrowed=lambda x, bits: None,
)
OF_STATES = [name for name, each in every().items() if each.kind in CHANGES_STATES]
PAIRS = [("time_reversed", "states_late"), ("inputs_late", "not_carried"), ("reset_after", "batch_and_time_reshaped")]
CASES = [drawn("gru", sizes, 1) for sizes in SIZES]


def edit_of(case, names):
    """The cell of a case with these conventions; None where it cannot have them."""
    return edited(unedited(case), [every()[name] for name in names])


PLANTED = [
    pytest.param(case, names, id=f"{' + '.join(names)} {'x'.join(map(str, case.arrays['X'].shape))}")
    for names in (*((name,) for name in OF_STATES), *PAIRS)
    for case in [case for case in CASES if edit_of(case, names)][::2]
]
"""On two of the three sizes, and on one what needs as many inputs as units."""


def framework():
    table = dict(stub.CELLS)
    return SimpleNamespace(cells=SimpleNamespace(CELLS=table, unroll=stub.unroll), language_model=SimpleNamespace())


def test_all_that_the_cell_can_have_is_planted():
    tried = {names for _, names in (param.values for param in PLANTED)}
    can_have = {(name,) for name in OF_STATES if applies([every()[name]], cell("gru"))}
    assert tried == can_have | set(PAIRS)


def test_a_state_of_parameters_alone_has_a_row_for_each_sequence():
    table = {"sentence": "s", "remedy": "r", "rewrite": [["Z * H + (1 - Z) * C", "tanh(b_h)"]]}
    made, numpys, case = read_table("alone", table, {}, HERE), framework(), CASES[0]
    wrong = edited(unedited(case), made).cell
    with planted(numpys, case.cell, wrong, made, OPERATIONS):
        H, _ = numpys.cells.CELLS["gru"](case.arrays["X"][0], case.arrays["H0"], **unedited(case).parameters)
    np.testing.assert_array_equal(H, np.broadcast_to(np.tanh(case.arrays["b_h"]), case.arrays["H0"].shape))


@pytest.mark.parametrize(("case", "names"), PLANTED)
def test_what_is_planted_computes_what_the_edit_says(case, names):
    made, numpys, edit = [every()[name] for name in names], framework(), edit_of(case, names)
    X, H0 = case.arrays["X"], case.arrays["H0"]
    with planted(numpys, case.cell, edit.cell, made, OPERATIONS):
        forward = numpys.cells.unroll(numpys.cells.CELLS["gru"])
    H, _ = forward(X, H0, edit.parameters)
    should = edit.states(X, H0)
    # The two round in the same order, but for the sigmoid, whose errors some steps carry on.
    assert np.abs(H - should).max() <= 2**10 * 2.0**-53 * max(1, np.abs(should).max())
    assert (numpys.cells.CELLS["gru"], numpys.cells.unroll) == (stub.gru, stub.unroll)


def test_what_is_right_is_back_after_an_error():
    numpys, right = framework(), cell("gru")
    before = dict(numpys.cells.CELLS), numpys.cells.unroll
    wrong, cut = every()["reset_after"].of_cell(right), [every()["path_time"]]
    seen = []

    def broken_off():
        with planted(numpys, right, wrong, cut, OPERATIONS):
            seen.extend([numpys.cells.CELLS["gru"], numpys.cells.unroll])
            raise KeyError

    with pytest.raises(KeyError):
        broken_off()
    assert not {stub.gru, stub.unroll} & {*seen}
    assert (numpys.cells.CELLS, numpys.cells.unroll) == before


def test_a_fault_of_training_is_planted_and_taken_back():
    def sgd(parameters, gradients, *, lr, clip_norm):
        return {"b": parameters["b"] - lr * gradients["b"]}, clip_norm

    def gradients(forward, parameters, inputs, targets):
        return 0.0, {"b": np.ones(1)}

    numpys = framework()
    numpys.language_model = SimpleNamespace(sgd=sgd, loss_and_gradients=gradients)
    recipe, start = language_model.recipe("gru", lr=0.5), {"b": np.full(1, 4.0)}
    tokens = np.zeros((2, 3), int)
    with trained(numpys, Setting("summed", "tokens"), recipe, np.ones(1)):
        _, given = numpys.language_model.loss_and_gradients(None, start, tokens, tokens)
        after, _ = numpys.language_model.sgd(start, given, lr=0.5, clip_norm=1.0)
    assert after["b"] == 4 - 0.5 * 6
    assert (numpys.language_model.sgd, numpys.language_model.loss_and_gradients) == (sgd, gradients)
    mask = np.array([0.0, 2.0])
    with trained(numpys, Setting("dropout", 0.5), recipe, mask):
        forward = numpys.cells.unroll(lambda X, H: (H + X, {}))
        H, final = forward(np.ones((2, 1, 2)), np.zeros((1, 2)), {})
    assert H.tolist() == [[[0, 2]], [[0, 4]]]
    assert final.tolist() == [[2, 2]]
    assert numpys.cells.unroll is stub.unroll


def gru_turned(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    Z = stub.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = stub.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = np.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = (1 - Z) * H + Z * C
    return H, {"Z": Z, "R": R, "C": C}


def test_a_step_that_is_not_the_equations_is_refused():
    with pytest.raises(UserError, match="gru_turned: its H is not the equation of gru; write it as shared_spec/cells"):
        steps.edited(gru_turned, cell("gru"), cell("gru"), OPERATIONS)


def test_what_is_held_is_a_constant_and_nothing_else_changes():
    seen = []
    watched = SimpleNamespace(**{**vars(OPERATIONS), "constant": lambda x: seen.append(x) or x})
    step = steps.edited(stub.gru, cell("gru"), cell("gru"), watched, held=("R",))
    case = drawn("gru", SIZES[0], 1)
    H, gates = step(case.arrays["X"][0], case.arrays["H0"], **case.parameters)
    right, _ = stub.gru(case.arrays["X"][0], case.arrays["H0"], **case.parameters)
    assert np.array_equal(H, right)
    assert [each is gates["R"] for each in seen] == [True]


def test_a_cut_of_the_gradient_leaves_the_states():
    case = drawn("gru", SIZES[0], 1)
    X, H0 = case.arrays["X"], case.arrays["H0"]
    right, last = stub.unroll(stub.gru)(X, H0, case.parameters)
    for name, each in every().items():
        if each.cuts:
            H, final = loops.faulty(stub.unroll, [each], OPERATIONS)(stub.gru)(X, H0, case.parameters)
            assert np.array_equal(H, right), name
            assert np.array_equal(final, last), name
