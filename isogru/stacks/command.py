"""What `isogru verdict` does with a stack."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer

from isogru import answers, reason
from isogru.judge import comparison
from isogru.judge.comparison import EQUAL
from isogru.stacks import answer, judging
from isogru.stacks.problem import read
from isogru.verdict_lines import show
from isogru.wording import finite, status
from shared_spec.command import say


def give_on_stack(file: Path, results: Sequence[Path], *, as_json: bool, time: str, why: bool, products: str) -> None:
    """Hold files of states against a stack, as `isogru verdict` does; ends with its exit status. `time` says which
    axis of the states it is; where it is empty, shapes and values tell. `products` is what they are computed in, where
    that is coarser than the states.
    """
    stack, batch_first = read(file), time == answers.BATCH_FIRST
    T, n = stack.X.shape[:2]
    verdicts, records = [], []
    for result in results:
        result_verdict, notes, reasons = judging.judged(
            stack, answer.read(result, stack, batch_first=batch_first), result.name, why=why, products=products
        )
        if n == T and result_verdict.verdict != EQUAL and not time:
            turned = judging.judged(
                stack, answer.read(result, stack, batch_first=True), result.name, why=why, products=products
            )
            result_verdict, notes, reasons = turned if turned[0].verdict == EQUAL else (result_verdict, notes, reasons)
        verdicts.append(result_verdict.verdict)
        if as_json:
            told = {"why": {label: made.record() for label, made in reasons}} if why else {}
            records.append(
                {
                    "file": str(result),
                    "verdict": result_verdict.verdict,
                    "notes": list(notes),
                    **asdict(result_verdict),
                    **told,
                }
            )
            continue
        show(result, result_verdict, notes)
        for label, made in reasons:
            for line in reason.lines(made):
                say(f"    {label}: {line}")
    if as_json:
        typer.echo(json.dumps(finite(records), indent=1))
    raise typer.Exit(status(comparison.worst(verdicts)))
