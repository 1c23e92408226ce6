"""Equations: what the grammar takes, what it refuses and where, and shapes."""

from __future__ import annotations

import pytest

from shared_spec.errors import SpecificationError
from shared_spec.expression import Function, Name, Number, Operation, Place, names, parse, shape, unparse

PLACE = Place("cells.toml", 12, 4, "gru")
SHAPES = {"X": ("n", "d"), "H": ("n", "h"), "W": ("d", "h"), "b": ("h",)}


def test_tree():
    equation = parse("C = tanh(X @ W + 1 - b)", PLACE)
    product = Operation("@", Name("X"), Name("W"))
    tree = Function("tanh", Operation("-", Operation("+", product, Number(1.0)), Name("b")))
    assert (equation.target, equation.expression) == ("C", tree)
    assert list(names(equation.expression)) == ["X", "W", "b"]
    assert unparse(equation.expression) == "tanh((((X @ W) + 1) - b))"


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("Z = sin(X)", 8, "'sin(X)' is outside the grammar"),
        ("Z = X / H", 8, "'X / H' is outside the grammar"),
        ("Z = X ** 2", 8, "outside the grammar"),
        ("Z = -X", 8, "outside the grammar"),
        ("Z = H + X[0]", 12, "'X[0]' is outside the grammar"),
        ("Z = X.T", 8, "outside the grammar"),
        ("Z = __import__('os').getcwd()", 8, "outside the grammar"),
        ("Z = tanh(X, H)", 8, "outside the grammar"),
        ("Z = tanh(x=X)", 8, "outside the grammar"),
        ("Z = True", 8, "outside the grammar"),
        ("Z = 'X'", 8, "outside the grammar"),
        ("Z = (lambda: X)()", 8, "outside the grammar"),
        ("Z = [X for X in H]", 8, "outside the grammar"),
        ("Z == X", 4, "an equation reads NAME = EXPRESSION"),
        ("Z = X; H = X", 4, "an equation reads NAME = EXPRESSION"),
        ("Z = H = X", 4, "the left side of an equation is one name"),
        ("Z, H = X", 4, "the left side of an equation is one name"),
        ("Z[0] = X", 4, "the left side of an equation is one name"),
        ("Z = X +", 11, "not an equation"),
        ("", 4, "an equation reads NAME = EXPRESSION"),
    ],
)
def test_refused_with_its_place(text, column, said):
    with pytest.raises(SpecificationError) as refusal:
        parse(text, PLACE)
    assert str(refusal.value).startswith(f"cells.toml:12:{column}: [gru] ")
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Z = X @ W + b", ("n", "h")),
        ("Z = (1 - H) * H", ("n", "h")),
        ("Z = sigmoid(b)", ("h",)),
        ("Z = 1 + 2", ()),
    ],
)
def test_shapes(text, expected):
    assert shape(parse(text, PLACE).expression, SHAPES, PLACE) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Z = X @ H", "X has shape (n, d) and H has shape (n, h): these do not go together with @"),
        ("Z = X + H", "these do not go together with +"),
        ("Z = X * b", "these do not go together with *"),
        ("Z = b @ W", "these do not go together with @"),
        ("Z = Q + H", "Q is not defined here; defined are H, W, X, b"),
    ],
)
def test_shapes_that_do_not_fit(text, said):
    with pytest.raises(SpecificationError) as refusal:
        shape(parse(text, PLACE).expression, SHAPES, PLACE)
    assert said in str(refusal.value)
