"""The kill matrix, trial after trial: what is right on a case, then every mutant on it. Each is kept as soon as it is
judged, so that what was cut off goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from isogru.conventions import Convention
from isogru.judge import code, reference, verdict
from isogru.judge.comparison import DIFFERENT, EQUAL, SUSPECT
from isogru.score import exact, problems, records
from isogru.score.faults import Fault, is_of_states, suits
from isogru.score.records import ALIVE, EQUIVALENT, KILLED, NOT_APPLICABLE, Control, Matrix, Trial
from shared_spec.cells import cell
from shared_spec.errors import UnjudgedError, UserError
from shared_spec.files import door
from shared_spec.files.interchange import AnyCase, Result
from shared_spec.readings.floats import UNIT_ROUNDOFF

ABSENT = "the case has nothing that it changes"


class Hand(Protocol):
    """What plants mutants and runs them."""

    name: str

    def versions(self) -> Mapping[str, str]: ...

    def right(self, case: AnyCase, dtype: str) -> Result:
        """What is right, made as mutants are."""

    def wrong(self, case: AnyCase, dtype: str, conventions: Sequence[Convention]) -> Result | None:
        """What a mutant gives; None where the case has nothing that it changes."""


@dataclass(frozen=True)
class Plan:
    """What to run."""

    dtype: str
    seed: int
    command: str
    """What makes it again."""
    faults: Sequence[Fault]
    cases: Sequence[str]
    first_kill: bool = False
    """Whether a mutant is tried on no further case once one has killed it."""


class Header(msgspec.Struct, forbid_unknown_fields=True):
    """The first line of what is kept of a matrix that is being made."""

    format: str
    judge: str
    """The digest of the code that judges."""
    command: str
    mutants: list[str]
    cases: list[str]


class Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Every other line of it."""

    control: Control | None = None
    trial: Trial | None = None


def kept_file(hand: Hand, plan: Plan) -> Path:
    """Where trials are kept until the matrix is whole."""
    return records.folder() / f"{hand.name}-{plan.dtype}-{plan.seed}.jsonl"


def run(hand: Hand, plan: Plan, *, resume: bool, tell: Callable[[str], None]) -> Matrix:
    """Run what is to be run, and write the matrix. Raises UnjudgedError where what is right is not equal, and UserError
    where what was kept is damaged or of another run.
    """
    file = kept_file(hand, plan)
    lines = _begun(file, plan, resume)
    controls = {line.control.case: line.control for line in lines if line.control}
    trials = {(line.trial.mutant, line.trial.case): line.trial for line in lines if line.trial}
    with file.open("ab", buffering=0) as kept:
        for name in plan.cases:
            todo = [each for each in _tried(plan, name) if (each.id, name) not in trials]
            if plan.first_kill:
                dead = {(each.mutant, each.cell) for each in trials.values() if each.outcome == KILLED}
                todo = [each for each in todo if (each.id, problems.cell_of(name)) not in dead]
            if name not in controls or todo:
                case = problems.build(name)
                known = reference.get(case, plan.dtype)
                controls[name] = control(hand, case, plan.dtype, known)
                kept.write(msgspec.json.encode(Line(control=controls[name])) + b"\n")
                for each in todo:
                    made = trial(hand, case, plan.dtype, each, known)
                    trials[each.id, name] = made
                    kept.write(msgspec.json.encode(Line(trial=made)) + b"\n")
            there = [each for (_, of), each in trials.items() if of == name]
            killed = sum(each.outcome == KILLED for each in there)
            tell(f"{name} in {plan.dtype}: {killed} of {len(there)} mutants killed")
    matrix = Matrix(
        framework=hand.name,
        dtype=plan.dtype,
        seed=plan.seed,
        command=plan.command,
        judge=code.judge(),
        versions=dict(hand.versions()),
        mutants=list({each.id: each.record() for each in plan.faults}.values()),
        controls=[controls[name] for name in plan.cases],
        trials=_proven(plan, _in_order(plan, trials)),
        first_kill=plan.first_kill,
    )
    records.write(matrix)
    file.unlink()
    return matrix


def finished(hand: Hand, plan: Plan) -> Matrix | None:
    """The whole matrix of just this run; None where there is none, or that of another run or another judge."""
    file = records.file_of(hand.name, plan.dtype)
    if kept_file(hand, plan).exists() or not file.exists():
        return None
    matrix = records.read(file)
    same = (matrix.seed, matrix.command, matrix.judge) == (plan.seed, plan.command, code.judge())
    return matrix if same else None


def _tried(plan: Plan, name: str) -> Iterator[Fault]:
    """The faults that are tried on a case."""
    of = problems.cell_of(name)
    return (each for each in plan.faults if of in each.cells and suits(each, training=problems.is_training(name)))


def _in_order(plan: Plan, trials: Mapping[tuple[str, str], Trial]) -> list[Trial]:
    """Case after case, those that were made."""
    every = ((each.id, name) for name in plan.cases for each in _tried(plan, name))
    return [trials[key] for key in every if key in trials]


def control(hand: Hand, case: AnyCase, dtype: str, known: reference.Reference) -> Control:
    """What is right on a case. Raises UnjudgedError where it is not equal."""
    judged = verdict.judge(case, hand.right(case, dtype), known)
    worst = judged.worst_finding
    if judged.verdict != EQUAL:
        raise UnjudgedError(
            f"{hand.name} on {case.name} without any fault is {judged.verdict}, and a matrix would say nothing: "
            f"{worst.sentence(judged.origin)}"
        )
    return Control(case.name, judged.verdict, worst.quantity, _finite(worst.ratio))


def trial(hand: Hand, case: AnyCase, dtype: str, planted: Fault, known: reference.Reference) -> Trial:
    """One mutant on one case."""

    def made(outcome: str, quantity: str = "", ratio: float = 0.0, why: str = "") -> Trial:
        return Trial(planted.id, planted.kind, case.cell.name, case.name, outcome, quantity, _finite(ratio), why)

    result = hand.wrong(case, dtype, planted.conventions)
    if result is None:
        return made(NOT_APPLICABLE, why=ABSENT)
    if result.origin.lie:
        return made(KILLED, "precision", result.origin.unit_roundoff / UNIT_ROUNDOFF[dtype])
    result_verdict = verdict.judge(case, result, known)
    worst = result_verdict.worst_finding
    return made(KILLED if result_verdict.verdict in (SUSPECT, DIFFERENT) else ALIVE, worst.quantity, worst.ratio)


def _proven(plan: Plan, trials: list[Trial]) -> list[Trial]:
    """The trials, with those of mutants that no case kills called equivalent where that is proven."""
    by_mutant: dict[tuple[str, str], list[Trial]] = {}
    for each in trials:
        by_mutant.setdefault((each.mutant, each.cell), []).append(each)
    faults = {each.id: each for each in plan.faults}
    proofs = {
        (mutant, of): why
        for (mutant, of), those in by_mutant.items()
        if records.outcome(those) == ALIVE and (why := _proof(faults[mutant], of, plan.dtype))
    }
    return [
        msgspec.structs.replace(each, outcome=EQUIVALENT, proof=proofs[each.mutant, each.cell])
        if each.outcome == ALIVE and (each.mutant, each.cell) in proofs
        else each
        for each in trials
    ]


def _proof(planted: Fault, of: str, dtype: str) -> str:
    if is_of_states(planted):
        return exact.proof(cell(of), planted.conventions, bits=round(-math.log2(UNIT_ROUNDOFF[dtype])))
    settings = [each.training for each in planted.conventions if each.training]
    return problems.same_batches(of, settings[0]) if settings else ""


def _finite(ratio: float) -> float | None:
    return ratio if math.isfinite(ratio) else None


def _begun(file: Path, plan: Plan, resume: bool) -> list[Line]:
    """What is kept of this run; a new file where it is not to go on."""
    header = Header(records.FORMAT, code.judge(), plan.command, [each.id for each in plan.faults], list(plan.cases))
    remedy = f"remove {file} and begin anew without --resume"
    if resume:
        first, *lines = door.content(file, "begin without --resume").split(b"\n")
        if door.decoded(first, Header, f"{file}: line 1", remedy) != header:
            raise UserError(f"{file} is of another version of the judge, or of other mutants or cases; {remedy}")
        # The last line may have been cut off, and is done again.
        _cut(file)
        return [door.decoded(line, Line, f"{file}: line {i + 2}", remedy) for i, line in enumerate(lines[:-1])]
    if file.exists():
        raise UserError(f"{file} is there already; go on with it by --seed {plan.seed} --resume, or remove it")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.encode(header) + b"\n")
    return []


def _cut(file: Path) -> None:
    raw = file.read_bytes()
    if not raw.endswith(b"\n"):
        file.write_bytes(raw[: raw.rfind(b"\n") + 1])
