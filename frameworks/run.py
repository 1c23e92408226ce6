"""One implementation on one case: the result that goes into a file."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from frameworks import Framework, probe
from frameworks.protocol import Forward, Implementation
from shared_spec import cases
from shared_spec.interchange import AnyCase, Case, Origin, Result, TrainingCase
from shared_spec.training import Meter


def run(framework: Framework, implementation: Implementation, case: AnyCase, *, dtype: str, device: str) -> Result:
    """Runs a case, and measures the precision that is delivered."""
    forward = implementation.build()
    roundoff = probe.measure(framework, forward, case.cell, dtype=dtype, device=device)
    seconds: dict[str, float] = {}
    if isinstance(case, Case):
        arrays = _run_cell(framework, forward, case, dtype, device)
        if implementation.build_with_gates and cases.is_traced(case.name) and "dH" in case.arrays:
            arrays |= _trace(framework, implementation.build_with_gates(), case, dtype, device)
        corpus = ""
    else:
        arrays, seconds = _train(framework, implementation, forward, case, dtype, device)
        corpus = f"{case.problem.corpus_source} {case.problem.corpus_sha1}"
    origin = Origin(
        case=case.name,
        case_digest=case.digest,
        cell=case.cell.name,
        spec_digest=case.cell.digest,
        framework=framework.name,
        implementation=implementation.name,
        lane=implementation.lane,
        dtype=dtype,
        device=device,
        unit_roundoff=probe.unit_roundoff(roundoff, dtype),
        roundoff=roundoff,
        versions=dict(framework.runtime.versions()),
        switches=dict(framework.runtime.switches()),
        seconds=seconds,
        corpus=corpus,
    )
    return Result(origin, arrays)


def _run_cell(framework: Framework, forward: Forward, case: Case, dtype: str, device: str) -> dict[str, np.ndarray]:
    runtime = framework.runtime
    given = {name: runtime.tensor(array, dtype=dtype, device=device) for name, array in case.arrays.items()}
    parameters = {name: given[name] for name in case.cell.parameters}
    gradients: dict[str, Any] = {}
    if "dH" in given:
        H, final, gradients = framework.cells.gradients(forward, given["X"], given["H0"], parameters, given["dH"])
    else:
        H, final = forward(given["X"], given["H0"], parameters)
    found = {"H": H, "final": final, **{f"grad.{name}": g for name, g in gradients.items()}}
    return {name: runtime.to_numpy(array) for name, array in found.items()}


def _trace(framework: Framework, forward: Forward, case: Case, dtype: str, device: str) -> dict[str, np.ndarray]:
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
    found = _run_cell(framework, forward, Case(case.name, case.cell, {**given, **wide}), dtype, device)
    trace = dict(zip(targets, np.split(found["H"], len(targets), 2), strict=True))
    trace["grad.X"], trace["dH"] = found["grad.X"][..., :d], found["grad.X"][..., d:]
    trace["grad.H0"] = found["grad.H0"][:, :h]
    trace |= {f"grad.{name}": found[f"grad.{name}"] for name in case.cell.parameters}
    return {f"trace.{name}": array for name, array in trace.items()}


def _train(
    framework: Framework, implementation: Implementation, forward: Forward, case: TrainingCase, dtype: str, device: str
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    runtime, model, problem = framework.runtime, framework.language_model, case.problem
    recipe, compiled = problem.recipe, implementation.compiled
    step = model.training_step(forward, lr=recipe.lr, clip_norm=recipe.clip_norm, compiled=compiled)
    evaluate = model.validation_loss(forward, compiled=compiled)

    def tokens(array: np.ndarray) -> Any:
        return runtime.tensor(array, dtype="int32", device=device)

    # Weights stay on the device from here to the end; losses come back once an epoch.
    parameters = {name: runtime.tensor(p, dtype=dtype, device=device) for name, p in problem.parameters.items()}
    inputs, targets = next(problem.training_batches(0))
    _, gradients = model.loss_and_gradients(forward, parameters, tokens(inputs), tokens(targets))
    found = {f"grad.{name}": runtime.to_numpy(g) for name, g in gradients.items()}

    losses: list[np.ndarray] = []
    norms: list[np.ndarray] = []
    perplexity: dict[str, list[float]] = {"train": [], "val": []}
    times: list[float] = []
    for epoch in range(recipe.epochs):
        began = time.perf_counter()
        of_epoch, sizes = [], []
        for inputs, targets in problem.training_batches(epoch):
            parameters, value, norm = step(parameters, tokens(inputs), tokens(targets))
            of_epoch.append((value, norm))
            sizes.append(targets.size)
            if not losses and len(of_epoch) == 1:
                found |= {f"step1.{name}": runtime.to_numpy(p) for name, p in parameters.items()}
        runtime.synchronize()
        times.append(time.perf_counter() - began)
        losses += [runtime.to_numpy(value).reshape(()) for value, _ in of_epoch]
        norms += [runtime.to_numpy(norm).reshape(()) for _, norm in of_epoch]
        perplexity["train"].append(_perplexity(losses[-len(sizes) :], sizes))
        rows = list(problem.validation_batches())
        values = [evaluate(parameters, tokens(inputs), tokens(targets)) for inputs, targets in rows]
        perplexity["val"].append(_perplexity([runtime.to_numpy(v) for v in values], [t.size for _, t in rows]))

    found |= {f"end.{name}": runtime.to_numpy(p) for name, p in parameters.items()}
    found |= {"loss": np.array(losses), "norm": np.array(norms)}
    found |= {f"perplexity.{part}": np.array(values) for part, values in perplexity.items()}
    text = model.predict(forward, parameters, tokens(problem.prefix()), recipe.num_predictions)
    found["text"] = runtime.to_numpy(text).astype(np.int32)
    # The first epoch compiles and warms up; the median of the others is what an epoch takes.
    return found, {"first epoch": times[0], "epoch": float(np.median(times[1:] or times))}


def _perplexity(losses: list[np.ndarray], sizes: list[int]) -> float:
    meter = Meter()
    for value, size in zip(losses, sizes, strict=True):
        meter.add(float(value), size)
    return meter.perplexity
