"""What a precision cannot hold is undetermined: said, with where; for nobody and against nobody. Nothing warns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isogru import command, judge
from isogru.judge import comparison, ends, reference
from isogru.judge.comparison import compare
from isogru.wording import MARKS
from shared_spec import cases, oracle
from shared_spec.cells import cell
from shared_spec.files.interchange import Case, Origin, Result
from shared_spec.oracle import shapes_of_case
from tests import sample_results
from tests.false_alarms import implementations
from tests.false_alarms.machines import Machine


def exploding(scale, T=56):
    """A cell without an update gate, whose gradients grow from step to step, from cotangents of this size."""
    the_cell, random = cell("gru_reset_only"), np.random.RandomState(0)
    sizes = {"T": T, "n": 4, "d": 2, "h": 53}
    arrays = {}
    for name, symbols in shapes_of_case(the_cell).items():
        values = random.standard_normal([sizes[s] for s in symbols])
        values *= 0.65 if name in the_cell.parameters else scale if name == "dH" else 1.0
        arrays[name] = values.astype(np.float32).astype(np.float64)
    return Case("exploding", the_cell, arrays)


def result_of(case, dtype, **changes):
    u = {"float32": 2.0**-24, "float64": 2.0**-53}[dtype]
    origin = Origin(case.name, case.digest, case.cell.name, case.cell.digest, "numpy", "m", "scratch", dtype, "cpu", u)
    with np.errstate(over="ignore", invalid="ignore"):
        arrays = oracle.run(case.cell, case.arrays, dtype=dtype)
    return Result(origin, {**arrays, **changes})


def by_quantity(case, result):
    verdict = judge.on(case, result)
    return verdict, {finding.quantity: finding.verdict for finding in verdict.findings}


def test_gradients_beyond_float32_are_undetermined_and_states_are_judged():
    case = exploding(1e30)
    verdict, verdicts = by_quantity(case, result_of(case, "float32"))
    assert verdict.verdict == "undetermined"
    assert (verdicts["H"], verdicts["final"], verdicts["grad.W_hr"]) == ("equal", "equal", "undetermined")
    sentence = verdict.worst_finding.sentence(verdict.origin)
    assert sentence.startswith("float32 cannot hold grad.")
    assert command.status(verdict.verdict) == 3
    # Where the precision can hold it, it is judged.
    assert judge.on(case, result_of(case, "float64")).verdict == "equal"


def test_what_can_be_told_counts_all_the_same():
    """A wrong state beside gradients of which nothing can be said is different."""
    case = exploding(1e30)
    right = result_of(case, "float32")
    verdict, verdicts = by_quantity(case, result_of(case, "float32", H=right.arrays["H"] + np.float32(0.1)))
    assert (verdict.verdict, verdicts["H"], verdicts["grad.X"]) == ("different", "different", "undetermined")


def test_only_what_overflows_is_excused():
    """Gradients that are all zero are wrong wherever a twin says what they are."""
    case = exploding(3e37, T=6)
    right = result_of(case, "float32")
    zero = {name: np.zeros_like(a) for name, a in right.arrays.items() if name.startswith("grad.")}
    assert judge.on(case, right).verdict in ("equal", "undetermined")
    verdict, verdicts = by_quantity(case, result_of(case, "float32", **zero))
    assert verdict.verdict == "different"
    assert verdicts["H"] == "equal"


def test_a_bound_that_says_nothing_does_not_excuse():
    """Where k u is 1 and more the twins can accuse, and nothing is called equal."""
    case = cases.build("gru-wide")
    coarse = replace(result_of(case, "float32").origin, unit_roundoff=2.0**-8)
    right = replace(result_of(case, "float32"), origin=coarse)
    assert judge.on(case, right).verdict == "undetermined"
    for wrong in (np.zeros_like, lambda H: np.full_like(H, 5.0), lambda H: np.full_like(H, np.nan)):
        arrays = {**right.arrays, "H": wrong(right.arrays["H"])}
        assert judge.on(case, replace(right, arrays=arrays)).verdict == "different"


def test_gradients_that_float32_holds_are_judged():
    """Of a size whose squares it cannot hold."""
    case = exploding(1e25, T=6)
    verdict, _ = by_quantity(case, result_of(case, "float32"))
    assert verdict.verdict == "equal", verdict.worst_finding.sentence(verdict.origin)
    turned = {"grad.W_hr": -result_of(case, "float32").arrays["grad.W_hr"]}
    assert by_quantity(case, result_of(case, "float32", **turned))[1]["grad.W_hr"] == "different"


@pytest.mark.parametrize(
    ("value", "should_be", "allowed", "verdict"),
    [
        (1.0, 1.0, np.inf, "undetermined"),
        (1.0, 2.0, np.nan, "undetermined"),
        (np.inf, 1e38, 1e39, "undetermined"),
        (np.nan, 1e38, 1e39, "undetermined"),
        # What must overflow may, to the right side; nothing else is excused.
        (np.inf, 1e39, 1e32, "equal"),
        (-np.inf, 1e39, 1e32, "different"),
        (0.0, 1e39, 1e32, "different"),
        (3e38, 1e39, 1e32, "different"),
        (np.inf, 1e38, 1e32, "different"),
        (np.nan, 1.0, 1e-6, "different"),
        (1.0, 1.0, 1e-6, "equal"),
    ],
)
def test_one_element(value, should_be, allowed, verdict):
    others = np.ones(3)
    here = np.array([False, True, False])
    made = compare(np.float32([1, value, 1]), np.where(here, should_be, others), np.where(here, allowed, 1e-6))
    finding = made.finding("H", basis="twins")
    assert finding.verdict == verdict
    assert (finding.undetermined, finding.first_undetermined) == ((1, (1,)) if verdict == "undetermined" else (0, None))


def test_where_it_stands_among_the_verdicts():
    assert comparison.worst(["equal", "undetermined"]) == "undetermined"
    assert comparison.worst(["undetermined", "suspect"]) == "suspect"
    assert set(comparison.ORDER) <= set(MARKS)
    statuses = {verdict: command.status(verdict) for verdict in (*comparison.ORDER, "failed")}
    assert statuses == {"equal": 0, "undetermined": 3, "suspect": 1, "different": 1, "failed": 1}


@pytest.mark.parametrize(("gate", "value"), [("Z", np.nan), ("R", np.inf), ("C", np.nan)])
def test_where_a_run_goes_wrong_is_not_where_nothing_can_be_told(gate, value):
    """What comes out of a gate that is no number cannot be judged; the gate is what is wrong, at its step."""
    case = cases.build("gru-ordinary")
    arrays = sample_results.run(case, "float32")
    arrays[f"trace.{gate}"][5] = value
    verdict = judge.on(case, replace(result_of(case, "float32"), arrays=arrays))
    first = verdict.divergence.first_forward
    assert (first.quantity, first.first_outside, first.verdict) == (f"trace.{gate}", 5, "different")


def drawn(name, sizes, sigma, **factors):
    """A problem with weights N(0, sigma²/h), some of its tensors times a factor."""
    the_cell, random, arrays = cell(name), np.random.RandomState(1), {}
    for key, symbols in shapes_of_case(the_cell).items():
        values = random.standard_normal([sizes[s] for s in symbols]) * factors.get(key, 1.0)
        arrays[key] = (values * (sigma / np.sqrt(sizes["h"]) if key in the_cell.parameters else 1.0)).astype(np.float32)
    return Case("mine", the_cell, {key: a.astype(np.float64) for key, a in arrays.items()})


def flushing(case):
    """What a machine gives that makes zero of what is not normal."""
    form = implementations.Form(Machine("float32", flushes=True))
    return result_of(case, "float32", **implementations.Gru(case.cell.name, form).results(case.arrays))


def test_gradients_that_vanish_may_be_made_zero():
    """Of the last state alone, over 60 steps and more: what is lost on the way is no fault, and zero is right where
    float32 has no other number.
    """
    case = drawn("rnn", {"T": 90, "n": 2, "d": 3, "h": 5}, 0.3)
    case.arrays["dH"][:-1] = 0
    for result in (flushing(case), result_of(case, "float32")):
        verdict, verdicts = by_quantity(case, result)
        assert verdicts["grad.X"] == "equal", verdict.worst_finding.sentence(verdict.origin)
        assert set(verdicts.values()) <= {"equal", "undetermined"}
    turned = {"grad.X": -flushing(case).arrays["grad.X"]}
    assert by_quantity(case, result_of(case, "float32", **turned))[1]["grad.X"] == "different"


def test_gradients_that_are_next_to_zero_throughout_are_undetermined():
    case = drawn("gru", {"T": 6, "n": 2, "d": 3, "h": 5}, 0.7, dH=1e-39)
    right = flushing(case)
    for factor in (1, -1, 2, 0):
        changed = {name: factor * a for name, a in right.arrays.items() if name.startswith("grad.")}
        verdict, verdicts = by_quantity(case, result_of(case, "float32", **changed))
        assert (verdicts["H"], verdicts["grad.X"]) == ("equal", "undetermined")
    assert "below 1.2e-38 a machine may make zero of a number" in verdict.worst_finding.sentence(verdict.origin)
    assert judge.on(case, result_of(case, "float64")).verdict == "equal"


def test_chaos_is_told_with_the_step_from_which_on_it_reigns():
    """Twins part by as much as the states are large: gradients of any kind would pass."""
    case = drawn("rnn", {"T": 60, "n": 2, "d": 3, "h": 24}, 6.0, X=0.1)
    right = result_of(case, "float32")
    for factor in (1, -1, 2):
        changed = {name: factor * a for name, a in right.arrays.items() if name.startswith("grad.")}
        verdict, verdicts = by_quantity(case, result_of(case, "float32", **changed))
        assert (verdicts["H"], verdicts["grad.X"], verdicts["grad.W_hh"]) == ("equal", "undetermined", "undetermined")
    step = ends.chaotic_from(reference.get(case, "float32"))
    assert 0 < step < 59
    sentence = verdict.worst_finding.sentence(verdict.origin)
    assert f"the problem is chaotic in float32: from step {step} on" in sentence
    # Its states are judged all the same, and where they are wrong it is different.
    off = right.arrays["H"] + np.float32(1e-3) * (np.arange(60) == step)[:, None, None]
    assert by_quantity(case, result_of(case, "float32", H=off.astype(np.float32)))[1]["H"] == "different"


def test_an_infinity_that_float32_must_give_is_right():
    case = drawn("rnn", {"T": 1, "n": 1, "d": 1, "h": 1}, 1.0, W_xh=1e-3, W_hh=1e-3, b_h=1e-3, dH=3e38, X=30.0)
    right = result_of(case, "float32")
    assert np.isinf(right.arrays["grad.W_xh"]).all()
    assert by_quantity(case, right)[1]["grad.W_xh"] == "equal"
    for wrong in (-right.arrays["grad.W_xh"], np.float32([[3e38]]), np.float32([[np.nan]])):
        assert by_quantity(case, result_of(case, "float32", **{"grad.W_xh": wrong}))[1]["grad.W_xh"] != "equal"


def test_what_overflows_in_one_order_alone_is_excused():
    """Three numbers, two of which are infinite together: the third takes them back."""
    case = drawn("rnn", {"T": 1, "n": 3, "d": 1, "h": 1}, 1e-3)
    case.arrays["X"][...] = 1.0
    case.arrays["dH"][0, :, 0] = [3e38, 3e38, -3e38]
    for value in (np.inf, np.nan):
        wrong = np.float32([[value]])
        assert by_quantity(case, result_of(case, "float32", **{"grad.W_xh": wrong}))[1]["grad.W_xh"] == "undetermined"
    none = {"grad.H0": np.full((3, 1), np.nan, np.float32)}
    assert by_quantity(case, result_of(case, "float32", **none))[1]["grad.H0"] == "different"


def test_sums_of_states_that_overflow_in_one_order_are_undetermined():
    case = drawn("gru", {"T": 4, "n": 2, "d": 4, "h": 3}, 0.5)
    case.arrays["X"][2, 1] = [3e38, 3e38, -3e38, -3e38]
    case.arrays["W_xz"][...] = 2.0
    verdict, verdicts = by_quantity(case, result_of(case, "float32"))
    assert verdicts["H"] == "undetermined"
    assert verdict.findings[0].first_undetermined[:2] == (2, 1)
    assert by_quantity(case, result_of(case, "float32", H=found_off(case)))[1]["H"] == "different"


def found_off(case):
    """States that are wrong in the row that does not overflow."""
    H = result_of(case, "float32").arrays["H"].copy()
    H[3, 0] += np.float32(0.1)
    return H


def test_a_product_that_is_made_zero_within_a_sum_is_no_fault():
    """R * H = 5e-39 times 1e30 is 5e-9, or nothing where 5e-39 is."""
    case = drawn("gru", {"T": 1, "n": 1, "d": 1, "h": 1}, 1e-3, H0=0.0)
    case.arrays["H0"][...] = np.float32(2e-38)
    case.arrays["b_r"][...] = np.float32(-0.5)
    case.arrays["W_hh"][...] = np.float32(1e30)
    right = flushing(case)
    assert by_quantity(case, right)[1]["H"] in ("equal", "undetermined")
    assert (np.abs(right.arrays["H"] - result_of(case, "float32").arrays["H"]) > 1e-10).all()
