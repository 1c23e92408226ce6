"""Unlike arithmetic: how far it errs, over the whole range of a dtype; and products with one-hot rows as lookups."""

from __future__ import annotations

import numpy as np
import pytest

from shared_spec import oracle
from shared_spec.cells import cells
from shared_spec.expression import Place, parse
from shared_spec.language_model import training
from shared_spec.readings import floats, gradient
from shared_spec.readings.arithmetic import PLAIN, UNIT_ROUNDOFF, OneHot, Unlike, length
from shared_spec.readings.value import evaluate

CELLS = list(cells())
DTYPES = ["float32", "float64"]
LARGE = {"float32": 1e25, "float64": 1e200}
"""Numbers whose squares are out of range."""


def sums(dtype, scale=1.0, *, terms=32, count=4000):
    """Rows to be summed up by each kind of sum, and what the sum and its terms are."""
    random = np.random.RandomState(5)
    a = (scale * random.standard_normal((count, terms))).astype(dtype)
    ones = np.ones((terms, 1), dtype)
    return {
        "product": (lambda arithmetic: arithmetic.product(a, ones)[:, 0]),
        "total": (lambda arithmetic: arithmetic.total(a, (1,))),
        "accumulated": (lambda arithmetic: arithmetic.accumulated(list(a.T), terms)),
    }, a.astype(np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["product", "total", "accumulated"])
def test_an_error_is_as_large_as_that_of_adding_term_after_term(kind, dtype):
    """u sqrt(k / 2) sqrt(s^2 + sum of squares), times uniform(-1, 1), whose standard deviation is 1 / sqrt(3)."""
    kinds, a = sums(dtype)
    exact, k = a.sum(axis=1), a.shape[1]
    sizes = UNIT_ROUNDOFF[dtype] * np.sqrt(k / 2 * (exact**2 + (a**2).sum(axis=1)) / 3)
    if kind == "accumulated":
        sizes *= np.sqrt(1 + 1 / k)
    plain = kinds[kind](PLAIN).astype(np.float64)
    errors = np.concatenate([(kinds[kind](Unlike(dtype, seed)) - plain) / sizes for seed in range(4)])
    # Other terms are rounded otherwise too, which adds a tenth.
    assert np.std(errors) == pytest.approx(1.05, rel=0.15)
    assert abs(np.mean(errors)) < 0.05


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["product", "total", "accumulated"])
def test_errors_are_as_large_at_the_ends_of_the_range(kind, dtype):
    relative = []
    for scale in (1 / LARGE[dtype], 1.0, LARGE[dtype]):
        kinds, a = sums(dtype, scale)
        outputs = kinds[kind](Unlike(dtype, 1))
        assert np.isfinite(outputs).all()
        relative.append(np.std((outputs / scale - a.sum(axis=1) / scale) / UNIT_ROUNDOFF[dtype]))
    assert relative == [pytest.approx(relative[1], rel=0.05)] * 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_twins_of_large_gradients_are_finite(dtype):
    case = {"X": np.ones((3, 4, 5)), "H0": np.zeros((4, 6)), "dH": np.full((3, 4, 6), LARGE[dtype])}
    the_cell = cells()["gru"]
    sizes = {"d": 5, "h": 6}
    case |= {name: np.full([sizes[s] for s in symbols], 0.1) for name, symbols in the_cell.parameters.items()}
    for name, array in oracle.twin(the_cell, case, dtype=dtype, seed=1).items():
        assert np.isfinite(array).all(), name


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_no_error_of_a_function_is_lost_in_its_own_rounding(name, dtype):
    """Next to one: all twins' slopes would be 0 by chance, and that of a library is not."""
    x = np.full(1000, 40.0, floats.carrier(dtype))
    for seed in range(4):
        assert (Unlike(dtype, seed).function(name, x) != 1).all()
    # Nothing is moved where nothing was to be.
    assert (Unlike(dtype, 0, faintest=10.0).function(name, x) == 1).all()


def test_errors_too_faint_are_left_out():
    kinds, _ = sums("float32")
    for kind, k in (("product", 32), ("total", 32)):
        outputs, plain = kinds[kind](Unlike("float32", 1, faintest=np.sqrt(k / 2))), kinds[kind](PLAIN)
        assert (outputs == plain).all(), kind
        assert (kinds[kind](Unlike("float32", 1, faintest=np.sqrt(k / 2) - 0.01)) != plain).any(), kind
    x = np.linspace(-3, 3, 100, dtype=np.float32)
    for name in ("sigmoid", "tanh"):
        assert (Unlike("float32", 1, faintest=6.0).function(name, x) == PLAIN.function(name, x)).all()
        assert (Unlike("float32", 1, faintest=1.9).function(name, x) != PLAIN.function(name, x)).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_length_neither_overflows_nor_underflows(dtype):
    for scale in (1 / LARGE[dtype], 1.0, LARGE[dtype]):
        a = np.array([3.0, 4.0], dtype) * np.dtype(dtype).type(scale)
        assert length(a, (0,)) / scale == pytest.approx(5, rel=1e-6)
        assert training.norm({"a": a[:1], "b": a[1:]}) / scale == pytest.approx(5, rel=1e-6)
    assert length(np.zeros((2, 3), dtype), (0,)).tolist() == [0, 0, 0]
    assert length(np.array([1.0, np.inf], dtype), (0,)) == np.inf
    assert np.isnan(length(np.array([1.0, np.nan], dtype), (0,)))


def drawn(the_cell, dtype="float64", *, T=4, n=6, d=5, h=3):
    random = np.random.RandomState(2)
    sizes = {"d": d, "h": h}
    parameters = {
        name: random.standard_normal([sizes[s] for s in symbols]).astype(dtype)
        for name, symbols in the_cell.parameters.items()
    }
    tokens = random.randint(d, size=(T, n))
    H0, dH = random.standard_normal((n, h)).astype(dtype), random.standard_normal((T, n, h)).astype(dtype)
    return OneHot(tokens, d, np.dtype(dtype)), H0, dH, parameters


@pytest.mark.parametrize("wanted", [(), ("X",)])
@pytest.mark.parametrize("name", CELLS)
def test_lookups_are_products_with_one_hot_rows(name, wanted):
    the_cell = cells()[name]
    X, H0, dH, parameters = drawn(the_cell)
    assert X.dense.sum(axis=-1).tolist() == np.ones((4, 6)).tolist()
    np.testing.assert_array_equal(X.dense, training.one_hot(X.places.T, 5, np.dtype(np.float64)))
    H = oracle.states(the_cell, X.dense, H0, parameters)
    np.testing.assert_allclose(oracle.states(the_cell, X, H0, parameters), H, rtol=1e-14)
    one, two = (oracle.Unrolled(the_cell, x, H0, parameters, {*wanted, *parameters}) for x in (X, X.dense))
    np.testing.assert_allclose(one.H, H, rtol=1e-14)
    gradients, should_be = one.backward(dH), two.backward(dH)
    assert set(gradients) == set(should_be) == {"H0", *wanted, *parameters}
    for key, array in should_be.items():
        np.testing.assert_allclose(gradients[key], array, rtol=1e-12, atol=1e-14, err_msg=key)


@pytest.mark.parametrize("text", ["Q = (X * X) @ W + X @ W", "Q = tanh(X) @ W", "Q = (1 - X) @ W - X @ (W * W)"])
def test_one_hot_rows_in_other_places_are_arrays(text):
    equation = parse(text, Place("a test", 1, 1, "none"))
    random = np.random.RandomState(3)
    values = {"X": OneHot(random.randint(4, size=7), 4, np.dtype(np.float64)), "W": random.standard_normal((4, 3))}
    plain = values | {"X": values["X"].dense}
    should_be = evaluate(equation.expression, plain, np.dtype(np.float64))
    np.testing.assert_allclose(evaluate(equation.expression, values, np.dtype(np.float64)), should_be, rtol=1e-14)
    d = random.standard_normal((7, 3))
    gradients = []
    for given in (values, plain):
        value, pull = gradient.Tape([equation], given, ("W",)).forward(given, np.dtype(np.float64))
        np.testing.assert_allclose(value, should_be, rtol=1e-14)
        gradients.append(pull(d)["W"])
    np.testing.assert_allclose(*gradients, rtol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_lookup_errs_as_the_product_does(dtype):
    random = np.random.RandomState(4)
    X = OneHot(random.randint(28, size=2000), 28, np.dtype(dtype))
    W = random.standard_normal((28, 5)).astype(dtype)
    exact = W[X.places]
    size = UNIT_ROUNDOFF[dtype] * np.abs(exact) * np.sqrt(28 / 3)
    for product in (Unlike(dtype, 1).lookup(X, W), Unlike(dtype, 1).product(X.dense, W)):
        assert np.std((product - exact) / size) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("name", CELLS)
def test_the_rows_of_a_batch_may_be_taken_a_few_at_a_time(name, monkeypatch):
    the_cell = cells()[name]
    X, H0, dH, parameters = drawn(the_cell, n=7)
    results = []
    for in_cache in (1, 2 * 3, 10**6):
        monkeypatch.setattr(oracle, "IN_CACHE", in_cache)
        unrolled = oracle.Unrolled(the_cell, X.dense, H0, parameters, {"X", *parameters})
        results.append({"H": unrolled.H, "of H": unrolled.cotangents(dH), **unrolled.backward(dH)})
        np.testing.assert_array_equal(unrolled.H, oracle.states(the_cell, X.dense, H0, parameters))
    for key, array in results[-1].items():
        for result in results[:-1]:
            np.testing.assert_allclose(result[key], array, rtol=1e-12, atol=1e-13, err_msg=key)


def test_errors_are_drawn_in_one_order_whatever_the_order_of_the_names():
    """A set has another in each run of Python, and so had what the twins err by."""
    the_cell = cells()["gru"]
    X, H0, dH, parameters = drawn(the_cell, "float32")
    gradients = []
    for wanted in ([*parameters], [*reversed(parameters)]):
        unrolled = oracle.Unrolled(the_cell, X.dense, H0, parameters, wanted, arithmetic=Unlike("float32", 1))
        gradients.append(unrolled.backward(dH))
    for name in parameters:
        np.testing.assert_array_equal(gradients[0][name], gradients[1][name], err_msg=name)
