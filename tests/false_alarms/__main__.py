"""python -m tests.false_alarms: thousands of right results judged, and who of them is accused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shared_spec.command import EQUAL, NOT_EQUAL, application, main, say
from shared_spec.files import store
from shared_spec.files.whole import write_whole
from tests.false_alarms import campaign

app = application("Random right GRUs on random problems, judged: nobody who is right should be accused.")


@app.command()
def run(
    seed: Annotated[Optional[int], typer.Option(min=0, max=2**32 - 1, help="Of the problems; default: drawn.")] = None,
    results: Annotated[int, typer.Option(min=1, help="How many results to judge at the least.")] = 20_000,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is kept of that seed.")] = False,
    processes: Annotated[Optional[int], typer.Option(min=1, help="Default: one per core.")] = None,
    output: Annotated[Optional[Path], typer.Option("-o", "--output", help="The table as a file too.")] = None,
) -> None:
    """Judge right results by the thousand; exit status 1 where any is suspect or different. Broken off, it goes on with
    --seed and --resume.
    """
    if resume and seed is None:
        raise typer.BadParameter("it needs the --seed that was printed", param_hint="--resume")
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    count = -(-results // campaign.OF_A_PROBLEM)
    file = store.folder() / "false-alarms" / f"{seed}.jsonl"
    if not resume:
        campaign.begin(file, seed)
    records = campaign.read(file, seed)
    say(f"seed {seed}; kept in {file}: --seed {seed} --resume goes on")
    columns = (TextColumn("problems"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=count, completed=len(records))
        done = {record.number for record in records}
        for record in campaign.run(file, seed, count, done, processes or os.cpu_count() or 1):
            records.append(record)
            progress.advance(task)
            for line in campaign.accused([record]):
                progress.console.print(line, markup=False, highlight=False)
    table = campaign.table(records)
    if output:
        write_whole(output, table.encode())
    print(table, end="")
    wrong = campaign.accused(records)
    say(f"{len(wrong)} right results are suspect or different" if wrong else "no right result is suspect or different")
    raise typer.Exit(NOT_EQUAL if wrong else EQUAL)


if __name__ == "__main__":
    main(lambda: app(prog_name="python -m tests.false_alarms"))
