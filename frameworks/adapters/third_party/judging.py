"""One implementation in one dtype: run on the catalogue's cases, judged, and explained where it is not equal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import msgspec
import numpy as np

from frameworks.adapters import prove
from frameworks.adapters.third_party import Arrays, Implementation
from isogru import judge
from isogru.explain import explain
from isogru.judge import delivered, precision, reference
from isogru.judge.comparison import DIFFERENT, EQUAL, ORDER, UNDETERMINED, Finding
from isogru.judge.verdict import ResultVerdict
from shared_spec import cases as catalogue
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.files.interchange import DTYPES, Case, Origin, Result
from shared_spec.readings import floats
from shared_spec.readings.arithmetic import Array
from shared_spec.third_party import FAILED, JUDGED, Judged, Record
from shared_spec.weights import layouts, proof
from shared_spec.weights.layouts import Layout
from shared_spec.weights.packing import unpack


@dataclass(frozen=True)
class _Made:
    """A result, with its case and the verdict on it."""

    case: Case
    result: Result
    verdict: ResultVerdict


def judged(record: Record, of: Implementation, *, package: str, versions: dict[str, str]) -> Record:
    """The record of an implementation in its dtype. What it raises is a finding, and its reason."""
    layout = layouts.layout(of.layout)
    entries = of.entries or tuple(entry.name for entry in catalogue.CATALOGUE)
    names = [name for entry in entries if (name := f"{layout.cell}-{entry}") in catalogue.cell_case_names()]
    made: list[_Made] = []
    name = ""
    try:
        if record.dtype == "bfloat16":
            # It gives NumPy this dtype. Here, since not every environment has it.
            import ml_dtypes  # noqa: F401
        roundoff = _measured(of, layout, record.dtype)
        for name in names:
            case = _case(layout, name, with_gradients=of.gradients is not None)
            result = _run(of, layout, case, record.dtype, roundoff, package=package, versions=versions)
            made.append(_Made(case, result, judge.on(case, result, partial=True)))
    except Exception as error:  # Whatever somebody else's code raises is a row.
        words = (f"{name}: " if name else "") + store.words_of(error).partition(" Stack backtrace")[0][:400]
        return msgspec.structs.replace(record, status=FAILED, reason=words)
    states, gradients = (_worst(made, kind) for kind in ("states", "gradients"))
    cause, remedy = _cause(made, states, gradients, pairs=not of.expected)
    return msgspec.structs.replace(
        record,
        status=JUDGED,
        cases=names,
        states=states,
        gradients=gradients,
        roundoff=dict(roundoff),
        cause=cause,
        remedy=remedy,
    )


def _case(layout: Layout, name: str, *, with_gradients: bool) -> Case:
    """As this layer can hold it, see proof.case_of; with the cotangent dH where there are gradients."""
    case = proof.case_of(layout, name)
    whole = catalogue.build(name)
    assert isinstance(whole, Case)
    return replace(case, arrays={**case.arrays, "dH": whole.arrays["dH"]}) if with_gradients else case


def _measured(of: Implementation, layout: Layout, dtype: str) -> dict[str, float]:
    """The unit roundoff by operation; nothing of what is narrower than float32, where the values themselves tell."""
    if dtype not in DTYPES:
        return {}
    module = SimpleNamespace(run=of.run)
    return prove.measure(module, layout, proof.case_of(layout, proof.case_names(layout)[0]), dtype)


def _run(
    of: Implementation,
    layout: Layout,
    case: Case,
    dtype: str,
    roundoff: dict[str, float],
    *,
    package: str,
    versions: dict[str, str],
) -> Result:
    held = replace(case, arrays={name: floats.rounded(array, dtype) for name, array in case.arrays.items()})
    tensors = proof.weights(layout, held, dtype=dtype)
    given = [held.arrays[name].astype(dtype) for name in ("X", "H0", "dH") if name in held.arrays]
    H = _taken(of.run(of.layout, tensors, *(array.copy() for array in given[:2])), dtype, "H")
    arrays = {"H": H, "final": H[-1].copy()}
    if of.gradients is not None:
        pulled = of.gradients(of.layout, tensors, *(array.copy() for array in given))
        arrays |= _gradients(layout, case, {name: _taken(array, dtype, name) for name, array in pulled.items()}, dtype)
    origin = Origin(
        case=case.name,
        case_digest=case.digest,
        cell=case.cell.name,
        spec_digest=case.cell.digest,
        framework=package,
        implementation=of.name,
        lane="third-party",
        dtype=dtype,
        device="cpu",
        unit_roundoff=precision.unit_roundoff(roundoff, dtype) if dtype in DTYPES else floats.UNIT_ROUNDOFF[dtype],
        roundoff=roundoff,
        versions=versions,
    )
    return Result(origin, arrays)


def _taken(array: object, dtype: str, name: str) -> Array:
    """What a package gave, as results carry it. Raises UserError for another dtype than was asked for."""
    values = np.asarray(array)
    if values.dtype.name != dtype:
        raise UserError(f"{name} is {values.dtype.name}, where {dtype} was asked for")
    return values.astype(floats.carrier(dtype))


def _gradients(layout: Layout, case: Case, pulled: Arrays, dtype: str) -> dict[str, Array]:
    """By the parameters of the cell. Of two biases that are added to each other both have the same gradient: the one
    that is further off is judged.
    """
    gradients = {f"grad.{name}": pulled[name] for name in ("X", "H0")}
    tensors = {name: array for name, array in pulled.items() if name in layout.tensors}
    of_parameters = unpack(layout, tensors, known={"h": case.arrays["H0"].shape[-1]})
    truth = reference.get(case, dtype).oracle
    for name in case.cell.parameters:
        if name in of_parameters:
            twice = [name, *(second for second, first in layout.second.items() if first == name)]
            should_be = truth[f"grad.{name}"]
            off = {each: float(np.abs(of_parameters[each] - should_be).max()) for each in twice}
            gradients[f"grad.{name}"] = of_parameters[max(off, key=lambda each: np.nan_to_num(off[each], nan=np.inf))]
    return gradients


def _is_of(finding: Finding, kind: str) -> bool:
    return finding.quantity.startswith("grad.") == (kind == "gradients")


def _worst(made: Iterable[_Made], kind: str) -> Judged | None:
    """The worst element of all cases; None where there is nothing of that kind."""
    findings = [(f, m) for m in made for f in m.verdict.all_findings if _is_of(f, kind)]
    if not findings:
        return None
    # Undetermined counts for nobody and against nobody: where something else was judged, that is the verdict.
    told = [pair for pair in findings if pair[0].verdict != UNDETERMINED]
    worst, of = max(told or findings, key=lambda pair: (ORDER.index(pair[0].verdict), pair[0].ratio))
    return Judged(
        verdict=worst.verdict,
        ratio=_number(worst.ratio),
        where=f"{worst.quantity} in {of.case.name}",
        off=_number(max(f.max_absolute for f, _ in findings)),
        sentence=worst.sentence(of.result.origin),
        untold=sorted({m.case.name for f, m in findings if f.verdict == UNDETERMINED}),
    )


def _number(value: float) -> float | None:
    return float(f"{value:.3e}") if np.isfinite(value) else None


def _cause(made: Sequence[_Made], states: Judged | None, gradients: Judged | None, *, pairs: bool) -> tuple[str, str]:
    """Why it is different, and the remedy; empty where it is not."""
    if states and states.verdict == DIFFERENT:
        narrow = _narrower(made)
        return (narrow, "") if narrow else _explained(made, pairs=pairs)
    if gradients and gradients.verdict == DIFFERENT:
        wrong = {f.quantity: m.case.name for m in made for f in m.verdict.all_findings if f.verdict == DIFFERENT}
        names, cases = ", ".join(wrong), ", ".join(dict.fromkeys(wrong.values()))
        return f"its states are right, and so are its other gradients; wrong are {names}, in {cases}", ""
    return "", ""


def _narrower(made: Sequence[_Made]) -> str:
    """That it computes in a narrower format than its label says, where judged in that format it is not different."""
    u = made[0].result.origin.roundoff.get("product")
    dtype = next((dtype for dtype in floats.HALVES if floats.UNIT_ROUNDOFF[dtype] == u), None)
    if dtype is None:
        return ""
    # Without what was measured, so that its values tell: states that are kept in float32 are judged as float32.
    again = []
    for m in made:
        origin = replace(m.result.origin, dtype=dtype, unit_roundoff=floats.UNIT_ROUNDOFF[dtype], roundoff={})
        again.append(judge.on(m.case, Result(origin, m.result.arrays), partial=True))
    facts = [f for each in again for f in each.all_findings if f.verdict != UNDETERMINED]
    if any(f.verdict != EQUAL for f in facts):
        return f"it computes products in {dtype}"
    return (
        f"it computes in {dtype}: judged in that it is equal, with a largest ratio of {max(f.ratio for f in facts):.2g}"
    )


def _explained(made: Iterable[_Made], *, pairs: bool) -> tuple[str, str]:
    """What explains the states of the first case that are different, and the remedy."""
    of = next(m for m in made if any(f.verdict == DIFFERENT and _is_of(f, "states") for f in m.verdict.all_findings))
    explanation = explain(of.case, of.result.arrays["H"], given=delivered.of(of.result), pairs=pairs)
    return f"{of.case.name}: {explanation.sentence}", explanation.remedy
