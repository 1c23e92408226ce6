"""What is PyTorch's alone."""

from __future__ import annotations

import torch

from frameworks.torch import language_model, tuned


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
