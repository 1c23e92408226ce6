"""The tuned cells' loops over time in PyTorch, each one function with a gradient by hand.

Milliseconds are those of a training step, as in tuned.py.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from frameworks.torch.pieces import room

# Each loop takes what the input and the biases add to the sums under the gates, A (T, n, ..), or for tokens (T, n) the
# table (v, ..) whose rows those are; H0 (n, h) and the recurrent weights; and gives H (T, n, h). What a step adds goes
# into the array that keeps its gates, which come about in its place: 14.6 -> 13.5 ms, with the fused gradients below.
#
# Rows of a table are taken step by step, and what a step adds to the gradients of tables and weights is added up on the
# way, while all of it is in the cache: 0.94 of a step where both were done for all T at once, on a machine with vectors
# of 256 bits. Inputs that are no tokens may be few rows of many steps, of which one product over all T makes the
# gradients of weights: 26 -> 23 ms in one thread.


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


def _by_step(tokens: Tensor | None, *A: Tensor) -> list[Tensor | None]:
    """Tokens and tables as a loop takes them: on a GPU no tokens, but what the tables give for all steps at once, each
    by one kernel.
    """
    return [tokens, *A] if _on_the_way(tokens) or tokens is None else [None, *(table[tokens] for table in A)]


def _on_the_way(tokens: Tensor | None) -> bool:
    """Whether gradients of tables and weights are added up step by step."""
    return tokens is not None and not tokens.is_cuda


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


def _scripted(loop: Callable[..., None]) -> Callable[..., None]:
    """A loop over time, which writes into arrays that are there, through TorchScript, which fuses nothing here, but
    runs it without Python and its lock: two threads that hand the lock to each other around 1500 small operations lose
    2 ms of a step: 13.5 -> 11.7 ms. torch.compile, in whose favour PyTorch has deprecated it, holds the lock. In
    inference mode none of the operations looks for gradients: 0.98 of a step.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.script(loop)

    def run(tokens: Tensor | None, *arrays: Tensor) -> None:
        if arrays[0].is_cuda:
            # There TorchScript's fuser has functions of its own.
            loop(tokens, *arrays)
        else:
            with torch.inference_mode():
                script(tokens, *arrays)

    return run


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


def _put(A: Tensor, tokens: Tensor | None, t: int, out: Tensor) -> Tensor:
    """What the input adds at step t."""
    return out.copy_(A[t]) if tokens is None else torch.index_select(A, 0, tokens[t], out=out)


@_scripted
def _gru_steps(
    tokens: Tensor | None, A_zr: Tensor, A_2h: Tensor,
    H: Tensor, ZR: Tensor, C: Tensor, RH: Tensor, W_zr: Tensor, W_2hh: Tensor,
) -> None:  # fmt: skip
    H_t = H[0]
    for t in range(C.size(0)):
        Z, R = torch.chunk(_put(A_zr, tokens, t, ZR[t]).addmm_(H_t, W_zr).sigmoid_(), 2, 1)
        RH_t = torch.mul(R, H_t, out=RH[t])
        C_t = _tanh_of_half(_put(A_2h, tokens, t, C[t]).addmm_(RH_t, W_2hh))
        H_t = torch.lerp(C_t, H_t, Z, out=H[t + 1])


@_scripted
def _gru_back(
    tokens: Tensor | None, dH: Tensor, H: Tensor, ZR: Tensor, C: Tensor, RH: Tensor, back_zr: Tensor, back_hh: Tensor,
    dA_zr: Tensor, dA_h: Tensor, dW_zr: Tensor, dW_hh: Tensor, dH0: Tensor,
) -> None:  # fmt: skip
    d, dZR, dC = torch.zeros_like(dH0), torch.empty_like(ZR[0]), torch.empty_like(C[0])
    for t in range(C.size(0) - 1, -1, -1):
        if tokens is None:
            dZR, dC = dA_zr[t], dA_h[t]
        Z, R = torch.chunk(ZR[t], 2, 1)
        dZ, dR = torch.chunk(dZR, 2, 1)
        H_t = H[t]
        carried = _update_back(d.add_(dH[t]), H_t, Z, C[t], dZ, dC)
        dRH = dC @ back_hh
        torch.ops.aten.sigmoid_backward(dRH * H_t, R, grad_input=dR)
        d = carried.addcmul_(dRH, R).addmm_(dZR, back_zr)
        if tokens is not None:
            dA_zr.index_add_(0, tokens[t], dZR)
            dA_h.index_add_(0, tokens[t], dC)
            dW_zr.addmm_(H_t.t(), dZR)
            dW_hh.addmm_(RH[t].t(), dC)
    dH0.copy_(d)


class Gru(Function):
    @staticmethod
    def forward(ctx, tokens, A_zr, A_h, H0, W_zr, W_hh):
        T, h = len(A_zr if tokens is None else tokens), H0.shape[1]
        H, ZR, C, RH = room(H0, (T + 1, h), (T, 2 * h), (T, h), (T, h))
        H[0] = H0
        ctx.save_for_backward(tokens, A_zr, A_h, H, ZR, C, RH, W_zr, W_hh)
        _gru_steps(*_by_step(tokens, A_zr, 2 * A_h), H, ZR, C, RH, W_zr, 2 * W_hh)
        return H[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dH):
        tokens, A_zr, A_h, H, ZR, C, RH, W_zr, W_hh = ctx.saved_tensors
        kept = dH, H, ZR, C, RH, W_zr.T, W_hh.T
        dW_zr, dW_hh, d = (torch.zeros_like(each) for each in (W_zr, W_hh, H[0]))
        if _on_the_way(tokens):
            dA = torch.zeros_like(A_zr), torch.zeros_like(A_h)
            _gru_back(tokens, *kept, *dA, dW_zr, dW_hh, d)
            return None, *dA, d, dW_zr, dW_hh
        T, _, h = C.shape
        dZR, dC = room(C[0], (T, 2 * h), (T, h))
        _gru_back(None, *kept, dZR, dC, dW_zr, dW_hh, d)
        of_inputs = _of_inputs(tokens, A_zr, dZR), _of_inputs(tokens, A_h, dC)
        return None, *of_inputs, d, _sum_of_products(H[:-1], dZR), _sum_of_products(RH, dC)


@_scripted
def _reset_after_steps(
    tokens: Tensor | None, A_zr: Tensor, A_2h: Tensor,
    H: Tensor, ZR: Tensor, C: Tensor, inner: Tensor, W_zr: Tensor, W_hh: Tensor, b_hh: Tensor,
) -> None:  # fmt: skip
    H_t = H[0]
    for t in range(C.size(0)):
        Z, R = torch.chunk(_put(A_zr, tokens, t, ZR[t]).addmm_(H_t, W_zr).sigmoid_(), 2, 1)
        inner_t = torch.addmm(b_hh, H_t, W_hh, out=inner[t])
        C_t = _tanh_of_half(_put(A_2h, tokens, t, C[t]).addcmul_(R, inner_t, value=2))
        H_t = torch.lerp(C_t, H_t, Z, out=H[t + 1])


@_scripted
def _reset_after_back(
    tokens: Tensor | None, dH: Tensor, H: Tensor, ZR: Tensor, C: Tensor, inner: Tensor, back_zr: Tensor,
    back_hh: Tensor, dA_zr: Tensor, dA_h: Tensor, dinner: Tensor, dW_zr: Tensor, dW_hh: Tensor, db_hh: Tensor,
    dH0: Tensor,
) -> None:  # fmt: skip
    d, dI = torch.zeros_like(dH0), torch.empty_like(C[0])
    dZR, dC = torch.empty_like(ZR[0]), torch.empty_like(C[0])
    for t in range(C.size(0) - 1, -1, -1):
        if tokens is None:
            dZR, dC, dI = dA_zr[t], dA_h[t], dinner[t]
        Z, R = torch.chunk(ZR[t], 2, 1)
        dZ, dR = torch.chunk(dZR, 2, 1)
        H_t = H[t]
        carried = _update_back(d.add_(dH[t]), H_t, Z, C[t], dZ, dC)
        torch.ops.aten.sigmoid_backward(dC * inner[t], R, grad_input=dR)
        torch.mul(dC, R, out=dI)
        d = carried.addmm_(dZR, back_zr).addmm_(dI, back_hh)
        if tokens is not None:
            dA_zr.index_add_(0, tokens[t], dZR)
            dA_h.index_add_(0, tokens[t], dC)
            dW_zr.addmm_(H_t.t(), dZR)
            dW_hh.addmm_(H_t.t(), dI)
            db_hh.add_(dI.sum(0))
    dH0.copy_(d)


class ResetAfter(Function):
    @staticmethod
    def forward(ctx, tokens, A_zr, A_h, H0, W_zr, W_hh, b_hh):
        T, h = len(A_zr if tokens is None else tokens), H0.shape[1]
        H, ZR, C, inner = room(H0, (T + 1, h), (T, 2 * h), (T, h), (T, h))
        H[0] = H0
        ctx.save_for_backward(tokens, A_zr, A_h, H, ZR, C, inner, W_zr, W_hh, b_hh)
        _reset_after_steps(*_by_step(tokens, A_zr, 2 * A_h), H, ZR, C, inner, W_zr, W_hh, b_hh)
        return H[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dH):
        tokens, A_zr, A_h, H, ZR, C, inner, W_zr, W_hh, b_hh = ctx.saved_tensors
        kept = dH, H, ZR, C, inner, W_zr.T, W_hh.T
        *weights, d = (torch.zeros_like(each) for each in (W_zr, W_hh, b_hh, H[0]))
        if _on_the_way(tokens):
            dA = torch.zeros_like(A_zr), torch.zeros_like(A_h)
            # dinner of all steps is not kept there.
            _reset_after_back(tokens, *kept, *dA, d, *weights, d)
            return None, *dA, d, *weights
        T, _, h = C.shape
        dZR, dC, dinner = room(C[0], (T, 2 * h), (T, h), (T, h))
        _reset_after_back(None, *kept, dZR, dC, dinner, *weights, d)
        of_inputs = _of_inputs(tokens, A_zr, dZR), _of_inputs(tokens, A_h, dC)
        weights = _sum_of_products(H[:-1], dZR), _sum_of_products(H[:-1], dinner), dinner.sum((0, 1))
        return None, *of_inputs, d, *weights


@_scripted
def _rnn_steps(tokens: Tensor | None, A_2h: Tensor, H: Tensor, W_2hh: Tensor) -> None:
    H_t = H[0]
    for t in range(H.size(0) - 1):
        H_t = _tanh_of_half(_put(A_2h, tokens, t, H[t + 1]).addmm_(H_t, W_2hh))


@_scripted
def _rnn_back(
    tokens: Tensor | None, dH: Tensor, H: Tensor, back_hh: Tensor, dA_h: Tensor, dW_hh: Tensor, dH0: Tensor
) -> None:
    d, dC = torch.zeros_like(dH0), torch.empty_like(dH0)
    for t in range(dH.size(0) - 1, -1, -1):
        if tokens is None:
            dC = dA_h[t]
        torch.ops.aten.tanh_backward(d.add_(dH[t]), H[t + 1], grad_input=dC)
        d = dC @ back_hh
        if tokens is not None:
            dA_h.index_add_(0, tokens[t], dC)
            dW_hh.addmm_(H[t].t(), dC)
    dH0.copy_(d)


class Rnn(Function):
    @staticmethod
    def forward(ctx, tokens, A_h, H0, W_hh):
        (H,) = room(H0, (len(A_h if tokens is None else tokens) + 1, H0.shape[1]))
        H[0] = H0
        ctx.save_for_backward(tokens, A_h, H, W_hh)
        _rnn_steps(*_by_step(tokens, 2 * A_h), H, 2 * W_hh)
        return H[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dH):
        tokens, A_h, H, W_hh = ctx.saved_tensors
        dW_hh, d = torch.zeros_like(W_hh), torch.zeros_like(H[0])
        if _on_the_way(tokens):
            dA_h = torch.zeros_like(A_h)
            _rnn_back(tokens, dH, H, W_hh.T, dA_h, dW_hh, d)
            return None, dA_h, d, dW_hh
        (dC,) = room(H[0], (len(dH), H.shape[2]))
        _rnn_back(None, dH, H, W_hh.T, dC, dW_hh, d)
        return None, _of_inputs(tokens, A_h, dC), d, _sum_of_products(H[:-1], dC)
