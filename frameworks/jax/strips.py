"""Kernels for few units and few tokens, on a GPU, in Pallas: over all rows of all steps at once, the output layer with
its loss, and the gradients of a gated cell's weights; and the step of SGD.

As in frameworks/torch/strips.py a program takes every so many-th block of rows and sums up what is summed over all of
them. What the programs have is added up afterwards, in an order that is always the same. A product for each sum, and a
kernel for each function and each parameter, would be some forty kernels, and most of them would read all rows again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from frameworks.jax.narrow import product


class Strips(NamedTuple):
    """How all rows of all steps are cut: so many at a time, by so many programs, with room for so many units and
    tokens, powers of 2.
    """

    rows: int
    programs: int
    units: int
    tokens: int

    def over(self, N: int, step: Callable[[Array, Array], list[Array]], start: list[Array]) -> list[Array]:
        """The sums after all of this program's strips of N rows. A step takes the numbers of its rows and the sums."""

        mine = pl.program_id(0)

        def turn(i, sums):
            return step((mine + i * self.programs) * self.rows + numbers(self.rows), sums)

        turns = pl.cdiv(pl.cdiv(N, self.rows), self.programs)
        return jax.lax.fori_loop(jnp.int32(0), jnp.int32(turns), turn, start)


def sum_of_products(a: Array, b: Array) -> Array:
    """a^T b."""
    return jax.lax.dot_general(a, b, (((0,), (0,)), ((), ())), precision=jax.lax.Precision.HIGHEST)


def numbers(count: int) -> Array:
    return jnp.arange(count, dtype=jnp.int32)


def cross_entropy(H, W_hq, b_q, labels, dH, sums, losses, *, strips: Strips) -> None:
    """From H (N, h), N = T n, and labels (n, T): dH (N, h), and what a program sums up: the gradients of W_hq (h, v)
    and b_q (v), a row of `sums`, and the mean loss, one of `losses`.
    """
    (N, h), v, n = H.shape, b_q.shape[0], labels.shape[0]
    units, tokens = numbers(strips.units), numbers(strips.tokens)
    weights = (units < h)[:, None] & (tokens < v)[None, :]
    W = plgpu.load(W_hq.at[units[:, None], tokens[None, :]], mask=weights, other=0.0)
    transposed = (units < h)[None, :] & (tokens < v)[:, None]
    back = plgpu.load(W_hq.at[units[None, :], tokens[:, None]], mask=transposed, other=0.0)
    # A token that there is not has no part in softmax.
    b = plgpu.load(b_q.at[tokens], mask=tokens < v, other=-jnp.inf)[None, :]

    def step(rows, sums):
        dW, db, lost = sums
        inside = (rows < N)[:, None] & (units < h)[None, :]
        state = plgpu.load(H.at[rows[:, None], units[None, :]], mask=inside, other=0.0)
        label = plgpu.load(labels.at[rows % n, rows // n], mask=rows < N, other=0)
        O = product(state, W) + b
        O = O - jnp.max(O, 1)[:, None]
        E = jnp.exp(O)
        total = jnp.sum(E, 1)
        at = label[:, None] == tokens[None, :]
        loss = jnp.log(total) - jnp.sum(jnp.where(at, O, 0.0), 1)
        dO = (E / total[:, None] - at.astype(jnp.float32)) / N
        dO = jnp.where((rows < N)[:, None], dO, 0.0)
        plgpu.store(dH.at[rows[:, None], units[None, :]], product(dO, back), mask=inside)
        return [dW + sum_of_products(state, dO), db + jnp.sum(dO, 0), lost + jnp.where(rows < N, loss, 0.0)]

    shapes = (strips.units, strips.tokens), (strips.tokens,), (strips.rows,)
    dW, db, lost = strips.over(N, step, [jnp.zeros(shape, jnp.float32) for shape in shapes])
    mine = pl.program_id(0)
    plgpu.store(sums.at[mine, units[:, None] * v + tokens[None, :]], dW, mask=weights)
    plgpu.store(sums.at[mine, h * v + tokens], db, mask=tokens < v)
    losses[mine] = jnp.sum(lost) / N


def gradients(tokens, factors, d, sums, *, h: int, v: int, strips: Strips) -> None:
    """From tokens (n, T), and, N = T n, what narrow.forward kept as factors (N, h) or (N, 2 h), and narrow.backward
    gave, d (N, 3 h) or (N, 4 h): the sums of a program, a part of a row of `sums`: the gradients of W_xz, W_xr and W_xh
    (v, h), of W_hz, W_hr and W_hh (h, h), of b_z, b_r and b_h (h), and, with the reset after, of b_hh (h). A program
    has one of the three gates.
    """
    N, n, gate = d.shape[0], tokens.shape[0], pl.program_id(1)
    reset_after = d.shape[1] == 4 * h
    units, vocabulary = numbers(strips.units), numbers(strips.tokens)
    # With the reset after, C has two parts: what H W_hh + b_hh gets, and, behind it, what the input gets.
    of_inputs, of_state = (gate + gate // 2, 0) if reset_after else (gate, gate // 2)

    def step(rows, sums):
        A, W, *b_hh = sums
        inside = (rows < N)[:, None] & (units < h)[None, :]

        def read(array, part):
            return plgpu.load(array.at[rows[:, None], part * h + units[None, :]], mask=inside, other=0.0)

        # None of the vocabulary where there is no row.
        token = plgpu.load(tokens.at[rows % n, rows // n], mask=rows < N, other=-1)
        at = (token[:, None] == vocabulary[None, :]).astype(jnp.float32)
        of_product = read(d, gate)
        A = A + sum_of_products(at, read(d, of_inputs) if reset_after else of_product)
        W = W + sum_of_products(read(factors, of_state), of_product)
        return [A, W, *(b + jnp.sum(of_product, 0) for b in b_hh)]

    shapes = (strips.tokens, strips.units), (strips.units, strips.units), *([(strips.units,)] if reset_after else [])
    A, W, *b_hh = strips.over(N, step, [jnp.zeros(shape, jnp.float32) for shape in shapes])

    mine, inside = pl.program_id(0), units < h
    for values, rows, size, first in ((A, vocabulary, v, 0), (W, units, h, 3 * v * h)):
        place = first + (gate * size + rows[:, None]) * h + units[None, :]
        plgpu.store(sums.at[mine, place], values, mask=(rows < size)[:, None] & inside[None, :])
    # Each row has one token: the sum over the table is that over the rows.
    first = 3 * v * h + 3 * h * h
    plgpu.store(sums.at[mine, first + gate * h + units], jnp.sum(A, 0), mask=inside)
    for b in b_hh:
        plgpu.store(sums.at[mine, first + 3 * h + units], b, mask=inside & (gate == 2))


def sgd(parameters: Sequence, gradients: Sequence, lr, moved: Sequence, norm, *, clip_norm: float) -> None:
    """Groups of parameters, flat, each moved by lr times its gradient, all of which are scaled by clip_norm / norm
    where their joint norm is larger; and that norm. The gradients of a group are one array, one behind the other. One
    program.
    """
    pieces = []
    for group, of_group, after in zip(parameters, gradients, moved, strict=True):
        first = 0
        for parameter, place_after in zip(group, after, strict=True):
            (size,) = parameter.shape
            place = numbers(pl.next_power_of_2(size))
            g = plgpu.load(of_group.at[first + place], mask=place < size, other=0.0)
            pieces.append((g, parameter.at[place], place_after.at[place], place < size))
            first += size
    length = jnp.sqrt(sum(jnp.sum(g * g) for g, *_ in pieces))
    scale = lr[0] * jnp.where(length <= clip_norm, 1.0, clip_norm / length)
    for g, before, after, inside in pieces:
        plgpu.store(after, plgpu.load(before, mask=inside, other=0.0) - scale * g, mask=inside)
    norm[0] = length
