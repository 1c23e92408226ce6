"""The tuned gated cells' loops over time on a GPU: one kernel for all T steps, forward or backward, in Pallas.

The same functions as in loops.py, with the same arguments and gradients by hand; for few units and tokens the output
layer, the gradients of weights and the step of SGD too. narrow.py and strips.py hold the kernels; here they are given
arrays and sizes.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from frameworks.jax import loops, narrow, strips
from frameworks.jax.narrow import Plan
from frameworks.jax.runtime import _on_cpu
from frameworks.jax.strips import Strips

NARROW = 64
"""The most units whose weights fit into the registers of one program."""
MOST_ROWS = 16
LEAST_UNITS = 16
"""What a product in Triton sums over at least; fewer are filled up with zeros."""
STRIP, STRIPS, WARPS = 32, 4, 4
"""How many rows a program of strips.py takes at a time, how many programs a multiprocessor has at most (of `gradients`
for each gate), and how many warps they have. Whole steps, one after another, in one process: with 2, 4 and 8 programs
151, 144 and 145 us; in others, of 16 rows and 2 warps, 32 and 2, and 64 and 4, from 136 to 202, which is what processes
differ by.
"""

# Microseconds on an H100, n=1024, h=32, T=32, gru, by rows and warps of a program: the loop forward, and with all
# gradients, of which products for those of weights and inputs are 40: 2 and 1: 36, 118; 2 and 2: 45, 119; 1 and 1: 33,
# 120; 4 and 1: 58, 151; 4 and 2: 52, 127; 8 and 4: 49, 126; 16 and 8: 58, 149. A training step of the chapter took 387,
# and 207 one after another, in 45 kernels, before strips.py; with it, in 9, it takes 258 to 431, about 310 in the
# middle, and 128 to 202 one after another (two processes with other flags of XLA apart): the rest is the host's. Kernel
# by kernel, not as one command buffer, is no faster. With the scan of loops.py it took 1218 and 1018. States are within
# 3 units of roundoff of float64, relative to the largest, gradients within 17.


def plan(n: int, h: int, *, processors: int) -> Plan:
    """A plan for n rows of h units on so many multiprocessors: that of PyTorch's kernels."""
    rows = min(MOST_ROWS, pl.next_power_of_2(pl.cdiv(n, 4 * processors)))
    return Plan(rows, _room(h), max(1, rows * _room(h) // 64))


def _room(size: int) -> int:
    return max(LEAST_UNITS, pl.next_power_of_2(size))


def suits(H0: Array) -> bool:
    """Whether a loop that begins at H0 (n, h) on a GPU is run by these kernels: in float32, with few units."""
    return H0.dtype == jnp.float32 and H0.shape[1] <= NARROW


def _processors() -> int:
    return 1 if _on_cpu() else jax.config.jax_default_device.core_count


def _run(
    kernel: Callable[..., None], given: Sequence[Any], shapes: Any, *, grid: tuple[int, ...], warps: int, **kinds: Any
) -> Any:
    """Start a kernel on arrays, some of them in sequences: its outputs, of such shapes, in float32."""
    return pl.pallas_call(
        functools.partial(kernel, **kinds),
        out_shape=jax.tree.map(
            lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32), shapes, is_leaf=lambda a: isinstance(a, tuple)
        ),
        grid=grid,
        compiler_params=plgpu.CompilerParams(num_warps=warps, num_stages=1),
        # Far too slow for anything but tests.
        interpret=_on_cpu(),
        name=kernel.__name__,
    )(*given)


def _loop(kernel: Callable[..., None], given: Sequence[Any], n: int, h: int, shapes: list[tuple[int, ...]]) -> list:
    cut = plan(n, h, processors=_processors())
    return _run(kernel, given, shapes, grid=(pl.cdiv(n, cut.rows),), warps=cut.warps, plan=cut)


def _states(
    tokens: Array | None,
    A: Sequence[Array],
    biases: Sequence[Array],
    H0: Array,
    weights: Sequence[Array],
    b_hh: Sequence[Array],
    *,
    kept: bool,
) -> list[Array]:
    """H and, if they are to be kept, factors and gates, as narrow.forward has them; tokens are (T, n)."""
    T, (n, h) = len(A[0] if tokens is None else tokens), H0.shape
    parts = (1, *((1, 4) if b_hh else (2, 3))) if kept else (1,)
    # They come from an array (n, T), and the two transposes are none.
    tokens = None if tokens is None else tokens.T.astype(jnp.int32)
    return _loop(narrow.forward, (tokens, A, biases, H0, weights, b_hh), n, h, [(T, n, k * h) for k in parts])


def _pulled_back(dH: Array, factors: Array, gates: Array, weights: Sequence[Array]) -> list[Array]:
    """The gradients of the sums under the gates and of H0, as narrow.backward has them."""
    T, n, h = dH.shape
    shapes = [(T, n, gates.shape[-1]), (n, h)]
    return _loop(narrow.backward, (dH, factors, gates, weights), n, h, shapes)


def _kept(table: Array | None, inputs: Array, H0: Array, *weights: Array, biased: bool) -> tuple[Array, tuple]:
    H, *kept = _of_table(table, inputs, H0, *weights, biased=biased, kept=True)
    return H, (kept, table, inputs, weights)


def _of_table(
    table: Array | None, inputs: Array, H0: Array, *weights: Array, biased: bool, kept: bool = False
) -> list[Array]:
    tokens, A = (None, inputs) if table is None else (inputs, table)
    *weights, b_hh = (*weights,) if biased else (*weights, None)
    return _states(tokens, [A], [], H0, weights, [b_hh] if biased else [], kept=kept)


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
    return _of_table(table, inputs, H0, W_zr, W_hh, biased=False)[0]


def _gru_back(residuals, dH):
    (factors, gates), table, inputs, weights = residuals
    h = dH.shape[-1]
    sums, dH0 = _pulled_back(dH, factors, gates, weights)
    products = loops._sum_of_products(factors, sums)
    of_inputs = _of_inputs(table, inputs, lambda sums: sums, sums)
    return *of_inputs, dH0, products[:h, : 2 * h], products[h:, 2 * h :]


gru.defvjp(functools.partial(_kept, biased=False), _gru_back)


@jax.custom_vjp
def reset_after(table: Array | None, inputs: Array, H0: Array, W: Array, b_hh: Array) -> Array:
    return _of_table(table, inputs, H0, W, b_hh, biased=True)[0]


def _reset_after_back(residuals, dH):
    (factors, gates), table, inputs, (W, _) = residuals
    h = dH.shape[-1]
    sums, dH0 = _pulled_back(dH, factors, gates, [W])
    products = loops._sum_of_products(factors, sums[..., : 3 * h])
    of_inputs = _of_inputs(table, inputs, lambda sums: jnp.delete(sums, slice(2 * h, 3 * h), -1), sums)
    return *of_inputs, dH0, products, sums[..., 2 * h : 3 * h].sum((0, 1))


reset_after.defvjp(functools.partial(_kept, biased=True), _reset_after_back)


OF_CELL = ("W_xz", "W_xr", "W_xh", "W_hz", "W_hr", "W_hh", "b_z", "b_r", "b_h", "b_hh")
"""The parameters of a gated cell, as strips.gradients has their gradients; the last one where the reset is after."""


def fit_strips(v: int, h: int) -> bool:
    """Whether so many tokens and units are few enough for the kernels of strips.py."""
    return max(v, h) <= NARROW


def _sums(
    kernel: Callable[..., None],
    given: Sequence[Any],
    sizes: tuple[int, int, int],
    *shapes: tuple[int, ...],
    others: Sequence[tuple[int, ...]] = (),
    gates: int = 1,
    **kinds: Any,
) -> list[Array]:
    """What a kernel of strips.py sums up, of such shapes, over N rows of h units and v tokens, the sizes; and before
    that its other outputs.
    """
    N, *room = sizes
    programs = min(pl.cdiv(N, STRIP), STRIPS * _processors())
    outputs = [*others, *((programs, *shape) for shape in shapes)]
    cut = Strips(STRIP, programs, *map(_room, room))
    made = _run(kernel, given, outputs, grid=(programs, gates), warps=WARPS, strips=cut, **kinds)
    return [*made[: len(others)], *(sums.sum(0) for sums in made[len(others) :])]


def of_tokens(tokens: Array, H0: Array, parameters: Mapping[str, Array]) -> Array:
    """The states (T, n, h) of a gated cell after tokens (T, n), from H0 (n, h) on; for what fit_strips allows."""
    return _of_tokens(tokens, H0, [parameters[name] for name in OF_CELL if name in parameters])


@jax.custom_vjp
def _of_tokens(tokens: Array, H0: Array, parameters: list[Array]) -> Array:
    return _of_parameters(tokens, H0, parameters, kept=False)[0]


def _of_parameters(tokens: Array, H0: Array, parameters: list[Array], *, kept: bool) -> list[Array]:
    tables, weights, biases, b_hh = parameters[:3], parameters[3:6], parameters[6:9], parameters[9:]
    return _states(tokens, tables, biases, H0, weights, b_hh, kept=kept)


def _of_tokens_kept(tokens, H0, parameters):
    H, *kept = _of_parameters(tokens, H0, parameters, kept=True)
    return H, (tokens, kept, parameters)


def _of_tokens_back(residuals, dH):
    tokens, (factors, gates), parameters = residuals
    d, dH0 = _pulled_back(dH, factors, gates, parameters[3:6])
    v, h = parameters[0].shape
    rows = (tokens.T.astype(jnp.int32), *(array.reshape(-1, array.shape[-1]) for array in (factors, d)))
    count = sum(array.size for array in parameters)
    (sums,) = _sums(strips.gradients, rows, (tokens.size, h, v), (count,), gates=3, h=h, v=v)
    return None, dH0, _split(sums, parameters)


_of_tokens.defvjp(_of_tokens_kept, _of_tokens_back)


def _split(flat: Array, like: Sequence[Array]) -> list[Array]:
    """Arrays of such shapes, which lie one behind the other."""
    arrays, first = [], 0
    for array in like:
        arrays.append(flat[first : first + array.size].reshape(array.shape))
        first += array.size
    return arrays


@jax.custom_vjp
def cross_entropy(H: Array, W_hq: Array, b_q: Array, labels: Array) -> Array:
    """As the one of loops.py, its gradients at once; for what fit_strips allows."""
    return _cross_entropy_kept(H, W_hq, b_q, labels)[0]


def _cross_entropy_kept(H, W_hq, b_q, labels):
    h, v = W_hq.shape
    rows = H.reshape(-1, h)
    given = rows, W_hq, b_q, labels.T.astype(jnp.int32)
    dH, sums, loss = _sums(strips.cross_entropy, given, (len(rows), h, v), (h * v + v,), (), others=[rows.shape])
    return loss, (dH.reshape(H.shape), *_split(sums, (W_hq, b_q)))


def _cross_entropy_back(gradients, d):
    return *(gradient * d for gradient in gradients), None


cross_entropy.defvjp(_cross_entropy_kept, _cross_entropy_back)


def sgd(
    parameters: Mapping[str, Array], gradients: Mapping[str, Array], *, lr: float | Array, clip_norm: float
) -> tuple[dict[str, Array], Array]:
    """As the one of language_model.py, in one kernel, for a few thousand numbers in float32."""
    # One behind the other as they come from the two kernels above, gradients need not be put there.
    of_cell = [name for name in OF_CELL if name in parameters]
    groups = [of_cell, [name for name in parameters if name not in of_cell]]
    flat = [[parameters[name].reshape(-1) for name in group] for group in groups]
    of_groups = [jnp.concatenate([gradients[name].reshape(-1) for name in group]) for group in groups]
    shapes = [[[array.shape for array in group] for group in flat], (1,)]
    given = flat, of_groups, jnp.full(1, lr, jnp.float32)
    moved, norm = _run(strips.sgd, given, shapes, grid=(), warps=8, clip_norm=clip_norm)
    after = dict(zip(itertools.chain(*groups), itertools.chain(*moved), strict=True))
    return {name: after[name].reshape(array.shape) for name, array in parameters.items()}, norm[0]
