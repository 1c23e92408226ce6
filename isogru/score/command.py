"""What the commands of the score do: isogru score in NumPy, and python -m frameworks NAME score in a framework."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer

from isogru import conventions
from isogru.score import drawing, faults, problems, records, run, tally
from isogru.score.equations import Equations
from isogru.score.run import Hand, Plan
from shared_spec.command import EQUAL, NOT_EQUAL, repeated, say
from shared_spec.errors import UserError
from shared_spec.files.interchange import DTYPES

SEEDS = 2**32
MOST_DRAWN = 10_000
"""Mutants: to draw them takes minutes, and to try them days."""
Seed = Annotated[
    Optional[int],
    typer.Option(min=0, max=SEEDS - 1, help="Of the mutants that are drawn. Default: drawn, and printed."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what is kept of that --seed.")]
Mutants = Annotated[Optional[list[str]], typer.Option("--mutant", help="Only this one; may be repeated.")]
Cases = Annotated[Optional[list[str]], typer.Option("--case", help="Only this case; may be repeated.")]
Dtypes = Annotated[Optional[list[str]], typer.Option("--dtype", help="float32 or float64; may be repeated.")]
Drawn = Annotated[
    Optional[int],
    typer.Option(
        "--drawn",
        min=0,
        max=MOST_DRAWN,
        help="How many mutants are drawn. Default: half as many as there are, one in three.",
    ),
]
FirstKill = Annotated[
    bool, typer.Option("--first-kill", help="Try a mutant on no further case once one has killed it.")
]
Conventions = Annotated[
    Optional[Path], typer.Option("--conventions", help="Mutants of this file, instead of isogru/conventions.toml.")
]


def in_numpy(
    seed: Seed = None,
    resume: Resume = False,
    mutant: Mutants = None,
    case: Cases = None,
    dtype: Dtypes = None,
    drawn: Drawn = None,
    first_kill: FirstKill = False,
    file: Conventions = None,
) -> None:
    """Score the referee: faults planted in the equations, each judged on every case of the catalogue. Exit status 1
    where one lives that is no equal function, 3 where what is right is not equal. Broken off, it goes on with --seed
    and --resume.
    """
    choice = Choice(seed, resume, mutant or (), case or (), dtype or DTYPES, drawn, first_kill, file)
    raise typer.Exit(carry_out(Equations(), choice, "isogru score"))


class Choice:
    """What was asked for, checked: UserError for a mutant, a case, a dtype or a convention that is not there."""

    def __init__(
        self,
        seed: int | None,
        resume: bool,
        mutants: Sequence[str],
        cases: Sequence[str],
        dtypes: Sequence[str],
        drawn: int | None,
        first_kill: bool,
        file: Path | None,
    ) -> None:
        if resume and seed is None:
            raise UserError("--resume needs the --seed that was printed")
        if unknown := [name for name in dtypes if name not in DTYPES]:
            raise UserError(f"no dtype {unknown[0]!r}; the dtypes are {', '.join(DTYPES)}")
        self.seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
        self.resume, self.dtypes, self.first_kill = resume, dtypes, first_kill
        self.cases = problems.chosen(cases)
        self._of = {problems.cell_of(name) for name in self.cases}
        self._file = file or conventions.FILE
        self._every = faults.fixed(self._file)
        self._fixed = faults.chosen(self._every, mutants)
        # One in three of all, each counted for every cell that can have it. Beside some that were chosen, none.
        own = 0 if mutants else sum(len(each.cells) for each in self._every) // 2
        self._drawn = own if drawn is None else drawn
        options = [f"--seed {self.seed}", *(f'--mutant "{each}"' for each in mutants)]
        options += [f"--drawn {drawn}"] if drawn is not None else []
        options += ["--first-kill"] if first_kill else []
        options += [f"--conventions {file}"] if file else []
        self._options = [*options, *_pairs(repeated("--case", cases))]

    def plan(self, dtype: str, command: str) -> Plan:
        """What to run in one precision."""
        held_out = drawing.drawn(self.seed, self._drawn, dtype=dtype, file=self._file)
        chosen = [each for each in (*self._fixed, *held_out) if self._of & {*each.cells}]
        told = " ".join([command, f"--dtype {dtype}", *self._options])
        return Plan(dtype, self.seed, told, chosen, self.cases, self.first_kill)


def _pairs(words: Sequence[str]) -> list[str]:
    return [f"{option} {value}" for option, value in zip(words[::2], words[1::2], strict=True)]


def carry_out(hand: Hand, choice: Choice, command: str) -> int:
    """Make a matrix in each precision that was asked for. Returns the exit status: 0 where no mutant lives."""
    say(f"seed {choice.seed}; broken off, it goes on with --seed {choice.seed} --resume")
    plans = [choice.plan(dtype, command) for dtype in choice.dtypes]
    finished = {plan.dtype: run.finished(hand, plan) for plan in plans if choice.resume}
    begun = {plan.dtype for plan in plans if choice.resume and run.kept_file(hand, plan).exists()}
    if choice.resume and not begun and not any(finished.values()):
        raise UserError(f"nothing is kept of {plans[0].command}; begin without --resume")
    status = EQUAL
    for plan in plans:
        matrix = finished.get(plan.dtype) or run.run(hand, plan, resume=plan.dtype in begun, tell=say)
        for line in tally.lines(matrix):
            say(line)
        say(f"wrote {records.file_of(hand.name, plan.dtype)}")
        status = NOT_EQUAL if tally.alive(matrix) else status
    return status
