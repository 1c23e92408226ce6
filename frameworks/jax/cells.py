"""The cells of shared_spec/cells.toml, by hand in JAX: X (n, d), H (n, h) -> next H, and gates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array

from frameworks import rich

Forward = Callable[[Array, Array, Mapping[str, Array]], tuple[Array, Array]]
Step = Callable[..., tuple[Array, dict[str, Array]]]


def gru(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    Z = jax.nn.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = jax.nn.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = jnp.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "R": R, "C": C}


def gru_reset_after(X, H, *, W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h, b_hh):
    Z = jax.nn.sigmoid(X @ W_xz + H @ W_hz + b_z)
    R = jax.nn.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = jnp.tanh(X @ W_xh + b_h + R * (H @ W_hh + b_hh))
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "R": R, "C": C}


def gru_reset_only(X, H, *, W_xr, W_hr, b_r, W_xh, W_hh, b_h):
    R = jax.nn.sigmoid(X @ W_xr + H @ W_hr + b_r)
    C = jnp.tanh(X @ W_xh + (R * H) @ W_hh + b_h)
    return C, {"R": R, "C": C}


def gru_update_only(X, H, *, W_xz, W_hz, b_z, W_xh, W_hh, b_h):
    Z = jax.nn.sigmoid(X @ W_xz + H @ W_hz + b_z)
    C = jnp.tanh(X @ W_xh + H @ W_hh + b_h)
    H = Z * H + (1 - Z) * C
    return H, {"Z": Z, "C": C}


def rnn(X, H, *, W_xh, W_hh, b_h):
    H = jnp.tanh(X @ W_xh + H @ W_hh + b_h)
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
        return jnp.concatenate([H + X[:, -h:], *(gates[name] for name in sorted(gates))], 1), {}

    return kept


@functools.cache
def unroll(step: Step) -> Forward:
    """The step over time: a forward (X (T, n, d), H0 (n, h), parameters) -> (H (T, n, h), final (n, h))."""

    # scan compiles its body, and compiles anew for every function that it has not seen. So there is one body for each
    # step, and the parameters come with the carry, out of which scan takes what never changes; a body that closed over
    # them would be another function at every call.
    def body(carry, X_t):
        H, parameters = carry
        H, _ = step(X_t, H, **parameters)
        return (H, parameters), H

    def forward(X: Array, H0: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        (final, _), H = jax.lax.scan(body, (H0, parameters), X)
        return H, final

    return forward


@functools.cache
def compiled(step: Step) -> Forward:
    """The loop over time through jax.jit, as one program."""
    return jax.jit(unroll(step))


COMPILERS = {"compiled": compiled}


@functools.cache
def gradients(forward: Forward, *, compiled: bool) -> Callable[..., tuple[Array, Array, dict[str, Array]]]:
    """A function (X, H0, parameters, dH) -> (H, final, gradients): those of "X", "H0" and every parameter, for
    dH (T, n, h), the cotangent of H. One program in every lane that is not made of programs: outside jit, JAX compiles
    the gradient of a scan anew at every call, for a second.
    """

    def pulled_back(X: Array, H0: Array, parameters: Mapping[str, Array], dH: Array):
        H, pull, final = jax.vjp(forward, X, H0, parameters, has_aux=True)
        dX, dH0, gradients = pull(dH)
        return H, final, {"X": dX, "H0": dH0, **gradients}

    if by_itself := rich(forward).pulled_back:
        return by_itself
    return pulled_back if rich(forward).programs else jax.jit(pulled_back)
