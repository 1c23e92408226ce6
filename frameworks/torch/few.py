"""The tuned gated cells' language model on a GPU, where units and tokens are few: a training step in seven kernels.

The loops over time are those of kernels.py; what goes before and comes after them is in strips.py. Here they are given
arrays and sizes: for a whole training step, and for what autograd asks of a loop over tokens, and of a loss.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from frameworks.torch import kernels, strips
from frameworks.torch.kernels import Kept
from frameworks.torch.pieces import joined, pieces

OF_LOSS, OF_WEIGHTS = (32, 4), (16, 1)
"""How many rows a program of strips.cross_entropy, and of strips.gradients, takes at a time, and how many warps it has.
"""
STRIPS = 2
"""How many of these programs a multiprocessor has at most; of `gradients` for each gate."""
# Microseconds on an H100, n=1024, T=32, h=32, v=28, by rows and warps, and by 2, 4 and 8 programs, each many times in a
# row, what they read being in the cache:
#   cross_entropy: 32 and 4: 32, 34, 39; 32 and 1: 55, 32, 23; 16 and 2: 44, 33, 34; 64 and 4: 52, 55, 55;
#   gradients: 32 and 4: 24, 26, 29; 16 and 1: 21, 18, 22; 32 and 1: 22, 23, 23;
#   total, of as many rows as there are programs: 4, 6, 10.
# Within a step it was 31, 22 and 22 with 32 and 1, 16 and 1, and 8 programs, which by those times are the fastest:
# total took twice the time there, perhaps since its 27 MB are not in the cache then. So there are 2. That step took 198
# to 230 waited for and 155 one after another, in which the card was at work for 145: prepare 4, forward 33 (reset
# after: 27), backward 23 (25), update 3, copies 6. In 33 kernels it took 263 and was at work for 173; without strips.py
# 451. With 2 programs as here no step was timed yet.
BLOCK, ROWS = 32, 32
"""Of `total`: how many numbers a program sums up, of how many rows at a time."""
MANY = 1024
"""How many numbers a program of `prepare` and `update` has."""
GATES = ("z", "r", "h")
OUTPUT = ("W_hq", "b_q")


def suits(v: int, h: int) -> bool:
    """Whether so many tokens and units are few enough."""
    return max(v, h) <= kernels.NARROW


def strip_constants(v: int, h: int, rows: int, warps: int) -> dict[str, int]:
    """The constants of a kernel of strips.py that sums over rows."""
    units, tokens = (max(kernels.LEAST_UNITS, triton.next_power_of_2(size)) for size in (h, v))
    return {"ROWS": rows, "UNITS": units, "TOKENS": tokens, "num_warps": warps}


def _of_cell(names: Mapping[str, Tensor]) -> list[str]:
    """The parameters of the cell, in the order of strips.py."""
    of_gates = [f"{kind}{gate}" for gate in GATES for kind in ("W_x", "W_h", "b_")]
    return [*of_gates, *(["b_hh"] if "b_hh" in names else [])]


def _programs(N: int) -> int:
    return min(triton.cdiv(N, min(OF_LOSS[0], OF_WEIGHTS[0])), STRIPS * kernels._processors())


def _cross_entropy(H: Tensor, W_hq: Tensor, b_q: Tensor, labels: Tensor, sums: Tensor) -> Tensor:
    """The gradient of the mean loss by H (T, n, h); each row of sums gets the others' and the loss, of one program."""
    (T, n, h), v, dH = H.shape, len(b_q), torch.empty_like(H)
    sizes = T * n, h, v, n, *labels.stride(), sums.stride(0)
    strips.cross_entropy[(len(sums),)](H, W_hq, b_q, labels, dH, sums, *sizes, **strip_constants(v, h, *OF_LOSS))
    return dH


def _gradients(tokens: Tensor, kept: Kept, dZR: Tensor, dC: Tensor, dinner: Tensor, sums: Tensor, v: int) -> None:
    """Each row of sums gets the gradients of the cell's parameters by one program."""
    h = dC.shape[-1]
    arrays, sizes = (tokens, kept.H, kept.inner, dZR, dC, dinner, sums), (tokens.numel(), h, v, sums.stride(0))
    # With the reset before the product the gradient of what is multiplied is that of the sum.
    constants = {"RESET_AFTER": dinner is not dC, **strip_constants(v, h, *OF_WEIGHTS)}
    strips.gradients[(len(sums), 3)](*arrays, *sizes, **constants)


def _total(sums: Tensor) -> tuple[Tensor, Tensor]:
    """Of rows of gradients and a loss their sum, and sums of its squares, without the loss'."""
    programs, count = sums.shape
    blocks = triton.cdiv(count, BLOCK)
    gradients, squares = sums.new_empty(count), sums.new_empty(blocks)
    strips.total[(blocks,)](sums, gradients, squares, programs, count, ROWS=ROWS, BLOCK=BLOCK)
    return gradients, squares


def _update(parameters: Tensor, gradients: Tensor, squares: Tensor, lr: float, clip_norm: float) -> Tensor:
    """Parameters after a step of SGD, the loss and the norm."""
    count, blocks, after = len(gradients), len(squares), gradients.new_empty(len(gradients) + 1)
    constants = {"BLOCK": MANY, "BLOCKS": triton.next_power_of_2(blocks)}
    arrays = (parameters, gradients, squares, after)
    strips.update[(triton.cdiv(count, MANY),)](*arrays, blocks, count, lr, clip_norm, **constants)
    return after


def training_step(
    parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, *, lr: float, clip_norm: float
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """As those of language_model.training_step, of tokens (n, T): parameters, loss and norm, in one piece of memory."""
    (n, T), (h, v) = inputs.shape, parameters["W_hq"].shape
    names, reset_after = [*_of_cell(parameters), *OUTPUT], "b_hh" in parameters
    arrays = [parameters[name] for name in names]
    flat = joined(arrays)
    shapes = [(v, 2 * h), (v, h), (h, 2 * h), (3 * h, h), (T + 1, n, h)]
    A_zr, A_h, W_zr, back, H = (flat.new_empty(shape) for shape in shapes)
    inputs, tokens = inputs.contiguous(), inputs.new_empty((T, n))
    prepared = max(3 * v * h, 3 * h * h, T * n, n * h)
    strips.prepare[(triton.cdiv(prepared, MANY),)](
        flat, inputs, A_zr, A_h, W_zr, back, tokens, H, T, n, h, v, BLOCK=MANY
    )
    views = dict(zip(names, pieces(flat, arrays), strict=True))
    kept = kernels._forward_from(H, tokens, A_zr, A_h, W_zr, views["W_hh"], views.get("b_hh"))
    count, of_output = len(flat) + 1, h * v + v
    sums = flat.new_empty((_programs(T * n), count))
    dH = _cross_entropy(H[1:], views["W_hq"], views["b_q"], targets.T, sums[:, -1 - of_output :])
    dZR, dC, dinner, _ = kernels._backward_by_rows(dH, kept, back, reset_after=reset_after)
    _gradients(tokens, kept, dZR, dC, dinner, sums, v)
    after = _update(flat, *_total(sums), lr, clip_norm)
    views = dict(zip(names, pieces(after[:-2], arrays), strict=True))
    return {name: views[name] for name in parameters}, after[-2], after[-1]


class _OfTokens(Function):
    """A loop over tokens, whose inputs are rows of a table, with what goes before and comes after it."""

    @staticmethod
    def forward(ctx, tokens, H0, *parameters):
        W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h, *b_hh = parameters
        tokens, A_zr = tokens.contiguous(), torch.cat([W_xz, W_xr], 1) + torch.cat([b_z, b_r])
        kept = kernels._forward(tokens, A_zr, W_xh + b_h, H0, torch.cat([W_hz, W_hr], 1), W_hh, *b_hh or [None])
        ctx.save_for_backward(tokens, *kept, *parameters)
        return kept.H[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dH):
        tokens, H, ZR, C, inner, *parameters = ctx.saved_tensors
        kept, W = Kept(H, ZR, C, inner), parameters[1:9:3]
        dZR, dC, dinner, dH0 = kernels._backward(dH, kept, W, reset_after=len(parameters) > 9)
        sums = H.new_empty((_programs(tokens.numel()), sum(array.numel() for array in parameters)))
        _gradients(tokens, kept, dZR, dC, dinner, sums, len(parameters[0]))
        return None, dH0, *pieces(sums.sum(0), parameters)


def of_tokens(tokens: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """The states (T, n, h) of a gated cell after tokens (T, n), from H0 (n, h) on."""
    return _OfTokens.apply(tokens, H0, *(parameters[name] for name in _of_cell(parameters)))


class CrossEntropy(Function):
    """As the one of tuned.py, its gradients at once."""

    @staticmethod
    def forward(ctx, H, W_hq, b_q, labels):
        H, (h, v) = H.contiguous(), W_hq.shape
        sums = H.new_empty((_programs(labels.numel()), h * v + v + 1))
        dH = _cross_entropy(H, W_hq.contiguous(), b_q.contiguous(), labels, sums)
        sums = sums.sum(0)
        ctx.save_for_backward(dH, sums)
        return sums[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx, d):
        dH, sums = ctx.saved_tensors
        h = dH.shape[-1]
        gradients = (sums[:-1] * d).view(h + 1, -1)
        return dH * d, gradients[:h], gradients[h], None
