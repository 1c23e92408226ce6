"""cells.toml as it is, and as it must not be."""

from __future__ import annotations

import pytest

from shared_spec.cells import FILE, cell, cells
from shared_spec.errors import SpecificationError, UserError


def test_the_five_cells():
    assert list(cells()) == ["gru", "gru_reset_after", "gru_reset_only", "gru_update_only", "rnn"]
    assert [e.target for e in cell("gru").equations] == ["Z", "R", "C", "H"]
    assert [e.target for e in cell("gru_update_only").equations] == ["Z", "C", "H"]
    assert set(cell("gru_reset_after").parameters) - set(cell("gru").parameters) == {"b_hh"}


def test_what_follows_from_the_equations():
    assert [name for name in cells() if not cell(name).gated] == ["rnn"]
    assert {name: cell(name).gate_biases for name in cells()} == {
        "gru": ("b_z", "b_r"),
        "gru_reset_after": ("b_z", "b_r"),
        "gru_reset_only": ("b_r",),
        "gru_update_only": ("b_z",),
        "rnn": (),
    }
    assert [(target, f.name) for target, f in cell("gru").functions] == [
        ("Z", "sigmoid"),
        ("R", "sigmoid"),
        ("C", "tanh"),
    ]


def test_unknown_cell():
    with pytest.raises(UserError, match="no cell 'lstm'; the cells are gru, gru_reset_after"):
        cell("lstm")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("(R * H) @ W_hh + b_h)", "(R / H) @ W_hh + b_h)", "'R / H' is outside the grammar"),
        ("X @ W_xz + H @ W_hz + b_z", "X @ W_hz + H @ W_hz + b_z", "X has shape (n, d) and W_hz has shape (h, h)"),
        ("H @ W_hz + b_z", "H @ W_hz", "no equation uses the parameter b_z"),
        ('"H = Z * H + (1 - Z) * C"', '"G = Z * H + (1 - Z) * C"', "the last equation of a cell assigns H"),
        ('"Z = sigmoid(X', '"X = sigmoid(X', "X is given; an equation cannot assign it"),
        ('"Z = sigmoid(X', '"W_hh = sigmoid(X', "W_hh is given; an equation cannot assign it"),
        ('"H = Z * H + (1 - Z) * C"', '"H = b_z"', "H has shape ('n', 'h'), its right side ('h',)"),
        ('b_z = ["h"]', 'b_z = ["k"]', "shapes are made of T, n, d, h, v"),
        ('title = "GRU, reset gate before', 'name = "GRU, reset gate before', "a cell has title, equations and"),
        ('short_start = "uniform"', 'short_start = "normal"', "short_start is 'normal'; language_model.toml has gaus"),
        ('short_start = "uniform"', 'full_start = "uniform"', "may have short_start, and nothing else"),
        ('format = "isogru-cells/1"', 'format = "isogru-cells/2"', "update isogru"),
        ("[gru]", "[gru", "not TOML"),
        ('b_z = ["h"]', "b_z = 3", "parameters a table of lists of dimensions"),
        ('equations = ["H = tanh(X @ W_xh + H @ W_hh + b_h)"]', "equations = 3", "equations are a list of texts"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, before, after, said):
    raw = FILE.read_text()
    assert before in raw
    wrong = tmp_path / "cells.toml"
    wrong.write_text(raw.replace(before, after, 1))
    with pytest.raises(SpecificationError) as refusal:
        cells(wrong)
    assert said in str(refusal.value)
    assert str(refusal.value).startswith("cells.toml:")


def test_the_place_is_the_line_of_the_equation(tmp_path):
    raw = FILE.read_text().replace("(R * H) @ W_hh + b_h)", "(R / H) @ W_hh + b_h)", 1)
    wrong = tmp_path / "cells.toml"
    wrong.write_text(raw)
    line = next(i for i, text in enumerate(raw.splitlines(), 1) if "R / H" in text)
    column = raw.splitlines()[line - 1].index("R / H") + 1
    with pytest.raises(SpecificationError, match=rf"cells\.toml:{line}:{column}: \[gru\] "):
        cells(wrong)


def test_the_place_of_a_start_is_its_line(tmp_path):
    wrong = tmp_path / "cells.toml"
    wrong.write_text(FILE.read_text().replace('short_start = "gaussian"', 'short_start = "small"'))
    line = next(i for i, text in enumerate(wrong.read_text().splitlines(), 1) if '"small"' in text)
    with pytest.raises(SpecificationError, match=rf"cells\.toml:{line}:1: \[rnn\] short_start is 'small'"):
        cells(wrong)


def test_digests_are_those_that_results_have():
    """Frozen: with another digest every result that is kept anywhere would be stale."""
    assert {name: each.digest for name, each in cells().items()} == {
        "gru": "3f45d0eab85e4266",
        "gru_reset_after": "e06c50f9e298182b",
        "gru_reset_only": "6d1e358ae1f41626",
        "gru_update_only": "6dcb68870c9ecfc5",
        "rnn": "aefae07cc8e81c36",
    }


def test_a_digest_is_of_the_equations_and_shapes(tmp_path):
    changed = tmp_path / "cells.toml"
    changed.write_text(FILE.read_text().replace('"H = C"', '"H = C * C"'))
    before, after = cells(), cells(changed)
    assert {name for name in before if before[name].digest != after[name].digest} == {"gru_reset_only"}
    begun = tmp_path / "begun.toml"
    begun.write_text(FILE.read_text().replace('short_start = "uniform"', 'short_start = "gaussian"'))
    assert {name: each.digest for name, each in cells(begun).items()} == {n: c.digest for n, c in before.items()}
