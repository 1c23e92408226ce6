"""The tuned cells' loops over time in JAX on a CPU, each one function with a gradient by hand, sequences as columns.

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


def columns(X: Array) -> Array:
    """X (T, n, d) as columns, with a row of ones below them, by which biases are the last row of a table of weights."""
    T, n, d = X.shape
    below = jnp.eye(1, VECTOR - d % VECTOR, dtype=X.dtype).T
    return jnp.concatenate([X.transpose(0, 2, 1), jnp.broadcast_to(below, (T, len(below), n))], 1)


def _above(H: Array, x: Array, W: Array) -> Array:
    """What W (g, k) is multiplied with: H (h, n), and below it what comes in at a step, columns or tokens (n,) as
    one-hot columns. A token that the table does not have is a column of zeros, where rows would take the last.
    """
    if x.ndim == 1:
        x = (x == jnp.arange(W.shape[1] - len(H), dtype=x.dtype)[:, None]).astype(H.dtype)
    return jnp.concatenate([H, x])


def _transposed(W: Array, h: int, inputs: Array) -> Array:
    """What takes d of a product back to H, and to columns below it; tokens have no gradient."""
    return (W if inputs.ndim == 3 else W[:, :h]).T


def _states(step: Callable[..., tuple], inputs: Array, H0: Array, *, keep: bool) -> tuple:
    """The states and, if it is to be kept, what else a step keeps, all (T, ., n)."""

    def turn(H: Array, x: Array) -> tuple[Array, tuple]:
        H, *kept = step(H, x)
        return H, (H, *kept) if keep else (H,)

    return jax.lax.scan(turn, H0.T, inputs)[1]


def _pulled_back(back: Callable[..., tuple], weights: tuple[Array, ...], dH: Array, residuals: tuple) -> tuple:
    """Gradients of weights, inputs and H0. A step back takes d (h, n), the state before it, what came in and what it
    kept, and gives the next d, the gradient of the columns that came in, and, for each of the weights, what the step
    adds to its gradient.
    """
    (states, *kept), inputs, H0 = residuals

    def turn(carry: tuple[Array, Any], given: tuple) -> tuple[tuple[Array, Any], Array]:
        (d, sums), (t, dH_t, x, kept_t) = carry, given
        H = jnp.where(t > 0, states[jnp.maximum(t - 1, 0)], H0.T)
        d, dx, more = back(d + dH_t, H, x, *kept_t)
        return (d, [a + b for a, b in zip(sums, more, strict=True)]), dx

    start = jnp.zeros_like(H0.T), [jnp.zeros_like(W) for W in weights]
    given = jnp.arange(len(inputs)), dH.transpose(0, 2, 1), inputs, kept
    (d, sums), dX = jax.lax.scan(turn, start, given, reverse=True)
    return *sums, dX if inputs.ndim == 3 else None, d.T


# Each loop takes a table (v, gates h) and tokens (T, n), or weights with biases below them (d + 1, gates h) and
# columns; H0 (n, h) and the recurrent weights; and gives H (T, n, h).


def gru(table: Array, inputs: Array, H0: Array, W_zr: Array, W_hh: Array) -> Array:
    cut = W_zr.shape[1]
    return _gru(_stacked(W_zr, table[:, :cut]), _stacked(W_hh, table[:, cut:]), inputs, H0)


@jax.custom_vjp
def _gru(W_zr: Array, W_h: Array, inputs: Array, H0: Array) -> Array:
    return _gru_kept(W_zr, W_h, inputs, H0, keep=False)[0]


def _gru_kept(W_zr, W_h, inputs, H0, keep=True):
    h = len(W_h)

    def step(H, x):
        ZR = jax.nn.sigmoid(W_zr @ _above(H, x, W_zr))
        Z, R = ZR[:h], ZR[h:]
        C = jnp.tanh(W_h @ _above(R * H, x, W_h))
        return C + Z * (H - C), ZR, C

    kept = _states(step, inputs, H0, keep=keep)
    return kept[0].transpose(0, 2, 1), (W_zr, W_h, kept, inputs, H0)


def _gru_back(residuals, dH):
    W_zr, W_h, kept, inputs, H0 = residuals
    h = len(W_h)
    back_zr, back_h = (_transposed(W, h, inputs) for W in (W_zr, W_h))

    def back(d, H, x, ZR, C):
        Z, R = ZR[:h], ZR[h:]
        RH = R * H
        dC = d * (1 - Z) * (1 - C * C)
        of_C = back_h @ dC
        dRH = of_C[:h]
        dZR = jnp.concatenate([d * (H - C) * Z * (1 - Z), dRH * RH * (1 - R)])
        of_ZR = back_zr @ dZR
        products = dZR @ _above(H, x, W_zr).T, dC @ _above(RH, x, W_h).T
        return d * Z + dRH * R + of_ZR[:h], of_ZR[h:] + of_C[h:], products

    return _pulled_back(back, (W_zr, W_h), dH, (kept, inputs, H0))


_gru.defvjp(_gru_kept, _gru_back)


def reset_after(table: Array, inputs: Array, H0: Array, W: Array, b_hh: Array) -> Array:
    cut = W.shape[1] - len(W)
    # Of one-hot columns, which add up to 1, a table whose rows are all the same is a bias; else its last row is.
    rows = jnp.ones(len(table), bool) if inputs.ndim == 2 else jnp.arange(len(table)) == len(table) - 1
    biases = jnp.where(rows[:, None], b_hh, 0)
    of_input = _stacked(W[:0, cut:], table[:, cut:])
    return _reset_after(_stacked(W, jnp.concatenate([table[:, :cut], biases], 1)), of_input, inputs, H0)


@jax.custom_vjp
def _reset_after(W: Array, W_x: Array, inputs: Array, H0: Array) -> Array:
    return _reset_after_kept(W, W_x, inputs, H0, keep=False)[0]


def _reset_after_kept(W, W_x, inputs, H0, keep=True):
    h = len(W_x)

    def step(H, x):
        # One product for all gates, where the reset comes after it.
        G = W @ _above(H, x, W)
        ZR, inner = jax.nn.sigmoid(G[: 2 * h]), G[2 * h :]
        C = jnp.tanh(W_x @ _above(H[:0], x, W_x) + ZR[h:] * inner)
        return C + ZR[:h] * (H - C), ZR, inner, C

    kept = _states(step, inputs, H0, keep=keep)
    return kept[0].transpose(0, 2, 1), (W, W_x, kept, inputs, H0)


def _reset_after_back(residuals, dH):
    W, W_x, kept, inputs, H0 = residuals
    h = len(W_x)
    back_h, back_x = _transposed(W, h, inputs), _transposed(W_x, 0, inputs)

    def back(d, H, x, ZR, inner, C):
        Z, R = ZR[:h], ZR[h:]
        dC = d * (1 - Z) * (1 - C * C)
        dG = jnp.concatenate([d * (H - C) * Z * (1 - Z), dC * inner * R * (1 - R), dC * R])
        of_G = back_h @ dG
        products = dG @ _above(H, x, W).T, dC @ _above(H[:0], x, W_x).T
        return d * Z + of_G[:h], of_G[h:] + back_x @ dC, products

    return _pulled_back(back, (W, W_x), dH, (kept, inputs, H0))


_reset_after.defvjp(_reset_after_kept, _reset_after_back)


def rnn(table: Array, inputs: Array, H0: Array, W_hh: Array) -> Array:
    return _rnn(_stacked(W_hh, table), inputs, H0)


@jax.custom_vjp
def _rnn(W: Array, inputs: Array, H0: Array) -> Array:
    return _rnn_kept(W, inputs, H0, keep=False)[0]


def _rnn_kept(W, inputs, H0, keep=True):
    def step(H, x):
        return (jnp.tanh(W @ _above(H, x, W)),)

    kept = _states(step, inputs, H0, keep=keep)
    return kept[0].transpose(0, 2, 1), (W, kept, inputs, H0)


def _rnn_back(residuals, dH):
    W, (states,), inputs, H0 = residuals
    h = H0.shape[1]
    back_h = _transposed(W, h, inputs)

    def back(d, H, x, after):
        dC = d * (1 - after * after)
        of_C = back_h @ dC
        return of_C[:h], of_C[h:], (dC @ _above(H, x, W).T,)

    return _pulled_back(back, (W,), dH, ((states, states), inputs, H0))


_rnn.defvjp(_rnn_kept, _rnn_back)
