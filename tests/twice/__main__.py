"""python -m tests.twice: races of one program against itself on this machine, and how many tell the two apart."""

from __future__ import annotations

import functools
import os
import tempfile
from collections import Counter
from dataclasses import replace
from typing import Annotated
from unittest import mock

import typer

from frameworks.harness import race as harness
from frameworks.harness.blocks import Blocks
from frameworks.harness.starting import Start
from reports.race import controls
from reports.race.records import FAILED_CONTROL, PASSED, UNKNOWN
from shared_spec import language_model, machine
from shared_spec.command import EQUAL, NOT_EQUAL, application, main, say
from shared_spec.errors import UserError
from shared_spec.files.whole import write_whole
from shared_spec.language_model import corpus
from shared_spec.race import definition
from shared_spec.race.definition import Race

app = application("One program raced against itself, many times: nobody should be faster.")


@app.command()
def run(
    framework: Annotated[str, typer.Argument(help="Whose program it is.")] = "torch",
    workload: Annotated[str, typer.Option(help="What it does.")] = "training-step-chapter-gru-float32",
    implementation: Annotated[str, typer.Option(help="Which of the framework's.")] = "tuned",
    races: Annotated[int, typer.Option(min=1, help="How many races.")] = 50,
    budget: Annotated[str, typer.Option(help="Of each of them; of less than three starts nothing is said.")] = "30s",
) -> None:
    """The blocks of each race are those of python -m reports race, which has one of its contenders twice; without what
    comes before and after them. Exit status 1 where a race says that one of the two is faster.
    """
    one = Race("1", [framework], [workload], definition.budget(budget), implementations=[implementation])
    counts: Counter[str] = Counter()
    # No races that anybody would look for.
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"ISOGRU_RESULTS": folder}):
        text = corpus.find(language_model.specification().corpus)
        pythons = harness.interpreters(one.frameworks, one.device, say)
        write_whole(one.corpus_file, text.text.encode())
        headers, _ = harness._entered(one, pythons, text, say)
        if [len(header.plan) for header in headers.values()] != [1]:
            raise UserError(f"{workload} is not one row of {framework}/{implementation}; choose one that is")
        harness._prepare(one, text, say)
        for number in range(1, races + 1):
            race = replace(one, name=str(number), seed=number)
            definition.begin(race)
            write_whole(race.corpus_file, text.text.encode())
            blocks = Blocks(race, headers, functools.partial(Start, race, pythons, text), lambda line: None)
            blocks.run()
            if not blocks.done:
                again = f"python -m reports race {framework} --workload {workload} --implementation {implementation}"
                raise UserError(f"{framework}/{implementation} had no turn; {again} says why")
            twice, *others = controls.judge(blocks.done, device=one.device)
            counts[twice.status] += 1
            beside = "".join(f"; {each.said}" for each in others if each.is_failed)
            starts = len({block.start for block in blocks.done})
            say(f"{number}: {starts} starts, {len(blocks.done)} blocks: {twice.said}{beside}")
    say(
        f"{races} races of {framework}/{implementation} against itself on {machine.cores()} cores: "
        f"{counts[FAILED_CONTROL]} say that one of the two is faster, {counts[PASSED]} that they are equivalent, "
        f"{counts[UNKNOWN]} neither"
    )
    raise typer.Exit(NOT_EQUAL if counts[FAILED_CONTROL] else EQUAL)


if __name__ == "__main__":
    main(lambda: app(prog_name="python -m tests.twice"))
