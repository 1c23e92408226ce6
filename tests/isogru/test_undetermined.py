"""What a precision cannot hold is undetermined: said, with where; for nobody and against nobody. Nothing warns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isogru import command, judge
from isogru.judge import comparison
from isogru.judge.comparison import compare
from isogru.wording import MARKS
from shared_spec import cases, oracle
from shared_spec.cells import cell
from shared_spec.files.interchange import Case, Origin, Result
from shared_spec.oracle import shapes_of_case
from tests import sample_results


def exploding(scale, T=88):
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
    found = judge.on(case, result)
    return found, {finding.quantity: finding.verdict for finding in found.findings}


def test_gradients_beyond_float32_are_undetermined_and_states_are_judged():
    case = exploding(1e30)
    found, verdicts = by_quantity(case, result_of(case, "float32"))
    assert found.verdict == "undetermined"
    assert (verdicts["H"], verdicts["final"], verdicts["grad.W_hr"]) == ("equal", "equal", "undetermined")
    sentence = found.worst_finding.sentence(found.origin)
    assert "cannot be told in float32" in sentence
    assert sentence.startswith("grad.")
    assert command.status(found.verdict) == 3
    # Where the precision can hold it, it is judged.
    assert judge.on(case, result_of(case, "float64")).verdict == "equal"


def test_what_can_be_told_counts_all_the_same():
    """A wrong state beside gradients of which nothing can be said is different."""
    case = exploding(1e30)
    right = result_of(case, "float32")
    found, verdicts = by_quantity(case, result_of(case, "float32", H=right.arrays["H"] + np.float32(0.1)))
    assert (found.verdict, verdicts["H"], verdicts["grad.X"]) == ("different", "different", "undetermined")


def test_only_what_overflows_is_excused():
    """Gradients that are all zero are wrong wherever a twin says what they are."""
    case = exploding(3e37, T=6)
    right = result_of(case, "float32")
    zero = {name: np.zeros_like(a) for name, a in right.arrays.items() if name.startswith("grad.")}
    assert judge.on(case, right).verdict in ("equal", "undetermined")
    found, verdicts = by_quantity(case, result_of(case, "float32", **zero))
    assert found.verdict == "different"
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
    found, _ = by_quantity(case, result_of(case, "float32"))
    assert found.verdict == "equal", found.worst_finding.sentence(found.origin)
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
    found = made.finding("H", basis="twins")
    assert found.verdict == verdict
    assert (found.undetermined, found.first_undetermined) == ((1, (1,)) if verdict == "undetermined" else (0, None))


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
    found = judge.on(case, replace(result_of(case, "float32"), arrays=arrays))
    first = found.divergence.first_forward
    assert (first.quantity, first.first_outside, first.verdict) == (f"trace.{gate}", 5, "different")
