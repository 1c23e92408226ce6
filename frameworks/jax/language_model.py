"""The language model in JAX: loss, gradients, SGD step, prediction. `parameters` has the cell's and W_hq, b_q."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from frameworks import rich
from frameworks.jax.cells import Forward
from frameworks.jax.runtime import _on_cpu

Parameters = Mapping[str, Array]
OUTPUT = ("W_hq", "b_q")


def logits(forward: Forward, parameters: Parameters, inputs: Array, H0: Array) -> tuple[Array, Array]:
    """Tokens (n, T) and H0 (n, h) -> O (T, n, v) and the final state (n, h)."""
    W_hq, b_q = (parameters[name] for name in OUTPUT)
    H, final = _states(forward, parameters, inputs, H0)
    return H @ W_hq + b_q, final


def _states(forward: Forward, parameters: Parameters, inputs: Array, H0: Array) -> tuple[Array, Array]:
    of_cell = {name: value for name, value in parameters.items() if name not in OUTPUT}
    tokens, b_q = inputs.T, parameters["b_q"]
    if of_tokens := rich(forward).of_tokens:
        return of_tokens(tokens, H0, of_cell)
    return forward(jax.nn.one_hot(tokens, len(b_q), dtype=b_q.dtype), H0, of_cell)


# Compiled in every lane: outside jit, JAX compiles the gradient of a scan anew at every call, 0.5 s for each step.
@partial(jax.jit, static_argnums=0)
def loss(forward: Forward, parameters: Parameters, inputs: Array, targets: Array) -> Array:
    """Mean cross-entropy over all tokens of inputs and targets (n, T), from a zero state."""
    if whole := rich(forward).loss:
        return whole(parameters, inputs, targets)
    H0 = zero_state(parameters, len(inputs))
    if cross_entropy := rich(forward).cross_entropy:
        H, _ = _states(forward, parameters, inputs, H0)
        return cross_entropy(H, *(parameters[name] for name in OUTPUT), targets.T)
    O, _ = logits(forward, parameters, inputs, H0)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(O, targets.T))


def loss_and_gradients(
    forward: Forward, parameters: Parameters, inputs: Array, targets: Array
) -> tuple[Array, dict[str, Array]]:
    """The loss, a scalar, and its gradient with respect to every parameter."""

    def one(inputs: Array, targets: Array) -> tuple[Array, dict[str, Array]]:
        return jax.value_and_grad(loss, argnums=1)(forward, parameters, inputs, targets)

    return _over_the_batch(forward, one, inputs, targets)


def sgd(
    parameters: Parameters, gradients: Parameters, *, lr: float, clip_norm: float
) -> tuple[dict[str, Array], Array]:
    """p - lr g, all gradients first scaled by clip_norm / norm where their joint L2 norm is larger; and that norm."""
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradients.values()))
    scale = lr * jnp.minimum(clip_norm / norm, 1.0)
    return {name: p - scale * gradients[name] for name, p in parameters.items()}, norm


def training_step(forward: Forward, *, lr: float, clip_norm: float, compiled: bool) -> Callable[..., tuple]:
    """A function (parameters, inputs, targets) -> (parameters, loss, norm). In the compiled lane the whole step is one
    program, unless the forward knows better.
    """
    if side_by_side := rich(forward).side_by_side:
        finish = functools.partial(_updated, forward, clip_norm, lr)
        return side_by_side(functools.partial(loss_and_gradients, forward), finish)
    step = functools.partial(_step, forward, clip_norm, lr=lr)
    return jax.jit(step) if compiled else step


def _step(
    forward: Forward, clip_norm: float, parameters: Parameters, inputs: Array, targets: Array, lr: float | Array
) -> tuple[dict[str, Array], Array, Array]:
    return _updated(forward, clip_norm, lr, parameters, loss_and_gradients(forward, parameters, inputs, targets))


def _updated(
    forward: Forward,
    clip_norm: float,
    lr: float | Array,
    parameters: Parameters,
    of_loss: tuple[Array, dict[str, Array]],
) -> tuple[dict[str, Array], Array, Array]:
    value, gradients = of_loss
    move = rich(forward).sgd or sgd
    parameters, norm = move(parameters, gradients, lr=lr, clip_norm=clip_norm)
    return parameters, value, norm


def validation_loss(forward: Forward, *, compiled: bool) -> Callable[..., Array]:
    """A function (parameters, inputs, targets) -> loss, without gradients."""

    def evaluate(parameters: Parameters, inputs: Array, targets: Array) -> Array:
        return _over_the_batch(forward, functools.partial(loss, forward, parameters), inputs, targets)

    if compiled and (side_by_side := rich(forward).side_by_side):
        return side_by_side(evaluate, lambda parameters, value: value)
    return jax.jit(evaluate) if compiled else evaluate


@functools.cache
def training_step_of_many(forward: Forward, *, clip_norm: float) -> Callable[..., tuple]:
    """A function (parameters, inputs, targets, rates) -> (parameters, losses, norms) of models of one shape, with a
    first axis (m,) in all of them: one program, compiled once, whatever the rates.
    """
    return _of_many(functools.partial(_step, forward, clip_norm))


@functools.cache
def validation_loss_of_many(forward: Forward) -> Callable[..., Array]:
    """A function (parameters, inputs, targets) -> losses, all with a first axis (m,)."""
    return _of_many(validation_loss(forward, compiled=False))


def _of_many(function: Callable[..., Any]) -> Callable[..., Any]:
    """One program of a function for every model. On a GPU all at once; on a CPU one after the other, since the states
    of all would not stay in the cache: a training step of four took 15, 81 and 425 ms each at once, and 14, 58 and
    336 ms in turn (T and h of 32 and 32, 128 and 32, 128 and 128).
    """

    @jax.jit
    def of_many(*given: Any) -> Any:
        together = None if _on_cpu() else len(given[-1])
        return jax.lax.map(lambda one: function(*one), given, batch_size=together)

    return of_many


def _over_the_batch(forward: Forward, one: Callable[[Array, Array], Any], inputs: Array, targets: Array) -> Any:
    """The mean of a function (inputs, targets) over the batch: in parts, if the forward knows how."""
    by_parts = rich(forward).by_parts
    return by_parts(one, inputs, targets) if by_parts else one(inputs, targets)


def predict(forward: Forward, parameters: Parameters, prefix: Array, count: int) -> Array:
    """The `count` tokens after the prefix (tokens,): greedy, the lowest index where two are equal."""
    O, H = logits(forward, parameters, prefix[None], zero_state(parameters, 1))
    predicted = [jnp.argmax(O[-1], 1)]
    while len(predicted) < count:
        O, H = logits(forward, parameters, predicted[-1][None], H)
        predicted.append(jnp.argmax(O[-1], 1))
    return jnp.concatenate(predicted)


def zero_state(parameters: Parameters, n: int) -> Array:
    W_hq = parameters["W_hq"]
    return jnp.zeros_like(W_hq, shape=(n, len(W_hq)))
