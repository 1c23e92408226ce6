"""The tuned cells' loops over tokens in JAX on a CPU, each one function with a gradient by hand, sequences as columns.

Ratios are of the CPU time of the gradients of a training step of the chapter, in parts of 128 rows on one core, turn by
turn in one process, on a machine where others were at work. Of loops over rows, as in loops.py, with what a step adds
to the gradients of weights summed up on the way, it takes 0.72 with gru, 0.77 with gru_reset_after and 0.59 with rnn.
The whole step takes 0.72 on two cores, with gru in float64 0.64. With transposed weights made in each step, before they
were made once, it took 0.83, 0.88 and 0.66; then gru at T=128 took 0.84, at h=128 1.0. A loss without gradients takes
1.03 to 1.09.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

# States are H (h, n) here, gates (2 h, n) and so on, so that what is done number by number runs along n, and gates are
# cut without being copied: 0.88 where a step gathers its rows of the table. Where the table stands beside the recurrent
# weights, and below H the tokens as one-hot columns, so that all is one product: 0.79. And with gradients of both as
# one product too, and one-hot columns that make whole vectors of 16: 0.71 (a product with 28 rows took twice as long as
# with 32).
#
# Each array that is kept takes 2 us of the 100 of a step: R H is multiplied again, as kept it takes 1.06; and states
# are not kept twice, before a step and after it. Weights are transposed once, before a loop: what is transposed in a
# step becomes part of the product, which is Eigen's then, and takes 7 to 11 us where YNNPACK's takes 3 to 5: 0.87.
# Parts of 64 rows 1.1, of 256 1.07; rows of logits filled up to 32 1.03; two products for Z and R 1.05. And of XLA,
# process against process: Eigen for all products 1.06, elementwise functions in YNNPACK too 1.15, the whole loop as one
# kernel (xla_cpu_small_while_loop_byte_threshold) 1.1.
#
# Tried and left: the output layer and its loss in the same two loops, their products as more rows of the cell's, so
# that a step of gru has six products where it has ten. On a core with vectors of 256 bits, where products take most of
# the time and twice as many rows twice as long: 1.02 with gru, 1.06 with reset_after; 0.72 with rnn, for which alone it
# would be another loop.
VECTOR = 16


def _stacked(recurrent: Array, table: Array) -> Array:
    """Weights (h, g) and a table (v, g) -> both as (g, h + v), v filled up with zeros to whole vectors."""
    return jnp.concatenate([recurrent, table, jnp.zeros((-len(table) % VECTOR, table.shape[1]), table.dtype)]).T


def _above_tokens(H: Array, tokens: Array, W: Array) -> Array:
    """What W (g, k) is multiplied with: H (h, n), and below it tokens (n,) as one-hot columns, (k, n). A token that the
    table does not have is a column of zeros, where rows would take the last.
    """
    rows = jnp.arange(W.shape[1] - len(H), dtype=tokens.dtype)[:, None]
    return jnp.concatenate([H, (tokens == rows).astype(H.dtype)])


def _states(step: Callable[..., tuple], tokens: Array, H0: Array, *, keep: bool) -> tuple:
    """The states and, if it is to be kept, what else a step keeps, all (T, ., n)."""

    def turn(H: Array, tokens_t: Array) -> tuple[Array, tuple]:
        H, *kept = step(H, tokens_t)
        return H, (H, *kept) if keep else (H,)

    return jax.lax.scan(turn, H0.T, tokens)[1]


def _pulled_back(back: Callable[..., tuple], weights: tuple[Array, ...], dH: Array, residuals: tuple) -> tuple:
    """Gradients of weights, tokens and H0. A step back takes d (h, n), the state before it, its tokens and what it
    kept, and gives the next d and, for each of the weights, what the step adds to its gradient.
    """
    (states, *kept), tokens, H0 = residuals

    def turn(carry: tuple[Array, Any], given: tuple) -> tuple[tuple[Array, Any], None]:
        (d, sums), (t, dH_t, tokens_t, kept_t) = carry, given
        H = jnp.where(t > 0, states[jnp.maximum(t - 1, 0)], H0.T)
        d, more = back(d + dH_t, H, tokens_t, *kept_t)
        return (d, [a + b for a, b in zip(sums, more, strict=True)]), None

    start = jnp.zeros_like(H0.T), [jnp.zeros_like(W) for W in weights]
    given = jnp.arange(len(tokens)), dH.transpose(0, 2, 1), tokens, kept
    (d, sums), _ = jax.lax.scan(turn, start, given, reverse=True)
    return *sums, None, d.T


# Each loop takes a table (v, gates h), tokens (T, n), H0 (n, h) and the recurrent weights, and gives H (T, n, h).


def gru(table: Array, tokens: Array, H0: Array, W_zr: Array, W_hh: Array) -> Array:
    cut = W_zr.shape[1]
    return _gru(_stacked(W_zr, table[:, :cut]), _stacked(W_hh, table[:, cut:]), tokens, H0)


@jax.custom_vjp
def _gru(W_zr: Array, W_h: Array, tokens: Array, H0: Array) -> Array:
    return _gru_kept(W_zr, W_h, tokens, H0, keep=False)[0]


def _gru_kept(W_zr, W_h, tokens, H0, keep=True):
    h = len(W_h)

    def step(H, tokens):
        ZR = jax.nn.sigmoid(W_zr @ _above_tokens(H, tokens, W_zr))
        Z, R = ZR[:h], ZR[h:]
        C = jnp.tanh(W_h @ _above_tokens(R * H, tokens, W_h))
        return C + Z * (H - C), ZR, C

    kept = _states(step, tokens, H0, keep=keep)
    return kept[0].transpose(0, 2, 1), (W_zr, W_h, kept, tokens, H0)


def _gru_back(residuals, dH):
    W_zr, W_h, *residuals = residuals
    h = len(W_h)
    back_zr, back_h = W_zr[:, :h].T, W_h[:, :h].T

    def back(d, H, tokens, ZR, C):
        Z, R = ZR[:h], ZR[h:]
        RH = R * H
        dC = d * (1 - Z) * (1 - C * C)
        dRH = back_h @ dC
        dZR = jnp.concatenate([d * (H - C) * Z * (1 - Z), dRH * RH * (1 - R)])
        products = dZR @ _above_tokens(H, tokens, W_zr).T, dC @ _above_tokens(RH, tokens, W_h).T
        return d * Z + dRH * R + back_zr @ dZR, products

    return _pulled_back(back, (W_zr, W_h), dH, residuals)


_gru.defvjp(_gru_kept, _gru_back)


def reset_after(table: Array, tokens: Array, H0: Array, W: Array, b_hh: Array) -> Array:
    # Of one-hot columns, which add up to 1, a table whose rows are all the same is a bias.
    cut = W.shape[1] - len(W)
    biases = jnp.broadcast_to(b_hh, (len(table), len(b_hh)))
    of_token = _stacked(W[:0, cut:], table[:, cut:])
    return _reset_after(_stacked(W, jnp.concatenate([table[:, :cut], biases], 1)), of_token, tokens, H0)


@jax.custom_vjp
def _reset_after(W: Array, W_x: Array, tokens: Array, H0: Array) -> Array:
    return _reset_after_kept(W, W_x, tokens, H0, keep=False)[0]


def _reset_after_kept(W, W_x, tokens, H0, keep=True):
    h = len(W_x)

    def step(H, tokens):
        # One product for all gates, where the reset comes after it.
        G = W @ _above_tokens(H, tokens, W)
        ZR, inner = jax.nn.sigmoid(G[: 2 * h]), G[2 * h :]
        C = jnp.tanh(W_x @ _above_tokens(H[:0], tokens, W_x) + ZR[h:] * inner)
        return C + ZR[:h] * (H - C), ZR, inner, C

    kept = _states(step, tokens, H0, keep=keep)
    return kept[0].transpose(0, 2, 1), (W, W_x, kept, tokens, H0)


def _reset_after_back(residuals, dH):
    W, W_x, *residuals = residuals
    h = len(W_x)
    back_h = W[:, :h].T

    def back(d, H, tokens, ZR, inner, C):
        Z, R = ZR[:h], ZR[h:]
        dC = d * (1 - Z) * (1 - C * C)
        dG = jnp.concatenate([d * (H - C) * Z * (1 - Z), dC * inner * R * (1 - R), dC * R])
        products = dG @ _above_tokens(H, tokens, W).T, dC @ _above_tokens(H[:0], tokens, W_x).T
        return d * Z + back_h @ dG, products

    return _pulled_back(back, (W, W_x), dH, residuals)


_reset_after.defvjp(_reset_after_kept, _reset_after_back)


def rnn(table: Array, tokens: Array, H0: Array, W_hh: Array) -> Array:
    return _rnn(_stacked(W_hh, table), tokens, H0)


@jax.custom_vjp
def _rnn(W: Array, tokens: Array, H0: Array) -> Array:
    return _rnn_kept(W, tokens, H0, keep=False)[0]


def _rnn_kept(W, tokens, H0, keep=True):
    def step(H, tokens):
        return (jnp.tanh(W @ _above_tokens(H, tokens, W)),)

    kept = _states(step, tokens, H0, keep=keep)
    return kept[0].transpose(0, 2, 1), (W, kept, tokens, H0)


def _rnn_back(residuals, dH):
    W, (states,), tokens, H0 = residuals
    back_h = W[:, : H0.shape[1]].T

    def back(d, H, tokens, after):
        dC = d * (1 - after * after)
        return back_h @ dC, (dC @ _above_tokens(H, tokens, W).T,)

    return _pulled_back(back, (W,), dH, ((states, states), tokens, H0))


_rnn.defvjp(_rnn_kept, _rnn_back)
