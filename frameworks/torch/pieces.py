"""Several arrays that are one piece of memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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


def copies(arrays: Sequence[Tensor]) -> list[Tensor]:
    """Of arrays, in one piece of memory."""
    return pieces(torch.cat([array.flatten() for array in arrays]), arrays)


def room(H0: Tensor, *shapes: tuple[int, int]) -> list[Tensor]:
    """Arrays (T, n, k) for pairs (T, k), in one piece of memory. Large pieces come from the system page by page and go
    back as soon as they are free, unless about as large a one was there before: a thousand page faults a step, up to
    2 ms of the system's time, are now a few hundred at most.
    """
    sizes = [T * len(H0) * k for T, k in shapes]
    parts = H0.new_empty(sum(sizes)).split(sizes)
    return [part.view(T, len(H0), k) for part, (T, k) in zip(parts, shapes, strict=True)]
