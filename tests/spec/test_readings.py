"""The five readings: each against something that it was not made from."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared_spec import oracle
from shared_spec.cells import cell, cells
from shared_spec.readings import bound, cost, gradient, latex, value
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Unlike, sigmoid

CELLS = list(cells())


def problem(name, *, n, d, h, sigma, seed, T=None):
    random = np.random.RandomState(seed)
    sizes = {"n": n, "d": d, "h": h}
    parameters = {
        key: (sigma * random.standard_normal([sizes[s] for s in symbols])).astype(np.float32).astype(np.float64)
        for key, symbols in cell(name).parameters.items()
    }
    lead = (n,) if T is None else (T, n)
    X = random.standard_normal((*lead, d)).astype(np.float32).astype(np.float64)
    H = np.tanh(random.standard_normal((n, h))).astype(np.float32).astype(np.float64)
    return X, H, parameters


def scalar_step(name, x, h, p):
    """The cells once more, for one unit and one input, by hand and in plain Python."""
    s = lambda a: 1 / (1 + math.exp(-a))  # noqa: E731
    z = s(x * p["W_xz"] + h * p["W_hz"] + p["b_z"]) if "b_z" in p else 0.0
    r = s(x * p["W_xr"] + h * p["W_hr"] + p["b_r"]) if "b_r" in p else 1.0
    if name == "gru_reset_after":
        c = math.tanh(x * p["W_xh"] + p["b_h"] + r * (h * p["W_hh"] + p["b_hh"]))
    else:
        c = math.tanh(x * p["W_xh"] + r * h * p["W_hh"] + p["b_h"])
    return z * h + (1 - z) * c


@pytest.mark.parametrize("name", CELLS)
def test_value_is_the_cell_by_hand(name):
    X, H, parameters = problem(name, n=1, d=1, h=1, sigma=1.0, seed=1)
    flat = {key: float(array.reshape(())) for key, array in parameters.items()}
    should_be = scalar_step(name, float(X[0, 0]), float(H[0, 0]), flat)
    assert value.step(cell(name), X, H, parameters)["H"][0, 0] == pytest.approx(should_be, rel=1e-14)


def test_value_keeps_the_dtype():
    X, H, parameters = problem("gru", n=2, d=3, h=4, sigma=0.5, seed=2)
    low = {key: array.astype(np.float32) for key, array in parameters.items()}
    quantities = value.step(cell("gru"), X.astype(np.float32), H.astype(np.float32), low)
    assert {name: array.dtype for name, array in quantities.items()} == dict.fromkeys("ZRCH", np.dtype(np.float32))


@pytest.mark.parametrize("x", [-800.0, -30.0, -1e-9, 0.0, 1e-9, 30.0, 800.0])
def test_sigmoid_neither_overflows_nor_loses_digits(x):
    exact = math.exp(x) / (1 + math.exp(x)) if x < 0 else 1 / (1 + math.exp(-x))
    assert sigmoid(np.array(x)) == pytest.approx(exact, rel=4e-16, abs=1e-320)


@pytest.mark.parametrize("name", CELLS)
def test_gradient_of_a_step_is_the_complex_step_derivative(name):
    """f'(x) = Im f(x + ih) / h has no cancellation, so it is right to rounding: Squire and Trapp 1998."""
    X, H, parameters = problem(name, n=3, d=4, h=5, sigma=0.7, seed=3)
    inputs = {"X": X, "H": H, **parameters}
    d = np.random.RandomState(4).standard_normal(H.shape)
    _, pull = gradient.step(cell(name), X, H, parameters, set(inputs))
    gradients = pull(d)
    assert set(gradients) == set(inputs)
    for key, array in inputs.items():
        derivative = np.empty_like(array)
        for index in np.ndindex(array.shape):
            stepped = {k: v.astype(np.complex128) for k, v in inputs.items()}
            stepped[key][index] += 1e-30j
            moved = value.step(cell(name), stepped.pop("X"), stepped.pop("H"), stepped)["H"]
            derivative[index] = np.sum(d * moved.imag) / 1e-30
        np.testing.assert_allclose(gradients[key], derivative, rtol=1e-12, atol=1e-15, err_msg=f"{name} {key}")


@pytest.mark.parametrize("name", CELLS)
def test_gradient_over_time_is_the_central_difference(name):
    X, H0, parameters = problem(name, n=2, d=3, h=4, sigma=0.5, seed=5, T=6)
    dH = np.random.RandomState(6).standard_normal((6, 2, 4))
    case = {"X": X, "H0": H0, "dH": dH, **parameters}
    result = oracle.run(cell(name), case)
    random = np.random.RandomState(7)
    for key in ("X", "H0", *parameters):
        direction = random.standard_normal(case[key].shape)
        ends = [oracle.run(cell(name), {**case, key: case[key] + s * 1e-6 * direction})["H"] for s in (1, -1)]
        difference = float(np.sum(dH * (ends[0] - ends[1]))) / 2e-6
        assert np.sum(result[f"grad.{key}"] * direction) == pytest.approx(difference, rel=1e-6, abs=1e-8), key


def float32_steps(name, X, before, parameters, seed):
    """One step in float32, from the same previous states, in several ways that a framework may take."""
    low = {key: array.astype(np.float32) for key, array in parameters.items()}
    X, before = X.astype(np.float32), before.astype(np.float32)
    yield value.step(cell(name), X, before, low)["H"]
    yield value.step(cell(name), X, before, low, arithmetic=Naive())["H"]
    yield value.step(cell(name), X, before, low, arithmetic=Unlike("float32", seed))["H"]
    if "b_z" in low:
        quantities = value.step(cell(name), X, before, low)
        yield quantities["C"] + quantities["Z"] * (before - quantities["C"])


class Naive(Unlike):
    """Products added term after term, from the last to the first, and sigmoid by way of tanh."""

    def __init__(self):
        super().__init__("float32", 0)

    def product(self, a, b):
        total = np.zeros((*a.shape[:-1], b.shape[1]), a.dtype)
        for k in reversed(range(a.shape[-1])):
            total += a[..., k, None] * b[k]
        return total

    def function(self, name, x):
        half = np.float32(0.5)
        return np.tanh(x) if name == "tanh" else half + half * np.tanh(half * x)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0])
@pytest.mark.parametrize(("T", "n", "d", "h"), [(3, 2, 3, 5), (40, 3, 28, 32), (1000, 1, 5, 16), (4, 2, 9, 256)])
def test_the_bound_holds_and_is_not_far_off(name, sigma, T, n, d, h):
    X, H0, parameters = problem(name, n=n, d=d, h=h, sigma=sigma, seed=T + h, T=T)
    before = oracle.run(cell(name), {"X": X, "H0": H0, **parameters}, dtype="float32")["H"].astype(np.float64)
    before = np.concatenate([H0[None], before[:-1]])
    exact, allowed = bound.step(cell(name), X, before, parameters, u=UNIT_ROUNDOFF["float32"])
    worst = 0.0
    for H in float32_steps(name, X, before, parameters, seed=T):
        ratio = np.abs(H - exact) / allowed
        assert ratio.max() <= 1, f"{name}: an error of {ratio.max():.2f} times its bound"
        worst = max(worst, float(ratio.max()))
    assert worst > 1e-3, f"{name}: the bound is {1 / worst:.0f} times the largest error"


@pytest.mark.parametrize("name", ["gru", "gru_reset_after"])
def test_the_bound_does_not_hold_for_the_other_reset_placement(name):
    other = {"gru": "gru_reset_after", "gru_reset_after": "gru"}[name]
    X, H, parameters = problem("gru_reset_after", n=3, d=4, h=5, sigma=0.5, seed=8)
    parameters["b_hh"][:] = 0
    one, two = ({k: v for k, v in parameters.items() if k in cell(c).parameters} for c in (name, other))
    exact, allowed = bound.step(cell(name), X, H, one, u=UNIT_ROUNDOFF["float32"])
    assert (np.abs(value.step(cell(other), X, H, two)["H"] - exact) / allowed).max() > 1e3


def test_cost_of_the_gru_by_hand():
    n, d, h = 5, 3, 4
    counted = cost.step(cell("gru"), {"n": n, "d": d, "h": h})
    assert counted.product_flops == 3 * (2 * n * d * h + 2 * n * h * h)
    # Z and R: two additions each; C: R * H and two additions; H: two products, a difference, an addition.
    assert counted.elementwise_flops == (2 + 2 + 3 + 4) * n * h
    assert counted.function_calls == 3 * n * h
    assert counted.parameter_values == 3 * (d * h + h * h + h)
    assert counted.bytes(4) == 4 * (counted.parameter_values + n * d + 2 * n * h)


def test_products_that_wait_for_one_another():
    depth = {name: cost.step(cell(name), {"n": 1, "d": 1, "h": 1}).dependent_products for name in CELLS}
    assert depth == {"gru": 2, "gru_reset_after": 1, "gru_reset_only": 2, "gru_update_only": 1, "rnn": 1}
    turns = {name: cost.step(cell(name), {"n": 1, "d": 1, "h": 1}).in_turn for name in CELLS}
    assert turns == {
        "gru": (2, 1),
        "gru_reset_after": (3,),
        "gru_reset_only": (1, 1),
        "gru_update_only": (2,),
        "rnn": (1,),
    }


def test_latex():
    assert latex.formulas(cell("gru"))[2:] == [
        r"\tilde{\mathbf{H}}_t = \tanh(\mathbf{X}_t \mathbf{W}_{xh} + "
        r"(\mathbf{R}_t \odot \mathbf{H}_{t-1}) \mathbf{W}_{hh} + \mathbf{b}_{h})",
        r"\mathbf{H}_t = \mathbf{Z}_t \odot \mathbf{H}_{t-1} + (1 - \mathbf{Z}_t) \odot \tilde{\mathbf{H}}_t",
    ]
