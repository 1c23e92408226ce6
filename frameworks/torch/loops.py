"""The tuned cells' loops over time in PyTorch, each one function with a gradient by hand.

Milliseconds are those of a training step, as in tuned.py.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

# Each loop takes what the input and the biases add to the sums under the gates, A (T, n, ..), or for tokens (T, n) the
# table (v, ..) whose rows those are; H0 (n, h) and the recurrent weights; and gives H (T, n, h). What a step adds goes
# into the array that keeps its gates, which come about in its place: 14.6 -> 13.5 ms, with the fused gradients below.
# Gradients of weights are one product over all T after the backward loop: 26 -> 23 ms in one thread.


def on_gpu(array: Tensor) -> bool:
    """Whether it is, or is taken to be by Triton's interpreter."""
    return array.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"


def gpu_kernels(H0: Tensor) -> ModuleType | None:
    """kernels.py, where it suits a loop that begins at H0 (n, h); it needs Triton, which PyTorch has on a GPU."""
    if on_gpu(H0) and importlib.util.find_spec("triton"):
        from frameworks.torch import kernels

        return kernels if kernels.suits(H0) else None
    return None


def few_kernels(H0: Tensor, v: int) -> ModuleType | None:
    """few.py, where it suits a language model of v tokens that begins at H0 (n, h)."""
    if gpu_kernels(H0):
        from frameworks.torch import few

        return few if few.suits(v, H0.shape[1]) else None
    return None


def joined(arrays: Sequence[Tensor]) -> Tensor:
    """Their numbers one after the other: the memory that they have, where that is all of it in this order."""
    whole, place = arrays[0]._base, 0
    for array in arrays:
        if array._base is not whole or array.storage_offset() != place or not array.is_contiguous():
            break
        place += array.numel()
    if whole is not None and whole.shape == (place,):
        return whole
    return torch.cat([array.flatten() for array in arrays])


def pieces(whole: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The opposite: views of what has the numbers of all these arrays, one after the other."""
    parts = whole.split([array.numel() for array in like])
    return [part.view_as(array) for part, array in zip(parts, like, strict=True)]


def _room(H0: Tensor, *shapes: tuple[int, int]) -> list[Tensor]:
    """Arrays (T, n, k) for pairs (T, k), in one piece of memory. Large pieces come from the system page by page and go
    back as soon as they are free, unless about as large a one was there before: a thousand page faults a step, up to
    2 ms of the system's time, are now a few hundred at most.
    """
    sizes = [T * len(H0) * k for T, k in shapes]
    pieces = H0.new_empty(sum(sizes)).split(sizes)
    return [piece.view(T, len(H0), k) for piece, (T, k) in zip(pieces, shapes, strict=True)]


def _fill(room: Tensor, tokens: Tensor | None, A: Tensor, *, times: int = 1) -> None:
    if tokens is None:
        torch.mul(A, times, out=room)
    else:
        # Rows of the table, where inputs are one-hot: 29 -> 26 ms.
        torch.index_select(A * times, 0, tokens.flatten(), out=room.flatten(0, 1))


def _begin(tokens: Tensor | None, A_zr: Tensor, A_h: Tensor, H0: Tensor) -> list[Tensor]:
    """Of a gated cell: the states with H0 before them, (T + 1, n, h); what the input adds under Z and R, (T, n, 2 h),
    and, twice, under C, (T, n, h); and room for what else a step keeps, (T, n, h).
    """
    T, h = len(A_zr if tokens is None else tokens), H0.shape[1]
    room = _room(H0, (T + 1, h), (T, 2 * h), (T, h), (T, h))
    room[0][0] = H0
    _fill(room[1], tokens, A_zr)
    _fill(room[2], tokens, A_h, times=2)
    return room


def _of_inputs(tokens: Tensor | None, A: Tensor, dA: Tensor) -> Tensor:
    """The gradient of A, a table where there are tokens: embedding's own takes 2.0 ms, a product with one-hot rows 2.5
    ms, this 0.4 ms.
    """
    return dA if tokens is None else torch.zeros_like(A).index_add_(0, tokens.flatten(), dA.flatten(0, 1))


def _tanh_of_half(x: Tensor) -> Tensor:
    """x <- tanh(x / 2), in half the time of torch.tanh: 17 us a step where that takes 34. Within 3 units of roundoff,
    where torch.tanh is within 1; the half, because doubling what goes into x rounds nothing. 2 sigmoid(x) - 1 would
    take a tenth, and is wrong in its last digits near 0. Past 40 it is 1 in float64 too, and expm1 soon infinite.
    """
    x.clamp_(max=40.0).expm1_()
    return torch.div(x, x + 2, out=x)


def _scripted(loop: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loop over time through TorchScript, which fuses nothing here, but runs it without Python and its lock: two
    threads that hand the lock to each other around 1500 small operations lose 2 ms of a step: 13.5 -> 11.7 ms.
    torch.compile, in whose favour PyTorch has deprecated it, holds the lock.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.script(loop)
    # On a GPU its fuser has functions of its own.
    return lambda *arrays: (loop if arrays[0].is_cuda else script)(*arrays)


def _sum_of_products(a: Tensor, b: Tensor) -> Tensor:
    return a.flatten(0, 1).T @ b.flatten(0, 1)


def _update_back(d: Tensor, H: Tensor, Z: Tensor, C: Tensor, dZ: Tensor, dC: Tensor) -> Tensor:
    """Takes d, the cotangent of the state, to those of the sums under Z and C, and gives d Z. The functions that are
    named after gradients fuse g (1 - y y) and g y (1 - y).
    """
    carried = d * Z
    torch.ops.aten.tanh_backward(d - carried, C, grad_input=dC)
    torch.ops.aten.sigmoid_backward((H - C).mul_(d), Z, grad_input=dZ)
    return carried


@_scripted
def _gru_steps(H: Tensor, ZR: Tensor, C: Tensor, RH: Tensor, W_zr: Tensor, W_2hh: Tensor) -> Tensor:
    for t in range(C.size(0)):
        Z, R = torch.chunk(ZR[t].addmm_(H[t], W_zr).sigmoid_(), 2, 1)
        torch.mul(R, H[t], out=RH[t])
        C_t = _tanh_of_half(C[t].addmm_(RH[t], W_2hh))
        torch.lerp(C_t, H[t], Z, out=H[t + 1])
    return H[1:]


@_scripted
def _gru_back(
    dH: Tensor, H: Tensor, ZR: Tensor, C: Tensor, dZR: Tensor, dC: Tensor, back_zr: Tensor, back_hh: Tensor
) -> Tensor:
    d = torch.zeros_like(H[0])
    for t in range(C.size(0) - 1, -1, -1):
        Z, R = torch.chunk(ZR[t], 2, 1)
        dZ, dR = torch.chunk(dZR[t], 2, 1)
        carried = _update_back(d.add_(dH[t]), H[t], Z, C[t], dZ, dC[t])
        dRH = dC[t] @ back_hh
        torch.ops.aten.sigmoid_backward(dRH * H[t], R, grad_input=dR)
        d = carried.addcmul_(dRH, R).addmm_(dZR[t], back_zr)
    return d


class Gru(Function):
    @staticmethod
    def forward(ctx, tokens, A_zr, A_h, H0, W_zr, W_hh):
        H, ZR, C, RH = _begin(tokens, A_zr, A_h, H0)
        ctx.save_for_backward(tokens, A_zr, A_h, H, ZR, C, RH, W_zr, W_hh)
        return _gru_steps(H, ZR, C, RH, W_zr, 2 * W_hh)

    @staticmethod
    @once_differentiable
    def backward(ctx, dH):
        tokens, A_zr, A_h, H, ZR, C, RH, W_zr, W_hh = ctx.saved_tensors
        T, _, h = C.shape
        dZR, dC = _room(C[0], (T, 2 * h), (T, h))
        d = _gru_back(dH, H, ZR, C, dZR, dC, W_zr.T, W_hh.T)
        of_inputs = _of_inputs(tokens, A_zr, dZR), _of_inputs(tokens, A_h, dC)
        return None, *of_inputs, d, _sum_of_products(H[:-1], dZR), _sum_of_products(RH, dC)


@_scripted
def _reset_after_steps(
    H: Tensor, ZR: Tensor, C: Tensor, inner: Tensor, W_zr: Tensor, W_hh: Tensor, b_hh: Tensor
) -> Tensor:
    for t in range(C.size(0)):
        Z, R = torch.chunk(ZR[t].addmm_(H[t], W_zr).sigmoid_(), 2, 1)
        torch.addmm(b_hh, H[t], W_hh, out=inner[t])
        C_t = _tanh_of_half(C[t].addcmul_(R, inner[t], value=2))
        torch.lerp(C_t, H[t], Z, out=H[t + 1])
    return H[1:]


@_scripted
def _reset_after_back(
    dH: Tensor,
    H: Tensor,
    ZR: Tensor,
    C: Tensor,
    inner: Tensor,
    dZR: Tensor,
    dC: Tensor,
    dinner: Tensor,
    back_zr: Tensor,
    back_hh: Tensor,
) -> Tensor:
    d = torch.zeros_like(H[0])
    for t in range(C.size(0) - 1, -1, -1):
        Z, R = torch.chunk(ZR[t], 2, 1)
        dZ, dR = torch.chunk(dZR[t], 2, 1)
        carried = _update_back(d.add_(dH[t]), H[t], Z, C[t], dZ, dC[t])
        torch.ops.aten.sigmoid_backward(dC[t] * inner[t], R, grad_input=dR)
        torch.mul(dC[t], R, out=dinner[t])
        d = carried.addmm_(dZR[t], back_zr).addmm_(dinner[t], back_hh)
    return d


class ResetAfter(Function):
    @staticmethod
    def forward(ctx, tokens, A_zr, A_h, H0, W_zr, W_hh, b_hh):
        H, ZR, C, inner = _begin(tokens, A_zr, A_h, H0)
        ctx.save_for_backward(tokens, A_zr, A_h, H, ZR, C, inner, W_zr, W_hh)
        return _reset_after_steps(H, ZR, C, inner, W_zr, W_hh, b_hh)

    @staticmethod
    @once_differentiable
    def backward(ctx, dH):
        tokens, A_zr, A_h, H, ZR, C, inner, W_zr, W_hh = ctx.saved_tensors
        T, _, h = C.shape
        dZR, dC, dinner = _room(C[0], (T, 2 * h), (T, h), (T, h))
        d = _reset_after_back(dH, H, ZR, C, inner, dZR, dC, dinner, W_zr.T, W_hh.T)
        of_inputs = _of_inputs(tokens, A_zr, dZR), _of_inputs(tokens, A_h, dC)
        weights = _sum_of_products(H[:-1], dZR), _sum_of_products(H[:-1], dinner), dinner.sum((0, 1))
        return None, *of_inputs, d, *weights


@_scripted
def _rnn_steps(H: Tensor, W_2hh: Tensor) -> Tensor:
    for t in range(H.size(0) - 1):
        _tanh_of_half(H[t + 1].addmm_(H[t], W_2hh))
    return H[1:]


@_scripted
def _rnn_back(dH: Tensor, H: Tensor, dC: Tensor, back_hh: Tensor) -> Tensor:
    d = torch.zeros_like(H[0])
    for t in range(dC.size(0) - 1, -1, -1):
        torch.ops.aten.tanh_backward(d.add_(dH[t]), H[t + 1], grad_input=dC[t])
        d = dC[t] @ back_hh
    return d


class Rnn(Function):
    @staticmethod
    def forward(ctx, tokens, A_h, H0, W_hh):
        (H,) = _room(H0, (len(A_h if tokens is None else tokens) + 1, H0.shape[1]))
        H[0] = H0
        _fill(H[1:], tokens, A_h, times=2)
        ctx.save_for_backward(tokens, A_h, H, W_hh)
        return _rnn_steps(H, 2 * W_hh)

    @staticmethod
    @once_differentiable
    def backward(ctx, dH):
        tokens, A_h, H, W_hh = ctx.saved_tensors
        (dC,) = _room(H[0], (len(dH), H.shape[2]))
        d = _rnn_back(dH, H, dC, W_hh.T)
        return None, _of_inputs(tokens, A_h, dC), d, _sum_of_products(H[:-1], dC)
