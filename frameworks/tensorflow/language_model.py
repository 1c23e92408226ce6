"""The language model in TensorFlow: loss, gradients, SGD step, prediction. `parameters`: the cell's, W_hq and b_q."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import tensorflow as tf
from tensorflow import Tensor

from frameworks import rich
from frameworks.tensorflow.cells import Forward, _through_xla, _with_its_forward

Parameters = Mapping[str, Tensor]
OUTPUT = ("W_hq", "b_q")


def logits(forward: Forward, parameters: Parameters, inputs: Tensor, H0: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (n, T) and H0 (n, h) -> O (T, n, v) and the final state (n, h)."""
    W_hq, b_q = (parameters[name] for name in OUTPUT)
    of_cell = {name: value for name, value in parameters.items() if name not in OUTPUT}
    tokens = tf.transpose(inputs)
    if of_tokens := rich(forward).of_tokens:
        H, final = of_tokens(tokens, H0, of_cell)
    else:
        H, final = forward(tf.one_hot(tokens, tf.size(b_q), dtype=W_hq.dtype), H0, of_cell)
    return H @ W_hq + b_q, final


def loss(forward: Forward, parameters: Parameters, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over all tokens of inputs and targets (n, T), from a zero state."""
    if whole := rich(forward).loss:
        return whole(parameters, inputs, targets)
    O, _ = logits(forward, parameters, inputs, zero_state(parameters, tf.shape(inputs)[0]))
    of_each = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.transpose(targets), O)
    # A mean of means: XLA adds one after the other, and over all tokens at once is off by 2e-5 in float32.
    return tf.reduce_mean(tf.reduce_mean(of_each, axis=1))


@_with_its_forward
def loss_and_gradients(
    forward: Forward, parameters: Parameters, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, a scalar, and its gradient with respect to every parameter."""
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        value = loss(forward, parameters, inputs, targets)
    return value, tape.gradient(value, parameters, unconnected_gradients="zero")


def sgd(
    parameters: Parameters, gradients: Parameters, *, lr: float, clip_norm: float
) -> tuple[dict[str, Tensor], Tensor]:
    """p - lr g, all gradients first scaled by clip_norm / norm where their joint L2 norm is larger; and that norm."""
    clipped, norm = tf.clip_by_global_norm(list(gradients.values()), clip_norm)
    gradients = dict(zip(gradients, clipped, strict=True))
    return {name: p - lr * gradients[name] for name, p in parameters.items()}, norm


def training_step(forward: Forward, *, lr: float, clip_norm: float, compiled: bool) -> Callable[..., tuple]:
    """A function (parameters, inputs, targets) -> (parameters, loss, norm), in the compiled lane by the compiler of
    the forward.
    """

    step = functools.partial(_step, forward, clip_norm, lr=lr)
    return tf.function(step, jit_compile=_through_xla(forward)) if compiled else step


def _step(
    forward: Forward, clip_norm: float, parameters: Parameters, inputs: Tensor, targets: Tensor, lr: float | Tensor
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    value, gradients = loss_and_gradients(forward, parameters, inputs, targets)
    parameters, norm = sgd(parameters, gradients, lr=lr, clip_norm=clip_norm)
    return parameters, value, norm


def validation_loss(forward: Forward, *, compiled: bool) -> Callable[..., Tensor]:
    """A function (parameters, inputs, targets) -> loss, without gradients."""

    def evaluate(parameters: Parameters, inputs: Tensor, targets: Tensor) -> Tensor:
        return loss(forward, parameters, inputs, targets)

    return tf.function(evaluate, jit_compile=_through_xla(forward)) if compiled else evaluate


@functools.cache
def training_step_of_many(forward: Forward, *, clip_norm: float) -> Callable[..., tuple]:
    """A function (parameters, inputs, targets, rates) -> (parameters, losses, norms) of models of one shape, with a
    first axis (m,) in all of them: one after the other, by one function, traced once for each shape, whatever the
    rates.
    """

    one = tf.function(functools.partial(_step, forward, clip_norm), jit_compile=_through_xla(forward))

    def step(parameters: Parameters, inputs: Tensor, targets: Tensor, rates: Tensor) -> tuple:
        each = [one(_of(parameters, i), inputs[i], targets[i], rates[i]) for i in range(len(rates))]
        return tf.nest.map_structure(lambda *of: tf.stack(of), *each)

    return step


@functools.cache
def validation_loss_of_many(forward: Forward) -> Callable[..., Tensor]:
    """A function (parameters, inputs, targets) -> losses, all with a first axis (m,)."""
    one = validation_loss(forward, compiled=True)
    return lambda parameters, inputs, targets: tf.stack(
        [one(_of(parameters, i), inputs[i], targets[i]) for i in range(len(inputs))]
    )


def _of(parameters: Parameters, i: int) -> dict[str, Tensor]:
    return {name: value[i] for name, value in parameters.items()}


def predict(forward: Forward, parameters: Parameters, prefix: Tensor, count: int) -> Tensor:
    """The `count` tokens after the prefix (tokens,): greedy, the lowest index where two are equal."""
    O, H = logits(forward, parameters, prefix[None], zero_state(parameters, 1))
    predicted = [_greedy(O)]
    while len(predicted) < count:
        O, H = logits(forward, parameters, predicted[-1][None], H)
        predicted.append(_greedy(O))
    return tf.concat(predicted, 0)


def _greedy(O: Tensor) -> Tensor:
    # top_k promises the lowest index where two are equal; argmax promises nothing.
    return tf.math.top_k(O[-1]).indices[:, 0]


def zero_state(parameters: Parameters, n: int) -> Tensor:
    W_hq = parameters["W_hq"]
    return tf.zeros((n, tf.shape(W_hq)[0]), W_hq.dtype)
