"""The kernels of JAX' tuned cells on a GPU, run by Pallas' interpreter on a CPU, and lowered for a GPU."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh

from frameworks import protocol
from frameworks.harness.run import run
from frameworks.jax import kernels, loops, tuned
from isogru import judge
from shared_spec import cases
from tests.kernels import __main__ as table

LOOPS = {"gru": lambda h: [(h, 2 * h), (h, h)], "reset_after": lambda h: [(h, 3 * h), (h,)]}
"""By the name of a loop: the shapes of what it takes after H0."""
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
    assert {"_forward", "_backward"} <= set(taken)


@pytest.mark.parametrize("loop", LOOPS)
def test_they_are_one_function_with_the_loops_over_tokens(loop):
    """Values and gradients, of rows that fill several programs, the last of them in part."""
    tokens, dH, given = _problem(loop)
    _, n, h = dH.shape
    rows = kernels._plan(n, h).rows
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


@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("n", "h"), [(1024, 32), (7, 9)])
def test_they_are_lowered_for_a_gpu(monkeypatch, loop, tokens, n, h):
    monkeypatch.setattr(kernels, "_on_cpu", lambda: False)
    monkeypatch.setattr(kernels, "_plan", lambda n, h: kernels.plan(n, h, processors=132))
    of_rows, dH, given = _problem(loop, n=n, h=h, tokens=tokens)
    with jax.sharding.use_abstract_mesh(H100):
        traced = _states_and_gradients(kernels, loop, of_rows if tokens else None).trace(dH, *given)
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert program.count("__gpu$xla.gpu.triton") == 2


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
    assert [row.endswith(" us") for row in printed.splitlines()] == [True] * 4, printed
