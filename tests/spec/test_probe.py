"""The probe tells formats apart: a cell in NumPy whose products, functions or everything is coarser than its label."""

from __future__ import annotations

import numpy as np
import pytest

from isogru.judge import precision
from reports.diff.precision import format_of
from shared_spec.cells import cell
from shared_spec.readings import value
from shared_spec.readings.arithmetic import Plain

BITS = {"TF32": 11, "bfloat16": 8}


def rounded(array, bits):
    """To so many bits of precision, to nearest."""
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits).astype(array.dtype)


class Coarse(Plain):
    """Factors, or what functions give, rounded to a format of fewer bits."""

    def __init__(self, *, factors=None, functions=None):
        self.factors, self.functions = factors, functions

    def product(self, a, b):
        if self.factors:
            a, b = rounded(a, BITS[self.factors]), rounded(b, BITS[self.factors])
        return super().product(a, b)

    def function(self, name, x):
        y = super().function(name, x)
        return rounded(y, BITS[self.functions]) if self.functions else y


def measured(name, arithmetic, dtype="float32", computed="float32"):
    the_cell = cell(name)

    def states(X, H0, parameters):
        low = {key: array.astype(computed) for key, array in {"X": X[0], "H": H0, **parameters}.items()}
        H = value.step(the_cell, low["X"], low["H"], low, arithmetic=arithmetic)["H"].astype(dtype)
        return H[None]

    found = precision.measure(states, the_cell, dtype=dtype)
    return {operation: format_of(u) for operation, u in found.items()}


@pytest.mark.parametrize("name", ["gru", "gru_reset_after", "gru_reset_only", "gru_update_only"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_as_labelled(name, dtype):
    found = measured(name, Plain(), dtype, dtype)
    assert found == dict.fromkeys(("product", "sum", "tanh", "sigmoid", "cell"), dtype)


def test_a_float64_that_is_computed_in_float32():
    assert set(measured("gru", Plain(), "float64", "float32").values()) == {"float32"}


@pytest.mark.parametrize("format", BITS)
@pytest.mark.parametrize("name", ["gru", "gru_reset_after", "rnn"])
def test_coarse_products_are_told_from_functions(name, format):
    found = measured(name, Coarse(factors=format))
    assert (found["product"], found["tanh"], found.get("sigmoid", "float32")) == (format, "float32", "float32")
    assert found["sum"] in ("float32", format)
    assert found["cell"] != "float32"


@pytest.mark.parametrize("format", BITS)
def test_coarse_functions(format):
    found = measured("gru", Coarse(functions=format))
    assert (found["tanh"], found["sigmoid"]) == (format, format)
    # They come out through tanh.
    assert (found["product"], found["sum"]) == (format, format)
