"""One implementation on one case: the result that goes into a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from frameworks import Framework, rich
from frameworks.folder import Forward
from frameworks.harness.subject import Arrays, Subject
from frameworks.harness.training import Training
from frameworks.protocol import Implementation
from shared_spec import cases
from shared_spec.errors import UserError
from shared_spec.files.interchange import AnyCase, Case, Result, TrainingCase


def run(framework: Framework, implementation: Implementation, case: AnyCase, *, dtype: str, device: str) -> Result:
    """Runs a case, and measures the precision that is delivered. Raises UserError for a case of a cell where the
    implementation only trains.
    """
    if implementation.only_trains and isinstance(case, Case):
        raise UserError(
            f"{framework.name}/{implementation.name} only trains: it runs trainings, such as "
            f"{cases.SHORT_TRAINING}-{implementation.cell}, and {case.name} is none"
        )
    subject = Subject(framework, implementation, dtype=dtype, device=device)
    if isinstance(case, TrainingCase):
        arrays, seconds = _train(subject, case)
        return Result(subject.origin(case, seconds), arrays)
    arrays = run_cell(subject, case)
    if implementation.build_with_gates and cases.is_traced(case.name) and "dH" in case.arrays:
        arrays |= _trace(subject, implementation.build_with_gates(), case)
    return Result(subject.origin(case, note=_note(subject, case)), arrays)


def run_cell(subject: Subject, case: Case) -> Arrays:
    """A cell over a sequence."""
    return _run_cell(subject, subject.forward, subject.gradients, case)


def _note(subject: Subject, case: Case) -> str:
    """How it came by the states, where it says so; asked once more, since a forward gives states alone."""
    if (note := rich(subject.forward).note) is None:
        return ""
    given = subject.tensors(case.arrays)
    return note(given["X"], given["H0"], {name: given[name] for name in case.cell.parameters})


def _run_cell(subject: Subject, forward: Forward, gradients: Callable[..., Any], case: Case) -> Arrays:
    given = subject.tensors(case.arrays)
    parameters = {name: given[name] for name in case.cell.parameters}
    derivatives: dict[str, Any] = {}
    if "dH" in given:
        H, final, derivatives = gradients(given["X"], given["H0"], parameters, given["dH"])
    else:
        H, final = forward(given["X"], given["H0"], parameters)
    return subject.numpy({"H": H, "final": final, **{f"grad.{name}": g for name, g in derivatives.items()}})


def _trace(subject: Subject, forward: Forward, case: Case) -> Arrays:
    """A run with the gates kept: states and inputs are wider, the rest is the lane's own; see with_gates."""
    targets = ["H", *sorted(equation.target for equation in case.cell.equations if equation.target != "H")]
    given = case.arrays
    d, (T, n, h) = given["X"].shape[2], given["dH"].shape
    nothing = np.zeros((T, n, h * (len(targets) - 1)))
    wide = {
        "X": np.concatenate([given["X"], np.zeros((T, n, h))], 2),
        "H0": np.concatenate([given["H0"], nothing[0]], 1),
        "dH": np.concatenate([given["dH"], nothing], 2),
    }
    gradients = subject.framework.cells.gradients(forward, compiled=subject.implementation.compiled)
    arrays = _run_cell(subject, forward, gradients, Case(case.name, case.cell, {**given, **wide}))
    trace = dict(zip(targets, np.split(arrays["H"], len(targets), 2), strict=True))
    trace["grad.X"], trace["dH"] = arrays["grad.X"][..., :d], arrays["grad.X"][..., d:]
    trace["grad.H0"] = arrays["grad.H0"][:, :h]
    trace |= {f"grad.{name}": arrays[f"grad.{name}"] for name in case.cell.parameters}
    return {f"trace.{name}": array for name, array in trace.items()}


def _train(subject: Subject, case: TrainingCase) -> tuple[Arrays, dict[str, float]]:
    training = Training(subject, case)
    training.first_gradients()
    times: list[float] = []
    for epoch in range(case.problem.recipe.epochs):
        began = time.perf_counter()
        training.epoch(epoch)
        times.append(time.perf_counter() - began)
        training.validate()
    # The first epoch compiles and warms up; the median of the others is what an epoch takes.
    return training.result(), {"first epoch": times[0], "epoch": float(np.median(times[1:] or times))}
