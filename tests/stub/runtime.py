"""Everything is NumPy's, on the CPU."""

from __future__ import annotations

import numpy as np


def setup(*, device="cpu", threads=None, tf32=False):
    pass


def devices():
    return ["cpu"]


def tensor(values, *, dtype, device="cpu"):
    return np.array(values, dtype)


def to_numpy(values):
    return values


def wait(values):
    pass


def peak_memory(device):
    return None


def versions():
    return {"numpy": np.__version__}


def switches():
    return {"threads": "1"}


def missing(compiler):
    return ""
