"""The cells as fast as PyTorch runs them here: the same functions as in cells.py, their gradients by hand.

What each step brought is in milliseconds a training step of the chapter (n=1024, T=32, h=32, v=28, float32, gru), on
two cores shared with others: it is the ratios that count. In a run with scratch at 22.3, it was 14.6 before the gates
came about in place, 13.5 before the loops left Python (loops.py), and is 11.7. With one thread the products alone, 0.8
GFLOP, take 8 ms. On another machine, an AMD EPYC with vectors of 256 bits, it was 24.0 by then and is 20.8: by the
softmax of the output layer, 0.94, and by what loops.py does step by step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from frameworks import RichForward
from frameworks.torch import loops
from frameworks.torch.cells import Forward
from frameworks.torch.graph import as_cuda_graph

# Nothing here is compiled for a shape: each of the two loops as steps through torch.compile took 25 ms where operations
# alone took 23, both in one thread, and its guards hold Python's lock: in two threads 28 ms, and 24 without. Each loop
# of 32 steps as one program in C++, without that lock (cpp_wrapper), compiled for minutes and took 0.96 of the time
# (0.81 to 0.98), on a busy machine.
COMPILED = False


def gru() -> Forward:
    return _forward(_loop("Gru"), _gru_step, ("zr", "h"), lambda p: (_zr(p), p["W_hh"]))


def gru_reset_after() -> Forward:
    return _forward(_loop("ResetAfter"), _reset_after_step, ("zr", "h"), lambda p: (_zr(p), p["W_hh"], p["b_hh"]))


def rnn() -> Forward:
    return _forward(loops.Rnn.apply, _rnn_step, ("h",), lambda p: (p["W_hh"],))


def _zr(parameters: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([parameters["W_hz"], parameters["W_hr"]], 1)


def _loop(name: str) -> Callable[..., Tensor]:
    """A loop over time by its name: on a GPU one kernel where that suits, else operation by operation."""

    def run(tokens: Tensor | None, A_zr: Tensor, A_h: Tensor, H0: Tensor, *recurrent: Tensor) -> Tensor:
        return getattr(loops.gpu_kernels(H0) or loops, name).apply(tokens, A_zr, A_h, H0, *recurrent)

    return run


# Steps as they are, on a CPU, where what a loop by hand packs and keeps for its gradient costs more than it saves.
# Milliseconds of CPU time in one thread, and the scratch cell's beside them:
#
#     35 single steps, n=1024, h=32                    31   -> 9.1    scratch 12.4
#     a prediction of 50 characters                    12.5 -> 5.1    scratch 6.1
#     a forward without gradients, n=1024, h=32, T=32  18.2 -> 9.6    scratch 12.0
#
#     a gradient, n=4096, h=32, T=32                   247  -> 243    scratch 293
#
# Of fewer sequences than units the loop takes a forward too: 2.4, and steps 2.6 (n=1, h=256). A gradient in two threads
# takes by hand 1.0 to 1.2 times as long as scratch where n h is 2^16 or more. Again in one thread, turn by turn, where
# n h is 2^15 (n=1024, h=32, T=32): steps take 0.80 to 0.85 of the loop's time, in float64 0.67 to 0.77. Of
# tokens, where nothing is multiplied by W_x, scratch takes 1.31 to 1.38 of it, and in float64 1.06 to 1.14. Without a
# gradient the loop over tokens takes 0.73 (gru, reset_after) and 0.57 (rnn) of the time of steps at n=1024, h=32, T=32,
# 0.75 to 0.98 where there are fewer sequences, 0.4 at h=8, 0.98 in float64; 1.03 to 1.19 at n=4096 or h=128. So a batch
# of validation takes 23 ms of CPU time where it took 37, and two threads 11 where they took 17.
# torch.compile is still faster at T=128 (1.1) and, of gru_reset_after, in float64 (1.2); it is not used here, since it
# takes seconds for each shape and needs a C++ compiler.
MANY = 2**15
"""Numbers of a state from which on a gradient goes through steps; twice as many from which on tokens do."""


def _gru_step(X: Tensor, H: Tensor, p: Mapping[str, Tensor]) -> Tensor:
    Z = _sum(X, H, p, "z").sigmoid_()
    R = _sum(X, H, p, "r").sigmoid_()
    C = _sum(X, R * H, p, "h").tanh_()
    return torch.lerp(C, H, Z)


def _reset_after_step(X: Tensor, H: Tensor, p: Mapping[str, Tensor]) -> Tensor:
    Z = _sum(X, H, p, "z").sigmoid_()
    R = _sum(X, H, p, "r").sigmoid_()
    inner = torch.addmm(p["b_hh"], H, p["W_hh"])
    C = torch.addmm(p["b_h"], X, p["W_xh"]).addcmul_(R, inner).tanh_()
    return torch.lerp(C, H, Z)


def _rnn_step(X: Tensor, H: Tensor, p: Mapping[str, Tensor]) -> Tensor:
    return _sum(X, H, p, "h").tanh_()


def _sum(X: Tensor, H: Tensor, p: Mapping[str, Tensor], gate: str) -> Tensor:
    """X W + H W + b: two operations where cells.py has four, of which many steps of few numbers consist. What they keep
    for a gradient is what they read, so that what follows may take their place.
    """
    return torch.addmm(p[f"b_{gate}"], X, p[f"W_x{gate}"]).addmm_(H, p[f"W_h{gate}"])


def _forward(
    loop: Callable[..., Tensor],
    step: Callable[..., Tensor],
    sums: tuple[str, ...],
    recurrent: Callable[..., tuple[Tensor, ...]],
) -> Forward:
    def project(parameters: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        for gates in sums:
            yield tuple(torch.cat([parameters[f"{kind}{gate}"] for gate in gates], -1) for kind in ("W_x", "b_"))

    is_gated = len(sums) > 1

    def states(tokens: Tensor | None, A: list[Tensor], H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple:
        H = loop(tokens, *A, H0, *recurrent(parameters))
        return H, H[-1]

    def steps(X: Tensor, H: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        kept = []
        for X_t in X:
            H = step(X_t, H, parameters)
            kept.append(H)
        return torch.stack(kept), H

    def forward(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        if _as_steps(X, H0, parameters):
            return steps(X, H0, parameters)
        # The input part of all steps is one product, outside the loop.
        return states(None, [X @ W + b for W, b in project(parameters)], H0, parameters)

    def of_tokens(tokens: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        if _as_steps(tokens, H0, parameters):
            return steps(functional.one_hot(tokens, len(parameters["W_xh"])).to(H0.dtype), H0, parameters)
        if is_gated and (few := loops.few_kernels(H0, len(parameters["W_xh"]))):
            H = few.of_tokens(tokens, H0, parameters)
            return H, H[-1]
        return states(tokens, [W + b for W, b in project(parameters)], H0, parameters)

    more = {"cross_entropy": _cross_entropy, "by_parts": _by_parts, "in_one_piece": as_cuda_graph}
    return RichForward(forward, of_tokens=of_tokens, whole_step=_whole_step if is_gated else None, **more)


def _as_steps(inputs: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> bool:
    """Whether steps as they are take T inputs faster than a loop by hand, by what the table above says."""
    if loops.on_gpu(H0):
        return False
    n, h = H0.shape
    if not inputs.is_floating_point():
        return len(inputs) == 1 or (n >= h and n * h >= 2 * MANY)
    wanted = torch.is_grad_enabled() and any(a.requires_grad for a in (inputs, H0, *parameters.values()))
    return len(inputs) == 1 or (n >= h and (n * h >= MANY or not wanted))


def _whole_step(
    parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, *, lr: float, clip_norm: float
) -> tuple[dict[str, Tensor], Tensor, Tensor] | None:
    """A training step in few kernels, where there are such: without autograd, with its own sums and update."""
    W_hq = parameters["W_hq"]
    few = loops.few_kernels(W_hq.new_empty(()).expand(len(inputs), len(W_hq)), W_hq.shape[1])
    return few.training_step(parameters, inputs, targets, lr=lr, clip_norm=clip_norm) if few else None


def _by_parts(
    one: Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]], inputs: Tensor, targets: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean over the batch of a function (inputs, targets) -> (value, gradients), a part of the rows in each
    thread. PyTorch's own threads share out every one of some 600 small operations and wait for each other after each:
    two of them are little faster than one. 21 -> 16 ms, the least of many runs.
    """
    parts = min(torch.get_num_threads(), len(inputs))
    if parts == 1 or loops.on_gpu(inputs):
        return one(inputs, targets)
    split = [tokens.tensor_split(parts) for tokens in (inputs, targets)]
    pairs = list(_pool(parts).map(one, *split))
    shares = [len(part) / len(inputs) for part in split[0]]
    value, *rest = (
        sum(share * array for share, array in zip(shares, arrays, strict=True))
        for arrays in zip(*((value, *gradients.values()) for value, gradients in pairs), strict=True)
    )
    return value, dict(zip(pairs[0][1], rest, strict=True))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    # The number is the calling thread's own.
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))


def _cross_entropy(H: Tensor, W_hq: Tensor, b_q: Tensor, labels: Tensor) -> Tensor:
    """The output layer of all steps, H (T, n, h), and the mean cross-entropy against labels (T, n)."""
    few = loops.few_kernels(H[0], len(b_q))
    return (few.CrossEntropy if few else _CrossEntropy).apply(H, W_hq, b_q, labels)


class _CrossEntropy(Function):
    """Logits are one row for each token of the vocabulary, so that what is done number by number runs along many; and
    what the gradient needs takes their place, where autograd keeps four arrays of that size. Of 16,384 tokens
    torch.softmax takes 1.8 ms over 28 rows and 1.0 over 28 columns; operation by operation along rows it is 0.8.
    """

    @staticmethod
    def forward(ctx, H, W_hq, b_q, labels):
        rows, labels = H.flatten(0, 1), labels.flatten()[None]
        P = torch.addmm(b_q[:, None], W_hq.T, rows.T)
        P -= P.amax(0)
        picked = P.gather(0, labels)
        sums = P.exp_().sum(0)
        P /= sums
        loss = picked.sub_(sums.log_()).mean().neg_()
        if P.is_cuda:
            # There a deterministic scatter_add_ sorts the labels, in nine kernels.
            P -= (labels == torch.arange(len(P), device=P.device)[:, None]).to(P.dtype)
        else:
            P.scatter_add_(0, labels, P.new_full((1, 1), -1).expand_as(labels))
        ctx.save_for_backward(H, W_hq, P)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, d):
        H, W_hq, dO = ctx.saved_tensors
        rows, d = H.flatten(0, 1), d / dO.shape[1]
        return (dO.T @ (W_hq.T * d)).view_as(H), (rows.T @ dO.T) * d, dO.sum(1) * d, None


BOTH = ("float32", "float64")
# The cell that each claims to equal: its constructor and the dtypes that it runs in.
TUNED = {"gru": (gru, BOTH), "gru_reset_after": (gru_reset_after, BOTH), "rnn": (rnn, BOTH)}
