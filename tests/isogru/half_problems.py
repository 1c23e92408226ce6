"""Random problems, and results of them in float16 and bfloat16 by loops of our own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isogru import judge
from shared_spec.cells import cell
from shared_spec.files.interchange import Case, Origin, Result
from tests.isogru.halves import Half

DTYPES = ("float16", "bfloat16")
U = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
CELLS = ("gru", "gru_reset_after")


def problem(name, *, T=12, n=3, d=5, h=4, seed=0, scale=1.0, of_x=1.0):
    """Weights uniform within scale / sqrt(h), as PyTorch draws them."""
    random, the_cell = np.random.RandomState(seed), cell(name)
    sizes = {"T": T, "n": n, "d": d, "h": h}
    arrays = {
        key: random.uniform(-scale, scale, [sizes[s] for s in symbols]) / np.sqrt(h)
        for key, symbols in the_cell.parameters.items()
    }
    arrays |= {"X": of_x * random.standard_normal((T, n, d)), "H0": random.uniform(-1, 1, (n, h))}
    return Case("mine", the_cell, {key: a.astype(np.float32).astype(np.float64) for key, a in arrays.items()})


def with_cotangents(case):
    dH = np.random.RandomState(9).standard_normal((len(case.arrays["X"]), *case.arrays["H0"].shape))
    return replace(case, arrays={**case.arrays, "dH": dH.astype(np.float32).astype(np.float64)})


def result_of(case, H, dtype, **changes):
    u = {**U, "float32": 2.0**-24}[dtype]
    known = Origin(case.name, case.digest, case.cell.name, case.cell.digest, "mine", "loop", "own", dtype, "cpu", u)
    H = H.astype(np.float32)
    return Result(replace(known, **changes), {"H": H, "final": H[-1].copy()})


def judged(case, H, dtype, **changes):
    return judge.on(case, result_of(case, H, dtype, **changes))


def loop(case, dtype, *, narrow_sums=False, arrays=None, **options):
    after = case.cell.name == "gru_reset_after"
    options = {"after": after, **options}
    return Half(dtype, narrow_sums=narrow_sums).states(case.arrays if arrays is None else arrays, **options)


def said(verdict):
    return f"{verdict.verdict}: {verdict.worst_finding.sentence(verdict.origin)}"
