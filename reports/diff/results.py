"""One result as data: what it was made with, what was found of it, and the command that runs it again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, structs

from isogru.judge import profile
from isogru.judge.comparison import EQUAL, ORDER, Finding, four
from isogru.judge.divergence import Local
from isogru.judge.verdict import ResultVerdict
from reports.diff import records, verdicts
from reports.diff.collect import Row
from reports.pages.parts import number, numbers
from shared_spec import cases
from shared_spec.files.interchange import TRACE


class Setups:
    """What results were made with: many share one."""

    def __init__(self) -> None:
        self.records: list[records.Setup] = []
        self._places: dict[bytes, int] = {}

    def number(self, row: Row) -> int | None:
        """The place of what a row was made with, which counts it; None for what was not judged."""
        if row.verdict is None:
            return None
        origin = row.verdict.origin
        one = records.Setup(
            framework=origin.framework, versions=dict(origin.versions), switches=dict(origin.switches), results=0
        )
        place = self._places.setdefault(msgspec.json.encode(one, order="deterministic"), len(self.records))
        if place == len(self.records):
            self.records.append(one)
        known = self.records[place]
        self.records[place] = structs.replace(known, results=known.results + 1)
        return place


def record(row: Row, setups: Setups) -> verdicts.Result:
    """A row of the report; what it was made with is counted in `setups`."""
    job, verdict = row.job, row.verdict
    picture = verdict.profile if verdict else None
    return verdicts.Result(
        id=f"{row.label}/{job.dtype}/{job.case}",
        framework=job.framework,
        case=job.case,
        implementation=job.implementation,
        dtype=job.dtype,
        device=job.device,
        cell=row.cell,
        lane=row.lane,
        status=row.status,
        why=row.why,
        mend=_mend(row),
        setup=setups.number(row),
        unit_roundoff=verdict.origin.unit_roundoff if verdict else UNSET,
        seconds=dict(verdict.origin.seconds) if verdict else UNSET,
        findings=[_finding_record(finding) for finding in verdict.findings] if verdict else UNSET,
        divergence=_divergence_record(verdict) if verdict else UNSET,
        curves=(_curves_record(picture.curves) if picture else None) if verdict else UNSET,
        heat=([_heat_record(heat) for heat in picture.heat] if picture else []) if verdict else UNSET,
        worst_equation=_worst_equation(row) if verdict else UNSET,
        sentence=verdict.worst_finding.sentence(verdict.origin) if verdict else UNSET,
        note=(verdict.origin.note if verdict else "") or UNSET,
    )


def _mend(row: Row) -> str:
    """The command that runs a job again; empty where there is nothing to mend."""
    if row.status in ORDER:
        return ""
    job = row.job
    chosen = f"--case {job.case} --implementation {job.implementation} --dtype {job.dtype}"
    on_cpu = job.device == "cpu"
    if job.case.startswith(cases.FULL_TRAINING):
        return f"tox -e train-{job.framework} -- {chosen}{'' if on_cpu else f' --device {job.device}'}"
    return f"tox -e {job.framework}{'' if on_cpu else f'-{job.device}'} -- {chosen}"


def _deviation(finding: Finding) -> verdicts.Deviation:
    """What is known of a quantity, with the digits that mean something: all of a value, four of a difference."""
    return verdicts.Deviation(
        quantity=finding.quantity,
        verdict=finding.verdict,
        index=list(finding.index),
        value=number(finding.value),
        should_be=number(finding.should_be),
        difference=number(four(finding.difference)),
        ulp=number(four(finding.ulp)),
        bound=number(four(finding.bound)),
        ratio=number(four(finding.ratio)),
        basis=finding.basis,
        outside=finding.outside,
        first_outside=finding.first_outside,
        last_outside=finding.last_outside,
    )


def _indices(index: Sequence[int] | None) -> list[int] | None:
    return None if index is None else list(index)


def _finding_record(finding: Finding) -> verdicts.Finding:
    return verdicts.Finding(
        **structs.asdict(_deviation(finding)),
        max_absolute=number(four(finding.max_absolute)),
        max_relative=number(four(finding.max_relative)),
        max_ulp=number(four(finding.max_ulp)),
        undetermined=finding.undetermined,
        first_undetermined=_indices(finding.first_undetermined),
    )


def _local_record(one: Local) -> verdicts.Local:
    return verdicts.Local(
        **structs.asdict(_deviation(one.finding)),
        undetermined=one.finding.undetermined,
        first_undetermined=_indices(one.finding.first_undetermined),
        by_step=numbers(one.by_step),
        inherits=one.inherits,
    )


def _curves_record(curves: profile.Curves) -> verdicts.Curves:
    return verdicts.Curves(
        block=curves.block,
        difference=numbers(curves.difference),
        bound=numbers(curves.bound),
        from_oracle=numbers(curves.from_oracle),
    )


def _heat_record(heat: profile.Heat) -> verdicts.Heat:
    return verdicts.Heat(axes=list(heat.axes), blocks=list(heat.blocks), ratio=[numbers(row) for row in heat.ratio])


def _divergence_record(verdict: ResultVerdict) -> verdicts.Divergence | None:
    divergence = verdict.divergence
    if divergence is None:
        return None
    forward, backward = divergence.first_forward, divergence.first_backward
    return verdicts.Divergence(
        first_forward=forward.quantity if forward else None,
        first_backward=backward.quantity if backward else None,
        # A trace is a run of its own: what went wrong in the one that is judged need not in this one.
        explains=divergence.is_wrong or all(f.verdict == EQUAL for f in verdict.findings),
        forward=[_local_record(one) for one in divergence.forward],
        backward=[_local_record(one) for one in divergence.backward],
    )


def _worst_equation(row: Row) -> str | None:
    """The quantity whose own equation fits worst: of a trace the local one, else the state."""
    if row.verdict is None or row.verdict.profile is None:
        return None
    if row.verdict.divergence is None:
        return "H"
    first = row.verdict.divergence.first_forward
    if first is None and any(f.quantity in ("H", "final") and f.verdict != EQUAL for f in row.verdict.findings):
        return "H"
    local = [one.finding for one in row.verdict.divergence.forward]
    return (first or max(local, key=lambda f: f.ratio)).quantity.removeprefix(TRACE)
