"""The tuned cells' loops over time in PyTorch, each one function with a gradient by hand."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from frameworks.torch import steps
from frameworks.torch.pieces import room
from frameworks.torch.threads import in_parts


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


@dataclass(frozen=True)
class Loop:
    """A cell's loop over time: its steps forward and back, as steps.py has them."""

    steps: Callable[..., None]
    back: Callable[..., None]
    products: Callable[..., tuple[Tensor, ...]]
    """(the states before each step, what is kept, the gradients of what the input adds) -> those of recurrent weights,
    by one product over all T each.
    """
    sums: tuple[int, ...]
    """Of what the input adds, and so of A and b: how many times h numbers of a row."""
    kept: tuple[int, ...]
    """The same of what is kept of a step for the gradient, beside the state."""

    def apply(self, tokens: Tensor | None, *arrays: Tensor) -> Tensor:
        """The states H (T, n, h): of what the input adds to each of the sums, (T, n, ..), or for tokens (T, n) the
        table (v, ..) whose rows those are; of H0 (n, h) and of recurrent weights.
        """
        return _Applied.apply(self, tokens, *arrays)

    def rows(self, T: int, h: int, *, wanted: bool) -> list[tuple[int, int]]:
        """Shapes of what is kept where a gradient is wanted; else one step has room in it."""
        return [(T if wanted else 1, times * h) for times in self.kept]

    def states(self, X: Tensor, H0: Tensor, A: list[Tensor], b: list[Tensor], weights: list[Tensor]) -> Tensor:
        """The states H (T, n, h) of X (T, n, d), with input weights A (d, ..) and biases b, without a gradient: a part
        of the rows in each thread.
        """
        T, h = len(X), H0.shape[1]
        (H,) = room(H0, (T + 1, h))

        def part(X: Tensor, H0: Tensor, H: Tensor) -> None:
            H[0] = H0
            self.steps(X, _own(A), _own(b), H, room(H0, *self.rows(T, h, wanted=False)), _own(weights))

        in_parts(part, len(H0), (X, 1), (H0, 0), (H, 1))
        return H[1:]

    def pulled_back(
        self, X: Tensor, H0: Tensor, dH: Tensor, A: list[Tensor], b: list[Tensor], weights: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """The same, and the gradients for dH (T, n, h): of X, H0, and of all A, b and weights."""
        (T, n, d), h = X.shape, H0.shape[1]
        H, dX = room(H0, (T + 1, h), (T, d))
        dH0 = torch.empty_like(H0)

        def part(X: Tensor, H0: Tensor, dH: Tensor, H: Tensor, dX: Tensor, dH0: Tensor) -> list[Tensor]:
            H[0] = H0
            kept = room(H0, *self.rows(T, h, wanted=True))
            given = _own(A), _own(b), _own(weights)
            self.steps(X, *given[:2], H, kept, given[2])
            dA, db, dweights = ([torch.zeros_like(each) for each in arrays] for arrays in given)
            self.back(X, given[0], dH, H, kept, given[2], dA, db, dX, dweights, dH0)
            return [*dA, *db, *dweights]

        shares = in_parts(part, n, (X, 1), (H0, 0), (dH, 1), (H, 1), (dX, 1), (dH0, 0))
        return H[1:], dX, dH0, [sum(arrays) for arrays in zip(*shares, strict=True)]


class _Applied(Function):
    @staticmethod
    def forward(ctx, loop: Loop, tokens: Tensor | None, *arrays: Tensor) -> Tensor:
        A, H0, weights = _apart(loop, arrays)
        T, h = len(A[0] if tokens is None else tokens), H0.shape[1]
        H, *kept = room(H0, (T + 1, h), *loop.rows(T, h, wanted=any(ctx.needs_input_grad)))
        H[0] = H0
        ctx.loop = loop
        ctx.save_for_backward(tokens, H, *kept, *arrays)
        x = tokens
        if tokens is not None and not _on_the_way(tokens):
            x, A = None, [table[tokens] for table in A]
        loop.steps(x, A, [], H, kept, weights)
        return H[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, dH: Tensor) -> tuple[Tensor | None, ...]:
        loop, (tokens, H, *rest) = ctx.loop, ctx.saved_tensors
        kept, (A, H0, weights) = rest[: len(loop.kept)], _apart(loop, rest[len(loop.kept) :])
        dH0 = torch.empty_like(H0)
        if _on_the_way(tokens):
            dA, dweights = ([torch.zeros_like(each) for each in arrays] for arrays in (A, weights))
            loop.back(tokens, A, dH, H, kept, weights, dA, [], None, dweights, dH0)
        else:
            of_steps = room(H0, *((len(dH), times * H0.shape[1]) for times in loop.sums))
            loop.back(None, A, dH, H, kept, weights, of_steps, [], None, [], dH0)
            dA = [_of_inputs(tokens, *each) for each in zip(A, of_steps, strict=True)]
            dweights = loop.products(H[:-1], kept, of_steps)
        return None, None, *dA, dH0, *dweights


def _apart(loop: Loop, arrays: Sequence[Tensor]) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """What the input adds, H0 and recurrent weights."""
    count = len(loop.sums)
    return list(arrays[:count]), arrays[count], list(arrays[count + 1 :])


def _own(arrays: list[Tensor]) -> list[Tensor]:
    """Of a thread: those that count references to the same tensors wait for each other. A gradient of 64 rows takes 6.0
    ms and not 9.5, of 1024 rows 22 and not 24.
    """
    return [array.clone() for array in arrays]


def _on_the_way(tokens: Tensor | None) -> bool:
    """Whether rows of tables are taken, and gradients of tables and weights added up, step by step. On a GPU one kernel
    gives what a table gives for all steps.
    """
    return tokens is not None and not tokens.is_cuda


def _of_inputs(tokens: Tensor | None, A: Tensor, dA: Tensor) -> Tensor:
    """The gradient of A, a table where there are tokens: embedding's own takes 2.0 ms, a product with one-hot rows 2.5
    ms, this 0.4 ms.
    """
    return dA if tokens is None else torch.zeros_like(A).index_add_(0, tokens.flatten(), dA.flatten(0, 1))


def _sum_of_products(a: Tensor, b: Tensor) -> Tensor:
    return a.flatten(0, 1).T @ b.flatten(0, 1)


def _of_gru(H: Tensor, kept: Sequence[Tensor], d: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return _sum_of_products(H, d[0]), _sum_of_products(kept[2], d[1])


def _of_reset_after(H: Tensor, kept: Sequence[Tensor], d: Sequence[Tensor]) -> tuple[Tensor, ...]:
    _, R = kept[0].chunk(2, -1)
    dinner = d[1] * R
    return _sum_of_products(H, d[0]), _sum_of_products(H, dinner), dinner.sum((0, 1))


def _of_rnn(H: Tensor, kept: Sequence[Tensor], d: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (_sum_of_products(H, d[0]),)


Gru = Loop(steps.gru, steps.gru_back, _of_gru, sums=(2, 1), kept=(2, 1, 1))
ResetAfter = Loop(steps.reset_after, steps.reset_after_back, _of_reset_after, sums=(2, 1), kept=(2, 1, 1))
Rnn = Loop(steps.rnn, steps.rnn_back, _of_rnn, sums=(1,), kept=())
