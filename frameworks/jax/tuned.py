"""The cells as fast as JAX runs them here: the same functions as in cells.py, their gradients by hand.

What each step brought is in milliseconds a training step of the chapter (n=1024, T=32, h=32, v=28, float32, gru), on
two cores shared with others: it is the ratios that count. The scratch cell as one program took 44 ms in the same runs.
It is the parts that bring most, see _by_parts and _in_strips; the loops over columns (columns.py) are made for them.
What has no parts has its gradient by hand (loops.py) at some sizes alone, see _by_hand_is_faster. On a GPU GRUs of few
units are kernels of their own (kernels.py).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from frameworks import RichForward
from frameworks.jax import columns, language_model, loops
from frameworks.jax.cells import CELLS, Forward, compiled, gradients
from frameworks.jax.runtime import _on_cpu, _threads

# Everything here is compiled for each shape.
COMPILED = True
TOKENS, ROWS = 4096, (64, 512)
"""How many tokens a part of the batch has, and from how few to how many rows."""
VECTORS: Any = {"xla_cpu_prefer_vector_width": 512}
"""Where a core has them, not 256: 0.95 of the CPU time of a training step."""
STRIP, UNITS = 128, 128
"""Rows of a strip, if they can be shared out so, and units at most for which there are strips."""


@functools.cache
def gru() -> Forward:
    return _forward("gru", "gru", "zrh", lambda p: (_joined(p, "zr"), p["W_hh"]))


@functools.cache
def gru_reset_after() -> Forward:
    return _forward("gru_reset_after", "reset_after", "zrh", lambda p: (_joined(p, "zrh"), p["b_hh"]))


@functools.cache
def rnn() -> Forward:
    return _forward("rnn", "rnn", "h", lambda p: (p["W_hh"],))


def _loop(name: str, H0: Array, otherwise: ModuleType) -> Callable[..., Array]:
    """A loop over time that begins at H0 (n, h): one kernel on a GPU, where there is such a one."""
    return getattr(loops.gpu_kernels(H0), name, None) or getattr(otherwise, name)


def _joined(parameters: Mapping[str, Array], gates: str) -> Array:
    return jnp.concatenate([parameters[f"W_h{gate}"] for gate in gates], 1)


def _by_hand_is_faster(T: int, n: int, h: int, gates: int) -> bool:
    """Whether a gradient of T steps of n sequences and h units takes less time in the loop by hand than in the compiled
    cell of cells.py, where neither has parts. On two cores, in times of the faster one, of both GRUs:

        fewer sequences than units: n = 1, 32 and 64, h = 256, 256 and 1024     compiled 1.1 to 4.2
        as many or more: n from 64 to 4096, h from 32 to 128, T from 8 to 128   by hand 1.1 to 2.7

    Few rows make poor products for the gradient of a weight, and by hand that is one product over all T. Many rows make
    arrays that leave the cache, and by hand there are more of them, since gates that are computed together are cut. A
    plain RNN has one gate, and nothing is cut: compiled 1.3. A GPU was seen at n = 32 and h = 256 alone: compiled 1.7.

    Again on one core, in CPU time, turn by turn: n = 1, h = 256 compiled 4.7 to 5.0, n = 32, h = 256 compiled 1.2; a
    plain RNN at the chapter's size 0.92, but 1.01 on two cores. The other sizes were not measured again. Forwards
    alone, n = 1, h = 256, on another machine: by hand 1.3 to 1.4.
    """
    return loops.on_gpu() or (T > 1 and (gates == 1 or n < h))


def _strips_are_faster(X: Array, H0: Array) -> bool:
    """Whether strips of the batch, see _in_strips, are: on a CPU, for half a strip for each core or more, of few units.
    What is part of a larger program cannot be issued by several threads.
    """
    n, h = H0.shape
    many = len(X) > 1 and n >= STRIP * _threads() // 2 and h <= UNITS
    return many and _on_cpu() and not isinstance(X, jax.core.Tracer)


def _forward(name: str, loop: str, gates: str, recurrent: Callable[..., tuple[Array, ...]]) -> Forward:
    def project(parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        W, b = ([parameters[f"{kind}{gate}"] for gate in gates] for kind in ("W_x", "b_"))
        return jnp.concatenate(W, 1), jnp.concatenate(b)

    @jax.jit
    def by_hand(X: Array, H0: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        # The input part of all gates and all steps is one product, outside the loop.
        W, b = project(parameters)
        H = _loop(loop, H0, loops)(None, X @ W + b, H0, *recurrent(parameters))
        return H, H[-1]

    def in_columns(parameters: Mapping[str, Array], X: Array, H0: Array) -> tuple:
        W, b = project(parameters)
        table = jnp.concatenate([W, b[None]])
        return (getattr(columns, loop)(table, columns.columns(X), H0, *recurrent(parameters)),), ()

    def back_in_columns(parameters: Mapping[str, Array], X: Array, H0: Array, dH: Array) -> tuple:
        (H,), pull, _ = jax.vjp(in_columns, parameters, X, H0, has_aux=True)
        sums, *of_rows = pull((dH,))
        return (H, *of_rows), sums

    in_strips = _in_strips(in_columns, (1, 0), (1,))
    back_in_strips = _in_strips(back_in_columns, (1, 0, 1), (1, 1, 0))

    def forward(X: Array, H0: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        if _strips_are_faster(X, H0):
            (H,), _ = in_strips(parameters, X, H0)
            return H, H[-1]
        return (by_hand if loops.on_gpu() else compiled(CELLS[name]))(X, H0, parameters)

    def pulled_back(X: Array, H0: Array, parameters: Mapping[str, Array], dH: Array) -> tuple:
        if _strips_are_faster(X, H0):
            (H, dX, dH0), sums = back_in_strips(parameters, X, H0, dH)
            return H, H[-1], {"X": dX, "H0": dH0, **sums}
        faster = by_hand if _by_hand_is_faster(len(X), *H0.shape, len(gates)) else compiled(CELLS[name])
        return gradients(faster, compiled=True)(X, H0, parameters, dH)

    @jax.jit
    def of_tokens(tokens: Array, H0: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        kernels = loops.gpu_kernels(H0)
        if hasattr(kernels, loop) and kernels.fit_strips(*parameters["W_xh"].shape):
            H = kernels.of_tokens(tokens, H0, parameters)
            return H, H[-1]
        # Of a one-hot input it is a row of the table.
        W, b = project(parameters)
        H = _loop(loop, H0, columns if _on_cpu() else loops)(W + b, tokens, H0, *recurrent(parameters))
        return H, H[-1]

    more = {"cross_entropy": loops.cross_entropy, "by_parts": _by_parts, "side_by_side": _side_by_side, "sgd": _sgd}
    return RichForward(forward, of_tokens=of_tokens, pulled_back=pulled_back, **more)


def _sgd(
    parameters: Mapping[str, Array], gradients: Mapping[str, Array], *, lr: float | Array, clip_norm: float
) -> tuple[dict[str, Array], Array]:
    """That of the language model; one kernel on a GPU, where the parameters are few."""
    W_hq = parameters["W_hq"]
    kernels = loops.gpu_kernels(W_hq.T)
    one = kernels if kernels and kernels.fit_strips(*W_hq.shape) else language_model
    return one.sgd(parameters, gradients, lr=lr, clip_norm=clip_norm)


def _by_parts(one: Callable[[Array, Array], Any], inputs: Array, targets: Array) -> Any:
    """The mean over the batch of a function (inputs, targets), some hundred rows after the other: what is kept for the
    gradient then stays in the cache, and is not new memory, page by page, at every step. 46 -> 21 ms; with two shares
    at once 9.7 ms in parts of 128 rows, 10.5 of 256, 11.7 of 512; two loops over parts in one program 23 ms. At 128
    steps 64 rows are best, at 8 some 500.
    """
    n, steps = inputs.shape
    fewest, most = ROWS
    rows = min(max(TOKENS // steps, fewest), most)
    parts = _alike(n, rows)
    # A GPU has no such cache: there each part would be as many kernels more.
    if parts == 1 or not _on_cpu():
        return one(inputs, targets)
    split = tuple(tokens.reshape(parts, n // parts, -1) for tokens in (inputs, targets))
    like = jax.eval_shape(one, *(tokens[0] for tokens in split))
    nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)
    total, _ = jax.lax.scan(lambda sums, part: (jax.tree.map(jnp.add, sums, one(*part)), None), nothing, split)
    return jax.tree.map(lambda a: a / parts, total)


def _alike(n: int, rows: int) -> int:
    """Into how many parts of one size n rows are shared out, of so many rows or more."""
    return next(count for count in range(max(1, n // rows), 0, -1) if n % count == 0)


def _side_by_side(mean: Callable[..., Any], finish: Callable[..., Any]) -> Callable[..., Any]:
    """A function (parameters, inputs, targets) -> finish(parameters, mean(parameters, inputs, targets)), of a mean over
    the batch: one program for the share of the batch that each core has, and one for the rest. XLA runs the loops of a
    program on one core, and programs that one thread issues mostly one after the other; those of two threads run at
    once: a training step 12 -> 10 ms. A GPU takes the batch whole, in one program for all, since it would be idle while
    the next one is issued.
    """
    of_share = jax.jit(mean, compiler_options=VECTORS)

    def at_once(parameters: Mapping[str, Array], piece: tuple[Array, Array]) -> Any:
        return jax.block_until_ready(of_share(parameters, *piece))

    @functools.partial(jax.jit, static_argnames="ends")
    def finished(parameters: Mapping[str, Array], parts: list, *, ends: tuple[int, ...]) -> Any:
        shares = [(end - begin) / ends[-1] for begin, end in itertools.pairwise(ends)]
        total = jax.tree.map(lambda *of: sum(s * a for s, a in zip(shares, of, strict=True)), *parts)
        return finish(parameters, total)

    @jax.jit
    def whole(parameters: Mapping[str, Array], inputs: Array, targets: Array) -> Any:
        return finish(parameters, mean(parameters, inputs, targets))

    def run(parameters: Mapping[str, Array], inputs: Array, targets: Array) -> Any:
        if not _on_cpu():
            return whole(parameters, inputs, targets)
        ends = _ends(len(inputs))
        pieces = _split(inputs, targets, ends=ends)
        parts = list(_pool(len(pieces)).map(at_once, itertools.repeat(parameters), pieces))
        return finished(parameters, parts, ends=ends)

    return run


@functools.partial(jax.jit, static_argnames="ends")
def _split(inputs: Array, targets: Array, *, ends: tuple[int, ...]) -> list[tuple[Array, Array]]:
    return [(inputs[begin:end], targets[begin:end]) for begin, end in itertools.pairwise(ends)]


def _in_strips(function: Callable[..., tuple], given: tuple[int, ...], gives: tuple[int, ...]) -> Callable[..., tuple]:
    """A function (parameters, *arrays) -> (arrays, sums): rows of arrays, in these dimensions of what is given and what
    comes, and what is to be added up. Some rows after the other in each of the programs that run side by side, as
    above; what they give is put together by one more. Milliseconds of gradients on two cores, T=32, d=28, in strips of
    32, 64, 128, 256 and 512 rows, and the compiled cell's beside them:

        gru, n=1024, h=32          27   22   21   22   24    compiled  45
        gru, n=1024, h=32, T=8    7.7  7.8  6.5  8.1  9.2              11
        gru, n=1024, h=32, T=128  112   91   84   97  108             190
        gru, n=1024, h=64          55   48   46   49   53              93
        gru, n=1024, h=128        132  114  114  116  127             166
        gru, n=64, h=32           3.4                                 3.6
    """

    @functools.partial(jax.jit, static_argnames="count", compiler_options=VECTORS)
    def of_share(parameters: Mapping[str, Array], arrays: tuple[Array, ...], begin: int, *, count: int) -> tuple:
        strips = _alike(count, STRIP)
        rows = count // strips

        def of_strip(i: Array | int) -> tuple:
            cut = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=begin + i * rows, slice_size=rows)
            return function(parameters, *(cut(array, axis=axis) for array, axis in zip(arrays, given, strict=True)))

        def strip(carry: tuple, i: Array) -> tuple[tuple, None]:
            before, sums = carry
            put = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=i * rows)
            of_rows, more = of_strip(i)
            after = [put(*pair, axis=axis) for *pair, axis in zip(before, of_rows, gives, strict=True)]
            return (after, jax.tree.map(jnp.add, sums, more)), None

        like, sums = jax.eval_shape(of_strip, 0)
        room = [
            jnp.zeros((*of.shape[:axis], count, *of.shape[axis + 1 :]), of.dtype)
            for of, axis in zip(like, gives, strict=True)
        ]
        nothing = jax.tree.map(lambda of: jnp.zeros(of.shape, of.dtype), sums)
        return jax.lax.scan(strip, (room, nothing), jnp.arange(strips))[0]

    @jax.jit
    def whole(parts: list) -> tuple:
        of_rows, sums = zip(*parts, strict=True)
        joined = [jnp.concatenate(of, axis) for axis, *of in zip(gives, *of_rows, strict=True)]
        return joined, jax.tree.map(lambda *of: sum(of), *sums)

    def run(parameters: Mapping[str, Array], *arrays: Array) -> tuple:
        def at_once(begin: int, end: int) -> tuple:
            return jax.block_until_ready(of_share(parameters, arrays, begin, count=end - begin))

        ends = _ends(arrays[0].shape[given[0]])
        return whole(list(_pool(len(ends) - 1).map(at_once, ends, ends[1:])))

    return run


def _ends(rows: int) -> tuple[int, ...]:
    """Where the share of each core ends, of all rows; 0 first."""
    count = min(_threads(), rows)
    return tuple(rows * i // count for i in range(count + 1))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


BOTH = ("float32", "float64")
# The cell that each claims to equal: its constructor and the dtypes that it runs in.
TUNED = {"gru": (gru, BOTH), "gru_reset_after": (gru_reset_after, BOTH), "rnn": (rnn, BOTH)}
