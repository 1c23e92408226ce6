"""The oracle over time, and its twins."""

from __future__ import annotations

import numpy as np
import pytest

from shared_spec import cases, oracle
from shared_spec.cells import cells
from shared_spec.oracle import Permutation

CELLS = list(cells())


@pytest.mark.parametrize("name", CELLS)
def test_states_without_a_way_back_are_the_same(name):
    case = cases.build(f"{name}-ordinary")
    with_gradients = oracle.run(case.cell, case.arrays)
    without = oracle.run(case.cell, {k: v for k, v in case.arrays.items() if k != "dH"})
    assert set(without) == {"H", "final"}
    np.testing.assert_array_equal(without["H"], with_gradients["H"])
    np.testing.assert_array_equal(without["final"], with_gradients["H"][-1])


def test_a_permutation_is_undone():
    array = np.arange(24.0).reshape(2, 3, 4)
    permutation = Permutation({"n": 3, "d": 4, "T": 2}, seed=1)
    moved = permutation.apply(array, ("T", "n", "d"))
    assert not np.array_equal(moved, array)
    np.testing.assert_array_equal(permutation.undo(moved, ("T", "n", "d")), array)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("dtype", "least", "most"), [("float32", 1e-9, 1e-4), ("float64", 1e-18, 1e-12)])
def test_twins_stray_by_rounding_and_no_more(name, dtype, least, most):
    case = cases.build(f"{name}-ordinary")
    truth = oracle.run(case.cell, case.arrays)
    twins = []
    for seed in range(oracle.TWINS):
        twin = oracle.twin(case.cell, case.arrays, dtype=dtype, seed=seed)
        assert set(twin) == set(truth)
        assert all(array.dtype == dtype for array in twin.values())
        twins.append(twin)
    for key in truth:
        assert least < max(float(np.abs(twin[key] - truth[key]).max()) for twin in twins) < most, key
        assert len({twin[key].tobytes() for twin in twins}) > 1, f"{key}: twins that are all alike are no sample"


def test_twins_are_the_same_each_time():
    case = cases.build("gru-ordinary")
    one, two = (oracle.twin(case.cell, case.arrays, dtype="float32", seed=3) for _ in range(2))
    assert all((one[key] == two[key]).all() for key in one)
