"""The language model in MXNet: loss, gradients, SGD step, prediction. `parameters` has the cell's and W_hq, b_q."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mxnet import autograd, np, npx
from mxnet.numpy import ndarray

from frameworks import rich
from frameworks.mxnet.cells import Forward

Parameters = Mapping[str, ndarray]
OUTPUT = ("W_hq", "b_q")


def logits(forward: Forward, parameters: Parameters, inputs: ndarray, H0: ndarray) -> tuple[ndarray, ndarray]:
    """Tokens (n, T) and H0 (n, h) -> O (T, n, v) and the final state (n, h)."""
    W_hq, b_q = (parameters[name] for name in OUTPUT)
    H, final = _states(forward, parameters, inputs, H0)
    return H @ W_hq + b_q, final


def _states(forward: Forward, parameters: Parameters, inputs: ndarray, H0: ndarray) -> tuple[ndarray, ndarray]:
    of_cell = {name: value for name, value in parameters.items() if name not in OUTPUT}
    tokens, b_q = inputs.T, parameters["b_q"]
    if of_tokens := rich(forward).of_tokens:
        return of_tokens(tokens, H0, of_cell)
    return forward(npx.one_hot(tokens, len(b_q), dtype=b_q.dtype), H0, of_cell)


def loss(forward: Forward, parameters: Parameters, inputs: ndarray, targets: ndarray) -> ndarray:
    """Mean cross-entropy over all tokens of inputs and targets (n, T), from a zero state."""
    if whole := rich(forward).loss:
        return whole(parameters, inputs, targets)
    H0 = zero_state(parameters, len(inputs))
    if cross_entropy := rich(forward).cross_entropy:
        H, _ = _states(forward, parameters, inputs, H0)
        return cross_entropy(H, *(parameters[name] for name in OUTPUT), targets.T)
    O, _ = logits(forward, parameters, inputs, H0)
    # By hand: npx.log_softmax, oneDNN's in float32, is wrong by 1e-6 or more, and always to the same side.
    O = O - np.max(O, -1, keepdims=True).detach()
    return np.mean(np.log(np.sum(np.exp(O), -1)) - npx.pick(O, targets.T))


def loss_and_gradients(
    forward: Forward, parameters: Parameters, inputs: ndarray, targets: ndarray
) -> tuple[ndarray, dict[str, ndarray]]:
    """The loss, a scalar, and its gradient with respect to every parameter."""
    leaves = {name: value.detach() for name, value in parameters.items()}
    for leaf in leaves.values():
        leaf.attach_grad()
    with autograd.record():
        value = loss(forward, leaves, inputs, targets)
    value.backward()
    return value.detach(), {name: leaf.grad for name, leaf in leaves.items()}


def sgd(
    parameters: Parameters, gradients: Parameters, *, lr: float, clip_norm: float
) -> tuple[dict[str, ndarray], ndarray]:
    """p - lr g, all gradients first scaled by clip_norm / norm where their joint L2 norm is larger; and that norm."""
    norm = np.sqrt(sum(np.sum(g * g) for g in gradients.values()))
    scale = lr * np.minimum(clip_norm / norm, 1.0)
    return {name: p - scale * gradients[name] for name, p in parameters.items()}, norm


def training_step(forward: Forward, *, lr: float, clip_norm: float, compiled: bool) -> Callable[..., tuple]:
    """A function (parameters, inputs, targets) -> (parameters, loss, norm). In the compiled lane the forward brings
    what is compiled with it.
    """

    def step(parameters: Parameters, inputs: ndarray, targets: ndarray) -> tuple[dict[str, ndarray], ndarray, ndarray]:
        value, gradients = loss_and_gradients(forward, parameters, inputs, targets)
        parameters, norm = sgd(parameters, gradients, lr=lr, clip_norm=clip_norm)
        return parameters, value, norm

    return step


def validation_loss(forward: Forward, *, compiled: bool) -> Callable[..., ndarray]:
    """A function (parameters, inputs, targets) -> loss, without gradients."""

    def evaluate(parameters: Parameters, inputs: ndarray, targets: ndarray) -> ndarray:
        return loss(forward, parameters, inputs, targets)

    return evaluate


def training_step_of_many(forward: Forward, *, clip_norm: float) -> None:
    """Nothing: operations run as they are called, and there is no program that several models could share."""


def validation_loss_of_many(forward: Forward) -> None:
    """Nothing, as above."""


def predict(forward: Forward, parameters: Parameters, prefix: ndarray, count: int) -> ndarray:
    """The `count` tokens after the prefix (tokens,): greedy, the lowest index where two are equal."""
    O, H = logits(forward, parameters, prefix[None], zero_state(parameters, 1))
    predicted = [np.argmax(O[-1], 1)]
    while len(predicted) < count:
        O, H = logits(forward, parameters, predicted[-1][None], H)
        predicted.append(np.argmax(O[-1], 1))
    return np.concatenate(predicted)


def zero_state(parameters: Parameters, n: int) -> ndarray:
    W_hq = parameters["W_hq"]
    return np.zeros((n, len(W_hq)), dtype=W_hq.dtype, ctx=W_hq.ctx)
