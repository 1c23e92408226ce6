"""Kernels over all rows of all steps at once, on a GPU, for few units and few tokens: what goes before and comes after
the loops of a training step, in Triton.

`prepare` is what goes before. The output layer with its loss, and the gradients of a gated cell's weights, are sums
over rows: a program takes every so many-th block of rows and sums up what is summed over all of them. What the programs
have is added up afterwards, in an order that is always the same, by `total`; and `update` makes the step. A product for
each sum, a kernel for each function, and one-hot rows in memory would be some forty kernels, and most of them would
read all rows again.

Parameters, and their gradients, are in one piece of memory, in the order of the cell: for each gate W_x (v, h), W_h
(h, h) and b (h); b_hh (h) where the reset comes after the product; W_hq (h, v) and b_q (v).
"""

from __future__ import annotations

import triton
import triton.language as tl

from frameworks.torch.narrow import exp, product


@triton.jit
def prepare(parameters, inputs, A_zr, A_h, W_zr, back, tokens, H, T, n, h, v, BLOCK: tl.constexpr):
    """What the loops are given: of the inputs' table with its biases A_zr (v, 2 h) and A_h (v, h); W_zr (h, 2 h); the
    recurrent weights transposed, one below the other, back (3 h, h); inputs (n, T) as tokens (T, n); and H (n, h), 0.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    of_gate = v * h + h * h + h
    gate, row, unit = i // (v * h), i // h % v, i % h
    inside = i < 3 * v * h
    W_x = tl.load(parameters + gate * of_gate + row * h + unit, inside, other=0.0)
    A = W_x + tl.load(parameters + gate * of_gate + v * h + h * h + unit, inside, other=0.0)
    tl.store(A_zr + row * (2 * h) + gate * h + unit, A, inside & (gate < 2))
    tl.store(A_h + row * h + unit, A, inside & (gate == 2))
    gate, row = i // (h * h), i // h % h
    inside = i < 3 * h * h
    W_h = tl.load(parameters + gate * of_gate + v * h + row * h + unit, inside, other=0.0)
    tl.store(W_zr + row * (2 * h) + gate * h + unit, W_h, inside & (gate < 2))
    tl.store(back + gate * h * h + unit * h + row, W_h, inside)
    tl.store(tokens + i, tl.load(inputs + i % n * T + i // n, i < T * n, other=0), i < T * n)
    tl.store(H + i, tl.zeros((BLOCK,), tl.float32), i < n * h)


@triton.jit
def sum_of_products(a, b, total):
    """total + a^T b."""
    return tl.dot(tl.trans(a), b, total, input_precision="ieee")


@triton.jit
def cross_entropy(
    H, W_hq, b_q, labels, dH, sums, N, h, v, n, of_step, of_row, of_sums,
    ROWS: tl.constexpr, UNITS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """From H (N, h), N = T n, and labels, whose steps and rows are so far apart in memory: dH (N, h), and the sums of a
    program, which are so far from those of the next one: the gradients of W_hq (h, v) and b_q (v), and the mean loss.
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
    mine = sums + tl.program_id(0) * of_sums
    tl.store(mine + of_W, dW, weights)
    tl.store(mine + h * v + tokens, db, tokens < v)
    tl.store(mine + h * v + v, tl.sum(losses) / N)


@triton.jit
def gradients(
    tokens, H, inner, dZR, dC, dinner, sums, N, h, v, of_sums,
    RESET_AFTER: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """From the states before each step, H (N, h), N = T n, and what narrow.backward gave: the sums of a program, which
    are so far from those of the next one: the gradients of the cell's parameters. A program has one of the three gates.
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
    mine = sums + tl.program_id(0) * of_sums + gate * (v * h + h * h + h)
    tl.store(mine + vocabulary[:, None] * h + units[None, :], A, table)
    mine += v * h
    tl.store(mine + units[:, None] * h + units[None, :], W, square)
    mine += h * h
    # Each row has one token: the sum over the table is that over the rows.
    tl.store(mine + units, tl.sum(A, 0), units < h)
    if RESET_AFTER and gate == 2:
        tl.store(mine + h + units, b_hh, units < h)


@triton.jit
def total(sums, gradients, squares, programs, count, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """The sum over so many programs of their `count` sums, the last of which is the loss; and of each block of these
    gradients the sum of squares.
    """
    i, row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, ROWS)
    added = tl.zeros((ROWS, BLOCK), tl.float32)
    for first in range(0, programs, ROWS):
        inside = (first + row < programs)[:, None] & (i < count)[None, :]
        added += tl.load(sums + (first + row)[:, None] * count + i[None, :], inside, other=0.0)
    gradient = tl.sum(added, 0)
    tl.store(gradients + i, gradient, i < count)
    tl.store(squares + tl.program_id(0), tl.sum(tl.where(i < count - 1, gradient * gradient, 0.0)))


@triton.jit
def update(
    parameters, gradients, squares, after, blocks, count, lr, clip_norm, BLOCK: tl.constexpr, BLOCKS: tl.constexpr
):
    """SGD from what `total` gave: parameters - lr gradients, these first scaled by clip_norm / norm where their L2 norm
    is larger; the loss, and that norm, (count + 1) numbers in all.
    """
    i, block = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, BLOCKS)
    norm = tl.sqrt_rn(tl.sum(tl.load(squares + block, block < blocks, other=0.0)))
    # What is no number stays so.
    scale = lr * tl.minimum(tl.div_rn(clip_norm, norm), 1.0, propagate_nan=tl.PropagateNan.ALL)
    gradient = tl.load(gradients + i, i < count, other=0.0)
    parameter = tl.load(parameters + i, i < count - 1, other=0.0)
    tl.store(after + i, tl.where(i < count - 1, parameter - scale * gradient, gradient), i < count)
    if tl.program_id(0) == 0:
        tl.store(after + count, norm)
