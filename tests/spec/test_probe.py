"""The probe tells formats apart: a cell in NumPy whose products, functions or everything is coarser than its label."""

from __future__ import annotations

import numpy as np
import pytest

from isogru.judge import precision, view
from reports.diff.precision import format_of
from shared_spec.cells import cell, cells
from shared_spec.readings import value
from shared_spec.readings.arithmetic import Plain
from tests.more_cells import written

BITS = {"TF32": 11, "bfloat16": 8}


def rounded(array, bits):
    """To so many bits of precision, to nearest."""
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits).astype(array.dtype)


@pytest.fixture(scope="module")
def more(tmp_path_factory):
    """Cells that are not the specification's, by name."""
    return written(tmp_path_factory.mktemp("cells"))


class Coarse(Plain):
    """Factors, or what functions give, rounded to a format of fewer bits; of functions one alone by its number."""

    def __init__(self, *, factors=None, functions=None, only=None):
        self.factors, self.functions, self.only, self.asked = factors, functions, only, 0

    def product(self, a, b):
        if self.factors:
            a, b = rounded(a, BITS[self.factors]), rounded(b, BITS[self.factors])
        return super().product(a, b)

    def function(self, name, x):
        y = super().function(name, x)
        self.asked += 1
        coarse = self.functions and self.only in (None, self.asked - 1)
        return rounded(y, BITS[self.functions]) if coarse else y


def roundoff(name, arithmetic, dtype="float32", computed="float32", without=()):
    the_cell = cell(name) if isinstance(name, str) else name

    def states(X, H0, parameters):
        arithmetic.asked = 0
        parameters = {key: array * (key not in without) for key, array in parameters.items()}
        low = {key: array.astype(computed) for key, array in {"X": X[0], "H": H0, **parameters}.items()}
        H = value.step(the_cell, low["X"], low["H"], low, arithmetic=arithmetic)["H"].astype(dtype)
        return H[None]

    return precision.measure(states, the_cell, dtype=dtype, without=without)


def measured(*arguments, **options):
    return {operation: format_of(u) for operation, u in roundoff(*arguments, **options).items()}


@pytest.mark.parametrize("name", ["gru", "gru_reset_after", "gru_reset_only", "gru_update_only"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_as_labelled(name, dtype):
    formats = measured(name, Plain(), dtype, dtype)
    assert formats == dict.fromkeys(("product", "sum", "tanh", "sigmoid", "cell"), dtype)


def test_a_float64_that_is_computed_in_float32():
    assert set(measured("gru", Plain(), "float64", "float32").values()) == {"float32"}


@pytest.mark.parametrize("format", BITS)
@pytest.mark.parametrize("name", ["gru", "gru_reset_after", "rnn"])
def test_coarse_products_are_told_from_functions(name, format):
    formats = measured(name, Coarse(factors=format))
    assert (formats["product"], formats["tanh"], formats.get("sigmoid", "float32")) == (format, "float32", "float32")
    assert formats["sum"] in ("float32", format)
    assert formats["cell"] != "float32"


@pytest.mark.parametrize("format", BITS)
def test_coarse_functions(format):
    formats = measured("gru", Coarse(functions=format))
    assert (formats["tanh"], formats["sigmoid"]) == (format, format)
    # They come out through tanh.
    assert (formats["product"], formats["sum"]) == (format, format)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["minimal", "odd", "without_biases", "linear"])
def test_any_cell_is_as_labelled(more, name, dtype):
    of = more[name]
    assert precision.unmeasured(of) == ()
    operations = (
        ("product", "sum", "sigmoid", "cell") if name == "linear" else ("product", "sum", "tanh", "sigmoid", "cell")
    )
    assert measured(of, Plain(), dtype, dtype) == dict.fromkeys(operations, dtype)


@pytest.mark.parametrize("format", BITS)
@pytest.mark.parametrize("name", ["minimal", "odd"])
def test_coarse_products_and_functions_of_any_cell(more, name, format):
    formats = measured(more[name], Coarse(factors=format))
    assert (formats["product"], formats["tanh"], formats["sigmoid"]) == (format, "float32", "float32")
    formats = measured(more[name], Coarse(functions=format))
    assert (formats["tanh"], formats["sigmoid"]) == (format, format)


@pytest.mark.parametrize("name", [*cells(), "minimal", "odd", "without_biases", "linear"])
def test_each_function_that_alone_is_coarse_is_seen(more, name):
    """Each sigmoid in a unit of its own: a gate whose neighbours are as labelled cannot hide behind them."""
    of = more.get(name) or cell(name)
    assert len(view.views(of)) == len(of.functions)
    for number, (_, function) in enumerate(of.functions):
        formats = measured(of, Coarse(functions="bfloat16", only=number))
        assert formats[function.name] == "bfloat16"
        alone = {each.function for each in view.views(of) if each.alone}
        for other in {"tanh", "sigmoid"} & alone - {function.name}:
            assert formats[other] == "float32"


def test_a_gate_is_seen_alone_where_it_can_be(more):
    def alone(of):
        return [each.weight for each in view.views(of) if each.alone]

    assert alone(cell("gru")) == alone(cell("gru_reset_after")) == ["W_xz", "W_xh"]
    assert alone(cell("gru_reset_only")) == ["W_xh"]
    assert alone(more["minimal"]) == ["W_xf", "W_xh"]


def test_what_cannot_be_measured_is_said(more):
    # The gate has no input of its own that could hand it a point.
    assert precision.unmeasured(more["blind"]) == ("sigmoid of Z",)
    assert "sigmoid" not in measured(more["blind"], Plain())
    # A tanh of a tanh; small numbers come out of both as they went in.
    assert precision.unmeasured(more["tanh_of_tanh"]) == ("tanh of G", "tanh of H")
    assert measured(more["tanh_of_tanh"], Plain())["product"] == "float32"
    # A sigmoid takes small numbers to one half: nothing comes out as it went in.
    assert precision.unmeasured(more["squeezed"]) == ("product", "sum")
    assert set(measured(more["squeezed"], Plain())) == {"sigmoid", "cell"}
    # 1 - 2 F would be as good as linear, in numbers with an end; in a format nothing of a small one is left in F.
    assert precision.unmeasured(more["cancelling"]) == ("product", "sum")
    assert all(precision.unmeasured(each) == () for each in cells().values())


def test_a_layer_that_lacks_a_parameter_is_asked_without_it():
    lacks = ("b_hh",)
    assert all("b_hh" not in dict(each.setting) for each in view.views(cell("gru_reset_after"), lacks))
    formats = measured("gru_reset_after", Plain(), without=lacks)
    assert formats.items() >= dict.fromkeys(("product", "sum", "tanh", "sigmoid"), "float32").items()


def test_an_image_with_an_offset_is_held_against_what_is_not_the_offset(more):
    seen = {each.weight: each for each in view.views(more["leaky"])}
    assert (seen["W_xf"].offset, seen["W_xf"].factor) == (pytest.approx(1), pytest.approx(-1))
    assert measured(more["leaky"], Plain()) == {"sigmoid": "float32", "cell": "float32"}
    leaky, plain = (roundoff(of, Coarse(functions="TF32"))["sigmoid"] for of in (more["leaky"], cell("gru")))
    assert leaky == pytest.approx(plain, rel=0.01)
