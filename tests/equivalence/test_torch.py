"""What is PyTorch's alone."""

from __future__ import annotations

import pytest
import torch

from frameworks.harness.run import run
from frameworks.protocol import find
from frameworks.torch import language_model, loops, tuned
from isogru import judge
from shared_spec import cases, frameworks


def test_a_validation_wants_no_gradient_in_any_thread(monkeypatch):
    """Whether gradients are wanted is a thread's own, and parts of a batch are computed in others."""
    monkeypatch.setattr(tuned.torch, "get_num_threads", lambda: 2)
    v, h = 6, 4
    shapes = {f"W_x{gate}": (v, h) for gate in "zrh"} | {f"W_h{gate}": (h, h) for gate in "zrh"}
    shapes |= {f"b_{gate}": (h,) for gate in "zrh"} | {"W_hq": (h, v), "b_q": (v,)}
    leaves = {name: torch.randn(shape, requires_grad=True) for name, shape in shapes.items()}
    inputs = torch.randint(0, v, (8, 3))
    forward = tuned.TUNED["gru"][0]()
    value = language_model.validation_loss(forward, compiled=False)(leaves, inputs, inputs)
    assert not value.requires_grad
    torch.testing.assert_close(value, language_model.loss(forward, leaves, inputs, inputs).detach())


def judged(framework, name, dtype):
    case = cases.build(f"{name}-ordinary")
    return judge.on(case, run(framework, find(framework, "tuned", name, dtype), case, dtype=dtype, device="cpu"))


@pytest.fixture(params=[1, 2])
def in_parts(monkeypatch, request):
    """So many threads, each of which takes a part of the rows however few there are; the loops that did."""
    monkeypatch.setattr(tuned, "PART", 1)
    monkeypatch.setattr(tuned.torch, "get_num_threads", lambda: request.param)
    seen = []
    for name in ("states", "pulled_back"):
        right = getattr(loops.Loop, name)
        monkeypatch.setattr(
            loops.Loop, name, lambda loop, *of, name=name, right=right: (seen.append(name), right(loop, *of))[1]
        )
    return seen


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", frameworks.native_cells())
def test_gradients_of_rows_in_parts_are_equal(framework, name, dtype, in_parts, results):
    verdict = judged(framework, name, dtype)
    assert verdict.verdict == "equal", verdict.worst_finding.sentence(verdict.origin)
    assert "pulled_back" in in_parts


@pytest.mark.parametrize("name", frameworks.native_cells())
def test_a_gradient_left_out_of_a_part_is_seen(framework, name, monkeypatch, in_parts, results):
    right = loops.in_parts
    monkeypatch.setattr(loops, "in_parts", lambda *of: [[0 * d for d in share or ()] for share in right(*of)])
    verdict = judged(framework, name, "float64")
    outside = {finding.quantity for finding in verdict.findings if finding.verdict == "different"}
    assert {"grad.W_xh", "grad.W_hh", "grad.b_h"} <= outside


@pytest.mark.parametrize("name", frameworks.native_cells())
def test_states_of_rows_in_parts_are_those_of_steps(name, in_parts):
    torch.manual_seed(0)
    T, n, d, h = 3, 5, 2, 4
    forward = tuned.TUNED[name][0]()
    shapes = {f"W_x{gate}": (d, h) for gate in "zrh"} | {f"W_h{gate}": (h, h) for gate in "zrh"}
    shapes |= {f"b_{gate}": (h,) for gate in "zrh"} | {"b_hh": (h,)}
    parameters = {key: torch.randn(shape, dtype=torch.float64) for key, shape in shapes.items()}
    X, H0 = torch.randn(T, n, d, dtype=torch.float64), torch.rand(n, h, dtype=torch.float64)
    H, final = forward(X, H0, parameters)
    assert in_parts == ["states"]
    before = H0
    for X_t, H_t in zip(X, H, strict=True):
        _, before = forward(X_t[None], before, parameters)
        torch.testing.assert_close(H_t, before)
    assert in_parts == ["states"]
    assert torch.equal(final, H[-1])
