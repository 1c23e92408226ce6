"""What JAX' lane parallel says of itself, held against the referee: its bound, its certificate, its way out."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from frameworks.harness.benchmark.plan import Entered
from frameworks.harness.run import run
from frameworks.jax import parallel
from frameworks.jax.cells import CELLS, compiled
from frameworks.protocol import find
from isogru import judge
from shared_spec import cases
from shared_spec.cells import cells
from shared_spec.files.interchange import read_case, read_result
from shared_spec.race import workloads
from shared_spec.readings import bound
from shared_spec.readings.floats import UNIT_ROUNDOFF

FEW = "rnn-ordinary"
"""Seven steps of the cell that is compiled in the least time: what is asked here is none of the cell's."""


@pytest.fixture(autouse=True)
def _own_results(results):
    """References are shared, results are the test's own."""


@pytest.fixture
def altered(monkeypatch):
    """Something of the lane put in another's place, and nothing kept that was compiled with it."""

    def alter(**changes):
        for name, value in changes.items():
            monkeypatch.setattr(parallel, name, value)
        forget()

    def forget():
        parallel.solver.cache_clear()
        parallel._forward.cache_clear()

    yield alter
    forget()


@pytest.fixture
def given(framework):
    """A case and its arrays, put where `run` puts them: a program of JAX is compiled anew for what lies elsewhere."""

    def of(name, dtype):
        case = cases.build(name)
        arrays = {key: framework.runtime.tensor(array, dtype=dtype) for key, array in case.arrays.items()}
        return case, (arrays["X"], arrays["H0"], {key: arrays[key] for key in case.cell.parameters})

    return of


def judged(framework, name, dtype="float32"):
    case = cases.build(name)
    result = run(framework, find(framework, "parallel", case.cell.name, dtype), case, dtype=dtype, device="cpu")
    verdict = judge.on(case, result)
    return result.origin.note, verdict.verdict, {f.quantity for f in verdict.findings if f.verdict != "equal"}


@pytest.mark.parametrize("name", cells())
def test_the_bound_by_jax_is_the_referees(name):
    """Its states are, but for rounding in float64, which the bound itself tells. Its bound is nowhere wider, and not
    narrower than the ends of a function are than its slope within errors up to SMALL.
    """
    case = cases.build(f"{name}-large_weights")
    before = np.concatenate([case.arrays["H0"][None], np.zeros_like(case.arrays["dH"])[1:]])
    step = functools.partial(bound.step, case.cell, case.arrays["X"], before, case.parameters)
    _, rounding = step(u=UNIT_ROUNDOFF["float64"])
    (value, allowed), (of_jax, narrower) = (
        step(u=UNIT_ROUNDOFF["float32"]),
        step(u=UNIT_ROUNDOFF["float32"], arrays=jnp),
    )
    assert isinstance(narrower, jnp.ndarray)
    assert (abs(of_jax - value) <= rounding).all()
    assert (narrower <= allowed + rounding).all()
    assert (narrower >= (1 - bound.SMALL) * allowed).all()


# Those that test_equal.py has compiled before, in this process.
@pytest.mark.parametrize(("name", "dtype"), [("gru-long", "float64"), ("gru-ordinary", "float32")])
def test_what_it_certifies_is_within_the_bound_of_every_step(given, name, dtype):
    case, arrays = given(name, dtype)
    solved = parallel.solver(case.cell.name)(*arrays)
    assert solved.within.tolist() == [True]
    H = np.asarray(solved.H, np.float64)
    before = np.concatenate([case.arrays["H0"][None], H[:-1]])
    should_be, allowed = bound.step(case.cell, case.arrays["X"], before, case.parameters, u=UNIT_ROUNDOFF[dtype])
    assert (abs(H - should_be) <= allowed).all()
    # It is not by accident that it is: the states before them are not.
    assert 1 < int(solved.iterations[0]) < parallel.MOST


def test_one_step_is_the_loop_s_and_its_bound_is_evaluated(framework):
    note, verdict, _ = judged(framework, "rnn-one_step")
    said, _, ratio = note.partition(": at ")
    assert (said, verdict) == ("each part of time is one step, which the loop computed", "equal")
    assert 0 < float(ratio.split(" of the bound")[0]) <= 1


# Before those that alter the lane, after which all is compiled anew.
def test_a_run_tells_how_it_came_by_its_states(command, tmp_path):
    case, result = (tmp_path / f"{name}.safetensors" for name in ("case", "result"))
    command("shared_spec", "case", FEW, "-o", str(case))
    ran = command("frameworks", "jax", "run", str(case), "--implementation", "parallel", "-o", str(result))
    note = read_result(result, read_case(case)).origin.note
    assert note.startswith("Newton was within the bound of every step after ")
    assert (ran.returncode, ran.stdout.splitlines()[0]) == (0, note)


def test_wrong_jacobians_cost_iterations_and_gradients(framework, altered):
    """The states are those of the bound, whatever led there."""
    right, _, _ = judged(framework, FEW)
    linear = parallel._linear

    def wrong(*given):
        F, J = linear(*given)
        return F, 0.9 * J

    altered(_linear=wrong)
    note, verdict, outside = judged(framework, FEW)
    assert "within the bound of every step" in note
    assert [int(text.split(" iterations")[0].split()[-1]) for text in (right, note)] == sorted(
        int(text.split(" iterations")[0].split()[-1]) for text in (right, note)
    )
    assert note != right
    assert verdict == "different"
    assert outside
    assert not outside & {"H", "final"}


def test_what_does_not_converge_is_left_to_the_loop_and_told(framework, given, altered):
    altered(MOST=1)
    _, arrays = given(FEW, "float32")
    solved = parallel.solver("rnn")(*arrays)
    assert (solved.within.tolist(), solved.iterations.tolist()) == ([False], [1])
    assert float(solved.ratio[0]) > 1
    by_loop, _ = compiled(CELLS["rnn"])(*arrays)
    assert jnp.array_equal(solved.H, by_loop)
    note, verdict, _ = judged(framework, FEW)
    assert note == "Newton was not within the bound after 1 iterations: all of it computed step by step"
    assert verdict == "equal"


def test_a_vacuous_bound_certifies_nothing(given, altered):
    altered(bound=Vacuous)
    _, arrays = given(FEW, "float32")
    assert parallel.solver("rnn")(*arrays).within.tolist() == [False]


class Vacuous:
    @staticmethod
    def step(*given, **options):
        value, allowed = bound.step(*given, **options)
        return value, allowed + 1


def test_in_parts(framework, given, altered):
    """Seven steps of three rows and four units, two at a time."""
    altered(JACOBIANS=2 * 3 * 4 * 4 * 4)
    _, arrays = given(FEW, "float32")
    assert parallel.solver("rnn")(*arrays).within.tolist() == [True] * 4
    note, verdict, _ = judged(framework, FEW)
    assert (note.split(" after ")[0], verdict) == ("Newton was within the bound of every step", "equal")


def test_a_race_has_it_where_it_is_named(framework):
    entered = object.__new__(Entered)
    entered.framework = framework
    chosen = [w for w in workloads.catalogue() if w.kind == "gradient" and w.cell == "gru"][:1]
    lanes = [{each.implementation.lane for each in entered.plan(chosen, names)} for names in ([], ["parallel"])]
    assert lanes == [{"scratch", "compiled", "tuned"}, {"parallel"}]
