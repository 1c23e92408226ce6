"""The cells as fast as JAX runs them here: the same functions as in cells.py, their gradients by hand.

What each step brought is in milliseconds a training step of the chapter (n=1024, T=32, h=32, v=28, float32, gru), on
two cores shared with others: it is the ratios that count. The scratch cell as one program took 44 ms in the same runs.
It is the parts that bring most, see _by_parts; the loops over tokens (columns.py) are made for them. What has no parts
is computed by hand (loops.py) at some sizes alone, see _by_hand_is_faster. On a GPU GRUs of few units are kernels of
their own (kernels.py).
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
from frameworks.jax.cells import CELLS, Forward, compiled
from frameworks.jax.runtime import _on_cpu, _threads

# Everything here is compiled for each shape.
COMPILED = True
TOKENS, ROWS = 4096, (64, 512)
"""How many tokens a part of the batch has, and from how few to how many rows."""


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
    """Whether T steps of n sequences and h units take less time in the loop by hand than in the compiled cell of
    cells.py, where neither has parts. On two cores, in times of the faster one, forwards and gradients of both GRUs:

        fewer sequences than units: n = 1, 32 and 64, h = 256, 256 and 1024     compiled 1.1 to 4.2
        as many or more: n from 64 to 4096, h from 32 to 128, T from 8 to 128   by hand 1.1 to 2.7
        a single step, n = 1, 64 and 1024                                       by hand 1.0 to 2.5

    Few rows make poor products for the gradient of a weight, and by hand that is one product over all T. Many rows make
    arrays that leave the cache, and by hand there are more of them, since gates that are computed together are cut. A
    plain RNN has one gate, and nothing is cut: compiled 1.3. A GPU was seen at n = 32 and h = 256 alone: compiled 1.7.

    Again on one core, in CPU time, turn by turn: n = 1, h = 256 compiled 4.7 to 5.0 (gradients) and 1.2 (forwards), n =
    32, h = 256 compiled 1.2; a single step 0.94 to 0.99, and every GRU at the chapter's size 0.99 to 1.01, since there
    it is the compiled cell; a plain RNN there 0.92, but 1.01 on two cores. The other sizes were not measured again.
    """
    return loops.on_gpu() or (T > 1 and (gates == 1 or n < h))


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

    def forward(X: Array, H0: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        faster = by_hand if _by_hand_is_faster(len(X), *H0.shape, len(gates)) else compiled(CELLS[name])
        return faster(X, H0, parameters)

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
    return RichForward(forward, of_tokens=of_tokens, **more)


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
    parts = next(count for count in range(max(1, n // rows), 0, -1) if n % count == 0)
    # A GPU has no such cache: there each part would be as many kernels more.
    if parts == 1 or not _on_cpu():
        return one(inputs, targets)
    split = tuple(tokens.reshape(parts, n // parts, -1) for tokens in (inputs, targets))
    like = jax.eval_shape(one, *(tokens[0] for tokens in split))
    nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)
    total, _ = jax.lax.scan(lambda sums, part: (jax.tree.map(jnp.add, sums, one(*part)), None), nothing, split)
    return jax.tree.map(lambda a: a / parts, total)


def _side_by_side(mean: Callable[..., Any], finish: Callable[..., Any]) -> Callable[..., Any]:
    """A function (parameters, inputs, targets) -> finish(parameters, mean(parameters, inputs, targets)), of a mean over
    the batch: one program for the share of the batch that each core has, and one for the rest. XLA runs the loops of a
    program on one core, and programs that one thread issues mostly one after the other; those of two threads run at
    once: a training step 12 -> 10 ms. Vectors of 512 bits, where a core has them, not 256: 0.95 of the CPU time. A GPU
    takes the batch whole, in one program for all, since it would be idle while the next one is issued.
    """
    of_share = jax.jit(mean, compiler_options={"xla_cpu_prefer_vector_width": 512})

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
        count = min(_threads(), len(inputs))
        ends = tuple(len(inputs) * i // count for i in range(count + 1))
        pieces = _split(inputs, targets, ends=ends)
        parts = list(_pool(count).map(at_once, itertools.repeat(parameters), pieces))
        return finished(parameters, parts, ends=ends)

    return run


@functools.partial(jax.jit, static_argnames="ends")
def _split(inputs: Array, targets: Array, *, ends: tuple[int, ...]) -> list[tuple[Array, Array]]:
    return [(inputs[begin:end], targets[begin:end]) for begin, end in itertools.pairwise(ends)]


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


BOTH = ("float32", "float64")
# The cell that each claims to equal: its constructor and the dtypes that it runs in.
TUNED = {"gru": (gru, BOTH), "gru_reset_after": (gru_reset_after, BOTH), "rnn": (rnn, BOTH)}
