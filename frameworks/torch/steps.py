"""The tuned cells' steps over time in PyTorch, forward and back, for the rows of a batch: what loops.py runs.

Milliseconds are those of a training step, as in tuned.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

# Each function takes the input x: tokens (T, n), for each of which a row of the tables A is added to the sums under the
# gates; or X (T, n, d), which is multiplied by the weights A, and the biases b are added; or none, where A (T, n, ..)
# is itself what is added. Of several A and b the last is the candidate's. H (T + 1, n, h) begins with H0. What is kept
# for a gradient has T steps; where there will be none it has room for one. What the input adds goes into the array that
# keeps the gates, which come about in its place: 14.6 -> 13.5 ms, with the fused gradients below.
#
# Rows of a table are taken step by step, and what a step adds to the gradients of tables and weights is added up on the
# way, while all of it is in the cache: 0.94 of a step where both were done for all T at once, on a machine with vectors
# of 256 bits. Where A is what the input adds, gradients of weights are left to who asks: there may be few rows of many
# steps, and one product over all T makes them: 26 -> 23 ms in one thread.


def _scripted(loop: Callable[..., None]) -> Callable[..., None]:
    """A loop over time, which writes into arrays that are there, through TorchScript, which fuses nothing here, but
    runs it without Python and its lock: two threads that hand the lock to each other around 1500 small operations lose
    2 ms of a step: 13.5 -> 11.7 ms. torch.compile, in whose favour PyTorch has deprecated it, holds the lock. In
    inference mode none of the operations looks for gradients: 0.98 of a step.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.script(loop)

    def run(x: Tensor | None, A: list[Tensor], *arrays: Tensor | list[Tensor] | None) -> None:
        if A[0].is_cuda:
            # There TorchScript's fuser has functions of its own.
            loop(x, A, *arrays)
        else:
            with torch.inference_mode():
                script(x, A, *arrays)

    return run


def _tanh_of_half(x: Tensor) -> Tensor:
    """x <- tanh(x / 2), in half the time of torch.tanh: 17 us a step where that takes 34. Within 3 units of roundoff,
    where torch.tanh is within 1; the half, because doubling what goes into x rounds nothing. 2 sigmoid(x) - 1 would
    take a tenth, and is wrong in its last digits near 0. Past 40 it is 1 in float64 too, and expm1 soon infinite.
    """
    x.clamp_(max=40.0).expm1_()
    return torch.div(x, x + 2, out=x)


def _last_doubled(A: list[Tensor]) -> list[Tensor]:
    return A[:-1] + [2 * each for each in A[-1:]]


def _put(x: Tensor | None, A: list[Tensor], b: list[Tensor], sum: int, t: int, out: Tensor) -> Tensor:
    """What the input adds to one of the sums at step t."""
    if x is None:
        return out.copy_(A[sum][t])
    if len(b) > 0:
        return torch.addmm(b[sum], x[t], A[sum], out=out)
    return torch.index_select(A[sum], 0, x[t], out=out)


def _put_back(
    x: Tensor, A: list[Tensor], sum: int, t: int, d: Tensor, dA: list[Tensor], db: list[Tensor], dX: Tensor | None
) -> None:
    """Adds the gradients of what the input adds to one of the sums at step t, whose own is d."""
    if dX is None:
        dA[sum].index_add_(0, x[t], d)
    else:
        dA[sum].addmm_(x[t].t(), d)
        db[sum].add_(d.sum(0))
        if sum == 0:
            torch.mm(d, A[sum].t(), out=dX[t])
        else:
            dX[t].addmm_(d, A[sum].t())


def _update_back(d: Tensor, H: Tensor, Z: Tensor, C: Tensor, dZ: Tensor, dC: Tensor) -> Tensor:
    """Takes d, the cotangent of the state, to those of the sums under Z and C, and gives d Z. The functions that are
    named after gradients fuse g (1 - y y) and g y (1 - y).
    """
    carried = d * Z
    torch.ops.aten.tanh_backward(d - carried, C, grad_input=dC)
    torch.ops.aten.sigmoid_backward((H - C).mul_(d), Z, grad_input=dZ)
    return carried


@_scripted
def gru(
    x: Tensor | None, A: list[Tensor], b: list[Tensor], H: Tensor, kept: list[Tensor], weights: list[Tensor]
) -> None:
    A, b = _last_doubled(A), _last_doubled(b)
    ZR, C, RH = kept
    W_zr, W_2hh = weights[0], 2 * weights[1]
    H_t = H[0]
    for t in range(H.size(0) - 1):
        at = t % C.size(0)
        Z, R = torch.chunk(_put(x, A, b, 0, t, ZR[at]).addmm_(H_t, W_zr).sigmoid_(), 2, 1)
        RH_t = torch.mul(R, H_t, out=RH[at])
        C_t = _tanh_of_half(_put(x, A, b, 1, t, C[at]).addmm_(RH_t, W_2hh))
        H_t = torch.lerp(C_t, H_t, Z, out=H[t + 1])


@_scripted
def gru_back(
    x: Tensor | None, A: list[Tensor], dH: Tensor, H: Tensor, kept: list[Tensor], weights: list[Tensor],
    dA: list[Tensor], db: list[Tensor], dX: Tensor | None, dweights: list[Tensor], dH0: Tensor,
) -> None:  # fmt: skip
    ZR, C, RH = kept
    back_zr, back_hh = weights[0].t(), weights[1].t()
    d, dZR, dC = torch.zeros_like(dH0), torch.empty_like(ZR[0]), torch.empty_like(C[0])
    for t in range(C.size(0) - 1, -1, -1):
        if x is None:
            dZR, dC = dA[0][t], dA[1][t]
        Z, R = torch.chunk(ZR[t], 2, 1)
        dZ, dR = torch.chunk(dZR, 2, 1)
        H_t = H[t]
        carried = _update_back(d.add_(dH[t]), H_t, Z, C[t], dZ, dC)
        dRH = dC @ back_hh
        torch.ops.aten.sigmoid_backward(dRH * H_t, R, grad_input=dR)
        d = carried.addcmul_(dRH, R).addmm_(dZR, back_zr)
        if x is not None:
            _put_back(x, A, 0, t, dZR, dA, db, dX)
            _put_back(x, A, 1, t, dC, dA, db, dX)
            dweights[0].addmm_(H_t.t(), dZR)
            dweights[1].addmm_(RH[t].t(), dC)
    dH0.copy_(d)


@_scripted
def reset_after(
    x: Tensor | None, A: list[Tensor], b: list[Tensor], H: Tensor, kept: list[Tensor], weights: list[Tensor]
) -> None:
    A, b = _last_doubled(A), _last_doubled(b)
    ZR, C, inner = kept
    W_zr, W_hh, b_hh = weights
    H_t = H[0]
    for t in range(H.size(0) - 1):
        at = t % C.size(0)
        Z, R = torch.chunk(_put(x, A, b, 0, t, ZR[at]).addmm_(H_t, W_zr).sigmoid_(), 2, 1)
        inner_t = torch.addmm(b_hh, H_t, W_hh, out=inner[at])
        C_t = _tanh_of_half(_put(x, A, b, 1, t, C[at]).addcmul_(R, inner_t, value=2))
        H_t = torch.lerp(C_t, H_t, Z, out=H[t + 1])


@_scripted
def reset_after_back(
    x: Tensor | None, A: list[Tensor], dH: Tensor, H: Tensor, kept: list[Tensor], weights: list[Tensor],
    dA: list[Tensor], db: list[Tensor], dX: Tensor | None, dweights: list[Tensor], dH0: Tensor,
) -> None:  # fmt: skip
    ZR, C, inner = kept
    back_zr, back_hh = weights[0].t(), weights[1].t()
    d, dI = torch.zeros_like(dH0), torch.empty_like(C[0])
    dZR, dC = torch.empty_like(ZR[0]), torch.empty_like(C[0])
    for t in range(C.size(0) - 1, -1, -1):
        if x is None:
            dZR, dC = dA[0][t], dA[1][t]
        Z, R = torch.chunk(ZR[t], 2, 1)
        dZ, dR = torch.chunk(dZR, 2, 1)
        H_t = H[t]
        carried = _update_back(d.add_(dH[t]), H_t, Z, C[t], dZ, dC)
        torch.ops.aten.sigmoid_backward(dC * inner[t], R, grad_input=dR)
        torch.mul(dC, R, out=dI)
        d = carried.addmm_(dZR, back_zr).addmm_(dI, back_hh)
        if x is not None:
            _put_back(x, A, 0, t, dZR, dA, db, dX)
            _put_back(x, A, 1, t, dC, dA, db, dX)
            dweights[0].addmm_(H_t.t(), dZR)
            dweights[1].addmm_(H_t.t(), dI)
            dweights[2].add_(dI.sum(0))
    dH0.copy_(d)


@_scripted
def rnn(
    x: Tensor | None, A: list[Tensor], b: list[Tensor], H: Tensor, kept: list[Tensor], weights: list[Tensor]
) -> None:
    A, b = _last_doubled(A), _last_doubled(b)
    W_2hh = 2 * weights[0]
    H_t = H[0]
    for t in range(H.size(0) - 1):
        H_t = _tanh_of_half(_put(x, A, b, 0, t, H[t + 1]).addmm_(H_t, W_2hh))


@_scripted
def rnn_back(
    x: Tensor | None, A: list[Tensor], dH: Tensor, H: Tensor, kept: list[Tensor], weights: list[Tensor],
    dA: list[Tensor], db: list[Tensor], dX: Tensor | None, dweights: list[Tensor], dH0: Tensor,
) -> None:  # fmt: skip
    back_hh = weights[0].t()
    d, dC = torch.zeros_like(dH0), torch.empty_like(dH0)
    for t in range(dH.size(0) - 1, -1, -1):
        if x is None:
            dC = dA[0][t]
        torch.ops.aten.tanh_backward(d.add_(dH[t]), H[t + 1], grad_input=dC)
        d = dC @ back_hh
        if x is not None:
            _put_back(x, A, 0, t, dC, dA, db, dX)
            dweights[0].addmm_(H[t].t(), dC)
    dH0.copy_(d)
