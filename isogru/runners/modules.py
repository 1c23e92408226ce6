"""Modules of frameworks as they are: their weights are read through the layouts, and what they compute is judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from isogru.judge.comparison import EQUAL
from isogru.runners import verdict
from isogru.runners.arrays import check_states, is_instance
from isogru.runners.callable import differs, is_request, quietly, said
from isogru.runners.hints import is_like, no_products
from isogru.runners.reading import Asked, same_arrays
from isogru.runners.subject import KINDS, Problem, Subject, problems
from isogru.runners.verdict import CaseVerdict, Verdict
from isogru.weight_files.contents import Contents
from shared_spec.cells import Cell, cell
from shared_spec.errors import UserError
from shared_spec.files.interchange import DTYPES, Case, Origin, Result
from shared_spec.files.origins import coarser
from shared_spec.readings.arithmetic import UNIT_ROUNDOFF, Array
from shared_spec.readings.floats import HALVES
from shared_spec.weights.layouts import reset_of
from shared_spec.weights.packing import unpack

Runner = Any
"""A module of this folder for one framework: `contents(module, asked)` and `subjects(module, asked)`."""


def runner(value: Any) -> Runner | None:
    """What runs a module, loaded when one is met; None for what is no module of a framework that is loaded."""
    # Keras on PyTorch makes layers that are modules of PyTorch too.
    if is_instance(value, "keras", "Layer"):
        from isogru.runners import keras_modules as runner
    elif is_instance(value, "torch.nn", "Module") or is_instance(value, "torch.export", "ExportedProgram"):
        from isogru.runners import torch_modules as runner  # type: ignore[no-redef]
    elif is_instance(value, "flax.linen", "Module"):
        from isogru.runners import linen_modules as runner  # type: ignore[no-redef]
    elif is_instance(value, "flax.nnx", "Module"):
        from isogru.runners import nnx_modules as runner  # type: ignore[no-redef]
    elif is_instance(value, "equinox", "Module"):
        from isogru.runners import equinox_modules as runner  # type: ignore[no-redef]
    elif is_instance(value, "mxnet.gluon", "Block"):
        from isogru.runners import mxnet_modules as runner  # type: ignore[no-redef]
    else:
        return None
    return runner


def contents(module: Any, asked: Asked) -> Contents:
    """A module's weights, as a file of them is read. Raises UserError for what is no module."""
    framework_runner = runner(module)
    if framework_runner is None:
        raise UserError(f"{type(module).__qualname__} is neither a file nor a module of a framework that is loaded")
    made: Contents = framework_runner.contents(module, asked)
    return made


def check(
    module: Any, asked: Asked, *, claim: str, products: str, gradients: bool, cases: Iterable[str] | None, seed: int
) -> Verdict:
    """The verdict on a module: the worst of its cases, of every layer and direction that it has."""
    names = _names(cases)
    claimed = cell(claim) if claim else None
    made = runner(module)
    assert made is not None
    subjects: list[Subject] = made.subjects(module, asked)
    if products:
        subjects = [replace(subject, products=products, around="") for subject in subjects]
    one = subjects[0]
    of = claimed or cell(one.layer.layout.cell)
    own = one.layer.dtypes[0] if asked.dtype == one.dtype else one.dtype
    # Weights of a half may be widened to any dtype, and states rounded to a half; others are what they are.
    if asked.dtype not in ("", own, *HALVES) and (asked.dtype != one.dtype or own not in HALVES):
        raise UserError(f"{one.title} computes in {own}, and {asked.dtype} is asked for; convert the module")
    if asked.dtype in HALVES and asked.dtype != one.dtype:
        raise UserError(f"{one.title} computes in {one.dtype}, and {asked.dtype} is asked for; convert the module")
    if one.dtype not in (*DTYPES, *HALVES):
        raise UserError(f"{one.title} computes in {one.dtype}; modules are judged in {', '.join((*DTYPES, *HALVES))}")
    if products and products not in coarser(one.dtype):
        raise UserError(no_products(products, one.dtype))
    if one.around:
        # It may have switched that off within, and is judged in its own precision then; or on, as it is around it.
        alone = [replace(subject, products="", around="") for subject in subjects]

        def of_itself() -> Verdict:
            return _of_all(alone, of, gradients=gradients, names=names, seed=seed)

        within = of_itself()
        if within.verdict == EQUAL:
            return within
        with one.without():
            without = of_itself()
        if _same_results(within, without) and not is_like(within, one.products):
            note = f"{one.around} changes nothing of what it gives, to the bit: judged in {one.dtype}"
            return replace(within, notes=(*within.notes, note))
    return _of_all(subjects, of, gradients=gradients, names=names, seed=seed)


def _same_results(one: Verdict, other: Verdict) -> bool:
    """Whether two runs gave the same in every case, to the bit."""
    given = [
        [None if each.evidence is None else each.evidence.result.arrays for each in of.cases] for of in (one, other)
    ]
    return all(a is not None and b is not None and same_arrays(a, b) for a, b in zip(*given, strict=True))


def _of_all(subjects: Sequence[Subject], of: Cell, *, gradients: bool, names: Sequence[str], seed: int) -> Verdict:
    one, judged = subjects[0], list[CaseVerdict]()
    for subject in subjects:
        for problem in problems(subject, of, seed=seed, gradients=gradients and subject.enters is None, names=names):
            twice = problem.case.name == KINDS[0].name
            judged.append(_judged(subject, problem, f"{subject.label} " if len(subjects) > 1 else "", twice=twice))
    if not judged:
        raise UserError(f"{one.title} has none of the cases that are asked for: {', '.join(names)}")
    covers = "states and gradients" if gradients else "states"
    unmeasured = (f"all of it: the probe needs weights of its own; it is judged as {one.computed}",)
    return Verdict(
        of.name, one.dtype, covers, {}, tuple(judged), unmeasured, _notes(subjects), one.products, one.around
    )


def _names(cases: Iterable[str] | None) -> list[str]:
    there = [kind.name for kind in KINDS]
    if cases is None:
        return []
    chosen = [cases] if isinstance(cases, str) else list(cases)
    if unknown := [name for name in chosen if name not in there]:
        raise UserError(f"no case {unknown[0]!r} of a module; its cases are {', '.join(there)}")
    if not chosen:
        raise UserError(f"no case chosen; the cases of a module are {', '.join(there)}")
    return chosen


def _notes(subjects: Sequence[Subject]) -> tuple[str, ...]:
    """As what each layer was read, and what could not be done."""
    notes: list[str] = []
    for subject in subjects:
        layout, layer = subject.layer.layout, subject.layer
        reset = reset_of(cell(layout.cell))
        gate = "" if reset == "none" else f", reset gate {reset} the product"
        sizes = f"d = {layer.sizes['d']}, h = {layer.sizes['h']}"
        where = f"{subject.title} {layer.label}" if len(subjects) > 1 else subject.title
        if subject.enters is None:
            notes.append(f"{where} is read as {layout.layer} ({layout.name}{gate}; {sizes})")
        if layer.missing:
            notes.append(f"{where} has no {' and no '.join(layer.missing)}, which counts as zero")
        notes += subject.notes
        if subject.rounds_gradients:
            own = layer.dtypes[0]
            notes.append(
                f"gradients of the weights are in {own}, as the weights are, and not judged; those of X and H0 are"
            )
        if not subject.redrawn and subject.enters is None:
            notes.append(f"no other weights could be put into {subject.title}: it is judged with its own alone")
    return tuple(dict.fromkeys(notes))


def _judged(subject: Subject, problem: Problem, prefix: str, *, twice: bool) -> CaseVerdict:
    case = replace(problem.case, name=f"{prefix}{problem.case.name}")
    one = _once(subject, problem, case)
    if not twice or one.evidence is None:
        return one
    other = _once(subject, problem, replace(case, arrays={k: a for k, a in case.arrays.items() if k != "dH"}))
    return differs(one, other)


def _once(subject: Subject, problem: Problem, case: Case) -> CaseVerdict:
    try:
        arrays = _arrays(subject, problem, case)
    except (Exception, SystemExit) as error:  # What somebody else's module raises is a finding.
        if is_request(error):
            raise
        return verdict.failed(case.name, f"{subject.title}: {said(error)}")
    result = Result(_origin(subject, case), arrays)
    return verdict.judged(case, result, label=subject.title, partial=True, kept=False)


def _arrays(subject: Subject, problem: Problem, case: Case) -> dict[str, Array]:
    H0 = case.arrays["H0"]
    arrays: dict[str, Array] = quietly(subject.call, problem.X, H0, problem.tensors)
    check_states(arrays["H"], len(problem.X), *H0.shape)
    arrays = {"final": arrays["H"][-1].copy(), **arrays}
    if "dH" not in case.arrays:
        return arrays
    pulled = quietly(subject.pull, problem.X, H0, problem.tensors, case.arrays["dH"])
    inputs = ("X", "H0") if subject.starts else ("X",)
    if subject.rounds_gradients:
        return arrays | {f"grad.{name}": pulled[name] for name in inputs}
    layout = subject.layer.layout
    there = [own for own in subject.layer.names if own in pulled]
    tensors = {own: pulled.get(own, np.zeros_like(tensor)) for own, tensor in problem.tensors.items()}
    absent = {part.name for own in layout.tensors if own not in there for part in layout.tensors[own].parts}
    held = {name: array for name, array in unpack(layout, tensors).items() if name not in absent}
    of = {name: held[name] for name in case.cell.parameters if name in held}
    of |= {name: pulled[name] for name in inputs}
    return arrays | {f"grad.{name}": array for name, array in of.items()}


def _origin(subject: Subject, case: Case) -> Origin:
    return Origin(
        case=case.name,
        case_digest=case.digest,
        cell=case.cell.name,
        spec_digest=case.cell.digest,
        framework=subject.framework,
        implementation=subject.title,
        lane="module",
        dtype=subject.dtype,
        device=subject.device,
        unit_roundoff=UNIT_ROUNDOFF[subject.dtype],
        versions={"numpy": np.__version__},
        products=subject.products,
    )
