"""Influence maps against the oracle's way back and against differences; cells with gates put to numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared_spec import cases, oracle
from shared_spec.cells import cell, cells
from shared_spec.errors import UserError
from shared_spec.expression import Place, parse
from shared_spec.influence import influence
from shared_spec.readings import value
from shared_spec.readings.forced import forced

CELLS = list(cells())
HALF_WAYS = pytest.mark.parametrize(
    ("gates", "left"),
    [
        ({"Z": 0, "R": 0}, "H = tanh(((X @ W_xh) + b_h))"),
        ({"Z": 0, "R": 1}, "H = tanh((((X @ W_xh) + (H @ W_hh)) + b_h))"),
        ({"Z": 1, "R": 0}, "H = H"),
        ({"Z": 1, "R": 1}, "H = H"),
    ],
)


def of(name):
    case = cases.build(name)
    return case.cell, case.arrays["X"], case.arrays["H0"], case.parameters


def norms(derivatives):
    """Of dH_t/dX_k as (h, n, d): Frobenius, by row."""
    return np.sqrt((derivatives**2).sum(axis=(0, 2)))


@pytest.mark.parametrize("name", CELLS)
def test_the_map_is_that_of_the_way_back(name):
    one, X, H0, parameters = of(f"{name}-ordinary")
    influences = influence(one, X, H0, parameters)
    T, n, h = len(X), *H0.shape
    assert influences.shape == (T, T, n)
    unrolled = oracle.Unrolled(one, X, H0, parameters, {"X"})
    for t in range(T):
        dX = []
        for unit in range(h):
            dH = np.zeros((T, n, h))
            dH[t, :, unit] = 1
            dX.append(unrolled.backward(dH)["X"])
        for k, of_step in enumerate(np.stack(dX, 1)):
            np.testing.assert_allclose(influences[t, k], norms(of_step), rtol=1e-12)
    assert (influences[np.triu_indices(T, 1)] == 0).all()
    assert (influences[np.tril_indices(T)] > 0).all()


def test_the_map_is_what_states_do_when_inputs_move():
    one, X, H0, parameters = of("gru-ordinary")
    influences, step = influence(one, X, H0, parameters), 1e-6
    for k in range(len(X)):
        differences = []
        for column in range(X.shape[2]):
            there, back = X.copy(), X.copy()
            there[k, :, column] += step
            back[k, :, column] -= step
            moved = oracle.states(one, there, H0, parameters) - oracle.states(one, back, H0, parameters)
            differences.append(moved / (2 * step))
        for t, of_state in enumerate(np.stack(differences, 1)):
            np.testing.assert_allclose(influences[t, k], norms(of_state), atol=1e-8)


def test_some_columns_alone():
    one, X, H0, parameters = of("gru-ordinary")
    first, rest = (influence(one, X, H0, parameters, columns=part) for part in (slice(2), slice(2, None)))
    np.testing.assert_allclose(first**2 + rest**2, influence(one, X, H0, parameters) ** 2, rtol=1e-12)
    assert (first < influence(one, X, H0, parameters))[np.tril_indices(len(X))].all()


def test_what_is_faint_is_not_none():
    """1e-200, whose square is 0."""
    _, X, H0, parameters = of("rnn-ordinary")
    faint = influence(cell("rnn"), X[:3], H0, {**parameters, "W_hh": 1e-100 * parameters["W_hh"]})
    assert ((faint[2, 0] > 1e-205) & (faint[2, 0] < 1e-195)).all()


def test_quantities_are_those_of_each_step():
    one, X, H0, parameters = of("gru-ordinary")
    quantities, H = oracle.quantities(one, X, H0, parameters), H0
    assert list(quantities) == ["Z", "R", "C", "H"]
    for t, X_t in enumerate(X):
        step = value.step(one, X_t, H, parameters)
        for name, there in step.items():
            np.testing.assert_allclose(quantities[name][t], there, rtol=1e-14)
        H = step["H"]


@HALF_WAYS
def test_what_is_left_of_a_cell(gates, left):
    assert [equation.text for equation in forced(cell("gru"), gates).equations] == [left]


@HALF_WAYS
def test_it_is_what_saturated_gates_give_to_the_bit(gates, left):
    one, X, H0, parameters = of("gru-ordinary")
    biases = {f"b_{name.lower()}": np.full(H0.shape[1], 800.0 if end else -800.0) for name, end in gates.items()}
    saturated = value.step(one, X[0], H0, {**parameters, **biases})
    assert all((saturated[name] == end).all() for name, end in gates.items())
    assert (value.step(forced(one, gates), X[0], H0, parameters)["H"] == saturated["H"]).all()


def test_forcing_one_gate_leaves_the_other():
    gate = "sigmoid((((X @ W_xr) + (H @ W_hr)) + b_r))"
    left = f"H = tanh((((X @ W_xh) + (({gate} * H) @ W_hh)) + b_h))"
    assert forced(cell("gru"), {"Z": 0}).equations[0].text == left
    assert forced(cell("gru_update_only"), {"Z": 0}).equations[0].text == "H = tanh((((X @ W_xh) + (H @ W_hh)) + b_h))"


def test_an_equation_sees_the_old_state_until_one_assigns_it():
    one = cell("rnn")
    twice = replace(
        one, equations=tuple(parse(text, Place("", 1, 1, "")) for text in ("H = tanh(X @ W_xh)", "H = H + H"))
    )
    assert forced(twice, {}).equations[0].text == "H = (tanh((X @ W_xh)) + tanh((X @ W_xh)))"


@pytest.mark.parametrize(
    ("name", "gates", "said"),
    [
        ("rnn", {"Z": 1}, "Z cannot be forced in rnn; what can be is none"),
        ("gru", {"Q": 0}, "Q cannot be forced in gru; what can be is Z, R, C"),
        ("gru", {"H": 0}, "H cannot be forced in gru; what can be is Z, R, C"),
    ],
)
def test_what_cannot_be_forced(name, gates, said):
    with pytest.raises(UserError, match=said):
        forced(cell(name), gates)
