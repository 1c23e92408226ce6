"""The cells of shared_spec/cells.toml, by hand in TensorFlow: X (n, d), H (n, h) -> next H, and gates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow import Tensor

from frameworks import RichForward, rich

Forward = Callable[[Tensor, Tensor, Mapping[str, Tensor]], tuple[Tensor, Tensor]]
Step = Callable[..., tuple[Tensor, dict[str, Tensor]]]


def gru(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    Z = tf.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = tf.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = tf.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "R": R, "C": C}


def gru_reset_after(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h, b_hh):
    Z = tf.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = tf.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = tf.tanh(X @ W_xh + b_h + R * (H @ W_hh + b_hh))
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "R": R, "C": C}


def gru_reset_only(X, H, *, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    R = tf.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = tf.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    return C, {"R": R, "C": C}


def gru_update_only(X, H, *, W_xz, W_hz, b_z, W_xh, W_hh, b_h):
    Z = tf.sigmoid(X @ W_xz + H @ W_hz + b_z)
    C = tf.tanh(X @ W_xh + H @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "C": C}


def rnn(X, H, *, W_xh, W_hh, b_h):
    H = tf.tanh(X @ W_xh + H @ W_hh + b_h)
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
        h = tf.shape(next(iter(parameters.values())))[-1]
        H, gates = step(X[:, :-h], S[:, :h], **parameters)
        return tf.concat([H + X[:, -h:], *(gates[name] for name in sorted(gates))], 1), {}

    return kept


@functools.cache
def unroll(step: Step) -> Forward:
    """The step over time: a forward (X (T, n, d), H0 (n, h), parameters) -> (H (T, n, h), final (n, h))."""

    def forward(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        H, states = H0, []
        # Unstacked at once: the gradient of each X[t] by itself would be as large as X.
        for X_t in tf.unstack(X):
            H, _ = step(X_t, H, **parameters)
            states.append(H)
        return tf.stack(states), H

    return forward


@functools.cache
def compiled(step: Step) -> Forward:
    """The step through tf.function, one for each step, so that the next case finds it traced. The loop over time is
    a tf.while_loop: unrolled into the graph, 32 steps take five times as long to trace.
    """
    return tf.function(_scan(step), reduce_retracing=True)


@functools.cache
def compiled_xla(step: Step) -> Forward:
    """The same through XLA, which compiles it again for every shape."""
    return RichForward(tf.function(_scan(step), jit_compile=True), through_xla=True)


def _scan(step: Step) -> Forward:
    def forward(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        H = tf.scan(lambda H, X_t: step(X_t, H, **parameters)[0], X, H0)
        return H, H[-1]

    return forward


COMPILERS = {"compiled": compiled, "compiled-xla": compiled_xla}


def _through_xla(forward: Forward) -> bool:
    return rich(forward).through_xla


def _with_its_forward(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a forward and tensors, through XLA where its forward is. What a loop keeps for its gradient
    cannot leave XLA ("TensorList crossing the XLA/TF boundary"), so that the tape must be in there with it.
    """
    in_xla = tf.function(function, jit_compile=True)

    @functools.wraps(function)
    def call(forward: Forward, *tensors: Any) -> Any:
        return (in_xla if _through_xla(forward) else function)(forward, *tensors)

    return call


@functools.cache
def gradients(forward: Forward, *, compiled: bool) -> Callable[..., tuple[Tensor, Tensor, dict[str, Tensor]]]:
    """A function (X, H0, parameters, dH) -> (H, final, gradients): those of "X", "H0" and every parameter, for
    dH (T, n, h), the cotangent of H. In the compiled lane by the compiler of the forward, if it does not bring its own.
    """

    def pulled_back(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor], dH: Tensor):
        inputs = {"X": X, "H0": H0, **parameters}
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            H, final = forward(X, H0, parameters)
        return H, final, tape.gradient(H, inputs, dH, unconnected_gradients="zero")

    if by_itself := rich(forward).pulled_back:
        return by_itself
    return tf.function(pulled_back, jit_compile=_through_xla(forward)) if compiled else pulled_back
