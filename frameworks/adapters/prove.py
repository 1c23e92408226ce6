"""A layer on converted weights, held against the cell that its layout names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isogru import judge
from isogru.judge import precision
from shared_spec.files import store
from shared_spec.files.interchange import Case, Origin, Result, write_result
from shared_spec.weights import proof
from shared_spec.weights.layouts import Layout
from shared_spec.weights.packing import pack

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """What came of one layout, case and dtype."""

    layout: str
    case: str
    dtype: str
    verdict: str
    ratio: float
    sentence: str


def prove(package: str, module: Any, layout: Layout, name: str, dtype: str, roundoff: Mapping[str, float]) -> Row:
    """Run one case, keep the result or the failure, and judge."""
    try:
        case = proof.case_of(layout, name)
        result = run(package, module, layout, case, proof.weights(layout, case, dtype=dtype), dtype, roundoff)
        write_result(proof.result_file(layout.name, name, dtype), result)
        proof.failure_file(layout.name, name, dtype).unlink(missing_ok=True)
        verdict = judge.on(case, result)
    except Exception as error:  # A failure is a record, and the next case goes on.
        words = store.words_of(error)
        proof.save_failure(layout.name, name, dtype, words)
        return Row(layout.name, name, dtype, "failed", np.inf, words)
    worst = verdict.worst_finding
    return Row(layout.name, name, dtype, verdict.verdict, worst.ratio, worst.sentence(verdict.origin))


def run(
    package: str, module: Any, layout: Layout, case: Case, tensors: Arrays, dtype: str, roundoff: Mapping[str, float]
) -> Result:
    """The result of one layer with these tensors on the case's X and H0."""
    X, H0 = case.arrays["X"].astype(dtype), case.arrays["H0"].astype(dtype)
    H = np.asarray(module.run(layout.name, tensors, X, H0))
    if H.dtype != dtype:
        raise TypeError(f"{layout.layer} gave {H.dtype} for {dtype}")
    origin = Origin(
        case=case.name,
        case_digest=case.digest,
        cell=case.cell.name,
        spec_digest=case.cell.digest,
        framework=package,
        implementation=layout.name,
        lane="native",
        dtype=dtype,
        device="cpu",
        unit_roundoff=precision.unit_roundoff(roundoff, dtype),
        roundoff=roundoff,
        versions=module.versions(),
    )
    return Result(origin, {"H": H, "final": H[-1]})


def measure(module: Any, layout: Layout, case: Case, dtype: str) -> dict[str, float]:
    """The unit roundoff that the layer delivers, by operation: on packed weights."""

    def states(X: np.ndarray, H0: np.ndarray, parameters: Arrays) -> np.ndarray:
        held = {name: array for name, array in parameters.items() if name in layout.holds}
        return np.asarray(module.run(layout.name, pack(layout, held), X, H0))

    roundoff = precision.measure(states, case.cell, dtype=dtype, without=tuple(layout.without))
    # A step of the whole cell needs all of its parameters.
    return {name: u for name, u in roundoff.items() if name != "cell" or not layout.without}
