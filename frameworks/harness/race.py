"""Running a race: short passes of the benchmarks over several frameworks, in shuffled order, so that what the machine
does meanwhile falls on all alike; then how much memory each row takes. Imports no framework.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import filelock
import msgspec

from frameworks.harness.child import ROOT, Child
from isogru.judge import reference
from isogru.judge.comparison import EQUAL
from shared_spec import frameworks as known
from shared_spec import machine, processes
from shared_spec.__main__ import find_corpus
from shared_spec.command import INTERRUPTED, last_words, repeated
from shared_spec.command import main as command_line
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.files.interchange import AnyCase, Case
from shared_spec.files.whole import write_whole
from shared_spec.language_model.corpus import Corpus
from shared_spec.race import definition, rows, workloads
from shared_spec.race.definition import Race, passes
from shared_spec.race.rows import Outcome

MARK, REFUSED = "isogru-python ", "Exit: isogru: "
Tell = Callable[[str], None]


def main() -> None:
    """Run the race that is asked for on standard input: a line of JSON with the race, whether it is a new one, and the
    text that was named. Exit status 2 where the request was wrong, 130 where it was broken off.
    """
    processes.end_with_parent()
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # What was started is ended too. Whoever starts this may have Ctrl-C ignored.
        signal.signal(ending, signal.default_int_handler)
    command_line(lambda: _carry_out(json.loads(sys.stdin.readline())))


def _carry_out(request: dict[str, Any]) -> None:
    race, corpus = msgspec.convert(request["race"], Race), request["corpus"]
    begun = not request["is_new"]
    try:
        kept = definition.text(race) if begun else None
        text = kept or find_corpus(corpus and Path(corpus), request["corpus_sha1"])
        pythons = interpreters(race.frameworks, race.device, _say)
        if not begun:
            if race.folder.exists():
                raise UserError(f"another race has begun in this second, {race.name}; begin this one again")
            definition.begin(race)
            begun = True
        _say(f"race {race.name}: {', '.join(race.frameworks)}; {race.passes} passes on {race.threads} threads")
        run(race, pythons, text, _say)
    except UserError:
        if request["is_new"] and begun and not definition.passes(race):
            # Nothing was timed, and nothing is to be gone on with.
            shutil.rmtree(race.folder, ignore_errors=True)
        raise
    except KeyboardInterrupt:
        go_on = f"; what is complete is kept: python -m reports race --resume {race.name}" if begun else ""
        _say(f"broken off{go_on}")
        sys.exit(INTERRUPTED)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def interpreters(names: Iterable[str], device: str, tell: Tell) -> dict[str, str]:
    """A Python for each framework: this one where it has it, else that of its environment of tox for the device, made
    if need be.

    Raises UserError where there is neither.
    """
    found = {}
    for name in names:
        if importlib.util.find_spec(known.framework(name).imports[0]) is not None:
            found[name] = sys.executable
            continue
        if importlib.util.find_spec("tox") is None:
            raise UserError(f"framework {name} asked for but not importable here, and no tox either; run tox -e bench")
        of_tox = name if device == "cpu" else f"{name}-{device}"
        command = [sys.executable, "-m", "tox", "exec", "-q", "-e", of_tox, "--"]
        command += ["python", "-c", f"import sys; print({MARK!r} + sys.executable)"]
        tell(f"{name}: looking for the environment {of_tox} of tox")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UserError(f"framework {name}: tox -e {of_tox} cannot make its environment; run it to see why")
        # tox has words of its own around it.
        found[name] = next(line[len(MARK) :] for line in done.stdout.splitlines() if line.startswith(MARK))
    return found


def _prepare(race: Race, text: Corpus, tell: Tell) -> list[str]:
    """Make the references that the admission checks need, on all cores: within a pass one framework would wait for them
    alone. Gives the keys of those that are not worth keeping.
    """
    began = time.perf_counter()
    wanted: list[tuple[AnyCase, str]] = []
    for workload in workloads.choose(race.workloads):
        if race.cells and workload.cell not in race.cells:
            continue
        if workload.kind in workloads.OF_CELL:
            wanted += [(workloads.case(workload, seed), workload.dtype) for seed in (0, 1)]
        elif workload.kind != "prediction":
            wanted.append((workloads.training_case(workload, text, epochs=2), workload.dtype))
    unique = {reference.key(case, dtype): (case, dtype) for case, dtype in wanted}
    reference.prepare(unique.values(), processes=machine.cores())
    tell(f"references: {len(unique)} in {time.perf_counter() - began:.0f} s")
    # Of a cell they are quickly made, and some of 100 MB: those of all workloads are 3 GB.
    return [key for key, (case, _) in unique.items() if isinstance(case, Case)]


def run(race: Race, pythons: dict[str, str], text: Corpus, tell: Tell) -> None:
    """All passes that are not complete yet, then memory. Raises UserError where another race is under way: they would
    time each other.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(store.lock(".race.lock").acquire(timeout=0))
        except filelock.Timeout:
            raise UserError("another race is under way here; wait for its end") from None
        _run(race, pythons, text, tell)


def _run(race: Race, pythons: dict[str, str], text: Corpus, tell: Tell) -> None:
    write_whole(race.corpus_file, text.text.encode())
    done = {one.path for one in passes(race) if one.is_done}
    turns = [(number, name) for number in range(1, race.passes + 1) for name in race.order(number)]
    if left := [(number, name) for number, name in turns if race.file(name, number) not in done]:
        forgotten = _prepare(race, text, tell)
        for number, name in left:
            _whole_pass(race, name, number, pythons[name], _environment(race, name, text), tell)
        for key in forgotten:
            reference.forget(key)
    if not race.memory_file.exists():
        _memory(race, pythons, text, tell)
    shutil.rmtree(_cache(race), ignore_errors=True)


def _cache(race: Race) -> Path:
    """What frameworks have compiled: nothing before the first pass, whose first calls compile."""
    return race.folder / "compile-cache"


def _environment(race: Race, name: str, text: Corpus) -> dict[str, str]:
    """Of the processes of a framework."""
    return {
        **os.environ,
        "ISOGRU_CORPUS": str(race.corpus_file),
        "ISOGRU_CORPUS_SHA1": text.sha1,
        "ISOGRU_COMPILE_CACHE": str(_cache(race) / name),
        "TORCHINDUCTOR_CACHE_DIR": str(_cache(race) / name / "inductor"),
        "OMP_NUM_THREADS": str(race.threads),
        # A GPU's memory is to be measured, not taken beforehand.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _whole_pass(race: Race, name: str, number: int, python: str, environment: dict[str, str], tell: Tell) -> None:
    """One pass over one framework, or what is left of it. A row that its process dies in is a failure, and the pass
    goes on behind it.
    """
    file, began, first = race.file(name, number), time.perf_counter(), 0
    if file.exists():
        first = len(rows.read(file).outcomes)
    while True:
        words = _process(race, name, number, python, environment, first)
        if not file.exists():
            raise UserError(f"{name}: {words}")
        one = rows.read(file)
        if one.is_done:
            break
        if one.begun is None:
            raise UserError(f"{name}: pass {number} was cut off: {words}; go on with --resume {race.name}")
        rows.Writer(file, goes_on=True).write(rows.End(one.begun, Outcome(failed=words)))
        first = one.header.plan.index(one.begun) + 1
    wrong = sum(outcome.verdict != EQUAL for outcome in one.outcomes.values())
    tell(
        f"pass {number} of {race.passes}: {name}, {len(one.outcomes)} rows in {time.perf_counter() - began:.0f} s"
        + (f", {wrong} of them not equal or failed" if wrong else "")
    )


def _process(race: Race, name: str, number: int, python: str, environment: dict[str, str], first: int) -> str:
    """Run pytest until it ends; its last words."""
    report = race.file(name, number).with_suffix(".json")
    command = [python, "-m", "frameworks", name, "bench", "-q", "--no-header", "--tb=short"]
    command += ["--device", race.device, "--threads", str(race.threads)]
    command += ["--pass", str(number), "--seconds", str(race.seconds), "--from-row", str(first)]
    command += ["--rows", str(race.file(name, number)), "--benchmark-json", str(report)]
    command += ["--tf32"] if race.tf32 else []
    command += [*repeated("--workload", race.workloads), *repeated("--cell", race.cells)]
    command += repeated("--implementation", race.implementations)
    with Child(command, environment, apart=False) as child:
        status, printed = child.end()
    refused = next((line for line in printed if line.startswith(REFUSED)), None)
    return refused.removeprefix(REFUSED) if refused else last_words(status, printed)


def _memory(race: Race, pythons: dict[str, str], text: Corpus, tell: Tell) -> None:
    """The peak of every row that was equal, in a process of its own."""
    peaks: list[rows.Memory] = []
    for name in race.frameworks:
        began = time.perf_counter()
        outcomes = rows.read(race.file(name, 1)).outcomes
        pairs = [f"{row.workload}/{row.implementation}" for row, one in outcomes.items() if one.verdict == EQUAL]
        command = [pythons[name], "-m", "frameworks", name, "memory", "--threads", str(race.threads)]
        command += ["--device", race.device, *repeated("--row", pairs)]
        with Child(command, _environment(race, name, text), apart=False) as child:
            status, printed = child.end()
        of_rows = [msgspec.json.decode(line, type=rows.Memory) for line in printed if line.startswith(rows.MEMORY)]
        if status:
            tell(f"memory: {name}: {last_words(status, printed)}")
        for one in of_rows:
            if one.failed:
                tell(f"memory: {name}: {one.workload}-{one.implementation}: {one.failed}")
        peaks += of_rows
        tell(f"memory: {name}, {len(of_rows)} rows in {time.perf_counter() - began:.0f} s")
    write_whole(race.memory_file, b"".join(map(rows.encode, peaks)))


if __name__ == "__main__":
    main()
