"""isogru.check on functions of the test's own: what is right is equal, what is wrong is told in a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import isogru
from shared_spec import oracle
from shared_spec.cells import cell, cells
from shared_spec.errors import UserError

ROOT = Path(__file__).parents[2]
FEW = ["ordinary", "one_step", "zero_start"]
RIGHT = """
import numpy as np

def sigmoid(x):
    return 1 / (1 + np.exp(-x))

def forward(X, H, p):
    states = []
    for x in X:
        Z = sigmoid(x @ p["W_xz"] + H @ p["W_hz"] + p["b_z"])
        R = sigmoid(x @ p["W_xr"] + H @ p["W_hr"] + p["b_r"])
        C = np.tanh(x @ p["W_xh"] + (R * H) @ p["W_hh"] + p["b_h"])
        H = Z * H + (1 - Z) * C
        states.append(H)
    return np.stack(states)
"""


def few(name):
    return [f"{name}-{case}" for case in FEW if case != "one_step" or name in ("gru", "gru_reset_after", "rnn")]


def of(name):
    """The cell by the oracle's own loop, in the arrays' precision."""

    def forward(X, H0, parameters):
        return oracle.states(cell(name), X, H0, parameters)

    return forward


def pulled(name):
    """The gradients of the same, by the oracle."""

    def gradients(X, H0, parameters, dH):
        return oracle.Unrolled(cell(name), X, H0, parameters, {"X", *parameters}).backward(dH)

    return gradients


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", cells())
def test_what_is_right_is_equal(name, dtype):
    verdict = isogru.check(of(name), cell=name, dtype=dtype, gradients=pulled(name), cases=few(name))
    assert verdict.verdict == "equal", verdict.sentence
    assert verdict.sentence.startswith(f"equal to {name} in {dtype}: states and gradients of {len(few(name))} cases, ")
    assert verdict.worst.ratio <= 1
    assert {one.quantity for one in verdict.cases[0].findings} >= {"H", "final", "grad.X", "grad.H0", "grad.b_h"}
    isogru.assert_equal(of(name), cell=name, dtype=dtype, cases=few(name))


def test_all_cases_of_a_cell_are_the_catalogue():
    verdict = isogru.check(lambda X, H0, p: np.zeros((*X.shape[:2], H0.shape[1]), np.float32), cell="rnn")
    assert len(verdict.cases) == 12
    assert {each.verdict for each in verdict.cases} == {"different"}


@pytest.mark.parametrize("other", ["gru_reset_after", "gru_update_only"])
def test_another_cell_is_different(other):
    """Where the reset gate acts, and whether there is one at all, is seen on the catalogue."""

    def wrong(X, H0, parameters):
        zero = {"b_hh": np.zeros_like(H0[0])}
        return oracle.states(cell(other), X, H0, {**zero, **parameters})

    verdict = isogru.check(wrong, cell="gru", cases=few("gru"))
    assert verdict.verdict == "different"
    assert verdict.sentence.startswith("different: gru-")
    assert "should be" in verdict.sentence
    with pytest.raises(AssertionError, match=r"different: gru-.*should be"):
        isogru.assert_equal(wrong, cell="gru", cases=few("gru"))


def test_a_wrong_gradient_is_seen_where_states_are_right():
    def wrong(X, H0, parameters, dH):
        gradients = pulled("gru")(X, H0, parameters, dH)
        return gradients | {"W_hr": 1.01 * gradients["W_hr"]}

    verdict = isogru.check(of("gru"), cell="gru", gradients=wrong, cases=["gru-ordinary"])
    assert verdict.verdict == "different"
    assert verdict.worst.quantity == "grad.W_hr"
    assert isogru.check(of("gru"), cell="gru", cases=["gru-ordinary"]).verdict == "equal"


def raising(X, H0, parameters):
    raise ZeroDivisionError("a message of its own")


def leaving(X, H0, parameters):
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (raising, "raising: ZeroDivisionError: a message of its own"),
        (leaving, "leaving: SystemExit: 0"),
        (lambda X, H0, p: None, "H is NoneType, should be an array of numbers"),
        (lambda X, H0, p: of("gru")(X, H0, p).astype(complex), "H is an array of complex128, should be an array of"),
        (lambda X, H0, p: of("gru")(X, H0, p).astype("float64"), "H is float64, should be float32"),
        (lambda X, H0, p: of("gru")(X, H0, p).swapaxes(0, 1), "H has shape (3, 7, 4), should be (T, n, h) = (7, 3, 4)"),
        (lambda X, H0, p: (of("gru")(X, H0, p), H0[0]), "final has shape (4,), should be (n, h) = (3, 4)"),
    ],
)
def test_what_is_no_result_fails_and_says_why(forward, words):
    verdict = isogru.check(forward, cell="gru", cases=["gru-ordinary"])
    assert verdict.verdict == "failed"
    assert words in verdict.sentence
    assert verdict.worst is None


def test_gradients_that_are_none_fail_and_say_what_they_should_be():
    verdict = isogru.check(of("gru"), cell="gru", cases=["gru-ordinary"], gradients=lambda *_: None)
    assert "gradients are NoneType, should be a dict of them by name: X, H0, W_xz, W_hz, b_z" in verdict.sentence


def test_not_a_number_is_different():
    verdict = isogru.check(lambda X, H0, p: np.nan * of("gru")(X, H0, p), cell="gru", cases=["gru-ordinary"])
    assert verdict.verdict == "different"


def test_a_float64_that_is_computed_in_float32_is_told():
    def half(X, H0, parameters):
        low = {name: array.astype("float32") for name, array in parameters.items()}
        return of("gru")(X.astype("float32"), H0.astype("float32"), low).astype("float64")

    verdict = isogru.check(half, cell="gru", dtype="float64", cases=["gru-ordinary"])
    assert verdict.verdict == "failed"
    assert "asked for float64, computed with unit roundoff 6.0e-08: the label lies" in verdict.sentence


def test_what_a_function_does_to_its_inputs_changes_nothing():
    """Nor does giving back a view of them."""

    def in_place(X, H0, parameters):
        H = of("gru")(X, H0, parameters)
        X[...] = 0
        parameters["W_hh"][...] = 0
        return H

    assert isogru.check(in_place, cell="gru", gradients=pulled("gru"), cases=["gru-ordinary"]).verdict == "equal"
    shared = np.zeros((7, 3, 4), np.float32)

    def same_buffer(X, H0, parameters):
        shared[...] = of("gru")(X, H0, parameters)
        return shared

    assert isogru.check(same_buffer, cell="gru", cases=["gru-ordinary"]).verdict in ("equal", "failed")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cell": "lstm"}, "no cell 'lstm'; .*gru_reset_after"),
        ({"dtype": "int8"}, "no dtype 'int8'; .*float64"),
        ({"dtype": "bfloat16"}, 'NumPy has no bfloat16; say arrays="torch", "jax" or "tensorflow"'),
        ({"arrays": "cupy"}, "no arrays 'cupy'; there are numpy, torch, jax, tensorflow"),
        ({"device": "cuda"}, "NumPy has no device 'cuda'"),
        ({"gradients": "auto"}, 'gradients="auto" takes a framework with autodiff, and NumPy has none'),
        ({"gradients": "own"}, "gradients is 'own', should be a function or 'auto'"),
        ({"layout": "torch"}, "layout goes with a module, and function is none of a framework that is loaded"),
        ({"cell": ""}, 'say which cell it claims to be: cell="gru", or another of gru, gru_reset_after'),
        ({"cases": ["rnn-ordinary"]}, "no case 'rnn-ordinary' of gru; its cases are gru-ordinary, gru-zero_start"),
        ({"cases": []}, "no case chosen; the cases of gru are gru-ordinary"),
    ],
)
def test_requests_that_are_wrong(changes, words):
    with pytest.raises(UserError, match=words.replace("(", r"\(")):
        isogru.check(of("gru"), **{"cell": "gru", **changes})


def test_what_could_not_be_measured_is_said():
    """A function that takes few rows only is right on this case, and the probe, which has more, learns nothing."""

    def few_rows(X, H0, parameters):
        if len(H0) > 8:
            raise ValueError("8 rows at most")
        return of("gru")(X, H0, parameters)

    verdict = isogru.check(few_rows, cell="gru", cases="gru-ordinary")
    assert verdict.verdict == "equal"
    assert verdict.sentence.endswith("; its precision could not be measured")
    assert verdict.unmeasured == ("all of it: ValueError: 8 rows at most",)


def test_as_json():
    verdict = isogru.check(lambda X, H0, p: np.inf * H0[None] * X[..., :1], cell="gru", cases=["gru-one_unit"])
    plain = json.loads(verdict.json())
    assert (plain["verdict"], plain["cell"], plain["dtype"], plain["covers"]) == (
        "different",
        "gru",
        "float32",
        "states",
    )
    (case,) = plain["cases"]
    assert case["worst"]["difference"] is None, "infinity is null"


def test_the_command(command, tmp_path):
    file = tmp_path / "my_gru.py"
    file.write_text(RIGHT)
    some = ("--case", "gru-ordinary", "--case", "gru-saturated")
    done = command("isogru", "check", f"{file}:forward", "--cell", "gru", *some)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("✓ equal: gru-ordinary, ratio 0.")
    assert done.stdout.splitlines()[-1].startswith("equal to gru in float32: states of 2 cases, ")
    done = command("isogru", "check", f"{file}:forward", "--cell", "gru_reset_after", "--json")
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (1, "different")
    file.with_name("broken.py").write_text("import nowhere")
    file.with_name("leaves.py").write_text("import sys; sys.exit(0)")
    file.with_name("numpy.py").write_text(RIGHT)
    assert command("isogru", "check", f"{tmp_path}/numpy.py:forward", "--cell", "gru", *some).returncode == 0
    for asked, words in (
        (f"{tmp_path}/leaves.py:forward", "leaves.py: cannot be imported: SystemExit: 0"),
        (
            f"{tmp_path}/broken.py:forward",
            "broken.py: cannot be imported: ModuleNotFoundError: No module named 'nowhere'",
        ),
    ):
        done = command("isogru", "check", asked, "--cell", "gru")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert words in done.stderr


def test_the_commands_of_isogru_are_those_of_the_others(command, tmp_path):
    """One function behind both names: the same words and the same exit status."""
    ours, theirs = (command(package, "cells") for package in ("isogru", "shared_spec"))
    assert ours.stdout == theirs.stdout
    case, result = str(tmp_path / "case.safetensors"), str(tmp_path / "result.safetensors")
    assert command("isogru", "case", "gru-one_unit", "-o", case).returncode == 0
    assert command("shared_spec", "run", case, "-o", result, "--dtype", "float32").returncode == 0
    ours, theirs = (command(package, "verdict", case, result) for package in ("isogru", "reports"))
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout) == (0, ours.stdout)
    assert ours.stdout.startswith("✓ equal: ")
    told = command("isogru", "--help").stdout
    assert all(name in told for name in ("check", "verdict", "same", "convert", "layouts", "cells", "cases", "case"))


def test_what_takes_long_to_import_is_imported_where_it_is_used():
    """isogru loads no framework, no page and no database; commands no database that they may have no use for."""
    heavy = ("torch", "tensorflow", "jax", "mxnet", "sqlalchemy", "duckdb", "jinja2", "typer", "rich", "pooch", "ray")
    script = f"""import isogru, sys; isogru.check, isogru.same; print([name for name in {heavy} if name in sys.modules])
import frameworks.__main__, reports.__main__; print([name for name in {heavy} if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "['jinja2', 'typer', 'rich']"]
