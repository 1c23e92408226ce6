"""A cell that is new in cells.toml, and nowhere else: what is neutral knows it at once."""

from __future__ import annotations

import json

import pytest

from tests import project_copy
from tests.more_cells import EQUATIONS, table

FUNCTION = """
import numpy as np

def sigmoid(x):
    return 1 / (1 + np.exp(-x))

def forward(X, H, parameters):
    p, states = parameters, []
    for X_t in X:
        F = sigmoid(X_t @ p["W_xf"] + H @ p["W_hf"] + p["b_f"])
        C = np.tanh(X_t @ p["W_xh"] + (F * H) @ p["W_hh"] + p["b_h"])
        H = {H}
        states.append(H)
    return np.stack(states)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = project_copy.project(tmp_path_factory.mktemp("copy"))
    project_copy.add(root / "shared_spec/cells.toml", "\n" + table("minimal", EQUATIONS["minimal"]))
    return root


def test_it_has_formulas_costs_and_cases(root):
    asked = (("shared_spec", listing, "--json") for listing in ("cells", "cases"))
    cells, cases = (json.loads(done.stdout) for done in project_copy.in_turn(root, *asked))
    minimal = next(row for row in cells if row["name"] == "minimal")
    assert minimal["latex"][0].startswith(r"\mathbf{F}_t = \sigma(\mathbf{X}_t \mathbf{W}_{xf} + ")
    assert minimal["cost"]["in_turn"] == [1, 1]
    names = [row["name"] for row in cases]
    entries = ("ordinary", "zero_start", "long", "large_weights", "square", "float64_values", "gates")
    assert {f"minimal-{entry}" for entry in entries} | {"short-training-minimal", "full-training-minimal"} == {
        name for name in names if "minimal" in name
    }


def test_its_trainings_have_the_chapters_start(root):
    case = root / "case.safetensors"
    done = project_copy.run(root, "shared_spec", "case", "short-training-minimal", "-o", str(case))
    assert done.returncode == 0, done.stderr
    assert rb"\"start\": \"gaussian\"" in case.read_bytes()


@pytest.mark.parametrize(
    ("H", "verdict", "status"), [("(1 - F) * H + F * C", "equal", 0), ("F * H + (1 - F) * C", "different", 1)]
)
def test_a_function_is_judged_by_oracle_twins_and_bound(root, H, verdict, status):
    file = root / f"{verdict}.py"
    file.write_text(FUNCTION.replace("{H}", H))
    done = project_copy.run(root, "isogru", "check", f"{file}:forward", "--cell", "minimal", "--json")
    assert done.returncode == status, done.stderr
    record = json.loads(done.stdout)
    assert (record["verdict"], len(record["cases"]), record["unmeasured"]) == (verdict, 7, [])
    if verdict == "equal":
        assert list(record["roundoff"]) == ["product", "sum", "tanh", "sigmoid", "cell"]
        assert all(2.0**-25 <= u <= 2.0**-21 for u in record["roundoff"].values())
