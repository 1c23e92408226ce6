"""The tuned gated cells' loops over time on a GPU: one kernel for all T steps, forward or backward, in Pallas.

The same functions as in loops.py, with the same arguments and gradients by hand. As in frameworks/torch/narrow.py a
program takes a few rows of the batch through all of T: it keeps their state, and the recurrent weights, in registers,
and asks for the inputs of a step while it computes the one before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from frameworks.jax import loops
from frameworks.jax.runtime import _on_cpu

NARROW = 64
"""The most units whose weights fit into the registers of one program."""
MOST_ROWS = 16
LEAST_UNITS = 16
"""What a product in Triton sums over at least; fewer are filled up with zeros."""


class Plan(NamedTuple):
    """How a loop is cut into programs: of how many rows, room for how many units, and how many warps each has."""

    rows: int
    units: int
    warps: int


# Microseconds on an H100, n=1024, h=32, T=32, gru, by rows and warps of a program: the loop forward, and with all
# gradients, of which products for those of weights and inputs are 40: 2 and 1: 36, 118; 2 and 2: 45, 119; 1 and 1: 33,
# 120; 4 and 1: 58, 151; 4 and 2: 52, 127; 8 and 4: 49, 126; 16 and 8: 58, 149. A training step of the chapter takes
# 387, and 207 one after another; with the scan of loops.py 1218 and 1018. States are within 3 units of roundoff of
# float64, relative to the largest, gradients within 17.


def plan(n: int, h: int, *, processors: int) -> Plan:
    """A plan for n rows of h units on so many multiprocessors: that of PyTorch's kernels."""
    units = max(LEAST_UNITS, pl.next_power_of_2(h))
    rows = min(MOST_ROWS, pl.next_power_of_2(pl.cdiv(n, 4 * processors)))
    return Plan(rows, units, max(1, rows * units // 64))


def suits(H0: Array) -> bool:
    """Whether a loop that begins at H0 (n, h) on a GPU is run by these kernels: in float32, with few units."""
    return H0.dtype == jnp.float32 and H0.shape[1] <= NARROW


def _plan(n: int, h: int) -> Plan:
    return plan(n, h, processors=1 if _on_cpu() else jax.config.jax_default_device.core_count)


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

    def weight(self, array, part: int, *, transposed: bool = False) -> Array:
        """(units, units), W or its transposed."""
        i, j = self.units[:, None], self.units[None, :]
        row, column = (j, i) if transposed else (i, j)
        square = (i < self.h) & (j < self.h)
        return plgpu.load(array.at[row, column + part * self.h], mask=square, other=0.0)

    def weights(self, arrays, *, transposed: bool = False) -> list[Array]:
        """Those of the gates Z, R and C, from arrays that have two and one of them, or all three."""
        of_gates = [(array, part) for array in arrays for part in range(array.shape[1] // self.h)]
        return [self.weight(array, part, transposed=transposed) for array, part in of_gates]


def _forward(*arrays, T: int, n: int, h: int, plan: Plan, of_tokens: bool, biased: bool, kept: bool) -> None:
    """From A or tokens and a table, H0, W and, where the reset comes after the product, b_hh: H (T, n, h) and, if they
    are to be kept, factors of the gradients of weights, the state before a step and, with the reset before, R H,
    (T, n, h) or (T, n, 2 h); and Z, R, C and, with the reset after, H W_hh + b_hh, (T, n, 3 h) or (T, n, 4 h).
    """
    mine = Tile.mine(n, h, plan)
    given = list(arrays)
    outputs = [given.pop() for _ in range(3 if kept else 1)][::-1]
    tokens = given.pop(0) if of_tokens else None
    A, H0, *weights = given
    if biased:
        b = plgpu.load(weights.pop().at[mine.units], mask=mine.units < h, other=0.0)[None, :]
    W_z, W_r, W_h = mine.weights(weights)

    def inputs(t) -> tuple[Array, ...]:
        if tokens is None:
            return tuple(mine.read(A, t, part=part) for part in range(3))
        rows = plgpu.load(tokens.at[t, mine.rows], mask=mine.rows < n, other=0)
        return tuple(mine.read(A, part=part, rows=rows) for part in range(3))

    def step(t, carry):
        H, (A_z, A_r, A_h) = carry
        # What the next step needs, or the last one again, is on its way while this one is computed.
        later = inputs(jnp.minimum(t + 1, T - 1))
        R = sigmoid(A_r + product(H, W_r))
        Z = sigmoid(A_z + product(H, W_z))
        if biased:
            inner = b + product(H, W_h)
            C = jnp.tanh(A_h + R * inner)
        else:
            inner = R * H
            C = jnp.tanh(A_h + product(inner, W_h))
        after = C + Z * (H - C)
        mine.write(outputs[0], after, t)
        if kept:
            factors, gates = outputs[1:]
            mine.write(factors, H, t)
            mine.write(*((gates, inner, t) if biased else (factors, inner, t)), part=3 if biased else 1)
            for part, gate in enumerate((Z, R, C)):
                mine.write(gates, gate, t, part=part)
        return after, later

    jax.lax.fori_loop(jnp.int32(0), jnp.int32(T), step, (mine.read(H0), inputs(jnp.int32(0))))


def _backward(*arrays, T: int, n: int, h: int, plan: Plan, biased: bool) -> None:
    """From dH (T, n, h), the cotangents of the states, and what was kept, those of H0 and of the sums under Z, R and C,
    (T, n, 3 h), and, with the reset after, before C that of H W_hh + b_hh, (T, n, 4 h).
    """
    mine = Tile.mine(n, h, plan)
    dH, factors, gates, *weights, sums, dH0 = arrays
    W_z, W_r, W_h = mine.weights(weights, transposed=True)

    def kept(t) -> tuple[Array, ...]:
        of_gates = (mine.read(gates, t, part=part) for part in range(4 if biased else 3))
        return mine.read(dH, t), mine.read(factors, t), *of_gates

    def step(turn, carry):
        t = T - 1 - turn
        d, (d_after, H, Z, R, C, *inner) = carry
        sooner = kept(jnp.maximum(t - 1, 0))
        d = d + d_after
        carried = d * Z
        d_z = d * (H - C) * (Z * (1 - Z))
        d_c = (d - carried) * (1 - C * C)
        if biased:
            d_inner = d_c * R
            d_r = d_c * inner[0] * (R * (1 - R))
            carried = carried + product(d_inner, W_h)
        else:
            d_inner = product(d_c, W_h)
            d_r = d_inner * H * (R * (1 - R))
            carried = carried + d_inner * R
        for part, array in enumerate((d_z, d_r, d_inner, d_c) if biased else (d_z, d_r, d_c)):
            mine.write(sums, array, t, part=part)
        return carried + product(d_z, W_z) + product(d_r, W_r), sooner

    start = jnp.zeros((plan.rows, plan.units), jnp.float32), kept(jnp.int32(T - 1))
    d, _ = jax.lax.fori_loop(jnp.int32(0), jnp.int32(T), step, start)
    mine.write(dH0, d)


def _run(kernel: Callable[..., None], arrays: tuple[Array, ...], sizes: tuple[int, int, int], parts, **kinds) -> list:
    """Start a kernel on T steps of n rows of h units. Its outputs are (T, n, .. h) of so many parts, or (n, h)."""
    T, n, h = sizes
    cut = _plan(n, h)
    shapes = [(n, h) if count is None else (T, n, count * h) for count in parts]
    return pl.pallas_call(
        functools.partial(kernel, T=T, n=n, h=h, plan=cut, **kinds),
        out_shape=[jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes],
        grid=(pl.cdiv(n, cut.rows),),
        compiler_params=plgpu.CompilerParams(num_warps=cut.warps, num_stages=1),
        # Far too slow for anything but tests.
        interpret=_on_cpu(),
        name=kernel.__name__.strip("_"),
    )(*arrays)


def _states(table: Array | None, inputs: Array, H0: Array, *weights: Array, biased: bool, kept: bool) -> list[Array]:
    arrays = (inputs, H0) if table is None else (inputs.astype(jnp.int32), table, H0)
    parts = (1, *((1, 4) if biased else (2, 3))) if kept else (1,)
    kinds = {"of_tokens": table is not None, "biased": biased, "kept": kept}
    return _run(_forward, (*arrays, *weights), (len(inputs), *H0.shape), parts, **kinds)


def _kept(biased: bool, table: Array | None, inputs: Array, H0: Array, *weights: Array) -> tuple[Array, tuple]:
    H, *kept = _states(table, inputs, H0, *weights, biased=biased, kept=True)
    return H, (kept, table, inputs, weights)


def _of_inputs(table: Array | None, inputs: Array, dA: Callable[[Array], Array], sums: Array) -> tuple:
    """The gradients of table and inputs; dA takes the parts that are of A. That of a table is a product with one-hot
    rows: a GPU adds to single rows by atomic operations, in no order.
    """
    if table is None:
        return None, dA(sums)
    one_hot = (inputs[..., None] == jnp.arange(len(table), dtype=inputs.dtype)).astype(sums.dtype)
    return dA(loops._sum_of_products(one_hot, sums)), None


@jax.custom_vjp
def gru(table: Array | None, inputs: Array, H0: Array, W_zr: Array, W_hh: Array) -> Array:
    return _states(table, inputs, H0, W_zr, W_hh, biased=False, kept=False)[0]


def _gru_back(residuals, dH):
    (factors, gates), table, inputs, weights = residuals
    T, n, h = dH.shape
    sums, dH0 = _run(_backward, (dH, factors, gates, *weights), (T, n, h), (3, None), biased=False)
    products = loops._sum_of_products(factors, sums)
    of_inputs = _of_inputs(table, inputs, lambda sums: sums, sums)
    return *of_inputs, dH0, products[:h, : 2 * h], products[h:, 2 * h :]


gru.defvjp(functools.partial(_kept, False), _gru_back)


@jax.custom_vjp
def reset_after(table: Array | None, inputs: Array, H0: Array, W: Array, b_hh: Array) -> Array:
    return _states(table, inputs, H0, W, b_hh, biased=True, kept=False)[0]


def _reset_after_back(residuals, dH):
    (factors, gates), table, inputs, (W, _) = residuals
    T, n, h = dH.shape
    sums, dH0 = _run(_backward, (dH, factors, gates, W), (T, n, h), (4, None), biased=True)
    products = loops._sum_of_products(factors, sums[..., : 3 * h])
    of_inputs = _of_inputs(table, inputs, lambda sums: jnp.delete(sums, slice(2 * h, 3 * h), -1), sums)
    return *of_inputs, dH0, products, sums[..., 2 * h : 3 * h].sum((0, 1))


reset_after.defvjp(functools.partial(_kept, True), _reset_after_back)
