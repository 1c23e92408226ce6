"""The command isogru explain, and what `isogru verdict --why` adds to a verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from isogru import answers, reason, stacks
from isogru.explain import Explanation
from isogru.judge import comparison
from isogru.wording import finite, status
from shared_spec.__main__ import keep
from shared_spec.command import say
from shared_spec.errors import UserError
from shared_spec.files.interchange import read_case, write_case

Products = Annotated[
    str,
    typer.Option(
        help="What products are computed in, if coarser than the states: bfloat16, float16 or, of float64, float32."
    ),
]
Why = Annotated[
    bool, typer.Option("--why", help="Name the convention under which what is not equal would be, and prove it.")
]


def explain_result(
    case_file: Annotated[Path, typer.Argument(metavar="CASE")],
    result_file: Annotated[Path, typer.Argument(metavar="RESULT", help="A result file, or states in .npy, .npz, .pt.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    time: Annotated[str, typer.Option(help="Which axis of the states is time: first, or second after the batch.")] = "",
    products: Products = "",
    telling: Annotated[
        Optional[Path],
        typer.Option("-o", "--output", help="Where causes cannot be told apart: write a case that tells them apart."),
    ] = None,
) -> None:
    """Name the convention, or the two, under which a result that is not equal would be: reset gate before or after,
    order of gates, transposes, biases, functions, the order of steps. Exit status as of isogru verdict: 0 equal, 1 not.
    """
    if stacks.is_stack(case_file):
        raise UserError(f"{case_file}: a stack; isogru verdict --why {case_file} {result_file} goes layer by layer")
    case = read_case(case_file)
    if time not in ("", answers.TIME_FIRST, answers.BATCH_FIRST):
        raise UserError(f"--time is {time!r}, should be {answers.TIME_FIRST} or {answers.BATCH_FIRST}")
    if telling is not None:
        for given in (case_file, result_file):
            keep(given, telling)
    answer = answers.read(result_file, case, time=time)
    judged = answers.judged(case, answer, products=products, name=str(result_file), case_name=str(case_file))
    verdict, notes = judged.verdict, judged.notes
    if verdict.verdict == comparison.EQUAL:
        made = Explanation(comparison.EQUAL)
    else:
        made = judged.cause or reason.why(case, judged.result, verdict)
    if telling is not None and made.telling is not None:
        write_case(telling, made.telling)
    if as_json:
        record: dict[str, Any] = {"file": str(result_file), "verdict": verdict.verdict, "why": made.record()}
        typer.echo(json.dumps(finite(record), indent=1))
    else:
        say(f"{verdict.verdict}: {result_file}")
        for line in (*reason.lines(made), *notes):
            say(line)
        if telling is not None and made.telling is not None:
            say(f"wrote {telling}, on which they differ")
    raise typer.Exit(status(verdict.verdict))
