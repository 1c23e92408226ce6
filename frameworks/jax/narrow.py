"""A gated cell's loop over time on a GPU, few units: one kernel for all T steps, forward or backward, in Pallas.

As in frameworks/torch/narrow.py a program takes a few rows of the batch through all of T: it keeps their state, and the
recurrent weights, in registers, and asks for the inputs of a step while it computes the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu


class Plan(NamedTuple):
    """How a loop is cut into programs: of how many rows, room for how many units, and how many warps each has."""

    rows: int
    units: int
    warps: int


def sigmoid(x: Array) -> Array:
    """Of e^-|x|, which never overflows. Pallas takes exp and tanh from libdevice: on an H100 tanh was within 3.1 units
    of roundoff, and this within 4.2.
    """
    small = jnp.exp(-jnp.abs(x))
    return jnp.where(x >= 0, 1.0, small) / (1 + small)


def product(a: Array, b: Array) -> Array:
    # Products and sums in float32, whatever the default.
    return jax.lax.dot(a, b, precision=jax.lax.Precision.HIGHEST)


class Tile(NamedTuple):
    """The rows of the batch and the units that a program has, some of them perhaps outside of the arrays."""

    rows: Array
    units: Array
    n: int
    h: int

    @classmethod
    def mine(cls, n: int, h: int, plan: Plan) -> Tile:
        rows = pl.program_id(0) * plan.rows + jnp.arange(plan.rows, dtype=jnp.int32)
        # The minimum changes none. Of numbers that it can see to follow each other Triton would give each thread some
        # neighbours, and would change from that layout to the one of products and back at each step, through shared
        # memory, where the weights would stay as well.
        units = jnp.minimum(jnp.arange(plan.units, dtype=jnp.int32), plan.units - 1)
        return cls(rows, units, n, h)

    @property
    def inside(self) -> Array:
        return (self.rows < self.n)[:, None] & (self.units < self.h)[None, :]

    def read(self, array, *first, part: int = 0, rows: Array | None = None) -> Array:
        """(rows, units) of an array whose last axis has parts of h each."""
        rows = self.rows if rows is None else rows
        place = array.at[*first, rows[:, None], self.units[None, :] + part * self.h]
        return plgpu.load(place, mask=self.inside, other=0.0)

    def write(self, array, values: Array, *first, part: int = 0) -> None:
        place = array.at[*first, self.rows[:, None], self.units[None, :] + part * self.h]
        plgpu.store(place, values, mask=self.inside)

    def bias(self, array) -> Array:
        """(1, units)."""
        return plgpu.load(array.at[self.units], mask=self.units < self.h, other=0.0)[None, :]

    def weight(self, array, part: int, *, transposed: bool = False) -> Array:
        """(units, units), W or its transposed."""
        i, j = self.units[:, None], self.units[None, :]
        row, column = (j, i) if transposed else (i, j)
        square = (i < self.h) & (j < self.h)
        return plgpu.load(array.at[row, column + part * self.h], mask=square, other=0.0)

    def weights(self, arrays, *, transposed: bool = False) -> list[Array]:
        """Those of the gates Z, R and C, from arrays that have some of them each."""
        return [self.weight(array, part, transposed=transposed) for array, part in self.parts(arrays)]

    def parts(self, arrays) -> list[tuple]:
        """The arrays with the number of each of their parts."""
        return [(array, part) for array in arrays for part in range(array.shape[-1] // self.h)]


def forward(tokens, A: Sequence, biases: Sequence, H0, weights: Sequence, b_hh: Sequence, *outputs, plan: Plan) -> None:
    """H (T, n, h) and, if they are to be kept, factors of the gradients of weights, the state before a step and, with
    the reset before the product, R H, (T, n, h) or (T, n, 2 h); and Z, R, C and, with the reset after, H W_hh + b_hh,
    (T, n, 3 h) or (T, n, 4 h).

    Of tokens (n, T), or None, A are tables (v, ..), else what the input adds, (T, n, ..), and the biases (h) of the
    gates are added to it, where there are any. A and weights (h, ..) have Z, R and C side by side, in as many arrays as
    there are. With b_hh, the one there may be, the reset comes after the product.
    """
    T, (n, h) = outputs[0].shape[0], H0.shape
    mine = Tile.mine(n, h, plan)
    added = [mine.bias(b) for b in biases]
    after_product = [mine.bias(b) for b in b_hh]
    W_z, W_r, W_h = mine.weights(weights)

    def inputs(t) -> tuple[Array, ...]:
        if tokens is None:
            return tuple(mine.read(array, t, part=part) for array, part in mine.parts(A))
        rows = plgpu.load(tokens.at[mine.rows, t], mask=mine.rows < n, other=0)
        return tuple(mine.read(array, part=part, rows=rows) for array, part in mine.parts(A))

    def step(t, carry):
        H, A_t = carry
        # What the next step needs, or the last one again, is on its way while this one is computed.
        later = inputs(jnp.minimum(t + 1, T - 1))
        A_z, A_r, A_h = (a + b for a, b in zip(A_t, added, strict=True)) if added else A_t
        R = sigmoid(A_r + product(H, W_r))
        Z = sigmoid(A_z + product(H, W_z))
        if after_product:
            inner = after_product[0] + product(H, W_h)
            C = jnp.tanh(A_h + R * inner)
        else:
            inner = R * H
            C = jnp.tanh(A_h + product(inner, W_h))
        after = C + Z * (H - C)
        mine.write(outputs[0], after, t)
        if len(outputs) > 1:
            factors, gates = outputs[1:]
            mine.write(factors, H, t)
            mine.write(*((gates, inner, t) if after_product else (factors, inner, t)), part=3 if after_product else 1)
            for part, gate in enumerate((Z, R, C)):
                mine.write(gates, gate, t, part=part)
        return after, later

    jax.lax.fori_loop(jnp.int32(0), jnp.int32(T), step, (mine.read(H0), inputs(jnp.int32(0))))


def backward(dH, factors, gates, weights: Sequence, sums, dH0, *, plan: Plan) -> None:
    """From dH (T, n, h), the cotangents of the states, and what was kept, those of H0 and of the sums under Z, R and C,
    (T, n, 3 h), and, with the reset after, before C that of H W_hh + b_hh, (T, n, 4 h).
    """
    T, n, h = dH.shape
    mine = Tile.mine(n, h, plan)
    reset_after = gates.shape[-1] == 4 * h
    W_z, W_r, W_h = mine.weights(weights, transposed=True)

    def kept(t) -> tuple[Array, ...]:
        of_gates = (mine.read(array, t, part=part) for array, part in mine.parts([gates]))
        return mine.read(dH, t), mine.read(factors, t), *of_gates

    def step(turn, carry):
        t = T - 1 - turn
        d, (d_after, H, Z, R, C, *inner) = carry
        sooner = kept(jnp.maximum(t - 1, 0))
        d = d + d_after
        carried = d * Z
        d_z = d * (H - C) * (Z * (1 - Z))
        d_c = (d - carried) * (1 - C * C)
        if reset_after:
            d_inner = d_c * R
            d_r = d_c * inner[0] * (R * (1 - R))
            carried = carried + product(d_inner, W_h)
        else:
            d_inner = product(d_c, W_h)
            d_r = d_inner * H * (R * (1 - R))
            carried = carried + d_inner * R
        for part, array in enumerate((d_z, d_r, d_inner, d_c) if reset_after else (d_z, d_r, d_c)):
            mine.write(sums, array, t, part=part)
        return carried + product(d_z, W_z) + product(d_r, W_r), sooner

    start = jnp.zeros((plan.rows, plan.units), jnp.float32), kept(jnp.int32(T - 1))
    d, _ = jax.lax.fori_loop(jnp.int32(0), jnp.int32(T), step, start)
    mine.write(dH0, d)
