"""Tensors that a file holds in parts, put together under the name that a layer knows: weight norm, old and new.

PyTorch's weight_norm keeps W as a direction v and a length g for each row, W = g v / |v| (Salimans and Kingma 2016,
arXiv:1602.07868), under W_v and W_g, or under parametrizations.W.original1 and original0.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import replace

import numpy as np

from isogru.weight_files.contents import Contents, Tensor
from shared_spec.readings.arithmetic import Array, length
from shared_spec.readings.floats import FLOATS, UNIT_ROUNDOFF

_OLD = re.compile(r"(?P<before>.*?)(?P<name>[^./]+)_v", re.DOTALL)
_NEW = re.compile(r"(?P<before>.*?)parametrizations\.(?P<name>[^.]+)\.original1", re.DOTALL)


def put_together(contents: Contents) -> Contents:
    """The contents with each pair of a direction and a length as the matrix that they stand for."""
    tensors = dict(contents.tensors)
    for name, v in contents.tensors.items():
        match = _NEW.fullmatch(name) or _OLD.fullmatch(name)
        if not match:
            continue
        whole = f"{match['before']}{match['name']}"
        other = f"{name[:-1]}{'0' if name.endswith('original1') else 'g'}"
        g = contents.tensors.get(other)
        if g is None or whole in tensors or v.dtype not in FLOATS or g.dtype not in FLOATS:
            continue
        if len(v.shape) < 2 or sum(n != 1 for n in g.shape) > 1 or len(g.shape) != len(v.shape):
            continue
        order = list(tensors.items())
        # PyTorch's own is in the dtype of v: a norm, a quotient and a product, each rounded, and here a product once
        # more. It adds up squares in float32 where v is narrower; half of their sum's error is the root's.
        length_of = math.prod(n for n, k in zip(v.shape, g.shape, strict=True) if k == 1)
        own = UNIT_ROUNDOFF[v.dtype]
        u = 4 * own + length_of / 2 * min(own, UNIT_ROUNDOFF["float32"])
        note = f"{other} * v / |v|, v = {name}"
        made = Tensor(v.shape, v.dtype, functools.partial(_product, v, g), note, unit_roundoff=u)
        tensors = {key: value for key, value in order if key not in (name, other)} | {whole: made}
    return replace(contents, tensors=tensors)


def _product(direction: Tensor, lengths: Tensor) -> Array:
    v, g = direction.load(), lengths.load()
    axes = tuple(axis for axis, n in enumerate(g.shape) if n == 1)
    wide = v.astype(np.float64)
    norm = np.expand_dims(length(wide, axes), axes)
    with np.errstate(divide="ignore", invalid="ignore"):
        product: Array = (g * (wide / norm)).astype(v.dtype)
    return product
