"""python -m frameworks.adapters.third_party: GRUs that nobody here wrote, judged, each package in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Optional

import msgspec
import typer
from rich.console import Console

from frameworks.adapters.third_party import ABSENT, PACKAGES
from shared_spec import command, machine, processes, third_party
from shared_spec.command import EQUAL, application, main
from shared_spec.errors import UserError
from shared_spec.third_party import FAILED, RUNNING, UNAVAILABLE, WAITING, Package, Record

ROOT = Path(__file__).parents[3]
LOST = 8
"""After so many crashes what still waits of a package is left."""

app = application("GRUs that nobody here wrote, judged. Runs where their packages are installed: tox -e third-party.")

Start = Callable[[str], "subprocess.Popen[str]"]


@app.command()
def judge_packages(
    names: Annotated[
        Optional[list[str]],
        typer.Argument(metavar="PACKAGE...", help=f"{', '.join(PACKAGES)}; all if none."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long one implementation may take in one dtype.")] = 600.0,
) -> None:
    """Run every implementation of these packages in every dtype, each package in a process of its own, and keep a
    record of each. A crash and a package that is not there are records too. What they say is shown by
    `python -m reports third-party`.
    """
    if unknown := [name for name in names or [] if name not in PACKAGES]:
        raise UserError(f"no package {unknown[0]!r}; the packages are {', '.join(PACKAGES)}")
    # What needs an environment of its own is run there, by its name.
    chosen = names or [name for name, package in PACKAGES.items() if package.needs == "tox -e third-party"]
    console = Console()
    for name in chosen:
        package = judge(name, start, seconds)
        console.print(f"{name}: {_counted(package)}", highlight=False, markup=False)
    for name, why in ABSENT.items():
        third_party.write(_absent(name, why))
    raise typer.Exit(EQUAL)


def start(name: str) -> subprocess.Popen[str]:
    """A process that works on what waits of a package."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return subprocess.Popen(
        [sys.executable, "-m", "frameworks.adapters.third_party.worker", name],
        cwd=ROOT,
        env=processes.for_child({**os.environ, **threads, **PACKAGES[name].environment}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def judge(name: str, start: Start, seconds: float) -> Package:
    """All records of a package: work is taken up again after what killed it, or took too long."""
    file = third_party.file_of(name)
    file.unlink(missing_ok=True)
    for _ in range(LOST):
        words = _run(start(name), name, seconds)
        if not file.exists():
            third_party.write(_absent(name, words))
        kept = third_party.read(file)
        lost = [record for record in kept.records if record.status in (WAITING, RUNNING)]
        if not lost:
            return kept
        # What ran is what died; where nothing ran, nothing can be.
        running = [record for record in lost if record.status == RUNNING] or lost
        kept = _failed(kept, running, words)
        third_party.write(kept)
        if len(running) == len(lost):
            return kept
    kept = _failed(kept, [r for r in kept.records if r.status == WAITING], f"not run, after {LOST} crashes")
    third_party.write(kept)
    return kept


def _run(process: subprocess.Popen[str], name: str, seconds: float) -> str:
    """Wait for a process; end it where its package's file has not changed for so long. Returns its last words."""
    said: list[str] = []
    while True:
        try:
            said.append(process.communicate(timeout=1.0)[0] or "")
        except subprocess.TimeoutExpired:
            file = third_party.file_of(name)
            since = file.stat().st_mtime if file.exists() else None
            if since is not None and time.time() - since > seconds:
                process.kill()
                process.communicate()
                return f"took longer than {seconds:g} s"
            continue
        return command.last_words(process.returncode, "".join(said).splitlines())[:1000]


def _failed(kept: Package, which: list[Record], words: str) -> Package:
    records = [
        msgspec.structs.replace(record, status=FAILED, reason=words) if record in which else record
        for record in kept.records
    ]
    return msgspec.structs.replace(kept, records=records)


def _absent(name: str, why: str) -> Package:
    """Of a package of which nothing can be run: one record that says so."""
    record = Record(name, "", "", "", "", status=UNAVAILABLE, reason=why)
    return Package(name, {}, machine.describe(), [record])


def _counted(package: Package) -> str:
    verdicts = [record.verdict for record in package.records]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))


if __name__ == "__main__":
    main(lambda: app(prog_name="python -m frameworks.adapters.third_party"))
