"""Kernels over all rows of all steps at once, on a GPU, for few units and few tokens: the output layer with its loss,
and the gradients of a gated cell's weights, in Triton.

A program takes every so many-th block of rows and sums up what is summed over all of them. What the programs have is
added up afterwards, in an order that is always the same. A product for each sum, a kernel for each function, and
one-hot rows in memory would be some twenty kernels, and most of them would read all rows again.
"""

from __future__ import annotations

import triton
import triton.language as tl

from frameworks.torch.narrow import exp, product


@triton.jit
def sum_of_products(a, b, total):
    """total + a^T b."""
    return tl.dot(tl.trans(a), b, total, input_precision="ieee")


@triton.jit
def cross_entropy(
    H, W_hq, b_q, labels, dH, sums, N, h, v, n, of_step, of_row,
    ROWS: tl.constexpr, UNITS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """From H (N, h), N = T n, and labels, whose steps and rows are so far apart in memory: dH (N, h), and the sums of a
    program, a row of `sums`: the gradients of W_hq (h, v) and b_q (v), and the mean loss.
    """
    units, tokens = tl.arange(0, UNITS), tl.arange(0, TOKENS)
    weights = (units < h)[:, None] & (tokens < v)[None, :]
    of_W = units[:, None] * v + tokens[None, :]
    W = tl.load(W_hq + of_W, weights, other=0.0)
    back = tl.load(W_hq + units[None, :] * v + tokens[:, None], (units < h)[None, :] & (tokens < v)[:, None], other=0.0)
    # A token that there is not has no part in softmax.
    b = tl.load(b_q + tokens, tokens < v, other=float("-inf"))[None, :]
    dW, db = tl.zeros((UNITS, TOKENS), tl.float32), tl.zeros((TOKENS,), tl.float32)
    losses = tl.zeros((ROWS,), tl.float32)
    for block in range(tl.program_id(0), tl.cdiv(N, ROWS), tl.num_programs(0)):
        rows = (block * ROWS + tl.arange(0, ROWS)).to(tl.int64)
        inside = (rows < N)[:, None] & (units < h)[None, :]
        one = rows[:, None] * h + units[None, :]
        state = tl.load(H + one, inside, other=0.0)
        label = tl.load(labels + rows // n * of_step + rows % n * of_row, rows < N, other=0)
        O = product(state, W) + b
        O -= tl.max(O, 1)[:, None]
        E = exp(O)
        total = tl.sum(E, 1)
        at = label[:, None] == tokens[None, :]
        losses += tl.where(rows < N, tl.log(total) - tl.sum(tl.where(at, O, 0.0), 1), 0.0)
        dO = tl.where((rows < N)[:, None], (tl.div_rn(E, total[:, None]) - at) / N, 0.0)
        tl.store(dH + one, product(dO, back), inside)
        dW = sum_of_products(state, dO, dW)
        db += tl.sum(dO, 0)
    mine = sums + tl.program_id(0) * (h * v + v + 1)
    tl.store(mine + of_W, dW, weights)
    tl.store(mine + h * v + tokens, db, tokens < v)
    tl.store(mine + h * v + v, tl.sum(losses) / N)


@triton.jit
def gradients(
    tokens, H, inner, dZR, dC, dinner, sums, N, h, v,
    RESET_AFTER: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """From the states before each step, H (N, h), N = T n, and what narrow.backward gave: the sums of a program, a part
    of a row of `sums`: the gradients of W_xz, W_xr and W_xh (v, h), of W_hz, W_hr and W_hh (h, h), of b_z, b_r and b_h
    (h), and of b_hh (h). A program has one of the three gates.
    """
    units, vocabulary, gate = tl.arange(0, UNITS), tl.arange(0, TOKENS), tl.program_id(1)
    W, b_hh = tl.zeros((UNITS, UNITS), tl.float32), tl.zeros((UNITS,), tl.float32)
    A = tl.zeros((TOKENS, UNITS), tl.float32)
    for block in range(tl.program_id(0), tl.cdiv(N, ROWS), tl.num_programs(0)):
        rows = (block * ROWS + tl.arange(0, ROWS)).to(tl.int64)
        inside = (rows < N)[:, None] & (units < h)[None, :]
        one = rows[:, None] * h + units[None, :]
        # None of the vocabulary where there is no row.
        token = tl.load(tokens + rows, rows < N, other=-1)
        at = (token[:, None] == vocabulary[None, :]).to(tl.float32)
        if gate < 2:
            state = tl.load(H + one, inside, other=0.0)
            d = tl.load(dZR + rows[:, None] * (2 * h) + gate * h + units[None, :], inside, other=0.0)
            of_product = d
        else:
            state = tl.load((H if RESET_AFTER else inner) + one, inside, other=0.0)
            d = tl.load(dC + one, inside, other=0.0)
            of_product = tl.load(dinner + one, inside, other=0.0) if RESET_AFTER else d
        A = sum_of_products(at, d, A)
        W = sum_of_products(state, of_product, W)
        b_hh += tl.sum(of_product, 0)
    table = (vocabulary < v)[:, None] & (units < h)[None, :]
    square = (units < h)[:, None] & (units < h)[None, :]
    mine = sums + tl.program_id(0) * (3 * v * h + 3 * h * h + 4 * h)
    tl.store(mine + gate * v * h + vocabulary[:, None] * h + units[None, :], A, table)
    mine += 3 * v * h
    tl.store(mine + gate * h * h + units[:, None] * h + units[None, :], W, square)
    mine += 3 * h * h
    # Each row has one token: the sum over the table is that over the rows.
    tl.store(mine + gate * h + units, tl.sum(A, 0), units < h)
    if gate == 2:
        tl.store(mine + 3 * h + units, b_hh, units < h)
