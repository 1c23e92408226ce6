"""The conventions as data: read, checked, and each an edit of some cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isogru.conventions import FILE, conventions
from isogru.edits import unedited
from isogru.explain import probe, same_function
from shared_spec.cells import cell, cells
from shared_spec.errors import SpecificationError
from shared_spec.files.interchange import Case
from shared_spec.readings import bound, value
from shared_spec.readings.arithmetic import Unlike
from shared_spec.readings.functions import ByName, function
from tests.isogru.planted import SIZES, drawn, planted

OTHER_FUNCTIONS = ("relu", "linear", "softsign", "elu", "selu", "silu", "relu6", "hard_tanh", "hard_sigmoid(0.2, 0.5)")


def test_every_convention_changes_what_some_cell_computes():
    problems = [drawn(name, sizes, 1) for name in cells() for sizes in SIZES]
    unused = [name for name in conventions() if all(planted(case, name) is None for case in problems)]
    # The two of these biases are zero in a case; files have them.
    assert unused == ["order_rz: the second bias"]


@pytest.mark.parametrize("convention", conventions().values(), ids=str)
def test_a_convention_is_told_in_plain_words(convention):
    for text in (convention.sentence, convention.remedy):
        assert text
        assert text[-1] not in ".;"
        assert "{" not in text


def test_no_two_conventions_are_one_function():
    case = probe(drawn("gru_reset_after", SIZES[0], 1))
    # The orders of gates are left out: second biases other than b_hh are zero in a case, so that some agree on it.
    there = [each for each in conventions().values() if ":" not in each.name and planted(case, each.name) is not None]
    alike = {(a.name, b.name) for i, a in enumerate(there) for b in there[:i] if same_function([a], [b], case)}
    # 1 - sigmoid(x) is sigmoid(-x): equations for those who write them, weights for those who have a file.
    assert alike == {("update_negated", "update_turned")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[a]\nsentence = "s"\nremedy = "r"\n', "one of rewrite, functions, weights"),
        ('[a]\nsentence = "s"\nremedy = "r"\ntakes = { r = "q" }\n', "no gate 'q'; the gates are z, r, h"),
        ('[a]\nsentence = "s"\nremedy = "r"\nsequence = "upside_down"\n', "no sequence 'upside_down'; there are"),
        ('[a]\nsentence = "s"\nremedy = "r"\nfunctions = { tanh = "sine" }\n', "sine is no function"),
        ('[a]\nsentence = "s"\nremedy = "r"\nfunctions = { sine = "tanh" }\n', "can stand for one of sigmoid, tanh"),
        ('[a]\nsentence = "s"\nremedy = "r"\nweights = { b_h = "b_h ** 2" }\n', "outside the grammar"),
        ('[a]\nsentence = "s"\nremedy = "r"\nrewrite = [["R", "1 +"]]\n', "'H = 1 +'; write it as the equations of"),
        ('[a]\nsentence = 3\nremedy = "r"\nrewrite = [["R", "1"]]\n', "a sentence and a remedy are texts"),
        (
            '[a]\nsentence = "s"\nremedy = "r"\ntraining = { momentum = "soon" }\n',
            "momentum is 'soon', should be a number from 0 on",
        ),
        (
            '[a]\nsentence = "s"\nremedy = "r"\ntraining = { momentum = [1] }\n',
            "momentum is [1], should be a number from 0 on",
        ),
        (
            '[a]\nsentence = "s"\nremedy = "r"\nprecision = { bits = true, values = ["H"] }\n',
            "bits is True, should be a whole number from 1 on",
        ),
        (
            '[a]\nsentence = "s"\nremedy = "r"\ntraining = { dropout = 1.0 }\n',
            "dropout is 1.0, should be a number from 0 on that is less than 1",
        ),
        (
            '[a]\nsentence = "s"\nremedy = "r"\ntraining = { summed = 3 }\n',
            "summed is 3, should be one of tokens, steps",
        ),
        (
            '[a]\nsentence = "s"\nremedy = "r"\ntraining = { frozen = 3 }\n',
            "frozen is 3, should be how the names of parameters begin",
        ),
        (
            '[a]\nsentence = "s"\nremedy = "r"\nprecision = { bits = -3, values = ["H"] }\n',
            "bits is -3, should be a whole number from 1 on",
        ),
        (
            '[a]\nsentence = "s"\nremedy = "r"\nprecision = { bits = "8", values = ["H"] }\n',
            "bits is '8', should be a whole number",
        ),
    ],
)
def test_a_wrong_convention_is_refused_with_its_place(tmp_path, text, words):
    file = tmp_path / "conventions.toml"
    file.write_text(f'format = "isogru-conventions/1"\n{text}')
    with pytest.raises(SpecificationError, match=r"conventions\.toml:2:\d+: \[a\] ") as refused:
        conventions(file)
    assert words in str(refused.value)


def test_another_format_is_refused(tmp_path):
    file = tmp_path / "conventions.toml"
    file.write_text(FILE.read_text().replace("conventions/1", "conventions/9"))
    with pytest.raises(SpecificationError, match="update isogru"):
        conventions(file)


def test_equations_are_rewritten_wherever_they_stand():
    edited = conventions()["reset_before"].of_cell(cell("gru_reset_after"))
    case = drawn("gru_reset_after", SIZES[0], 2)
    X, H, p = case.arrays["X"][0], case.arrays["H0"], case.parameters
    quantities = value.step(edited, X, H, p)
    R, Z = quantities["R"], quantities["Z"]
    C = np.tanh(X @ p["W_xh"] + p["b_h"] + (R * H) @ p["W_hh"] + p["b_hh"])
    np.testing.assert_allclose(quantities["H"], Z * H + (1 - Z) * C, rtol=1e-12)


def test_weights_take_those_of_other_gates():
    held = dict(unedited(drawn("gru_reset_after", SIZES[0], 2)).weights)
    weights = conventions()["order_zrh: W_h"].of_weights(held)
    assert weights is not None
    for gate, of in (("z", "r"), ("r", "h"), ("h", "z")):
        np.testing.assert_array_equal(weights[f"W_h{gate}"], held[f"W_h{of}"])
        np.testing.assert_array_equal(weights[f"W_x{gate}"], held[f"W_x{gate}"])


def test_a_second_bias_in_another_place_is_added_there():
    case = drawn("gru_reset_after", SIZES[0], 2)
    edit = unedited(case).then(conventions()["order_rh: the second bias"])
    assert edit is not None
    np.testing.assert_array_equal(edit.parameters["b_r"], case.arrays["b_r"] + case.arrays["b_hh"])
    assert not edit.parameters["b_hh"].any()


class Blurred(Unlike):
    """Another library's arithmetic, with functions by their names."""

    def function(self, name, x):
        return self._off(ByName().function(name, x), 1.0)


@pytest.mark.parametrize("name", OTHER_FUNCTIONS)
def test_the_bound_covers_other_functions(name):
    assert function(name) is not None
    plain = drawn("gru", (1, 64, 5, 8), 3)
    edited = replace(conventions()["candidate_relu"], functions={"tanh": name}).of_cell(plain.cell)
    case = Case(plain.name, edited, plain.arrays)
    X, H, p = case.arrays["X"][0], case.arrays["H0"], case.parameters
    should, allowed = bound.step(edited, X, H, p, u=2.0**-24)
    worst = 0.0
    for seed in range(4):
        narrow = {key: array.astype(np.float32) for key, array in p.items()}
        states = value.step(
            edited, X.astype(np.float32), H.astype(np.float32), narrow, arithmetic=Blurred("float32", seed)
        )["H"]
        worst = max(worst, float((np.abs(states - should) / allowed).max()))
    # It holds, and is no wider than a few hundred times what happens.
    assert 2e-3 < worst <= 1
