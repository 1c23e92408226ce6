"""The cells as fast as TensorFlow runs them here: the same functions as in cells.py, their gradients by hand.

What each step brought is in milliseconds a training step of the chapter (n=1024, T=32, h=32, v=28, float32, gru), on
two cores shared with others: it is the ratios that count. Beside the language model a loop by hand is seldom the
fastest, see MANY.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import tensorflow as tf
from tensorflow import Tensor

from frameworks import RichForward
from frameworks.tensorflow.cells import CELLS, Forward, compiled, compiled_xla, gradients

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


# Of inputs that are no tokens, a forward goes through XLA; a gradient through the cell compiled by tf.function, whose
# operations run on all cores, where there are many numbers; else through XLA, but for one sequence. Milliseconds on two
# cores, of gradients with gru and gru_reset_after, d=28 where h=32, else d=h:
#
#     T, n, h         35, 1, 256   35, 32, 256   32, 64, 32   8, 1024, 32   32, 256, 32   32, 1024, 32
#     tf.function     19    30     79    104     13    14     13    11            15      35    46
#     XLA             11    12     46     66     7.0   6.7    12    13            14      58    62
#     a loop by hand  9.4   15     83     95     7.5   7.5    14    14            13      47    54
#
# The same of gru at T=50, n=64, h=1024: 2.6, 1.4 and 3.0 s; of rnn 21, 62 and 21 ms at T=32, n=1024, h=32, and 12, 4.8
# and 6.5 at T=35, n=1, h=256. Through XLA a single step with its gradient takes 0.5 to 1.2 of the time of a loop by
# hand; a forward 0.4 to 0.9 of the others'; a step alone 0.6 to 1.2, the latter of 64 sequences and 1,024 units.
#
# Of so many tokens a training step goes through the cell too, compiled by tf.function, one-hot inputs made step by step
# and biases added to the tables whose rows those take: 37, 35 and 19 ms with gru, gru_reset_after and rnn, where a loop
# by hand over rows of all steps takes 41, 38 and 20, and the compiled lane 41, 34 and 20.
MANY = 2**20
"""Numbers of all T states."""


def _is_large(T: int, n: int, h: int) -> bool:
    return n >= h and T * n * h >= MANY


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

    def pulled_back(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor], dH: Tensor) -> tuple:
        T, (n, h) = X.shape[0], H0.shape
        few = by_hand if n == 1 and T > 1 else compiled_xla(CELLS[name])
        faster = compiled(CELLS[name]) if _is_large(T, n, h) else few
        return gradients(faster, compiled=True)(X, H0, parameters, dH)

    def as_steps(tokens: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        tables = {f"W_x{gate}": parameters[f"W_x{gate}"] + parameters[f"b_{gate}"] for gate in gates}
        # Nothing is added where it is known to be zero.
        given = {**parameters, **tables, **{f"b_{gate}": tf.zeros((), H0.dtype) for gate in gates}}
        v = tf.shape(parameters["W_xh"])[0]
        H = tf.scan(lambda H, t: CELLS[name](tf.one_hot(t, v, dtype=H.dtype), H, **given)[0], tokens, H0)
        return H, H[-1]

    @tf.function
    def of_tokens(tokens: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        if _is_large(*tokens.shape, parameters["W_hh"].shape[0]):
            return as_steps(tokens, H0, parameters)
        A = [_rows(parameters[f"W_x{gate}"] + parameters[f"b_{gate}"], tokens) for gate in gates]
        return states(A, H0, parameters)

    return RichForward(compiled_xla(CELLS[name]).forward, of_tokens=of_tokens, pulled_back=pulled_back)


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
