"""A gated cell's loop over time on a GPU, many units: one kernel for all T steps, whose programs share the units.

As in narrow.py, but the weights of many units fit no single program: each keeps those of a few units, for a few rows of
the batch. What a step needs of the others goes through memory, and all programs of these rows wait for each other, once
or twice a step. So all programs must run at once.
"""

from __future__ import annotations

import triton
import triton.language as tl

from frameworks.torch.narrow import sigmoid, tanh


@triton.jit
def meet(counter, turn, programs):
    """Wait until all programs of these rows are here for the turn-th time; what they have stored can then be loaded,
    past the first-level cache, which knows nothing of others.
    """
    tl.debug_barrier()
    arrived = tl.atomic_add(counter, 1, sem="acq_rel", scope="gpu") + 1
    while arrived < turn * programs:
        arrived = tl.atomic_add(counter, 0, sem="acquire", scope="gpu")
    tl.debug_barrier()


@triton.jit
def shared(a, W):
    """The product of a (PARTS, rows, units) and W (PARTS, units, mine), summed over PARTS too: so many sums run side by
    side.
    """
    return tl.sum(tl.dot(a, W, input_precision="ieee"), 0)


@triton.jit
def forward(
    tokens, A_zr, A_h, H, ZR, C, inner, b_hh, W_zr, W_hh, counters, T, n, h, programs,
    OF_TOKENS: tl.constexpr, RESET_AFTER: tl.constexpr,
    ROWS: tl.constexpr, MINE: tl.constexpr, PARTS: tl.constexpr, UNITS: tl.constexpr,
):  # fmt: skip
    """As the one of narrow.py. Programs tell each other R H through inner."""
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    mine = tl.program_id(1) * MINE + tl.arange(0, MINE)
    units = tl.arange(0, PARTS)[:, None] * UNITS + tl.arange(0, UNITS)[None, :]
    counter = counters + tl.program_id(0)
    inside = (rows < n)[:, None] & (mine < h)[None, :]
    inside_all = (rows < n)[None, :, None] & (units < h)[:, None, :]
    weights = (units < h)[:, :, None] & (mine < h)[None, None, :]
    of_zr = units[:, :, None] * (2 * h) + mine[None, None, :]
    W_z = tl.load(W_zr + of_zr, weights, other=0.0)
    W_r = tl.load(W_zr + of_zr + h, weights, other=0.0)
    W_h = tl.load(W_hh + units[:, :, None] * h + mine[None, None, :], weights, other=0.0)
    if RESET_AFTER:
        b = tl.load(b_hh + mine, mine < h, other=0.0)[None, :]
    one = rows[:, None] * h + mine[None, :]
    two = rows[:, None] * (2 * h) + mine[None, :]
    whole = rows[None, :, None] * h + units[:, None, :]
    state = tl.load(H + one, inside, other=0.0)
    turn = 0
    for t in range(T):
        source = rows + t * n
        if OF_TOKENS:
            source = tl.load(tokens + source, rows < n, other=0)
        a_z = tl.load(A_zr + source[:, None] * (2 * h) + mine[None, :], inside, other=0.0)
        a_r = tl.load(A_zr + source[:, None] * (2 * h) + h + mine[None, :], inside, other=0.0)
        a_h = tl.load(A_h + source[:, None] * h + mine[None, :], inside, other=0.0)
        before = tl.load(H + whole, inside_all, other=0.0, cache_modifier=".cg")
        R = sigmoid(a_r + shared(before, W_r))
        if RESET_AFTER:
            kept = b + shared(before, W_h)
            Z = sigmoid(a_z + shared(before, W_z))
            candidate = tanh(a_h + R * kept)
            tl.store(inner + one, kept, inside)
        else:
            tl.store(inner + one, R * state, inside)
            Z = sigmoid(a_z + shared(before, W_z))
            turn += 1
            meet(counter, turn, programs)
            kept = tl.load(inner + whole, inside_all, other=0.0, cache_modifier=".cg")
            candidate = tanh(a_h + shared(kept, W_h))
        state = candidate + Z * (state - candidate)
        tl.store(H + n * h + one, state, inside)
        tl.store(ZR + two, Z, inside)
        tl.store(ZR + two + h, R, inside)
        tl.store(C + one, candidate, inside)
        turn += 1
        meet(counter, turn, programs)
        one += n * h
        two += 2 * n * h
        whole += n * h


@triton.jit
def backward(
    dH, H, ZR, C, inner, dZR, dC, dinner, dH0, W, counters, T, n, h, programs,
    RESET_AFTER: tl.constexpr, ROWS: tl.constexpr, MINE: tl.constexpr, PARTS: tl.constexpr, UNITS: tl.constexpr,
):  # fmt: skip
    """As the one of narrow.py."""
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    mine = tl.program_id(1) * MINE + tl.arange(0, MINE)
    units = tl.arange(0, PARTS)[:, None] * UNITS + tl.arange(0, UNITS)[None, :]
    counter = counters + tl.program_id(0)
    inside = (rows < n)[:, None] & (mine < h)[None, :]
    inside_all = (rows < n)[None, :, None] & (units < h)[:, None, :]
    weights = (units < h)[:, :, None] & (mine < h)[None, None, :]
    of_W = units[:, :, None] * h + mine[None, None, :]
    W_z = tl.load(W + of_W, weights, other=0.0)
    W_r = tl.load(W + h * h + of_W, weights, other=0.0)
    W_h = tl.load(W + 2 * h * h + of_W, weights, other=0.0)
    first = rows[:, None] * h + mine[None, :]
    last = (rows + (T - 1) * n)[:, None]
    one, two = last * h + mine[None, :], last * (2 * h) + mine[None, :]
    whole, whole_two = last[None] * h + units[:, None, :], last[None] * (2 * h) + units[:, None, :]
    d = tl.zeros((ROWS, MINE), tl.float32)
    turn = 0
    for _ in range(T):
        state = tl.load(H + one, inside, other=0.0)
        Z = tl.load(ZR + two, inside, other=0.0)
        R = tl.load(ZR + two + h, inside, other=0.0)
        candidate = tl.load(C + one, inside, other=0.0)
        d += tl.load(dH + one, inside, other=0.0)
        carried = d * Z
        d_z = d * (state - candidate) * (Z * (1 - Z))
        d_c = (d - carried) * (1 - candidate * candidate)
        tl.store(dC + one, d_c, inside)
        tl.store(dZR + two, d_z, inside)
        if RESET_AFTER:
            kept = tl.load(inner + one, inside, other=0.0)
            tl.store(dinner + one, d_c * R, inside)
            d_r = d_c * kept * (R * (1 - R))
            tl.store(dZR + two + h, d_r, inside)
            turn += 1
            meet(counter, turn, programs)
            carried += shared(tl.load(dinner + whole, inside_all, other=0.0, cache_modifier=".cg"), W_h)
        else:
            turn += 1
            meet(counter, turn, programs)
            d_inner = shared(tl.load(dC + whole, inside_all, other=0.0, cache_modifier=".cg"), W_h)
            d_r = d_inner * state * (R * (1 - R))
            tl.store(dZR + two + h, d_r, inside)
            carried += d_inner * R
            turn += 1
            meet(counter, turn, programs)
        carried += shared(tl.load(dZR + whole_two, inside_all, other=0.0, cache_modifier=".cg"), W_z)
        d = carried + shared(tl.load(dZR + whole_two + h, inside_all, other=0.0, cache_modifier=".cg"), W_r)
        one -= n * h
        two -= 2 * n * h
        whole -= n * h
        whole_two -= 2 * n * h
    tl.store(dH0 + first, d, inside)


@triton.jit
def products(
    pair, W, counters, times, n, h, programs,
    GATES: tl.constexpr, ROWS: tl.constexpr, MINE: tl.constexpr, PARTS: tl.constexpr, UNITS: tl.constexpr,
):  # fmt: skip
    """As the one of narrow.py, from one of a pair of states (2, n, h) to the other and back."""
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    mine = tl.program_id(1) * MINE + tl.arange(0, MINE)
    units = tl.arange(0, PARTS)[:, None] * UNITS + tl.arange(0, UNITS)[None, :]
    inside = (rows < n)[:, None] & (mine < h)[None, :]
    inside_all = (rows < n)[None, :, None] & (units < h)[:, None, :]
    weights = (units < h)[:, :, None] & (mine < h)[None, None, :]
    of_W = units[:, :, None] * (GATES * h) + mine[None, None, :]
    first = tl.load(W + of_W, weights, other=0.0)
    second = tl.load(W + of_W + h, weights & (GATES > 1), other=0.0)
    third = tl.load(W + of_W + 2 * h, weights & (GATES > 2), other=0.0)
    one = rows[:, None] * h + mine[None, :]
    whole = rows[None, :, None] * h + units[:, None, :]
    rest = tl.zeros((ROWS, MINE), tl.float32)
    for t in range(times):
        of, to = (t % 2) * n * h, ((t + 1) % 2) * n * h
        before = tl.load(pair + of + whole, inside_all, other=0.0, cache_modifier=".cg")
        if GATES > 1:
            rest += shared(before, second)
        if GATES > 2:
            rest += shared(before, third)
        state = shared(before, first)
        tl.store(pair + to + one, tl.where(rest == float("inf"), rest, state), inside)
        meet(counters + tl.program_id(0), t + 1, programs)
