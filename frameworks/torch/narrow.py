"""A gated cell's loop over time on a GPU, few units: one kernel for all T steps, forward or backward, in Triton.

A program takes a few rows of the batch through all of T. It keeps their state, and the recurrent weights, in
registers, and asks for the inputs of a step while it computes the one before. Nothing else goes through memory but what
the gradient needs.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Triton's own exponential is the hardware's for 2^x after one rounded product, which loses a digit where |x| is 10, and
# it has no tanh. These are within 2, 3 and 3 units of roundoff of the true values, on 2 million random numbers, where
# quotients are right to the last digit. Those of the hardware, taken here, may be wrong by two; on an H100 `forward`
# takes 28 us with the reset after the product where it took 35, and 34 with the reset before it either way.


@triton.jit
def exp(x):
    """e^x for x <= 0: 2^k e^r with |r| <= ln 2 / 2, e^r by its Taylor series to r^7; ln 2 in two parts, so that k times
    the first rounds nothing.
    """
    x = tl.where(x < -104.0, -104.0, x)
    k = tl.floor(x * 1.4426950408889634 + 0.5)
    r = (x - k * 0.693359375) + k * 2.12194440e-4
    series = 1 / 720 + r * (1 / 5040)
    series = 1 / 120 + r * series
    series = 1 / 24 + r * series
    series = 1 / 6 + r * series
    series = 1 / 2 + r * series
    return (1 + r * (1 + r * series)) * tl.exp2(k)


@triton.jit
def sigmoid(x):
    small = exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, small) / (1 + small)


@triton.jit
def tanh(x):
    """By e^-2|x|; below 1/2, where that would cancel, by an odd polynomial fitted to it there."""
    size, square = tl.abs(x), x * x
    small = exp(-2 * size)
    far = (1 - small) / (1 + small)
    series = 0.02147272 + square * -0.0069470033
    series = -0.053933788 + square * series
    series = 0.13333227 + square * series
    series = -0.33333331 + square * series
    return tl.where(size < 0.5, x + x * square * series, tl.where(x >= 0, far, -far))


@triton.jit
def product(a, b):
    # "ieee": products and sums in float32, where the default would cut factors to TF32.
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def forward(
    tokens, A_zr, A_h, H, ZR, C, inner, b_hh, W_zr, W_hh, T, n, h,
    OF_TOKENS: tl.constexpr, RESET_AFTER: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr,
):  # fmt: skip
    """H (T + 1, n, h) from its first state on; ZR (T, n, 2 h), C and inner (T, n, h) for the gradient: inner is
    R H, or with the reset after the product H W_hh + b_hh.
    """
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    # Consecutive numbers to Triton. Hidden by a minimum that changes none, weights would be in registers and not in
    # memory that threads share, and both loops, of two rows, take 2.3 to 3.5 times as long.
    units = tl.arange(0, UNITS)
    inside = (rows < n)[:, None] & (units < h)[None, :]
    square = (units < h)[:, None] & (units < h)[None, :]
    of_zr = units[:, None] * (2 * h) + units[None, :]
    W_z = tl.load(W_zr + of_zr, square, other=0.0)
    W_r = tl.load(W_zr + of_zr + h, square, other=0.0)
    W_h = tl.load(W_hh + units[:, None] * h + units[None, :], square, other=0.0)
    if RESET_AFTER:
        b = tl.load(b_hh + units, units < h, other=0.0)[None, :]
    one = rows[:, None] * h + units[None, :]
    two = rows[:, None] * (2 * h) + units[None, :]
    state = tl.load(H + one, inside, other=0.0)
    source = tl.load(tokens + rows, rows < n, other=0) if OF_TOKENS else rows
    a_z = tl.load(A_zr + source[:, None] * (2 * h) + units[None, :], inside, other=0.0)
    a_r = tl.load(A_zr + source[:, None] * (2 * h) + h + units[None, :], inside, other=0.0)
    a_h = tl.load(A_h + source[:, None] * h + units[None, :], inside, other=0.0)
    for t in range(T):
        # What the next step needs, or the last one again, is on its way while this one is computed.
        source = rows + tl.minimum(t + 1, T - 1) * n
        if OF_TOKENS:
            source = tl.load(tokens + source, rows < n, other=0)
        next_z = tl.load(A_zr + source[:, None] * (2 * h) + units[None, :], inside, other=0.0)
        next_r = tl.load(A_zr + source[:, None] * (2 * h) + h + units[None, :], inside, other=0.0)
        next_h = tl.load(A_h + source[:, None] * h + units[None, :], inside, other=0.0)
        R = sigmoid(a_r + product(state, W_r))
        Z = sigmoid(a_z + product(state, W_z))
        if RESET_AFTER:
            kept = b + product(state, W_h)
            candidate = tanh(a_h + R * kept)
        else:
            kept = R * state
            candidate = tanh(a_h + product(kept, W_h))
        tl.store(ZR + two, Z, inside)
        tl.store(ZR + two + h, R, inside)
        tl.store(C + one, candidate, inside)
        tl.store(inner + one, kept, inside)
        state = candidate + Z * (state - candidate)
        tl.store(H + n * h + one, state, inside)
        one += n * h
        two += 2 * n * h
        a_z, a_r, a_h = next_z, next_r, next_h


@triton.jit
def backward(
    dH, H, ZR, C, inner, dZR, dC, dinner, dH0, W, T, n, h,
    RESET_AFTER: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr,
):  # fmt: skip
    """From dH (T, n, h), the cotangents of the states, those of the sums under the gates, dZR (T, n, 2 h) and dC
    (T, n, h), of H W_hh + b_hh, dinner (T, n, h), where the reset comes after it, and of H0 (n, h). W (3 h, h) has the
    recurrent weights transposed, one below the other.
    """
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    units = tl.arange(0, UNITS)
    inside = (rows < n)[:, None] & (units < h)[None, :]
    square = (units < h)[:, None] & (units < h)[None, :]
    of_W = units[:, None] * h + units[None, :]
    W_z = tl.load(W + of_W, square, other=0.0)
    W_r = tl.load(W + h * h + of_W, square, other=0.0)
    W_h = tl.load(W + 2 * h * h + of_W, square, other=0.0)
    first = rows[:, None] * h + units[None, :]
    last = (rows + (T - 1) * n)[:, None]
    one, two = last * h + units[None, :], last * (2 * h) + units[None, :]
    d = tl.zeros((ROWS, UNITS), tl.float32)
    d_state = tl.load(dH + one, inside, other=0.0)
    state = tl.load(H + one, inside, other=0.0)
    Z = tl.load(ZR + two, inside, other=0.0)
    R = tl.load(ZR + two + h, inside, other=0.0)
    candidate = tl.load(C + one, inside, other=0.0)
    kept = tl.load(inner + one, inside, other=0.0) if RESET_AFTER else state
    for t in range(T):
        before = (rows + tl.maximum(T - 2 - t, 0) * n)[:, None]
        next_one, next_two = before * h + units[None, :], before * (2 * h) + units[None, :]
        next_d = tl.load(dH + next_one, inside, other=0.0)
        next_state = tl.load(H + next_one, inside, other=0.0)
        next_Z = tl.load(ZR + next_two, inside, other=0.0)
        next_R = tl.load(ZR + next_two + h, inside, other=0.0)
        next_candidate = tl.load(C + next_one, inside, other=0.0)
        next_kept = tl.load(inner + next_one, inside, other=0.0) if RESET_AFTER else next_state
        d += d_state
        carried = d * Z
        d_z = d * (state - candidate) * (Z * (1 - Z))
        d_c = (d - carried) * (1 - candidate * candidate)
        if RESET_AFTER:
            d_inner = d_c * R
            d_r = d_c * kept * (R * (1 - R))
            carried += product(d_inner, W_h)
            tl.store(dinner + one, d_inner, inside)
        else:
            d_inner = product(d_c, W_h)
            d_r = d_inner * state * (R * (1 - R))
            carried += d_inner * R
        tl.store(dZR + two, d_z, inside)
        tl.store(dZR + two + h, d_r, inside)
        tl.store(dC + one, d_c, inside)
        d = carried + product(d_z, W_z) + product(d_r, W_r)
        one, two = next_one, next_two
        d_state, state, Z, R, candidate, kept = next_d, next_state, next_Z, next_R, next_candidate, next_kept
    tl.store(dH0 + first, d, inside)


@triton.jit
def products(H, W, times, n, h, GATES: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr):
    """H (n, h) <- the first h columns of H W, W (h, GATES h), so many times: what a loop over time takes at least."""
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    units = tl.arange(0, UNITS)
    inside = (rows < n)[:, None] & (units < h)[None, :]
    square = (units < h)[:, None] & (units < h)[None, :]
    of_W = units[:, None] * (GATES * h) + units[None, :]
    first = tl.load(W + of_W, square, other=0.0)
    second = tl.load(W + of_W + h, square & (GATES > 1), other=0.0)
    third = tl.load(W + of_W + 2 * h, square & (GATES > 2), other=0.0)
    state = tl.load(H + rows[:, None] * h + units[None, :], inside, other=0.0)
    rest = tl.zeros((ROWS, UNITS), tl.float32)
    for _ in range(times):
        if GATES > 1:
            rest = tl.dot(state, second, rest, input_precision="ieee")
        if GATES > 2:
            rest = tl.dot(state, third, rest, input_precision="ieee")
        state = product(state, first)
    # The other columns are needed for nothing, and must not be left out.
    tl.store(H + rows[:, None] * h + units[None, :], tl.where(rest == float("inf"), rest, state), inside)
