"""The command that plants mutants in a framework."""

from __future__ import annotations

import typer

import frameworks
from frameworks.harness import supervisor
from frameworks.harness.score.hand import InFramework
from isogru.score.command import Cases, Choice, Conventions, Drawn, Dtypes, FirstKill, Mutants, Resume, Seed, carry_out
from shared_spec.files.interchange import DTYPES


def in_framework(
    context: typer.Context,
    seed: Seed = None,
    resume: Resume = False,
    mutant: Mutants = None,
    case: Cases = None,
    dtype: Dtypes = None,
    drawn: Drawn = None,
    first_kill: FirstKill = False,
    file: Conventions = None,
) -> None:
    """Score the referee: faults planted in the framework's own step, loop, weights and training, each judged on every
    case of the catalogue. Exit status 1 where one lives that is no equal function, 3 where what is right is not
    equal. Broken off, it goes on with --seed and --resume.
    """
    framework: str = context.obj
    choice = Choice(seed, resume, mutant or (), case or (), dtype or DTYPES, drawn, first_kill, file)
    loaded = frameworks.load(framework)
    loaded.runtime.setup(threads=supervisor.threads_of_environment())
    raise typer.Exit(carry_out(InFramework(loaded), choice, f"python -m frameworks {framework} score"))
