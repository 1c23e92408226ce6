"""Results made without a framework: a cell step by step in NumPy, in either precision, with a fault where one is
wanted; and what else a folder of results holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from shared_spec import cases
from shared_spec.files import store
from shared_spec.files.interchange import Case, Origin, Result
from shared_spec.files.store import Job, Manifest
from shared_spec.readings import gradient
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF
from shared_spec.readings.value import evaluate

Fault = Callable[[int, str, np.ndarray], np.ndarray]
"""(t, quantity, value (n, h)) -> the value that is used in its place."""


def run(case: Case, dtype: str = "float32", fault: Fault | None = None) -> dict[str, np.ndarray]:
    """Everything a result of a cell holds, its trace included."""
    cell = case.cell
    given = {name: array.astype(dtype) for name, array in case.arrays.items()}
    parameters = {name: given[name] for name in cell.parameters}
    kept: dict[str, list[np.ndarray]] = {equation.target: [] for equation in cell.equations}
    H = given["H0"]
    befores, pulls = [], []
    for t, X in enumerate(given["X"]):
        values = {"X": X, "H": H, **parameters}
        for equation in cell.equations:
            value = evaluate(equation.expression, values, np.dtype(dtype))
            values[equation.target] = value if fault is None else fault(t, equation.target, value)
            kept[equation.target].append(values[equation.target])
        befores.append(H)
        pulls.append(gradient.step(cell, X, H, parameters, ("X", "H", *parameters))[1])
        H = values["H"]
    states = np.stack(kept["H"])
    arrays = {"H": states, "final": states[-1].copy()}
    trace = {f"trace.{name}": np.stack(values) for name, values in kept.items()}
    gradients = {f"grad.{name}": np.zeros_like(parameters[name]) for name in parameters}
    dX, dH = np.zeros_like(given["X"]), np.zeros_like(given["dH"])
    carried = np.zeros_like(given["H0"])
    for t in reversed(range(len(states))):
        dH[t] = carried + given["dH"][t]
        pulled = pulls[t](dH[t])
        carried, dX[t] = pulled["H"], pulled["X"]
        for name in parameters:
            gradients[f"grad.{name}"] += pulled[name]
    gradients |= {"grad.X": dX, "grad.H0": carried}
    trace |= {"trace.dH": dH, **{f"trace.{name}": array.copy() for name, array in gradients.items()}}
    return arrays | gradients | trace


def job(framework: str, case: str, dtype: str = "float32", implementation: str = "scratch") -> Job:
    return Job(framework, case, implementation, dtype, "cpu")


def origin(of: Job, case, **changes) -> Origin:
    u = UNIT_ROUNDOFF[of.dtype]
    known = {
        "case": case.name,
        "case_digest": case.digest,
        "cell": case.cell.name,
        "spec_digest": case.cell.digest,
        "framework": of.framework,
        "implementation": of.implementation,
        "lane": of.implementation,
        "dtype": of.dtype,
        "device": of.device,
        "unit_roundoff": u,
        "roundoff": dict.fromkeys(("product", "sum", "tanh", "sigmoid", "cell"), u),
    }
    return Origin(**{**known, **changes})


def save(of: Job, arrays: Mapping[str, np.ndarray] | None = None, *, case=None, **changes) -> None:
    """Keep a result where a framework would; by default what NumPy makes of the case. A native lane keeps no gates."""
    case = case or cases.build(of.case)
    arrays = run(case, of.dtype) if arrays is None else dict(arrays)
    if of.implementation == "native":
        arrays = {name: array for name, array in arrays.items() if not name.startswith("trace.")}
    store.save_result(of, Result(origin(of, case, **changes), arrays))


def listing(cell: str, **changes) -> dict:
    """One implementation as a manifest lists it."""
    known = {"name": "scratch", "cell": cell, "lane": "scratch", "dtypes": ["float32", "float64"]}
    return known | {"available": True, "reason": ""} | changes


def manifest(framework: str, jobs: Sequence[Job], **changes) -> None:
    """What the framework set out to do."""
    ways = dict.fromkeys((job.implementation, cases.cell_name_of(job.case)) for job in jobs)
    listings = [listing(cell, name=name, lane=name) for name, cell in ways]
    known = {"jobs": list(jobs), "implementations": listings, "versions": {"lib": "1.0"}, "switches": {"threads": "1"}}
    known |= {"machine": {"processor": "one"}, "corpus": "built-in"}
    store.save_manifest(Manifest(framework, **{**known, **changes}))
