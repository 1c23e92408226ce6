"""The kernels of JAX' tuned cells on a GPU, run by Pallas' interpreter on a CPU, and lowered for a GPU."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh

from frameworks import protocol, rich
from frameworks.harness.run import run
from frameworks.jax import cells, kernels, language_model, loops, tuned
from isogru import judge
from shared_spec import cases
from tests.kernels import __main__ as table

LOOPS = {"gru": lambda h: [(h, 2 * h), (h, h)], "reset_after": lambda h: [(h, 3 * h), (h,)]}
"""By the name of a loop: the shapes of what it takes after H0."""
CELLS = ["gru", "gru_reset_after"]
CASES = ["gru-ordinary", "gru-one_sequence", "gru_reset_after-ordinary", "gru_reset_after-one_unit"]
H100 = AbstractMesh((), (), abstract_device=AbstractDevice("NVIDIA H100 80GB HBM3", 132, "gpu"))


def _problem(loop, *, T=4, n=21, v=6, h=9, tokens=True):
    """Tokens, dH, and what a loop takes: A or a table, H0 and weights."""
    random = np.random.RandomState(0)
    shapes = [(v, 3 * h) if tokens else (T, n, 3 * h), (n, h), *LOOPS[loop](h)]
    dH, *given = (random.standard_normal(shape).astype("float32") for shape in [(T, n, h), *shapes])
    return random.randint(v, size=(T, n)).astype("int32"), dH, given


def _states_and_gradients(module, loop, tokens):
    def pulled(dH, *given):
        states = lambda A, *rest: getattr(module, loop)(*((None, A) if tokens is None else (A, tokens)), *rest)  # noqa: E731
        H, pull = jax.vjp(states, *given)
        return H, *pull(dH)

    return jax.jit(pulled, compiler_options={"xla_backend_optimization_level": 0})


def _are_close(one, other, *, terms):
    """A rounding of float32 for each number that is added up on the way, at the most."""
    one, other = np.asarray(one), np.asarray(other)
    return abs(one - other).max() <= 2.0**-24 * terms * abs(other).max()


@pytest.fixture
def taken(monkeypatch):
    """The tuned cells take the kernels, with nothing compiled before or left behind; their names, as they start."""
    started, start = [], kernels._run

    def noted(kernel, *given, **kinds):
        started.append(kernel.__name__)
        return start(kernel, *given, **kinds)

    monkeypatch.setattr(kernels, "_run", noted)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    for build, _ in tuned.TUNED.values():
        build.cache_clear()
    yield started
    for build, _ in tuned.TUNED.values():
        build.cache_clear()


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize("name", CASES)
def test_states_and_gradients_are_equal(framework, name, taken):
    implementation = protocol.find(framework, "tuned", cases.cell_name_of(name), "float32")
    case = cases.build(name)
    verdict = judge.on(case, run(framework, implementation, case, dtype="float32", device="cpu"))
    assert verdict.verdict == "equal", verdict.worst_finding.sentence(verdict.origin)
    assert {"forward", "backward"} <= set(taken)


@pytest.mark.parametrize("loop", LOOPS)
def test_they_are_one_function_with_the_loops_over_tokens(loop):
    """Values and gradients, of rows that fill several programs, the last of them in part."""
    tokens, dH, given = _problem(loop)
    _, n, h = dH.shape
    rows = kernels.plan(n, h, processors=1).rows
    assert n > rows
    assert n % rows
    made = _states_and_gradients(kernels, loop, tokens)(dH, *given)
    expected = _states_and_gradients(loops, loop, tokens)(*(a.astype("float64") for a in (dH, *given)))
    for one, other in zip(made, expected, strict=True):
        assert one.dtype == np.float32
        assert one.shape == other.shape
        assert _are_close(one, other, terms=dH.size)


def test_many_models_at_once_are_each_as_it_is_alone():
    tokens, dH, given = _problem("gru", T=2, n=5, h=3)
    pulled = _states_and_gradients(kernels, "gru", tokens)
    many = [np.stack([a, -a]) for a in (dH, *given)]
    together, second = jax.vmap(pulled)(*many), pulled(*(a[1] for a in many))
    for one, other in zip(together, second, strict=True):
        assert _are_close(one[1], other, terms=dH.size)


def _language_model(cell, *, v, h, T, n):
    """Parameters, inputs and targets."""
    random = np.random.RandomState(0)
    shapes = {f"W_x{gate}": (v, h) for gate in "zrh"} | {f"W_h{gate}": (h, h) for gate in "zrh"}
    shapes |= {f"b_{gate}": (h,) for gate in "zrh"} | ({"b_hh": (h,)} if cell == "gru_reset_after" else {})
    shapes |= {"W_hq": (h, v), "b_q": (v,)}
    parameters = {name: random.standard_normal(shape).astype("float32") / 2 for name, shape in shapes.items()}
    return parameters, *random.randint(v, size=(2, n, T)).astype("int32")


def _double(arrays):
    return {name: np.asarray(array, "float64") for name, array in arrays.items()}


@pytest.mark.parametrize(("T", "n", "h", "v"), [(4, 5, 9, 6), (3, 50, 20, 17)])
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_by_strips(cell, T, n, h, v, taken):
    """Loss, gradients and SGD of a language model, against the scratch cell in float64; some rows are in the second
    strip of a program.
    """
    parameters, inputs, targets = _language_model(cell, v=v, h=h, T=T, n=n)
    assert kernels.fit_strips(v, h)
    assert (n * T > kernels.STRIP * kernels.STRIPS) == (n == 50)
    forward, scratch = tuned.TUNED[cell][0](), cells.unroll(cells.CELLS[cell])
    value, gradients = language_model.loss_and_gradients(forward, parameters, inputs, targets)
    expected, right = language_model.loss_and_gradients(scratch, _double(parameters), inputs, targets)
    assert set(taken) == {"forward", "cross_entropy", "backward", "gradients"}
    assert abs(value - expected) <= 1e-6 * expected
    assert gradients.keys() == right.keys()
    for name, gradient in gradients.items():
        assert gradient.shape == right[name].shape
        assert abs(gradient - right[name]).max() <= 2e-6 * abs(right[name]).max(), name
    taken.clear()
    for clip_norm in (0.1, 10.0):
        moved, norm = rich(forward).sgd(parameters, gradients, lr=0.5, clip_norm=clip_norm)
        there, length = language_model.sgd(_double(parameters), _double(gradients), lr=0.5, clip_norm=clip_norm)
        assert (length > clip_norm) == (clip_norm == 0.1)
        assert abs(norm - length) <= 1e-6 * length
        assert moved.keys() == there.keys()
        for name, array in moved.items():
            assert array.shape == there[name].shape
            assert abs(array - there[name]).max() <= 1e-6 * abs(there[name]).max(), name
    assert taken == ["sgd", "sgd"]


def test_gradients_of_a_loss_that_is_multiplied():
    random = np.random.RandomState(0)
    H, W, b = (random.standard_normal(shape).astype("float32") for shape in ((3, 4, 5), (5, 6), (6,)))
    labels = random.randint(6, size=(3, 4))

    def pulled(module, factor):
        return jax.grad(lambda *given: factor * module.cross_entropy(*given, labels), argnums=(0, 1, 2))(H, W, b)

    for one, three, right in zip(pulled(kernels, 1), pulled(kernels, 3), pulled(loops, 1), strict=True):
        assert (3 * one == three).all()
        assert _are_close(one, right, terms=H.size)


def test_more_tokens_than_strips_have(taken):
    """Then the output layer, the loop over tokens and SGD are those of other sizes."""
    parameters, inputs, targets = _language_model("gru", v=kernels.NARROW + 1, h=3, T=2, n=4)
    forward = tuned.TUNED["gru"][0]()
    step = language_model.training_step(forward, lr=1.0, clip_norm=1.0, compiled=True)
    _, value, norm = step(parameters, inputs, targets)
    assert jnp.isfinite(value)
    assert jnp.isfinite(norm)
    assert set(taken) == {"forward", "backward"}


def test_models_of_several_rates_move_as_each_does_alone(taken):
    (parameters, *_), (gradients, *_) = (_language_model("gru", v=6, h=5, T=1, n=1) for _ in range(2))
    rates = jnp.asarray([0.5, 2.0], jnp.float32)

    def moved(parameters, lr):
        return rich(tuned.TUNED["gru"][0]()).sgd(parameters, gradients, lr=lr, clip_norm=1.0)

    many = jax.vmap(moved)({name: jnp.stack([a, -a]) for name, a in parameters.items()}, rates)
    alone = moved({name: -a for name, a in parameters.items()}, rates[1])
    assert set(taken) == {"sgd"}
    for one, other in zip(jax.tree.leaves(many), jax.tree.leaves(alone), strict=True):
        assert _are_close(one[1], other, terms=4)


@pytest.fixture
def card(monkeypatch):
    """What is traced is for an H100."""
    for module in (kernels, language_model, loops, tuned):
        monkeypatch.setattr(module, "_on_cpu", lambda: False)
    monkeypatch.setattr(kernels, "_processors", lambda: 132)
    for build, _ in tuned.TUNED.values():
        build.cache_clear()
    with jax.sharding.use_abstract_mesh(H100):
        yield
    for build, _ in tuned.TUNED.values():
        build.cache_clear()


def _lowered(traced):
    """How many kernels of Pallas it starts."""
    return traced.lower(lowering_platforms=("cuda",)).as_text().count("__gpu$xla.gpu.triton")


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("n", "h"), [(1024, 32), (7, 9)])
def test_loops_are_lowered_for_a_gpu(loop, tokens, n, h):
    of_rows, dH, given = _problem(loop, n=n, h=h, tokens=tokens)
    assert _lowered(_states_and_gradients(kernels, loop, of_rows if tokens else None).trace(dH, *given)) == 2


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("n", "h"), [(1024, 32), (7, 64)])
def test_a_training_step_is_lowered_for_a_gpu(cell, n, h):
    given = _language_model(cell, v=28, h=h, T=32, n=n)
    step = language_model.training_step(tuned.TUNED[cell][0](), lr=1.0, clip_norm=1.0, compiled=True)
    assert _lowered(jax.jit(step).trace(*given)) == 5


@pytest.mark.parametrize(("n", "h"), [(1, 1), (3, 20), (1024, 32), (5000, 64), (100_000, 33)])
def test_a_plan_covers_all_by_powers_of_2(n, h):
    plan = kernels.plan(n, h, processors=132)
    assert plan.units >= max(h, kernels.LEAST_UNITS)
    assert plan.rows <= kernels.MOST_ROWS
    assert all(size & (size - 1) == 0 for size in plan)


def test_who_runs_a_loop(monkeypatch):
    H0 = jnp.zeros((2, 3), jnp.float32)
    assert loops.gpu_kernels(H0) is None
    monkeypatch.setattr(loops, "_on_cpu", lambda: False)
    assert loops.gpu_kernels(H0) is kernels
    assert loops.gpu_kernels(H0.astype(jnp.float64)) is None
    assert loops.gpu_kernels(jnp.zeros((2, kernels.NARROW + 1), jnp.float32)) is None
    assert tuned._loop("gru", H0, loops) is kernels.gru
    assert tuned._loop("rnn", H0, loops) is loops.rnn


def test_how_long_they_take(framework, monkeypatch, capsys):
    """The table for whoever has a card, at next to no size."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    table.jax_kernels(framework, "cpu", table.TINY)
    printed = capsys.readouterr().out
    assert [row.endswith(" us") for row in printed.splitlines()] == [True] * 7, printed
