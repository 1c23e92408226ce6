"""The cells of shared_spec/cells.toml, by hand in PyTorch: X (n, d), H (n, h) -> next H, and gates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from frameworks import rich
from frameworks.torch.runtime import _set_up_compiler

Forward = Callable[[Tensor, Tensor, Mapping[str, Tensor]], tuple[Tensor, Tensor]]
Step = Callable[..., tuple[Tensor, dict[str, Tensor]]]


def gru(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    Z = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = torch.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "R": R, "C": C}


def gru_reset_after(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h, b_hh):
    Z = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = torch.tanh(X @ W_xh + b_h + R * (H @ W_hh + b_hh))
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "R": R, "C": C}


def gru_reset_only(X, H, *, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    R = torch.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = torch.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    return C, {"R": R, "C": C}


def gru_update_only(X, H, *, W_xz, W_hz, b_z, W_xh, W_hh, b_h):
    Z = torch.sigmoid(X @ W_xz + H @ W_hz + b_z)
    C = torch.tanh(X @ W_xh + H @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "C": C}


def rnn(X, H, *, W_xh, W_hh, b_h):
    H = torch.tanh(X @ W_xh + H @ W_hh + b_h)
    return H, {}


CELLS = {
    "gru": gru,
    "gru_reset_after": gru_reset_after,
    "gru_reset_only": gru_reset_only,
    "gru_update_only": gru_update_only,
    "rnn": rnn,
}


@functools.cache
def with_gates(step: Step) -> Step:
    """The step with its gates kept: its state is [H, *gates], gates by name, its input [X, E]. E (n, h) is added to the
    state that comes out: zeros, whose gradient is that of the states.
    """

    def kept(X, S, **parameters):
        h = next(iter(parameters.values())).shape[-1]
        H, gates = step(X[:, :-h], S[:, :h], **parameters)
        return torch.cat([H + X[:, -h:], *(gates[name] for name in sorted(gates))], 1), {}

    return kept


def unroll(step: Step) -> Forward:
    """The step over time: a forward (X (T, n, d), H0 (n, h), parameters) -> (H (T, n, h), final (n, h))."""

    def forward(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        H, states = H0, []
        for X_t in X:
            H, _ = step(X_t, H, **parameters)
            states.append(H)
        return torch.stack(states), H

    return forward


def compiled(step: Step) -> Forward:
    """The step through torch.compile. The loop over time stays in Python: unrolled into one graph, 32 steps take a
    minute to compile.
    """

    def state_alone(X, H, **parameters):
        H, _ = step(X, H, **parameters)
        # Gates that came out would have to be written to memory.
        return H, {}

    _set_up_compiler()
    return unroll(torch.compile(state_alone, dynamic=True))


COMPILERS = {"compiled": compiled}


def gradients(forward: Forward, *, compiled: bool) -> Callable[..., tuple[Tensor, Tensor, dict[str, Tensor]]]:
    """A function (X, H0, parameters, dH) -> (H, final, gradients): those of "X", "H0" and every parameter, for
    dH (T, n, h), the cotangent of H. In the compiled lane the forward brings what is compiled with it.
    """

    def pulled_back(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor], dH: Tensor):
        inputs = {"X": X, "H0": H0, **parameters}
        leaves = {name: value.detach().requires_grad_() for name, value in inputs.items()}
        H, final = forward(leaves["X"], leaves["H0"], {name: leaves[name] for name in parameters})
        # A parameter that a cell leaves out has a gradient of zero: the verdict should see that, not an exception.
        gradients = torch.autograd.grad(H, list(leaves.values()), dH, materialize_grads=True)
        return H.detach(), final.detach(), dict(zip(leaves, gradients, strict=True))

    return rich(forward).pulled_back or pulled_back
