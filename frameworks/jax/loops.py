"""The tuned cells' loops over time in JAX, each one function with a gradient by hand, and the cross-entropy. Loops over
tokens on a CPU are in columns.py.

Ratios are of the CPU time of a training step of the chapter, in parts of 128 rows on one core, as in tuned.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from frameworks.jax.runtime import _on_cpu

# Each loop takes a table (v, gates h) and tokens (T, n), or None and A (T, n, gates h): what the input and the biases
# add to the gates; H0 (n, h) and the recurrent weights; and gives H (T, n, h). What was tried, of tokens on a CPU,
# which columns.py takes now:
#
#     rows of the table gathered in each step, where they are added, not before the loop             0.92
#     gates cut before their functions, not after, so that each is one function of its own           0.96
#     8 steps in one turn of the loop 1.4, all 32 of them 2.2; one thread in a program, as an option of XLA, 1.0
#
# Gradients of weights are one product over all T after the loop: n may be small.


def on_gpu() -> bool:
    """Whether what is compiled now will run on one, or is taken to be by Pallas' interpreter."""
    return not _on_cpu() or os.environ.get("TRITON_INTERPRET") == "1"


def gpu_kernels(H0: Array) -> ModuleType | None:
    """kernels.py, where it suits a loop that begins at H0 (n, h)."""
    if on_gpu():
        from frameworks.jax import kernels

        return kernels if kernels.suits(H0) else None
    return None


def _states(step: Callable[..., tuple], table: Array | None, inputs: Array, H0: Array, *, keep: bool) -> tuple:
    """H (T, n, h) and, if they are to be kept, the state before each step and what else it keeps, all (T, n, h)."""

    def turn(H: Array, inputs_t: Array) -> tuple[Array, Any]:
        after, kept = step(H, inputs_t if table is None else table[inputs_t])
        return after, (H, *kept) if keep else after

    final, kept = jax.lax.scan(turn, H0, inputs)
    return (jnp.concatenate([kept[0][1:], final[None]]), kept) if keep else (kept, None)


def _sum_of_products(a: Array, b: Array) -> Array:
    return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])


def _summed(a: Array | None, b: Array) -> Array:
    return b.reshape(-1, b.shape[-1]).sum(0) if a is None else _sum_of_products(a, b)


def _pulled_back(
    back: Callable[..., tuple],
    pieces: Callable[..., tuple],
    pairs: Callable[..., list[tuple]],
    dH: Array,
    kept: tuple,
    table: Array | None,
    inputs: Array,
) -> tuple:
    """Gradients of table, inputs, H0 and weights. A step back takes d (n, h) and what was kept, and gives the next d
    and gradients of the sums under the gates. Of those, `pieces` makes that of A, and `pairs`, with what was kept, for
    each weight the two whose products, summed over all rows and steps, are its gradient; for a bias (None, b).
    """

    def turn(d: Array, given: tuple) -> tuple[Array, tuple]:
        dH_t, kept_t = given
        return back(d + dH_t, *kept_t)

    d, sums = jax.lax.scan(turn, jnp.zeros_like(dH[0]), (dH, kept), reverse=True)
    dA, weights = jnp.concatenate(pieces(*sums), -1), [_summed(a, b) for a, b in pairs(kept, *sums)]
    return (None, dA, d, *weights) if table is None else (jnp.zeros_like(table).at[inputs].add(dA), None, d, *weights)


@jax.custom_vjp
def gru(table: Array | None, inputs: Array, H0: Array, W_zr: Array, W_hh: Array) -> Array:
    return _gru_kept(table, inputs, H0, W_zr, W_hh, keep=False)[0]


def _gru_kept(table, inputs, H0, W_zr, W_hh, keep=True):
    h = H0.shape[1]

    def step(H, A):
        G = H @ W_zr
        Z, R = jax.nn.sigmoid(A[:, :h] + G[:, :h]), jax.nn.sigmoid(A[:, h : 2 * h] + G[:, h:])
        RH = R * H
        C = jnp.tanh(A[:, 2 * h :] + RH @ W_hh)
        return C + Z * (H - C), (Z, R, RH, C)

    H, kept = _states(step, table, inputs, H0, keep=keep)
    return H, (kept, table, inputs, W_zr, W_hh)


def _gru_back(kept, dH):
    kept, table, inputs, W_zr, W_hh = kept

    def back(d, H, Z, R, RH, C):
        dC = d * (1 - Z) * (1 - C * C)
        dRH = dC @ W_hh.T
        dZR = jnp.concatenate([d * (H - C) * Z * (1 - Z), dRH * RH * (1 - R)], 1)
        return d * Z + dRH * R + dZR @ W_zr.T, (dZR, dC)

    def pairs(kept, dZR, dC):
        H, _, _, RH, _ = kept
        return [(H, dZR), (RH, dC)]

    return _pulled_back(back, lambda *sums: sums, pairs, dH, kept, table, inputs)


gru.defvjp(_gru_kept, _gru_back)


@jax.custom_vjp
def reset_after(table: Array | None, inputs: Array, H0: Array, W: Array, b_hh: Array) -> Array:
    return _reset_after_kept(table, inputs, H0, W, b_hh, keep=False)[0]


def _reset_after_kept(table, inputs, H0, W, b_hh, keep=True):
    h = H0.shape[1]

    def step(H, A):
        # One product for all gates, where the reset comes after it.
        G = H @ W
        Z, R = jax.nn.sigmoid(A[:, :h] + G[:, :h]), jax.nn.sigmoid(A[:, h : 2 * h] + G[:, h : 2 * h])
        inner = G[:, 2 * h :] + b_hh
        C = jnp.tanh(A[:, 2 * h :] + R * inner)
        return C + Z * (H - C), (Z, R, inner, C)

    H, kept = _states(step, table, inputs, H0, keep=keep)
    return H, (kept, table, inputs, W)


def _reset_after_back(kept, dH):
    kept, table, inputs, W = kept

    def back(d, H, Z, R, inner, C):
        dC = d * (1 - Z) * (1 - C * C)
        dZR = [d * (H - C) * Z * (1 - Z), dC * inner * R * (1 - R)]
        dG = jnp.concatenate([*dZR, dC * R], 1)
        return d * Z + dG @ W.T, (dG, dC)

    def pieces(dG, dC):
        return dG[..., : 2 * len(W)], dC

    def pairs(kept, dG, dC):
        return [(kept[0], dG), (None, dG[..., 2 * len(W) :])]

    return _pulled_back(back, pieces, pairs, dH, kept, table, inputs)


reset_after.defvjp(_reset_after_kept, _reset_after_back)


def rnn(table: Array | None, inputs: Array, H0: Array, W_hh: Array) -> Array:
    return _rnn(inputs if table is None else table[inputs], H0, W_hh)


@jax.custom_vjp
def _rnn(A: Array, H0: Array, W_hh: Array) -> Array:
    return _rnn_kept(A, H0, W_hh, keep=False)[0]


def _rnn_kept(A, H0, W_hh, keep=True):
    def step(H, A):
        H = jnp.tanh(A + H @ W_hh)
        return H, (H,)

    H, kept = _states(step, None, A, H0, keep=keep)
    return H, (kept, A, W_hh)


def _rnn_back(kept, dH):
    kept, A, W_hh = kept

    def back(d, before, H):
        dC = d * (1 - H * H)
        return dC @ W_hh.T, (dC,)

    _, *gradients = _pulled_back(back, lambda dC: (dC,), lambda kept, dC: [(kept[0], dC)], dH, kept, None, A)
    return tuple(gradients)


_rnn.defvjp(_rnn_kept, _rnn_back)


def cross_entropy(H: Array, W_hq: Array, b_q: Array, labels: Array) -> Array:
    """The output layer of all steps, H (T, n, h), and the mean cross-entropy against labels (T, n). Its gradient comes
    with it, step by step, from what is in the cache, with logits as one row for each token of the vocabulary, along
    which XLA adds up faster than across 28 columns: 0.93. All steps at once 0.99, by columns 1.02.
    """
    if (kernels := gpu_kernels(H[0])) and kernels.fit_strips(*W_hq.shape):
        return kernels.cross_entropy(H, W_hq, b_q, labels)
    if _on_cpu():
        return _in_steps(H, W_hq, b_q, labels)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(H @ W_hq + b_q, labels))


def _columns(array: Array) -> Array:
    return array.transpose(0, 2, 1)


@jax.custom_vjp
def _in_steps(H: Array, W_hq: Array, b_q: Array, labels: Array) -> Array:
    W = W_hq.T
    losses = jax.lax.map(lambda given: _logits(given[0], W, b_q, given[1])[-1], (_columns(H), labels))
    return losses.sum() / labels.size


def _logits(H, W, b_q, labels):
    """Where the labels are, (v, n); what softmax divides by what; and the sum of losses, of H (h, n) and W (v, h)."""
    O = W @ H + b_q[:, None]
    O = O - O.max(0)
    E, at = jnp.exp(O), labels == jnp.arange(len(O))[:, None]
    total = E.sum(0)
    return at, (E, total), jnp.sum(jnp.log(total) - jnp.where(at, O, 0).sum(0))


def _in_steps_kept(H, W_hq, b_q, labels):
    W, size = W_hq.T, labels.size

    def step(sums, given):
        H, labels = given
        at, (E, total), loss = _logits(H, W, b_q, labels)
        dO = (E / total - at) / size
        return (sums[0] + loss, sums[1] + dO @ H.T, sums[2] + dO.sum(1)), W_hq @ dO

    start = (jnp.zeros_like(b_q[0]), jnp.zeros_like(W), jnp.zeros_like(b_q))
    (loss, dW, db), dH = jax.lax.scan(step, start, (_columns(H), labels))
    return loss / size, (_columns(dH), dW.T, db)


def _in_steps_back(gradients, d):
    return *(gradient * d for gradient in gradients), None


_in_steps.defvjp(_in_steps_kept, _in_steps_back)
