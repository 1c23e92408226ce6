"""Everything is NumPy's, on the CPU."""

from __future__ import annotations

import numpy as np

from shared_spec.errors import UserError


def setup(*, device="cpu", threads=None, tf32=False):
    if device not in devices():
        raise UserError(f"numpys has no device {device!r} here; it has cpu")


def devices():
    return ["cpu"]


def tensor(values, *, dtype, device="cpu"):
    return np.array(values, dtype)


def to_numpy(values):
    return values


def copy(values):
    return np.array(values)


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
