"""The cells as fast as JAX runs them here: the same functions as in cells.py, their gradients by hand.

What each step brought is in milliseconds a training step of the chapter (n=1024, T=32, h=32, v=28, float32, gru), on
two cores shared with others: it is the ratios that count. The scratch cell as one program took 44 ms in the same runs.
It is the parts that bring most, see _by_parts; the rest by itself only makes up for what cutting fused gates costs.
What has no parts is computed by hand at some sizes alone, see _by_hand_is_faster.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from frameworks import RichForward
from frameworks.jax.cells import CELLS, Forward, compiled
from frameworks.jax.runtime import _on_cpu, _threads

# Everything here is compiled for each shape.
COMPILED = True
TOKENS, ROWS = 4096, (64, 512)
"""How many tokens a part of the batch has, and from how few to how many rows."""


@functools.cache
def gru() -> Forward:
    return _forward("gru", _gru, "zrh", lambda p: (_joined(p, "zr"), p["W_hh"]))


@functools.cache
def gru_reset_after() -> Forward:
    return _forward("gru_reset_after", _reset_after, "zrh", lambda p: (_joined(p, "zrh"), p["b_hh"]))


@functools.cache
def rnn() -> Forward:
    return _forward("rnn", _rnn, "h", lambda p: (p["W_hh"],))


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
    """
    return not _on_cpu() or (T > 1 and (gates == 1 or n < h))


def _forward(name: str, loop: Callable[..., Array], gates: str, recurrent: Callable[..., tuple[Array, ...]]) -> Forward:
    def project(parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        W, b = ([parameters[f"{kind}{gate}"] for gate in gates] for kind in ("W_x", "b_"))
        return jnp.concatenate(W, 1), jnp.concatenate(b)

    def states(A: Array, H0: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        H = loop(A, H0, *recurrent(parameters))
        return H, H[-1]

    @jax.jit
    def by_hand(X: Array, H0: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        # The input part of all gates and all steps is one product, outside the loop.
        W, b = project(parameters)
        return states(X @ W + b, H0, parameters)

    def forward(X: Array, H0: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        faster = by_hand if _by_hand_is_faster(len(X), *H0.shape, len(gates)) else compiled(CELLS[name])
        return faster(X, H0, parameters)

    @jax.jit
    def of_tokens(tokens: Array, H0: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        # Of a one-hot input it is a row of the table. Gathered, not multiplied: 63 -> 54 ms, and its gradient by
        # scattering 0.3 ms, by a product 0.8 ms.
        W, b = project(parameters)
        return states((W + b)[tokens], H0, parameters)

    return RichForward(forward, of_tokens=of_tokens, by_parts=_by_parts, side_by_side=_side_by_side)


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


def _side_by_side(gradients: Callable[..., tuple], update: Callable[..., tuple]) -> Callable[..., tuple]:
    """A training step as one program for the share of the batch that each core has, and one for the update. XLA runs
    the loops of a program on one core, and programs that one thread issues mostly one after the other; those of two
    threads run at once: 12 -> 10 ms.
    """
    of_share = jax.jit(gradients)

    def at_once(parameters: Mapping[str, Array], piece: tuple[Array, Array]) -> tuple:
        return jax.block_until_ready(of_share(parameters, *piece))

    @functools.partial(jax.jit, static_argnames="ends")
    def split(inputs: Array, targets: Array, *, ends: tuple[int, ...]) -> list[tuple[Array, Array]]:
        return [(inputs[begin:end], targets[begin:end]) for begin, end in itertools.pairwise(ends)]

    @functools.partial(jax.jit, static_argnames="ends")
    def updated(parameters: Mapping[str, Array], parts: list[tuple], *, ends: tuple[int, ...]) -> tuple:
        shares = [(end - begin) / ends[-1] for begin, end in itertools.pairwise(ends)]
        value, total = jax.tree.map(lambda *of: sum(s * a for s, a in zip(shares, of, strict=True)), *parts)
        parameters, norm = update(parameters, total)
        return parameters, value, norm

    def step(parameters: Mapping[str, Array], inputs: Array, targets: Array) -> tuple:
        count = min(_threads(), len(inputs)) if _on_cpu() else 1
        ends = tuple(len(inputs) * i // count for i in range(count + 1))
        pieces = split(inputs, targets, ends=ends)
        parts = list(_pool(count).map(at_once, itertools.repeat(parameters), pieces))
        return updated(parameters, parts, ends=ends)

    return step


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


# Each loop takes A (T, n, gates h), what the input and the biases add to the gates, H0 (n, h) and the recurrent
# weights, and gives H (T, n, h). Gradients of weights are one product over all T after the backward loop: 53 -> 46 ms.
# More steps in one turn of a loop (unroll=4) were slower: 53 ms.


def _sum_of_products(a: Array, b: Array) -> Array:
    return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])


def _before(H0: Array, H: Array) -> Array:
    return jnp.concatenate([H0[None], H[:-1]])


@jax.custom_vjp
def _gru(A: Array, H0: Array, W_zr: Array, W_hh: Array) -> Array:
    return _gru_kept(A, H0, W_zr, W_hh)[0]


def _gru_kept(A, H0, W_zr, W_hh):
    h = H0.shape[1]

    def step(H, A_t):
        ZR = jax.nn.sigmoid(A_t[:, : 2 * h] + H @ W_zr)
        Z, R = ZR[:, :h], ZR[:, h:]
        C = jnp.tanh(A_t[:, 2 * h :] + (R * H) @ W_hh)
        H = C + Z * (H - C)
        return H, (H, ZR, C)

    _, (H, ZR, C) = jax.lax.scan(step, H0, A)
    return H, (H0, H, ZR, C, W_zr, W_hh)


def _gru_back(kept, dH):
    H0, H, ZR, C, W_zr, W_hh = kept
    h, before = H0.shape[1], _before(H0, H)

    def back(d, given):
        dH_t, H, ZR, C = given
        Z, R = ZR[:, :h], ZR[:, h:]
        d = d + dH_t
        dC = d * (1 - Z) * (1 - C * C)
        dRH = dC @ W_hh.T
        dZR = jnp.concatenate([d * (H - C) * Z * (1 - Z), dRH * H * R * (1 - R)], 1)
        return d * Z + dRH * R + dZR @ W_zr.T, (dZR, dC)

    dH0, (dZR, dC) = jax.lax.scan(back, jnp.zeros_like(H0), (dH, before, ZR, C), reverse=True)
    dW_zr, dW_hh = _sum_of_products(before, dZR), _sum_of_products(ZR[..., h:] * before, dC)
    return jnp.concatenate([dZR, dC], 2), dH0, dW_zr, dW_hh


_gru.defvjp(_gru_kept, _gru_back)


@jax.custom_vjp
def _reset_after(A: Array, H0: Array, W: Array, b_hh: Array) -> Array:
    return _reset_after_kept(A, H0, W, b_hh)[0]


def _reset_after_kept(A, H0, W, b_hh):
    h = H0.shape[1]

    def step(H, A_t):
        # One product for all gates, where the reset comes after it.
        G = H @ W
        ZR, inner = jax.nn.sigmoid(A_t[:, : 2 * h] + G[:, : 2 * h]), G[:, 2 * h :] + b_hh
        Z, R = ZR[:, :h], ZR[:, h:]
        C = jnp.tanh(A_t[:, 2 * h :] + R * inner)
        H = C + Z * (H - C)
        return H, (H, ZR, C, inner)

    _, (H, ZR, C, inner) = jax.lax.scan(step, H0, A)
    return H, (H0, H, ZR, C, inner, W)


def _reset_after_back(kept, dH):
    H0, H, ZR, C, inner, W = kept
    h, before = H0.shape[1], _before(H0, H)

    def back(d, given):
        dH_t, H, ZR, C, inner = given
        Z, R = ZR[:, :h], ZR[:, h:]
        d = d + dH_t
        dC = d * (1 - Z) * (1 - C * C)
        dZR = jnp.concatenate([d * (H - C) * Z * (1 - Z), dC * inner * R * (1 - R)], 1)
        dG = jnp.concatenate([dZR, dC * R], 1)
        return d * Z + dG @ W.T, (dG, dC)

    dH0, (dG, dC) = jax.lax.scan(back, jnp.zeros_like(H0), (dH, before, ZR, C, inner), reverse=True)
    dA = jnp.concatenate([dG[..., : 2 * h], dC], 2)
    return dA, dH0, _sum_of_products(before, dG), dG[..., 2 * h :].sum((0, 1))


_reset_after.defvjp(_reset_after_kept, _reset_after_back)


@jax.custom_vjp
def _rnn(A: Array, H0: Array, W_hh: Array) -> Array:
    return _rnn_kept(A, H0, W_hh)[0]


def _rnn_kept(A, H0, W_hh):
    def step(H, A_t):
        H = jnp.tanh(A_t + H @ W_hh)
        return H, H

    _, H = jax.lax.scan(step, H0, A)
    return H, (H0, H, W_hh)


def _rnn_back(kept, dH):
    H0, H, W_hh = kept

    def back(d, given):
        dH_t, H = given
        dC = (d + dH_t) * (1 - H * H)
        return dC @ W_hh.T, dC

    dH0, dA = jax.lax.scan(back, jnp.zeros_like(H0), (dH, H), reverse=True)
    return dA, dH0, _sum_of_products(_before(H0, H), dA)


_rnn.defvjp(_rnn_kept, _rnn_back)

BOTH = ("float32", "float64")
# The cell that each claims to equal: its constructor and the dtypes that it runs in.
TUNED = {"gru": (gru, BOTH), "gru_reset_after": (gru_reset_after, BOTH), "rnn": (rnn, BOTH)}
