"""A cell that is new in cells.toml and in the framework's cells.py is proven, with no other line changed."""

from __future__ import annotations

import json

import pytest

from tests import project_copy
from tests.more_cells import EQUATIONS, table

FUNCTIONS = {
    "torch": ("torch.sigmoid", "torch.tanh"),
    "tensorflow": ("tf.sigmoid", "tf.tanh"),
    "jax": ("jax.nn.sigmoid", "jnp.tanh"),
    "mxnet": ("npx.sigmoid", "np.tanh"),
}
CODE = """

def minimal(X, H, *, W_xf, W_hf, b_f, W_xh, W_hh, b_h):
    F = sigmoid(X @ W_xf + H @ W_hf + b_f)
    C = tanh(X @ W_xh + (F * H) @ W_hh + b_h)
    return (1 - F) * H + F * C, {"F": F, "C": C}


def odd(X, H, *, U_p, V_p, c_p, U_q, V_q, c_q, U, V, c):
    pre = X @ U_p + H @ V_p + c_p
    keep = sigmoid(pre)
    look = sigmoid(X @ U_q + H @ V_q + c_q)
    new = tanh(X @ U + (look * H) @ V + c)
    return H - keep * (H - new), {"pre": pre, "keep": keep, "look": look, "new": new}


def turned(X, H, *, W_xf, W_hf, b_f, W_xh, W_hh, b_h):
    F = sigmoid(X @ W_xf + H @ W_hf + b_f)
    C = tanh(X @ W_xh + (F * H) @ W_hh + b_h)
    return F * H + (1 - F) * C, {"F": F, "C": C}


CELLS |= {"minimal": minimal, "odd": odd, "turned": turned}
"""
# The last is the first, and wrong by hand.
NEW = {"minimal": "minimal", "odd": "odd", "turned": "minimal"}


@pytest.fixture
def root(tmp_path, framework_name):
    root = project_copy.project(tmp_path)
    for name, equations in NEW.items():
        project_copy.add(root / "shared_spec/cells.toml", "\n" + table(name, EQUATIONS[equations]))
    sigmoid, tanh = FUNCTIONS[framework_name]
    code = CODE.replace("sigmoid(", f"{sigmoid}(").replace("tanh(", f"{tanh}(")
    project_copy.add(root / f"frameworks/{framework_name}/cells.py", code)
    return root


def verdicts(root, framework_name):
    """The verdict on each new cell, and what was judged, from the command lines alone."""
    chosen = [word for name in NEW for word in ("--case", f"{name}-ordinary")]
    options = ["--implementation", "scratch", "--dtype", "float32"]
    cases = {name: str(root / f"{name}.safetensors") for name in NEW}
    results = root / "results" / framework_name
    proving = ("frameworks", framework_name, "prove", *chosen, *options)
    making = [("shared_spec", "case", f"{name}-ordinary", "-o", case) for name, case in cases.items()]
    judging = [
        ("isogru", "verdict", case, str(results / f"{name}-ordinary.scratch.float32.cpu.safetensors"), "--json")
        for name, case in cases.items()
    ]
    done, *ended = project_copy.in_turn(root, proving, *making, *judging)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [made.returncode for made in ended[: len(NEW)]] == [0] * len(NEW)
    for name, judged in zip(NEW, ended[len(NEW) :], strict=True):
        assert judged.stdout, judged.stderr
        record = json.loads(judged.stdout)[0]
        yield name, record["verdict"], {finding["quantity"] for finding in record["findings"]}


def test_it_is_proven_and_is_seen_where_it_is_wrong(root, framework_name):
    """All in one run: each imports the framework anew."""
    judgements = {name: (verdict, quantities) for name, verdict, quantities in verdicts(root, framework_name)}
    assert {name: verdict for name, (verdict, _) in judgements.items()} == {
        "minimal": "equal",
        "odd": "equal",
        "turned": "different",
    }
    assert judgements["odd"][1] >= {"H", "final", "grad.U_p", "grad.c"}
