"""The referee in process, on functions of NumPy: what a failure shows, which gradient path is missing, the plugin of
pytest, and same and convert from Python. What needs a framework is in tests/models.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import isogru
from isogru import gradient_paths
from isogru.runners import arrays
from shared_spec import cases as catalogue
from shared_spec import oracle
from shared_spec.cells import cell
from shared_spec.errors import InterchangeError, UserError
from tests.isogru import grus

ROOT = Path(__file__).parents[2]


def of(name):
    def forward(X, H0, parameters):
        return oracle.states(cell(name), X, H0, parameters)

    return forward


def turned_round(X, H0, p):
    """The update gate keeps what it should renew."""
    states, H = [], H0
    for x in X:
        Z = grus.sigmoid(x @ p["W_xz"] + H @ p["W_hz"] + p["b_z"])
        R = grus.sigmoid(x @ p["W_xr"] + H @ p["W_hr"] + p["b_r"])
        H = (1 - Z) * H + Z * np.tanh(x @ p["W_xh"] + (R * H) @ p["W_hh"] + p["b_h"])
        states.append(H)
    return np.stack(states)


def test_a_failure_shows_the_sentence_the_place_the_cause_and_the_remedy():
    with pytest.raises(AssertionError) as failure:
        isogru.assert_equal(turned_round, cell="gru", cases=["gru-ordinary", "gru-zero_start"])
    sentence, counted, why, remedy = str(failure.value).splitlines()
    assert sentence.startswith("different: gru-")
    assert "should be" in sentence
    assert counted == "not equal: 2 of 2 cases (gru-ordinary, gru-zero_start)"
    assert why.startswith("why: equal if the update gate is turned round: Z takes the candidate state")
    assert why.endswith("; so in 1 of 1 other cases)")
    assert remedy.startswith("remedy: write H = Z * H + (1 - Z) * C")


def test_what_is_equal_or_failed_is_not_explained():
    assert isogru.check(of("gru"), cell="gru", cases="gru-ordinary").explain() is None
    verdict = isogru.check(lambda X, H0, p: None, cell="gru", cases="gru-ordinary")
    assert verdict.explain() is None
    with pytest.raises(AssertionError, match=r"^failed: gru-ordinary: .*H is NoneType, should be an array"):
        isogru.assert_equal(lambda X, H0, p: None, cell="gru", cases="gru-ordinary")


def test_a_cause_is_held_against_the_other_cases():
    def by_size(X, H0, parameters):
        """Wrong in another way where there are four sequences."""
        zero = {**parameters, "b_z": 0 * parameters["b_z"]}
        return of("gru")(X, H0, zero) if len(H0) == 4 else turned_round(X, H0, parameters)

    made = isogru.check(by_size, cell="gru", cases=["gru-ordinary", "gru-zero_start", "gru-one_sequence"]).explain()
    assert made.verdict == "explained"
    assert made.sentence.endswith("; so in 1 of 2 other cases)")


def pulled(path):
    """The gradients of the cell, with one path cut."""

    def gradients(X, H0, parameters, dH):
        arrays = {"X": X, "H0": H0, "dH": dH, **parameters}
        case = catalogue.Case("own", cell("gru"), {name: array.astype(np.float64) for name, array in arrays.items()})
        return {name: array.astype(X.dtype) for name, array in gradient_paths.without(case, path)}

    return gradients


@pytest.mark.parametrize("path", gradient_paths.paths(cell("gru")), ids=lambda path: path.name)
def test_a_missing_path_of_the_gradient_is_named(path):
    verdict = isogru.check(of("gru"), cell="gru", gradients=pulled(path), cases=["gru-ordinary"])
    assert verdict.verdict == "different"
    made = verdict.explain()
    assert made.verdict == "explained", made.sentence
    assert [cause.names for cause in made.causes] == [(path.name,)]
    assert path.sentence in made.sentence
    assert made.remedy == path.remedy
    assert made.causes[0].ratio <= 1 < made.ratio


def test_no_path_is_cut_in_the_right_gradients():
    whole = gradient_paths.Path("none", "", "")
    assert isogru.check(of("gru"), cell="gru", gradients=pulled(whole), cases=["gru-ordinary"]).verdict == "equal"


def test_a_wrong_gradient_that_no_missing_path_gives_is_not_explained():
    def wrong(X, H0, parameters, dH):
        gradients = pulled(gradient_paths.Path("none", "", ""))(X, H0, parameters, dH)
        return gradients | {"W_hr": 1.01 * gradients["W_hr"], "b_z": 0 * gradients["b_z"]}

    made = isogru.check(of("gru"), cell="gru", gradients=wrong, cases=["gru-ordinary"]).explain()
    assert made.verdict == "not explained"
    assert "none of 8 missing paths makes grad.W_hr, grad.b_z right; zero throughout: grad.b_z" in made.sentence


class Restless:
    """Adds something else in each call."""

    def __init__(self, much):
        self._much, self._calls = much, 0

    def __call__(self, X, H0, parameters):
        self._calls += 1
        H = of("gru")(X, H0, parameters)
        return H * H.dtype.type(1 + self._calls % 2 * self._much)


def test_what_is_no_function_of_its_arguments_is_told():
    verdict = isogru.check(Restless(0.25), cell="gru", cases="gru-ordinary")
    assert verdict.verdict == "failed"
    assert "no function of its arguments: H[0,0,0] = " in verdict.sentence
    assert ", called twice with the same arrays" in verdict.sentence
    # Another order of a sum in each call is no such thing.
    assert isogru.check(Restless(2.0**-24), cell="gru", cases="gru-ordinary").verdict == "equal"


def test_a_function_that_fails_the_second_time():
    def once(X, H0, parameters, done=[]):  # noqa: B006
        done.append(1)
        # Two calls are the probe's.
        if len(done) == 4:
            raise ValueError("again")
        return of("gru")(X, H0, parameters)

    verdict = isogru.check(once, cell="gru", cases="gru-ordinary")
    assert "called again with the same arrays" in verdict.sentence
    assert verdict.sentence.endswith("ValueError: again")


class OnlyDlpack:
    """An array that NumPy reads by __dlpack__ alone."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **how):
        return self._array.__dlpack__(**how)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def test_arrays_of_any_kind_come_back():
    verdict = isogru.check(lambda X, H0, p: OnlyDlpack(of("gru")(X, H0, p)), cell="gru", cases="gru-ordinary")
    assert verdict.verdict == "equal", verdict.sentence
    # A list of T states is an array too; a tuple is (H, final).
    assert isogru.check(lambda X, H0, p: list(of("gru")(X, H0, p)), cell="gru", cases="gru-ordinary").verdict == "equal"
    verdict = isogru.check(lambda X, H0, p: (of("gru")(X, H0, p),) * 3, cell="gru", cases="gru-ordinary")
    assert "it gave a tuple of 3, should be H or (H, final)" in verdict.sentence
    assert (
        "H has shape (), should be (T, n, h) = (7, 3, 4)"
        in isogru.check(lambda X, H0, p: np.float32(1), cell="gru", cases="gru-ordinary").sentence
    )


def test_half_precision_of_numpy():
    """NumPy computes a product of float16 in float32 or in float16: either is within its bound."""
    some = ["gru-ordinary", "gru-zero_start"]
    verdict = isogru.check(of("gru"), cell="gru", dtype="float16", cases=some)
    assert (verdict.verdict, verdict.dtype) == ("equal", "float16"), verdict.sentence

    def in_float32(X, H0, parameters):
        wide = {name: array.astype("float32") for name, array in parameters.items()}
        return of("gru")(X.astype("float32"), H0.astype("float32"), wide)

    assert (
        "H is float32, should be float16" in isogru.check(in_float32, cell="gru", dtype="float16", cases=some).sentence
    )


def test_what_a_function_says_in_many_lines_is_one_line():
    def loud(X, H0, parameters):
        raise ValueError("\n  first \x1b[31m\nsecond\n")

    verdict = isogru.check(loud, cell="gru", cases="gru-ordinary")
    assert verdict.sentence.endswith("ValueError: first  [31m")


def test_arrays_are_those_of_the_annotation_or_numpy():
    def plain(X: np.ndarray, H0, parameters):
        return X

    assert arrays.wanted_by(plain) == arrays.wanted_by(lambda X: X) == "numpy"
    with pytest.raises(UserError, match="arrays of jax are asked for, and nothing has imported jax"):
        _without_jax()
    with pytest.raises(InterchangeError, match="H is str, should be an array of numbers"):
        arrays.taken("text", "H")


def _without_jax():
    if "jax" in sys.modules:  # Beside another test's framework.
        raise UserError("arrays of jax are asked for, and nothing has imported jax")
    isogru.check(of("gru"), cell="gru", arrays="jax")


# The plugin of pytest, as an installed package would activate it.

USERS_TESTS = """
import numpy as np

def sigmoid(x):
    return 1 / (1 + np.exp(-x))

def forward(X, H, p):
    states = []
    for x in X:
        Z = sigmoid(x @ p["W_xz"] + H @ p["W_hz"] + p["b_z"])
        R = sigmoid(x @ p["W_xr"] + H @ p["W_hr"] + p["b_r"])
        C = np.tanh(x @ p["W_xh"] + R * (H @ p["W_hh"] + p["b_hh"]) + p["b_h"])
        H = Z * H + (1 - Z) * C
        states.append(H)
    return np.stack(states)

def test_right(isogru):
    isogru.assert_equal(forward, cell="gru_reset_after", cases=["gru_reset_after-ordinary"])

def test_wrong(isogru):
    isogru.assert_equal(lambda X, H, p: forward(X, H, p | {"b_hh": 0}), cell="gru_reset_after",
                        cases=["gru_reset_after-ordinary"])
"""


def run(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_plugin(tmp_path):
    (tmp_path / "test_mine.py").write_text(USERS_TESTS)
    options = ("-p", "isogru.pytest_plugin", "-p", "no:cacheprovider", "-q")
    done = run("-m", "pytest", *options, cwd=tmp_path)
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "E       AssertionError: different: gru_reset_after-ordinary: H[" in done.stdout
    shown = [line.removeprefix("E").strip() for line in done.stdout.splitlines() if line.startswith("E ")]
    assert any(line.startswith("why: equal if ") for line in shown), shown
    assert any(line.startswith("remedy: ") for line in shown), shown
    # The traceback ends in the user's own test.
    assert "isogru/checking.py" not in done.stdout


def test_the_plugin_loads_nothing_before_it_is_used():
    script = (
        "import isogru.pytest_plugin, sys; print([n for n in ('numpy', 'isogru.judge', 'msgspec') if n in sys.modules])"
    )
    assert run("-c", script, cwd=ROOT).stdout == "[]\n"


def test_explain_is_a_function_whatever_is_imported_first():
    script = (
        "import isogru.explain, isogru.checking, isogru; from isogru.explain import explain; "
        "print(isogru.explain is explain, callable(isogru.same), set(isogru.__all__) <= set(dir(isogru)))"
    )
    assert run("-c", script, cwd=ROOT).stdout == "True True True\n"
    with pytest.raises(AttributeError, match="module 'isogru' has no attribute 'nothing'"):
        isogru.nothing  # noqa: B018


# same and convert, of files.


@pytest.fixture
def files(tmp_path):
    tensors = grus.torch_layer()
    np.savez(tmp_path / "torch.npz", **tensors)
    np.savez(tmp_path / "keras.npz", **grus.to_keras(tensors))
    return tmp_path


def test_same_of_files(files):
    comparison = isogru.same(files / "torch.npz", str(files / "keras.npz"))
    assert (comparison.verdict, len(comparison.pairs)) == ("the same", 1)
    assert comparison.sentence.startswith("the same function, if ")
    tensors = grus.torch_layer(seed=1)
    np.savez(files / "other.npz", **tensors)
    assert isogru.same(files / "torch.npz", files / "other.npz").verdict == "different"
    with pytest.raises(UserError, match="no such file"):
        isogru.same(files / "torch.npz", files / "nowhere.npz")
    with pytest.raises(UserError, match="int is neither a file nor a module of a framework that is loaded"):
        isogru.same(files / "torch.npz", 3)


def test_convert_of_files(files):
    made = isogru.convert(files / "torch.npz", files / "made.npz", to="keras")
    assert isogru.same(files / "made.npz", files / "keras.npz", layouts=("keras", "keras")).verdict == "the same"
    assert np.array_equal(made.tensors["kernel"], np.load(files / "keras.npz")["kernel"])
    into = isogru.convert(files / "torch.npz", into=files / "keras.npz")
    assert np.array_equal(into.tensors["bias"], made.tensors["bias"])
    isogru.convert(files / "torch.npz", files / "lossy.npz", to="haiku", lossy=True)
    for arguments, words in (
        ({"to": "haiku"}, "impossible: .*; lossy=True gives that"),
        ({}, "say what to convert to"),
        ({"output": files / "torch.npz", "to": "keras"}, "would overwrite what is read"),
        ({"output": files / "made.npz", "into": object()}, "a module is no file to be written into"),
    ):
        with pytest.raises(UserError, match=words):
            isogru.convert(files / "torch.npz", **arguments)
