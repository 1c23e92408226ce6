"""What mutants are made of in PyTorch."""

from __future__ import annotations

import torch

CASTS = {8: torch.bfloat16, 11: torch.float16, 24: torch.float32}
FUNCTIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}


def constant(x):
    # Detached alone, a step of which nothing else is left would have no graph at all, and autograd refuses that.
    return x.detach() + 0 * x


def concatenate(arrays, axis):
    return torch.cat(arrays, axis)


def turned(x):
    return torch.flip(x, (0,))


def exchanged(x):
    return x.transpose(0, 1)


def reshaped(x, shape):
    return x.reshape(shape)


def zeros(like, shape):
    return like.new_zeros(shape)


def clipped(x, low, high):
    return torch.clamp(x, low, high)


def function(name):
    return FUNCTIONS.get(name)


def narrowed(x, bits):
    return x.to(CASTS[bits]).to(x.dtype) if bits in CASTS else None


def forget():
    pass
