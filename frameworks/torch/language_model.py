"""The language model in PyTorch: loss, gradients, SGD step, prediction. `parameters` has the cell's and W_hq, b_q."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from frameworks import rich
from frameworks.torch.cells import Forward

Parameters = Mapping[str, Tensor]
OUTPUT = ("W_hq", "b_q")


def logits(forward: Forward, parameters: Parameters, inputs: Tensor, H0: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (n, T) and H0 (n, h) -> O (T, n, v) and the final state (n, h)."""
    W_hq, b_q = (parameters[name] for name in OUTPUT)
    H, final = _states(forward, parameters, inputs, H0)
    return H @ W_hq + b_q, final


def _states(forward: Forward, parameters: Parameters, inputs: Tensor, H0: Tensor) -> tuple[Tensor, Tensor]:
    of_cell = {name: value for name, value in parameters.items() if name not in OUTPUT}
    tokens, b_q = inputs.T, parameters["b_q"]
    if of_tokens := rich(forward).of_tokens:
        return of_tokens(tokens, H0, of_cell)
    return forward(functional.one_hot(tokens, len(b_q)).to(b_q.dtype), H0, of_cell)


def loss(forward: Forward, parameters: Parameters, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over all tokens of inputs and targets (n, T), from a zero state."""
    if whole := rich(forward).loss:
        return whole(parameters, inputs, targets)
    H0 = zero_state(parameters, len(inputs))
    if cross_entropy := rich(forward).cross_entropy:
        H, _ = _states(forward, parameters, inputs, H0)
        return cross_entropy(H, *(parameters[name] for name in OUTPUT), targets.T)
    O, _ = logits(forward, parameters, inputs, H0)
    return functional.cross_entropy(O.flatten(0, 1), targets.T.flatten())


def loss_and_gradients(
    forward: Forward, parameters: Parameters, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, a scalar, and its gradient with respect to every parameter."""
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}

    def one(inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        value = loss(forward, leaves, inputs, targets)
        gradients = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
        return value.detach(), dict(zip(leaves, gradients, strict=True))

    return _over_the_batch(forward, one, inputs, targets)


def sgd(
    parameters: Parameters, gradients: Parameters, *, lr: float, clip_norm: float
) -> tuple[dict[str, Tensor], Tensor]:
    """p - lr g, all gradients first scaled by clip_norm / norm where their joint L2 norm is larger; and that norm."""
    of_all = [gradients[name] for name in parameters]
    norm = torch.nn.utils.get_total_norm(of_all)
    scale = lr * torch.clamp(clip_norm / norm, max=1.0)
    # On a GPU two kernels for all of them, where one after another they are twenty.
    moved = torch._foreach_sub(list(parameters.values()), torch._foreach_mul(of_all, scale))
    return dict(zip(parameters, moved, strict=True)), norm


def training_step(forward: Forward, *, lr: float, clip_norm: float, compiled: bool) -> Callable[..., tuple]:
    """A function (parameters, inputs, targets) -> (parameters, loss, norm). In the compiled lane the forward brings
    what is compiled with it.
    """

    def step(parameters: Parameters, inputs: Tensor, targets: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        if (whole := rich(forward).whole_step) and (
            done := whole(parameters, inputs, targets, lr=lr, clip_norm=clip_norm)
        ):
            return done
        value, gradients = loss_and_gradients(forward, parameters, inputs, targets)
        with torch.no_grad():
            parameters, norm = sgd(parameters, gradients, lr=lr, clip_norm=clip_norm)
        return parameters, value, norm

    in_one_piece = rich(forward).in_one_piece
    return in_one_piece(step) if in_one_piece else step


def validation_loss(forward: Forward, *, compiled: bool) -> Callable[..., Tensor]:
    """A function (parameters, inputs, targets) -> loss, without gradients."""

    def evaluate(parameters: Parameters, inputs: Tensor, targets: Tensor) -> Tensor:
        # Here, since it holds for a thread, and parts may be computed in others.
        @torch.no_grad()
        def one(inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return loss(forward, parameters, inputs, targets), {}

        value, _ = _over_the_batch(forward, one, inputs, targets)
        return value

    return evaluate


def _over_the_batch(
    forward: Forward, one: Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]], inputs: Tensor, targets: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean of a loss and of gradients over the batch: in parts, if the forward knows how."""
    by_parts = rich(forward).by_parts
    return by_parts(one, inputs, targets) if by_parts else one(inputs, targets)


def training_step_of_many(forward: Forward, *, clip_norm: float) -> None:
    """Nothing: operations run as they are called, and there is no program that several models could share."""


def validation_loss_of_many(forward: Forward) -> None:
    """Nothing, as above."""


@torch.no_grad()
def predict(forward: Forward, parameters: Parameters, prefix: Tensor, count: int) -> Tensor:
    """The `count` tokens after the prefix (tokens,): greedy, the lowest index where two are equal."""
    O, H = logits(forward, parameters, prefix[None], zero_state(parameters, 1))
    predicted = [torch.argmax(O[-1], 1)]
    while len(predicted) < count:
        O, H = logits(forward, parameters, predicted[-1][None], H)
        predicted.append(torch.argmax(O[-1], 1))
    return torch.cat(predicted)


def zero_state(parameters: Parameters, n: int) -> Tensor:
    W_hq = parameters["W_hq"]
    return torch.zeros((n, len(W_hq)), dtype=W_hq.dtype, device=W_hq.device)
