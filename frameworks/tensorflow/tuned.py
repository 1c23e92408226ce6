"""The cells as fast as TensorFlow runs them here: the same functions as in cells.py, their gradients by hand.

What each step brought is in milliseconds a training step of the chapter (n=1024, T=32, h=32, v=28, float32, gru), on
two cores shared with others: it is the ratios that count. Beside the language model a loop by hand is not the fastest
at every size, see _by_hand_is_faster.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import tensorflow as tf
from tensorflow import Tensor

from frameworks import RichForward
from frameworks.tensorflow.cells import CELLS, Forward, compiled

# Everything here is compiled for each shape, by tf.function. XLA took 19 ms with loops, and 69 ms without them, after
# 13 s of compiling, where this takes 16.
COMPILED = True


@functools.cache
def gru() -> Forward:
    return _forward("gru", _gru, "zrh", ("W_hz", "W_hr", "W_hh"))


@functools.cache
def gru_reset_after() -> Forward:
    return _forward("gru_reset_after", _reset_after, "zrh", ("W_hz", "W_hr", "W_hh", "b_hh"))


@functools.cache
def rnn() -> Forward:
    return _forward("rnn", _rnn, "h", ("W_hh",))


def _by_hand_is_faster(T: int, n: int, h: int, gates: int) -> bool:
    """Whether T steps of n sequences and h units take less time in the loop by hand than in the compiled cell of
    cells.py. On two cores, in times of the faster one, forwards and gradients of both GRUs:

        n = 1024, T = 32, h = 32 and 64; T = 128, h = 32     by hand 1.0 to 1.2, in float64 1.3 to 1.4
        a single step, n = 1, 64 and 1024                    by hand 1.0 to 1.2
        T = 8, h = 32, and n = 1, 32 and 64 at any h         compiled 0.9 to 2.1
        n = 4096, h = 32, and n = 1024, h = 128              by hand 1.1 to 1.2, gradients in float32 alone

    Larger ones were not measured. A plain RNN is faster by hand: compiled 1.2.
    """
    large = n >= h and T * n * h >= 2**20
    return T > 1 and (gates == 1 or not large)


def _forward(name: str, loop: Callable[..., Tensor], gates: str, recurrent: tuple[str, ...]) -> Forward:
    def states(A: list[Tensor], H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        H = loop(*A, H0, *(parameters[name] for name in recurrent))
        return H, H[-1]

    # The input part of all steps is one product, outside the loop. The gates stay apart: one product for all of them
    # has to be cut in pieces, which copies, and took 23 ms where this takes 16.
    @tf.function
    def by_hand(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        A = [X @ parameters[f"W_x{gate}"] + parameters[f"b_{gate}"] for gate in gates]
        return states(A, H0, parameters)

    def forward(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        faster = by_hand if _by_hand_is_faster(X.shape[0], *H0.shape, len(gates)) else compiled(CELLS[name])
        return faster(X, H0, parameters)

    @tf.function
    def of_tokens(tokens: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        A = [_rows(parameters[f"W_x{gate}"] + parameters[f"b_{gate}"], tokens) for gate in gates]
        return states(A, H0, parameters)

    return RichForward(forward, of_tokens=of_tokens)


@tf.custom_gradient
def _rows(table: Tensor, tokens: Tensor) -> tuple[Tensor, Callable[..., tuple]]:
    """Rows of a table (v, h) for tokens (T, n): the input part where inputs are one-hot. 18 -> 16 ms, if its gradient
    is a product with one-hot rows; adding up rows (unsorted_segment_sum) took 21 ms.
    """

    def back(dA):
        rows = tf.one_hot(tf.reshape(tokens, [-1]), tf.shape(table)[0], dtype=dA.dtype)
        return tf.matmul(rows, _flat(dA), transpose_a=True), None

    return tf.gather(table, tokens), back


# Each loop takes what the input and the biases add to each gate, (T, n, h), H0 (n, h) and the recurrent weights, and
# gives H (T, n, h). Gradients of weights are one product over all T after the backward loop. Loops are unrolled into
# the graph: as tf.while_loop they took 20 ms.


def _flat(array: Tensor) -> Tensor:
    return tf.reshape(array, (-1, array.shape[-1]))


def _sum_of_products(a: list[Tensor], b: Tensor) -> Tensor:
    return tf.matmul(tf.concat(a, 0), _flat(b), transpose_a=True)


def _in_time(backwards: list[tuple[Tensor, ...]]) -> list[Tensor]:
    """From tuples of one step each, the last step first, to one array (T, n, h) for each of their members."""
    return [tf.stack(steps[::-1]) for steps in zip(*backwards, strict=True)]


@tf.custom_gradient
def _gru(A_z, A_r, A_h, H0, W_hz, W_hr, W_hh):
    H, kept = H0, []
    for z, r, c in zip(*map(tf.unstack, (A_z, A_r, A_h)), strict=True):
        before, Z, R = H, tf.sigmoid(z + H @ W_hz), tf.sigmoid(r + H @ W_hr)
        RH = R * H
        C = tf.tanh(c + RH @ W_hh)
        H = Z * H + (1 - Z) * C
        kept.append((before, Z, R, RH, C))

    def back(dH):
        d, steps = tf.zeros_like(H0), []
        for dH_t, (before, Z, R, RH, C) in zip(tf.unstack(dH)[::-1], kept[::-1], strict=True):
            d = d + dH_t
            dC = d * (1 - Z) * (1 - C * C)
            dRH = tf.matmul(dC, W_hh, transpose_b=True)
            dZ, dR = d * (before - C) * Z * (1 - Z), dRH * RH * (1 - R)
            d = d * Z + dRH * R + tf.matmul(dZ, W_hz, transpose_b=True) + tf.matmul(dR, W_hr, transpose_b=True)
            steps.append((dZ, dR, dC))
        dZ, dR, dC = _in_time(steps)
        before, _, _, RH, _ = zip(*kept, strict=True)
        weights = _sum_of_products(before, dZ), _sum_of_products(before, dR), _sum_of_products(RH, dC)
        return dZ, dR, dC, d, *weights

    return tf.stack([*(before for before, *_ in kept[1:]), H]), back


@tf.custom_gradient
def _reset_after(A_z, A_r, A_h, H0, W_hz, W_hr, W_hh, b_hh):
    H, kept = H0, []
    for z, r, c in zip(*map(tf.unstack, (A_z, A_r, A_h)), strict=True):
        before, Z, R, inner = H, tf.sigmoid(z + H @ W_hz), tf.sigmoid(r + H @ W_hr), H @ W_hh + b_hh
        C = tf.tanh(c + R * inner)
        H = Z * H + (1 - Z) * C
        kept.append((before, Z, R, inner, C))

    def back(dH):
        d, steps = tf.zeros_like(H0), []
        for dH_t, (before, Z, R, inner, C) in zip(tf.unstack(dH)[::-1], kept[::-1], strict=True):
            d = d + dH_t
            dC = d * (1 - Z) * (1 - C * C)
            dinner = dC * R
            dZ, dR = d * (before - C) * Z * (1 - Z), dinner * inner * (1 - R)
            back_z, back_r = tf.matmul(dZ, W_hz, transpose_b=True), tf.matmul(dR, W_hr, transpose_b=True)
            d = d * Z + back_z + back_r + tf.matmul(dinner, W_hh, transpose_b=True)
            steps.append((dZ, dR, dC, dinner))
        dZ, dR, dC, dinner = _in_time(steps)
        before, *_ = zip(*kept, strict=True)
        weights = [_sum_of_products(before, each) for each in (dZ, dR, dinner)]
        return dZ, dR, dC, d, *weights, tf.reduce_sum(dinner, (0, 1))

    return tf.stack([*(before for before, *_ in kept[1:]), H]), back


@tf.custom_gradient
def _rnn(A_h, H0, W_hh):
    states = [H0]
    for c in tf.unstack(A_h):
        states.append(tf.tanh(c + states[-1] @ W_hh))

    def back(dH):
        d, steps = tf.zeros_like(H0), []
        for dH_t, H in zip(tf.unstack(dH)[::-1], states[:0:-1], strict=True):
            dC = (d + dH_t) * (1 - H * H)
            d = tf.matmul(dC, W_hh, transpose_b=True)
            steps.append((dC,))
        (dC,) = _in_time(steps)
        return dC, d, _sum_of_products(states[:-1], dC)

    return tf.stack(states[1:]), back


BOTH = ("float32", "float64")
# The cell that each claims to equal: its constructor and the dtypes that it runs in.
TUNED = {"gru": (gru, BOTH), "gru_reset_after": (gru_reset_after, BOTH), "rnn": (rnn, BOTH)}
