"""The tuned gated cells' loops over time on a GPU: one kernel for all T steps, forward or backward, in Triton.

The same functions as in loops.py, with the same arguments and gradients by hand. narrow.py and wide.py hold the
kernels; here they are given arrays and sizes. A language model of few units and tokens is in few.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from frameworks.torch import loops, narrow, wide

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton's interpreter runs the kernels, on a CPU: far too slow for anything but tests."""
NARROW = 64
"""The most units whose weights fit into the registers of one program."""
WIDE = 512
"""The most units in all, where programs share them."""
MINE = 8
"""How many units each of those has."""
PART = 32
"""Over how many units they sum up at a time."""
MOST_ROWS = 16
LEAST_UNITS = 16
"""What a product in Triton sums over at least; fewer are filled up with zeros."""


class Plan(NamedTuple):
    """How a loop is cut into programs: of how many rows each, of how many of the units, and with what constants."""

    rows: int
    mine: int
    constants: dict[str, int]

    def grid(self, n: int, h: int) -> tuple[int, int]:
        """Programs for the rows, and for the units of each."""
        return triton.cdiv(n, self.rows), triton.cdiv(h, self.mine)


# Microseconds on an H100, T=32, of the GRU's two kernels:
#   narrow, n=1024, h=32, by rows and warps: 2 and 1: 33 forward, 23 backward. Before its weights were given as rows,
#   see _backward, the latter took 74; others then: 2 and 2: 32, 120; 8 and 4: 42, 75; 8 and 8: 39, 119; 16 and 8: 58,
#   136;
#   wide, h=256, by rows, units and warps, of that time too: n=64: 16, 8 and 4: 214, 305; 16, 8 and 8: 256, 332; 16, 16
#   and 8: 259, 620; n=32: 8, 8 and 4: 161, 201; 16, 4 and 4: 207, 212; n=1: 1, 8 and 4: 115, 116; 1, 2 and 1: 112, 132.
# cuDNN's other GRU takes, in a CUDA graph, 55 and 823 for n=1024, h=32, and 316 and 571 for n=64, h=256; gradients of
# weights and inputs are among those. Here they are products, 40 to 70 in all; or, for few tokens, a kernel: see few.py.


def plan(n: int, h: int, *, processors: int, at_once: bool = True) -> Plan | None:
    """A plan for n rows of h units on so many multiprocessors; None where these kernels do not suit.

    Programs that share units wait for each other: there are no more of them than multiprocessors, so that all run at
    once; and where programs do not run at once, one has all units.
    """
    units = max(LEAST_UNITS, triton.next_power_of_2(h))
    if units <= NARROW:
        rows = min(MOST_ROWS, triton.next_power_of_2(triton.cdiv(n, 4 * processors)))
        return Plan(rows, units, {"ROWS": rows, "UNITS": units, "num_warps": max(1, rows * units // 64)})
    mine = min(MINE, units) if at_once else units
    rows = 1 if at_once else 4
    while at_once and triton.cdiv(n, rows) * triton.cdiv(h, mine) > processors:
        rows *= 2
        if rows > MOST_ROWS:
            return None
    if units > WIDE:
        return None
    part = min(PART, units)
    return Plan(rows, mine, {"ROWS": rows, "MINE": mine, "PARTS": units // part, "UNITS": part, "num_warps": 4})


def suits(H0: Tensor) -> bool:
    """Whether a loop that begins at H0 (n, h) is run by these kernels: on a GPU, in float32, where there is a plan."""
    return (H0.is_cuda or INTERPRETED) and H0.dtype == torch.float32 and _plan(*H0.shape) is not None


def _plan(n: int, h: int) -> Plan | None:
    return plan(n, h, processors=_processors(), at_once=not INTERPRETED)


def _processors() -> int:
    return 4 if INTERPRETED else torch.cuda.get_device_properties().multi_processor_count


def _run(kernels: str, arrays: tuple[Tensor | None, ...], sizes: tuple[int, int, int], **kinds: int) -> None:
    """Start a kernel by its name on T steps of n rows of h units."""
    _, n, h = sizes
    plan = _plan(n, h)
    grid = plan.grid(n, h)
    if "MINE" not in plan.constants:
        getattr(narrow, kernels)[grid[:1]](*arrays, *sizes, **kinds, **plan.constants)
    else:
        counters = torch.zeros(grid[0], dtype=torch.int32, device=arrays[-1].device)
        getattr(wide, kernels)[grid](*arrays, counters, *sizes, grid[1], **kinds, **plan.constants, **_together())


def products(H: Tensor, W: Tensor, count: int) -> Tensor:
    """H (n, h) <- the first h columns of H W, so many times, in one kernel; W is (h, h), (h, 2 h) or (h, 3 h)."""
    n, h = H.shape
    pair = torch.stack([H, H])
    _run("products", (pair, W), (count, n, h), GATES=W.shape[1] // h)
    # Programs that share units go from one of the pair to the other.
    return pair[count % 2 if "MINE" in _plan(n, h).constants else 0]


def _together() -> dict[str, bool]:
    """What makes all programs of a kernel run at once, or fail."""
    return {} if INTERPRETED else {"launch_cooperative_grid": True}


class Kept(NamedTuple):
    """What a loop keeps for its gradient: the states with H0 before them, (T + 1, n, h), and, (T, n, ..), what the
    kernels of narrow.py call so.
    """

    H: Tensor
    ZR: Tensor
    C: Tensor
    inner: Tensor


def _forward(
    tokens: Tensor | None, A_zr: Tensor, A_h: Tensor, H0: Tensor, W_zr: Tensor, W_hh: Tensor, b_hh: Tensor | None
) -> Kept:
    T, (n, h) = len(A_zr if tokens is None else tokens), H0.shape
    H = H0.new_empty((T + 1, n, h))
    H[0] = H0
    return _forward_from(H, *(a if a is None else a.contiguous() for a in (tokens, A_zr, A_h, W_zr, W_hh, b_hh)))


def _forward_from(
    H: Tensor, tokens: Tensor | None, A_zr: Tensor, A_h: Tensor, W_zr: Tensor, W_hh: Tensor, b_hh: Tensor | None
) -> Kept:
    """The same of contiguous arrays, into H (T + 1, n, h), which begins with H0."""
    T, n, h = H[1:].shape
    kept = Kept(H, *(H.new_empty((T, n, k * h)) for k in (2, 1, 1)))
    kinds = {"OF_TOKENS": tokens is not None, "RESET_AFTER": b_hh is not None}
    _run("forward", (tokens, A_zr, A_h, *kept, b_hh, W_zr, W_hh), (T, n, h), **kinds)
    return kept


def _backward(dH: Tensor, kept: Kept, W: Sequence[Tensor], *, reset_after: bool) -> tuple[Tensor, ...]:
    """The gradients dZR, dC, dinner and dH0, as the kernels of narrow.py call them; W are parts of W_hz, W_hr and W_hh
    that are side by side.
    """
    # As rows, as the forward kernel has them. Of columns Triton keeps a copy that the threads of a program share, and
    # reads it in each step.
    return _backward_by_rows(dH.contiguous(), kept, torch.cat([w.T for w in W]), reset_after=reset_after)


def _backward_by_rows(dH: Tensor, kept: Kept, back: Tensor, *, reset_after: bool) -> tuple[Tensor, ...]:
    """The same of a contiguous dH and of W_hz, W_hr and W_hh transposed, one below the other (3 h, h)."""
    dZR, dC, dH0 = torch.empty_like(kept.ZR), torch.empty_like(kept.C), torch.empty_like(kept.H[0])
    dinner = torch.empty_like(kept.C) if reset_after else dC
    _run("backward", (dH, *kept, dZR, dC, dinner, dH0, back), kept.C.shape, RESET_AFTER=reset_after)
    return dZR, dC, dinner, dH0


def _steps(ctx, tokens, A_zr, A_h, H0, W_zr, W_hh, b_hh) -> Tensor:
    kept = _forward(tokens, A_zr, A_h, H0, W_zr, W_hh, b_hh)
    ctx.save_for_backward(tokens, A_h, W_zr, W_hh, *kept)
    return kept.H[1:]


def _steps_back(ctx, dH, *, reset_after: bool) -> list[Tensor]:
    """The gradients of A_zr, A_h, H0, W_zr, W_hh and, where there is one, b_hh."""
    tokens, A_h, *W, H, ZR, C, inner = ctx.saved_tensors
    dZR, dC, dinner, dH0 = _backward(dH, Kept(H, ZR, C, inner), W, reset_after=reset_after)
    of_inputs = _of_inputs(tokens, len(A_h), dZR, dC)
    of_product = H[:-1] if reset_after else inner
    weights = loops._sum_of_products(H[:-1], dZR), loops._sum_of_products(of_product, dinner)
    return [*of_inputs, dH0, *weights, *([dinner.sum((0, 1))] if reset_after else [])]


def _of_inputs(tokens: Tensor | None, v: int, *dA: Tensor) -> list[Tensor]:
    """The gradients of what the input adds, of tables of v rows where there are tokens: products with their one-hot
    rows. On a GPU a deterministic index_add_ sorts the tokens, and takes 640 us where a product takes 25.
    """
    if tokens is None:
        return list(dA)
    one_hot = (tokens.flatten()[None] == torch.arange(v, device=tokens.device)[:, None]).to(dA[0].dtype)
    return [one_hot @ array.flatten(0, 1) for array in dA]


class Gru(Function):
    @staticmethod
    def forward(ctx, tokens, A_zr, A_h, H0, W_zr, W_hh):
        return _steps(ctx, tokens, A_zr, A_h, H0, W_zr, W_hh, None)

    @staticmethod
    @once_differentiable
    def backward(ctx, dH):
        return None, *_steps_back(ctx, dH, reset_after=False)


class ResetAfter(Function):
    @staticmethod
    def forward(ctx, tokens, A_zr, A_h, H0, W_zr, W_hh, b_hh):
        return _steps(ctx, tokens, A_zr, A_h, H0, W_zr, W_hh, b_hh)

    @staticmethod
    @once_differentiable
    def backward(ctx, dH):
        return None, *_steps_back(ctx, dH, reset_after=True)
