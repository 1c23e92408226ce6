"""Arithmetic as machines have it: in what order sums go, how functions are computed, what becomes of small numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ORDERS = ("blas", "first to last", "last to first", "pairwise", "blocks", "shuffled", "wide", "fused")
"""Of sums. "wide" are exact products in a wider accumulator, rounded once; "fused" are multiply-adds."""
SIGMOIDS = ("exp", "tanh", "split", "exact")
TANHS = ("library", "expm1", "exact")
WIDER = {"float32": np.float64, "float64": np.longdouble}
TERM_BY_TERM = 2**14
"""Of a product with more terms than that only BLAS knows an order that ends today."""


@dataclass(frozen=True)
class Machine:
    """One way to compute."""

    dtype: str
    order: str = "blas"
    sigmoid: str = "exp"
    tanh: str = "library"
    flushes: bool = False

    def kept(self, a):
        """As it is kept: what is below the smallest normal number may be made zero."""
        a = np.asarray(a, self.dtype)
        return np.where(np.abs(a) < np.finfo(self.dtype).tiny, np.zeros_like(a), a) if self.flushes else a

    def product(self, a, b):
        """The matrix product (n, k) (k, h)."""
        wide, (n, k), h = WIDER[self.dtype], a.shape, b.shape[1]
        if self.order == "wide":
            return self.kept((a.astype(wide) @ b.astype(wide)).astype(self.dtype))
        if n * k * h > TERM_BY_TERM or self.order == "blas":
            return self.kept(a @ b)
        if self.order == "fused":
            total = np.zeros((n, h), self.dtype)
            for i in range(k):
                total = self.kept((a[:, i : i + 1].astype(wide) * b[i].astype(wide) + total).astype(self.dtype))
            return total
        if self.order == "blocks":
            parts = [self.kept(a[:, i : i + 3] @ b[i : i + 3]) for i in range(0, k, 3)]
            return self.total(np.stack(parts, 1))
        return self.total(self.kept(a[:, :, None] * b[None]))

    def total(self, terms):
        """The sum over the second axis."""
        k = terms.shape[1]
        if self.order in ("blas", "wide", "fused"):
            return self.kept(terms.sum(axis=1))
        if self.order == "pairwise":
            while terms.shape[1] > 1:
                even = terms.shape[1] // 2 * 2
                halves = self.kept(terms[:, 0:even:2] + terms[:, 1:even:2])
                terms = np.concatenate([halves, terms[:, even:]], 1)
            return terms[:, 0]
        if self.order == "last to first":
            terms = terms[:, ::-1]
        if self.order == "shuffled":
            terms = terms[:, np.random.RandomState(k).permutation(k)]
        return self.kept(np.cumsum(terms, axis=1, dtype=self.dtype)[:, -1])

    def of_sigmoid(self, a):
        """The sigmoid, in one of its forms."""
        f, one = self.kept, a.dtype.type(1)
        if self.sigmoid == "exact":
            wide = a.astype(WIDER[self.dtype])
            return f((1 / (1 + np.exp(-wide))).astype(self.dtype))
        if self.sigmoid == "tanh":
            half = a.dtype.type(0.5)
            return f(half + f(half * self.of_tanh(f(half * a))))
        if self.sigmoid == "split":
            e = f(np.exp(-np.abs(a)))
            return f(np.where(a >= 0, one, e) / f(one + e))
        return f(one / f(one + f(np.exp(-a))))

    def of_tanh(self, a):
        """tanh, in one of its forms: all of them accurate near zero."""
        if self.tanh == "exact":
            return self.kept(np.tanh(a.astype(WIDER[self.dtype])).astype(self.dtype))
        if self.tanh == "expm1":
            e = np.expm1(-2 * np.abs(a))
            return self.kept(np.copysign(-e / (e + 2), a))
        return self.kept(np.tanh(a))


def drawn(random, dtype):
    """A machine at random."""
    return Machine(
        dtype,
        ORDERS[random.randint(len(ORDERS))],
        SIGMOIDS[random.randint(len(SIGMOIDS))],
        TANHS[random.randint(len(TANHS))],
        bool(random.randint(2)),
    )
