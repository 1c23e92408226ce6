"""The operations that limit a cell, each alone and as fast as PyTorch does it, each waiting for the one before."""

from __future__ import annotations

import torch
from torch import Tensor

from frameworks.torch.loops import gpu_kernels


def products(H: Tensor, W: Tensor, *, count: int) -> Tensor:
    """H (n, h) <- the first h columns of H W, W (h, k), so many times."""
    if kernels := gpu_kernels(H):
        return kernels.products(H, W, count)
    h, pair = H.shape[1], [H.new_empty(len(H), W.shape[1]) for _ in range(2)]
    for i in range(count):
        H = torch.mm(H, W, out=pair[i % 2])[:, :h]
    return H


def functions(x: Tensor, *, count: int) -> Tensor:
    """x <- tanh(x), so many times."""
    x = x.clone()
    for _ in range(count):
        x.tanh_()
    return x


def sums(a: Tensor, b: Tensor, *, count: int) -> Tensor:
    """a <- a + b, so many times: two arrays read, one written."""
    a = a.clone()
    for _ in range(count):
        a += b
    return a
