"""The cells as fast as PyTorch runs them here: the same functions as in cells.py, their gradients by hand.

What each step brought is in milliseconds a training step of the chapter (n=1024, T=32, h=32, v=28, float32, gru), on
two cores shared with others: it is the ratios that count. With one thread the products alone, 0.8 GFLOP, take 8 ms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from frameworks.torch.cells import Forward

# Nothing here is compiled: each of the two loops as steps through torch.compile took 25 ms where they now take 23, both
# in one thread, and its guards hold Python's lock: in two threads 28 ms where they now take 24.
COMPILED = False


def gru() -> Forward:
    return _forward(_Gru.apply, "zrh", lambda p: (torch.cat([p["W_hz"], p["W_hr"]], 1), p["W_hh"]))


def gru_reset_after() -> Forward:
    return _forward(_ResetAfter.apply, "zrh", lambda p: (torch.cat([p["W_hz"], p["W_hr"], p["W_hh"]], 1), p["b_hh"]))


def rnn() -> Forward:
    return _forward(_Rnn.apply, "h", lambda p: (p["W_hh"],))


def _forward(loop: Callable[..., Tensor], gates: str, recurrent: Callable[..., tuple[Tensor, ...]]) -> Forward:
    def project(parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        W, b = ([parameters[f"{kind}{gate}"] for gate in gates] for kind in ("W_x", "b_"))
        return torch.cat(W, 1), torch.cat(b)

    def states(A: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        H = loop(A, H0, *recurrent(parameters))
        return H, H[-1]

    def forward(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        # The input part of all gates and all steps is one product, outside the loop.
        W, b = project(parameters)
        return states(X @ W + b, H0, parameters)

    def of_tokens(tokens: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        W, b = project(parameters)
        return states(_Rows.apply(tokens, W + b), H0, parameters)

    forward.of_tokens = of_tokens
    forward.by_parts = _by_parts
    forward.whole_step = _as_cuda_graph
    return forward


def _by_parts(
    one: Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]], inputs: Tensor, targets: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean over the batch of a function (inputs, targets) -> (value, gradients), a part of the rows in each
    thread. PyTorch's own threads share out every one of some 600 small operations and wait for each other after each:
    two of them are little faster than one. 21 -> 16 ms, the least of many runs.
    """
    parts = min(torch.get_num_threads(), len(inputs))
    if parts == 1 or inputs.is_cuda:
        return one(inputs, targets)
    split = [tokens.tensor_split(parts) for tokens in (inputs, targets)]
    found = list(_pool(parts).map(one, *split))
    shares = [len(part) / len(inputs) for part in split[0]]
    value, *rest = (
        sum(share * array for share, array in zip(shares, arrays, strict=True))
        for arrays in zip(*((value, *gradients.values()) for value, gradients in found), strict=True)
    )
    return value, dict(zip(found[0][1], rest, strict=True))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    # The number is the calling thread's own.
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))


def _as_cuda_graph(step: Callable[..., tuple]) -> Callable[..., tuple]:
    """A training step (parameters, inputs, targets) as a CUDA graph, captured once for each shape; elsewhere the step
    itself. Its kernels are so small that launching them takes longer than running them. Not yet run on a GPU.
    """
    graphs: dict[tuple, tuple] = {}

    def call(parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> tuple:
        if not inputs.is_cuda:
            return step(parameters, inputs, targets)
        given = [*parameters.values(), inputs, targets]
        key = tuple((array.shape, array.dtype) for array in given)
        if key not in graphs:
            graphs[key] = capture(parameters, given)
        graph, places, (after, loss, norm) = graphs[key]
        torch._foreach_copy_(places, given)
        graph.replay()
        # The next replay writes over what this one gave.
        return {name: array.clone() for name, array in after.items()}, loss.clone(), norm.clone()

    def capture(parameters: Mapping[str, Tensor], given: list[Tensor]) -> tuple:
        places = [array.clone() for array in given]
        arguments = dict(zip(parameters, places, strict=False)), *places[-2:]
        # cuBLAS and autograd set themselves up in the first calls, which a graph cannot hold.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                step(*arguments)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = step(*arguments)
        return graph, places, found

    return call


class _Rows(Function):
    """Rows of a table (v, k) for tokens (T, n): the input part where inputs are one-hot. 29 -> 26 ms."""

    @staticmethod
    def forward(ctx, tokens, table):
        ctx.tokens, ctx.v = tokens, len(table)
        return functional.embedding(tokens, table)

    @staticmethod
    @once_differentiable
    def backward(ctx, dA):
        # embedding's own gradient takes 2.0 ms, a product with one-hot rows 2.5 ms, this 0.4 ms.
        found = dA.new_zeros(ctx.v, dA.shape[-1])
        return None, found.index_add_(0, ctx.tokens.flatten(), dA.flatten(0, 1))


# Each loop takes A (T, n, gates h), what the input and the biases add to the gates, H0 (n, h) and the recurrent
# weights, and gives H (T, n, h). It writes into arrays of all T steps, which autograd would have to make of its pieces,
# and gradients of weights are one product over all T after the backward loop: 26 -> 23 ms in one thread. tanh(x) as
# 2 sigmoid(2x) - 1 would take a tenth of the time, and is wrong in its last digits near 0.


def _sum_of_products(a: Tensor, b: Tensor) -> Tensor:
    return a.flatten(0, 1).T @ b.flatten(0, 1)


def _steps(*arrays: Tensor) -> zip:
    return zip(*(array.unbind() for array in arrays), strict=True)


def _steps_back(*arrays: Tensor) -> zip:
    return zip(*(reversed(array.unbind()) for array in arrays), strict=True)


def _with_room(H0: Tensor, T: int) -> Tensor:
    """H0 and room for T states: (T + 1, n, h)."""
    states = H0.new_empty(T + 1, *H0.shape)
    states[0] = H0
    return states


def _candidate_and_update(d, H, Z, C, dZ, dC):
    """Takes d, the cotangent of the state, to those of the sums under Z and C, and gives d Z."""
    carried = d * Z
    torch.mul(d - carried, 1 - C * C, out=dC)
    torch.mul(carried - carried * Z, H - C, out=dZ)
    return carried


class _Gru(Function):
    @staticmethod
    def forward(ctx, A, H0, W_zr, W_hh):
        (T, n, _), h = A.shape, H0.shape[1]
        H, ZR, C, RH = _with_room(H0, T), *(A.new_empty(T, n, k * h) for k in (2, 1, 1))
        for A_t, before, after, ZR_t, C_t, RH_t in _steps(A, H[:-1], H[1:], ZR, C, RH):
            Z, R = torch.addmm(A_t[:, : 2 * h], before, W_zr, out=ZR_t).sigmoid_().chunk(2, 1)
            torch.mul(R, before, out=RH_t)
            torch.addmm(A_t[:, 2 * h :], RH_t, W_hh, out=C_t).tanh_()
            torch.lerp(C_t, before, Z, out=after)
        ctx.save_for_backward(H, ZR, C, RH, W_zr, W_hh)
        return H[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dH):
        H, ZR, C, RH, W_zr, W_hh = ctx.saved_tensors
        T, n, h = C.shape
        dA, d, back_zr, back_hh = C.new_empty(T, n, 3 * h), torch.zeros_like(C[0]), W_zr.T, W_hh.T
        for dH_t, dA_t, before, ZR_t, C_t, RH_t in _steps_back(dH, dA, H[:-1], ZR, C, RH):
            (Z, R), (dZ, dR, dC) = ZR_t.chunk(2, 1), dA_t.chunk(3, 1)
            carried = _candidate_and_update(d + dH_t, before, Z, C_t, dZ, dC)
            dRH = dC @ back_hh
            torch.mul(dRH * RH_t, 1 - R, out=dR)
            d = carried.addcmul_(dRH, R).addmm_(dA_t[:, : 2 * h], back_zr)
        dW_zr, dW_hh = _sum_of_products(H[:-1], dA[..., : 2 * h]), _sum_of_products(RH, dA[..., 2 * h :])
        return dA, d, dW_zr, dW_hh


class _ResetAfter(Function):
    @staticmethod
    def forward(ctx, A, H0, W, b_hh):
        (T, n, _), h = A.shape, H0.shape[1]
        H, ZR, C, inner = _with_room(H0, T), *(A.new_empty(T, n, k * h) for k in (2, 1, 1))
        for A_t, before, after, ZR_t, C_t, inner_t in _steps(A, H[:-1], H[1:], ZR, C, inner):
            # One product for all gates, where the reset comes after it.
            G = before @ W
            Z, R = torch.add(A_t[:, : 2 * h], G[:, : 2 * h], out=ZR_t).sigmoid_().chunk(2, 1)
            torch.add(G[:, 2 * h :], b_hh, out=inner_t)
            torch.addcmul(A_t[:, 2 * h :], R, inner_t, out=C_t).tanh_()
            torch.lerp(C_t, before, Z, out=after)
        ctx.save_for_backward(H, ZR, C, inner, W)
        return H[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dH):
        H, ZR, C, inner, W = ctx.saved_tensors
        T, n, h = C.shape
        dG, dA, d = C.new_empty(T, n, 3 * h), C.new_empty(T, n, 3 * h), torch.zeros_like(C[0])
        for dH_t, dG_t, dA_t, before, ZR_t, C_t, inner_t in _steps_back(dH, dG, dA, H[:-1], ZR, C, inner):
            (Z, R), (dZ, dR, dC) = ZR_t.chunk(2, 1), dA_t.chunk(3, 1)
            carried = _candidate_and_update(d + dH_t, before, Z, C_t, dZ, dC)
            dinner = torch.mul(dC, R, out=dG_t[:, 2 * h :])
            torch.mul(dinner * inner_t, 1 - R, out=dR)
            dG_t[:, : 2 * h] = dA_t[:, : 2 * h]
            d = carried.addmm_(dG_t, W.T)
        return dA, d, _sum_of_products(H[:-1], dG), dG[..., 2 * h :].sum((0, 1))


class _Rnn(Function):
    @staticmethod
    def forward(ctx, A, H0, W_hh):
        H = _with_room(H0, len(A))
        for A_t, before, after in _steps(A, H[:-1], H[1:]):
            torch.addmm(A_t, before, W_hh, out=after).tanh_()
        ctx.save_for_backward(H, W_hh)
        return H[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dH):
        H, W_hh = ctx.saved_tensors
        dA, d, back_hh = torch.empty_like(dH), torch.zeros_like(H[0]), W_hh.T
        for dH_t, dA_t, after in _steps_back(dH, dA, H[1:]):
            torch.mul(d + dH_t, 1 - after * after, out=dA_t)
            d = dA_t @ back_hh
        return dA, d, _sum_of_products(H[:-1], dA)


BOTH = ("float32", "float64")
# The cell that each claims to equal: its constructor and the dtypes that it runs in.
TUNED = {"gru": (gru, BOTH), "gru_reset_after": (gru_reset_after, BOTH), "rnn": (rnn, BOTH)}
