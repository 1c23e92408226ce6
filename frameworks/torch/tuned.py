"""The cells as fast as PyTorch runs them here: the same functions as in cells.py, their gradients by hand.

What each step brought is in milliseconds a training step of the chapter (n=1024, T=32, h=32, v=28, float32, gru), on
two cores shared with others: it is the ratios that count. In a run with scratch at 22.3, it was 14.6 before the gates
came about in place, 13.5 before the loops left Python (loops.py), and is 11.7. With one thread the products alone, 0.8
GFLOP, take 8 ms. On another machine, an AMD EPYC with vectors of 256 bits, it was 24.0 by then and is 20.8: by the
softmax of the output layer, 0.94, and by what loops.py does step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from frameworks import RichForward
from frameworks.torch import loops
from frameworks.torch.cells import Forward, gradients
from frameworks.torch.graph import as_cuda_graph
from frameworks.torch.threads import in_parts

# Nothing here is compiled for a shape: each of the two loops as steps through torch.compile took 25 ms where operations
# alone took 23, both in one thread, and its guards hold Python's lock: in two threads 28 ms, and 24 without. Each loop
# of 32 steps as one program in C++, without that lock (cpp_wrapper), compiled for minutes and took 0.96 of the time
# (0.81 to 0.98), on a busy machine.
COMPILED = False


def gru() -> Forward:
    return _forward("Gru", _gru_step, ("zr", "h"), (("W_hz", "W_hr"), ("W_hh",)))


def gru_reset_after() -> Forward:
    return _forward("ResetAfter", _reset_after_step, ("zr", "h"), (("W_hz", "W_hr"), ("W_hh",), ("b_hh",)))


def rnn() -> Forward:
    return _forward("Rnn", _rnn_step, ("h",), (("W_hh",),))


Names = tuple[tuple[str, ...], ...]
"""Of parameters, by arrays that have several of them side by side."""


def _packed(parameters: Mapping[str, Tensor], names: Names) -> list[Tensor]:
    """Parameters, those of one array side by side."""
    return [torch.cat([parameters[name] for name in those], -1) for those in names]


def _unpacked(arrays: Iterable[Tensor], names: Names) -> dict[str, Tensor]:
    return {
        name: part
        for array, those in zip(arrays, names, strict=True)
        for name, part in zip(those, array.chunk(len(those), -1), strict=True)
    }


# On a CPU a gradient, or a forward without one, takes X row by row in parts, a part in each thread, without autograd
# (`Loop.pulled_back`, `Loop.states`), where each thread has rows enough and products are small. Milliseconds in two
# threads, T=32, d=28, each way in processes of its own, two of each in turn; before it a gradient went through steps as
# they are, or through the loop with autograd, whichever was faster:
#
#     n, h                     64, 32    128, 32    256, 32     1024, 32      64, 128   128, 256   32, 256
#     gradient of gru         6.2->5.6   8.6->6.9   12->9.3   39..46->22     16->13     72->68    35->46
#     forward of gru          2.3->2.3   3.2->2.9  5.0->3.7     12->8.7     6.3->5.2    26->32    13->24
#     gradient of rnn         2.3->2.3   3.7->2.8   6.0->3.8     15->9.3    6.0->5.3    29->32    13->24
PART, UNITS = 32, 128
"""Rows of a thread, at least, and units, at most, for which that is so."""
# Else the loop by hand, or steps as they are, where what it packs and keeps for its gradient costs more than it saves.
# Milliseconds of CPU time in one thread, and the scratch cell's beside them:
#
#     35 single steps, n=1024, h=32                    31   -> 9.1    scratch 12.4
#     a prediction of 50 characters                    12.5 -> 5.1    scratch 6.1
#
# Of tokens, where nothing is multiplied by W_x, scratch takes 1.31 to 1.38 of the loop's time, and in float64 1.06 to
# 1.14. Without a gradient the loop over tokens takes 0.73 (gru, reset_after) and 0.57 (rnn) of the time of steps at
# n=1024, h=32, T=32, 0.75 to 0.98 where there are fewer sequences, 0.4 at h=8, 0.98 in float64; 1.03 to 1.19 at n=4096
# or h=128.
MANY = 2**15
"""Numbers of a state from which on X goes through steps; twice as many from which on tokens do."""


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


def _forward(name: str, step: Callable[..., Tensor], sums: tuple[str, ...], recurrent: Names) -> Forward:
    """Of a loop over time by its name, and the step that it is made of; of the gates of each of its sums, and of its
    recurrent parameters by arrays.
    """
    by_hand: loops.Loop = getattr(loops, name)
    W_x, biases = (tuple(tuple(f"{kind}{gate}" for gate in gates) for gates in sums) for kind in ("W_x", "b_"))
    is_gated = len(sums) > 1

    def packed(parameters: Mapping[str, Tensor]) -> list[list[Tensor]]:
        return [_packed(parameters, names) for names in (W_x, biases, recurrent)]

    def add(parameters: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(_packed(parameters, W_x), _packed(parameters, biases), strict=True)

    def states(tokens: Tensor | None, A: list[Tensor], H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple:
        loop = getattr(loops.gpu_kernels(H0), name, None) or by_hand
        H = loop.apply(tokens, *A, H0, *_packed(parameters, recurrent))
        return H, H[-1]

    def steps(X: Tensor, H: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        kept = []
        for X_t in X:
            H = step(X_t, H, parameters)
            kept.append(H)
        return torch.stack(kept), H

    def forward(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        if _in_parts(X, H0) and not _is_wanted(X, H0, *parameters.values()):
            H = by_hand.states(X, H0, *packed(parameters))
            return H, H[-1]
        if _as_steps(X, H0):
            return steps(X, H0, parameters)
        # The input part of all steps is one product, outside the loop.
        return states(None, [X @ W + b for W, b in add(parameters)], H0, parameters)

    otherwise = as_cuda_graph(gradients(forward, compiled=False))

    def pulled_back(X: Tensor, H0: Tensor, parameters: Mapping[str, Tensor], dH: Tensor) -> tuple:
        if not _in_parts(X, H0):
            return otherwise(X, H0, parameters, dH)
        with torch.no_grad():
            H, dX, dH0, of_parameters = by_hand.pulled_back(X, H0, dH, *packed(parameters))
        made = _unpacked(of_parameters, W_x + biases + recurrent)
        return H, H[-1], {"X": dX, "H0": dH0, **{name: made[name] for name in parameters}}

    def of_tokens(tokens: Tensor, H0: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        if _as_steps(tokens, H0):
            return steps(functional.one_hot(tokens, len(parameters["W_xh"])).to(H0.dtype), H0, parameters)
        if is_gated and (few := loops.few_kernels(H0, len(parameters["W_xh"]))):
            H = few.of_tokens(tokens, H0, parameters)
            return H, H[-1]
        return states(tokens, [W + b for W, b in add(parameters)], H0, parameters)

    more = {"cross_entropy": _cross_entropy, "by_parts": _by_parts, "in_one_piece": as_cuda_graph}
    more |= {"of_tokens": of_tokens, "pulled_back": pulled_back, "whole_step": _whole_step if is_gated else None}
    return RichForward(forward, **more)


def _is_wanted(*arrays: Tensor) -> bool:
    """Whether a gradient is."""
    return torch.is_grad_enabled() and any(array.requires_grad for array in arrays)


def _in_parts(X: Tensor, H0: Tensor) -> bool:
    """Whether a loop by hand takes inputs X fastest a part of the rows in each thread."""
    n, h = H0.shape
    return not loops.on_gpu(H0) and len(X) > 1 and n >= PART * torch.get_num_threads() and h <= UNITS


def _as_steps(inputs: Tensor, H0: Tensor) -> bool:
    """Whether steps as they are take T inputs faster than a loop by hand, by what the table above says."""
    n, h = H0.shape
    many = MANY if inputs.is_floating_point() else 2 * MANY
    return not loops.on_gpu(H0) and (len(inputs) == 1 or (n >= h and n * h >= many))


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
    """The mean over the batch of a function (inputs, targets) -> (value, gradients), see threads.py."""
    if loops.on_gpu(inputs):
        return one(inputs, targets)
    pairs = in_parts(one, len(inputs), (inputs, 0), (targets, 0))
    shares = [len(part) / len(inputs) for part in inputs.tensor_split(len(pairs))]
    value, *rest = (
        sum(share * array for share, array in zip(shares, arrays, strict=True))
        for arrays in zip(*((value, *gradients.values()) for value, gradients in pairs), strict=True)
    )
    return value, dict(zip(pairs[0][1], rest, strict=True))


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
