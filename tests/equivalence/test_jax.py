"""What only JAX decides by itself, on a CPU and, pretended, on a GPU."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frameworks.jax import columns, loops, tuned
from frameworks.jax.cells import CELLS, compiled, gradients
from shared_spec import frameworks
from shared_spec.cells import cell


@pytest.mark.parametrize(("on_cpu", "rows"), [(True, {128}), (False, {1024})])
def test_a_cpu_goes_through_the_batch_in_parts_and_a_gpu_takes_it_whole(monkeypatch, on_cpu, rows):
    monkeypatch.setattr(tuned, "_on_cpu", lambda: on_cpu)
    seen = set()

    def mean(inputs, targets):
        seen.add(len(inputs))
        return jnp.mean(1.0 * inputs * targets)

    inputs = jnp.arange(1024 * 32).reshape(1024, 32) % 28
    assert tuned._by_parts(mean, inputs, inputs) == pytest.approx(float(jnp.mean(1.0 * inputs * inputs)), rel=1e-5)
    assert seen == rows


@pytest.mark.parametrize(("on_cpu", "shares"), [(True, 2), (False, 1)])
def test_a_cpu_has_a_share_of_the_batch_for_each_core_and_a_gpu_one(monkeypatch, on_cpu, shares):
    monkeypatch.setattr(tuned, "_on_cpu", lambda: on_cpu)
    monkeypatch.setattr(tuned, "_threads", lambda: 2)
    seen = []

    def gradients(parameters, inputs, targets):
        seen.append(len(inputs))
        return jnp.mean(1.0 * inputs), {"w": parameters["w"]}

    run = tuned._side_by_side(gradients, lambda parameters, mean: (mean[0], parameters["w"] + mean[1]["w"]))
    value, updated = run({"w": jnp.ones(3)}, jnp.arange(12.0).reshape(6, 2), jnp.ones((6, 2)))
    # Traced once: the shares have one shape.
    assert seen == [6 // shares]
    assert float(value) == 5.5
    assert updated.tolist() == [2.0] * 3


@pytest.mark.parametrize(
    ("on_cpu", "T", "n", "h", "by_hand"),
    [
        (True, 3, 2, 4, {"gru", "reset_after", "rnn"}),
        (True, 3, 4, 4, {"rnn"}),
        (True, 1, 2, 4, set()),
        (False, 1, 4, 4, {"gru", "reset_after", "rnn"}),
    ],
)
def test_a_gradient_is_by_hand_where_that_is_faster_and_a_forward_on_a_gpu(monkeypatch, on_cpu, T, n, h, by_hand):
    for module in (tuned, loops):
        monkeypatch.setattr(module, "_on_cpu", lambda: on_cpu)
    seen, of_all = [], set()
    monkeypatch.setattr(tuned, "_loop", lambda loop, H0, of: seen.append(loop) or getattr(of, loop))
    for name in frameworks.native_cells():
        parameters, X, H0, dH = drawn(name, T, n, 5, h)
        build = tuned.TUNED[name][0].__wrapped__
        build()(X, H0, parameters)
        assert bool(seen) is not on_cpu
        if on_cpu:
            program, other = (jax.make_jaxpr(f)(X, H0, parameters) for f in (build().forward, compiled(CELLS[name])))
            assert str(program) == str(other)
        seen.clear()
        gradients(build(), compiled=True)(X, H0, parameters, dH)
        of_all |= set(seen)
        seen.clear()
    assert of_all == by_hand


def drawn(name, T, n, d, h, dtype="float32"):
    """Parameters of a cell, X, H0 and dH."""
    random, sizes = np.random.RandomState(0), {"n": n, "d": d, "h": h}
    shapes = [[sizes[s] for s in symbols] for symbols in cell(name).parameters.values()]
    values = [jnp.asarray(random.standard_normal(s), dtype) for s in (*shapes, (T, n, d), (n, h), (T, n, h))]
    return dict(zip(cell(name).parameters, values, strict=False)), *values[len(shapes) :]


@pytest.fixture(params=[1, 2, 3])
def in_strips(monkeypatch, request):
    """So many cores, and strips of two rows."""
    monkeypatch.setattr(tuned, "STRIP", 2)
    monkeypatch.setattr(tuned, "_threads", lambda: request.param)


# Seven rows make shares of 7, of 3 and 4, and of 2, 2 and 3; only that of 4 has two strips.
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", frameworks.native_cells())
def test_states_and_gradients_in_strips_are_those_of_the_cell(name, dtype, in_strips):
    parameters, X, H0, dH = drawn(name, 4, 7, 5, 3, dtype)
    forward = tuned.TUNED[name][0].__wrapped__()
    assert tuned._strips_are_faster(X, H0)
    H, final, made = gradients(forward, compiled=True)(X, H0, parameters, dH)
    right_H, right_final, right = gradients(compiled(CELLS[name]), compiled=True)(X, H0, parameters, dH)
    relative, absolute = (1e-4, 1e-6) if dtype == "float32" else (1e-12, 1e-14)
    close = functools.partial(np.testing.assert_allclose, rtol=relative, atol=absolute)
    for states, last in ((H, final), forward(X, H0, parameters)):
        close(states, right_H)
        close(last, right_final)
    assert made.keys() == right.keys()
    for key, gradient in made.items():
        assert gradient.dtype == dtype
        close(gradient, right[key])


def test_few_rows_many_units_a_step_and_what_is_traced_are_in_no_strips(monkeypatch):
    monkeypatch.setattr(tuned, "_threads", lambda: 2)
    X, H0, seen = jnp.zeros((2, 128, 1)), jnp.zeros((128, 128)), []
    assert tuned._strips_are_faster(X, H0)
    assert not tuned._strips_are_faster(X[:1], H0)
    assert not tuned._strips_are_faster(X[:, 1:], H0[1:])
    assert not tuned._strips_are_faster(X, jnp.zeros((128, 129)))
    jax.eval_shape(lambda X: seen.append(tuned._strips_are_faster(X, H0)), X)
    assert seen == [False]
    monkeypatch.setattr(tuned, "_on_cpu", lambda: False)
    assert not tuned._strips_are_faster(X, H0)


@pytest.mark.parametrize("on_cpu", [True, False])
def test_tokens_are_columns_on_a_cpu_and_rows_on_a_gpu(monkeypatch, on_cpu):
    for module in (tuned, loops):
        monkeypatch.setattr(module, "_on_cpu", lambda: on_cpu)
    taken = []
    for module in (tuned.columns, tuned.loops):
        for loop in ("gru", "reset_after", "rnn"):
            monkeypatch.setattr(module, loop, lambda *given, name=module.__name__: taken.append(name) or given[2][None])
    for name in frameworks.native_cells():
        sizes = {"d": 5, "h": 4}
        parameters = {p: jnp.ones([sizes[s] for s in symbols]) for p, symbols in cell(name).parameters.items()}
        build, _ = tuned.TUNED[name]
        build.__wrapped__().of_tokens(jnp.zeros((3, 2), jnp.int32), jnp.zeros((2, 4)), parameters)
    assert taken == ["frameworks.jax.columns" if on_cpu else "frameworks.jax.loops"] * len(frameworks.native_cells())


@pytest.mark.parametrize(("loop", "gates", "shapes", "dtype"), [
    ("gru", 3, [(4, 8), (4, 4)], "float32"),
    ("reset_after", 3, [(4, 12), (4,)], "float64"),
    ("rnn", 1, [(4, 4)], "float32"),
])  # fmt: skip
def test_loops_over_columns_and_over_rows_are_one_function(loop, gates, shapes, dtype):
    """Values and gradients: on a CPU no training goes through the rows of the table, which a GPU takes."""
    T, n, v, h = 6, 5, 7, 4
    random = np.random.RandomState(3)

    def drawn(*shape):
        return jnp.asarray(random.standard_normal(shape), dtype)

    given = drawn(v, gates * h), drawn(n, h), *(drawn(*shape) for shape in shapes)
    tokens, dH = jnp.asarray(random.randint(v, size=(T, n))), drawn(T, n, h)

    # One program: without jit each operation of a gradient is compiled by itself.
    @functools.partial(jax.jit, static_argnums=0)
    def of(module):
        def states(table, H0, *weights):
            return getattr(module, loop)(table, tokens, H0, *weights)

        made, back = jax.vjp(states, *given)
        return made, *back(dH)

    for one, other in zip(of(columns), of(loops), strict=True):
        assert one.dtype == other.dtype == dtype
        # A rounding for each number that is added up on the way, at the most.
        allowed = jnp.finfo(dtype).eps * T * n * gates * h * jnp.abs(other).max()
        assert jnp.abs(one - other).max() <= allowed
