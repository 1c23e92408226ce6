"""Running a race: what each framework enters for it and what the machine can do by it, references, blocks of turns in
shuffled order, so that what the machine does meanwhile falls on all alike; then how much memory each row takes. Imports
no framework.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import math
import shlex
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

from frameworks.harness import starting
from frameworks.harness.blocks import START_LIMIT, Blocks
from frameworks.harness.child import ROOT, Child
from frameworks.harness.entries import least_budget
from frameworks.harness.starting import Start
from isogru.judge import reference
from isogru.judge.comparison import EQUAL
from shared_spec import frameworks as known
from shared_spec import machine, processes
from shared_spec.__main__ import find_corpus
from shared_spec.command import INTERRUPTED, WRONG, last_words, repeated
from shared_spec.command import main as command_line
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.files.interchange import AnyCase, Case
from shared_spec.files.whole import write_whole
from shared_spec.language_model.corpus import Corpus
from shared_spec.race import definition, rows, workloads
from shared_spec.race.definition import Race

MARK = "isogru-python "
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
        _say(
            f"race {race.name}: {', '.join(race.frameworks)}; {race.budget:.0f} s on {race.threads} threads, "
            f"seed {race.seed}"
        )
        run(race, pythons, text, _say)
    except UserError:
        if request["is_new"] and begun and not race.blocks_file.exists():
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
    interpreters = {}
    for name in names:
        if importlib.util.find_spec(known.framework(name).imports[0]) is not None:
            interpreters[name] = sys.executable
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
        interpreters[name] = next(line[len(MARK) :] for line in done.stdout.splitlines() if line.startswith(MARK))
    return interpreters


def _prepare(race: Race, text: Corpus, tell: Tell) -> list[str]:
    """Make the references that the admission checks need, on all cores, before the first contender needs one. Gives the
    keys of those that are not worth keeping."""
    began = time.perf_counter()
    wanted: list[tuple[AnyCase, str]] = []
    for workload in workloads.choose(race.workloads, race.cells):
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
    """The race, or what is left of it, then memory. Raises UserError where another race is under way: they would time
    each other; and for a budget that is too small.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(store.lock(".race.lock").acquire(timeout=0))
        except filelock.Timeout:
            raise UserError("another race is under way here; wait for its end") from None
        _run(race, pythons, text, tell)


def _run(race: Race, pythons: dict[str, str], text: Corpus, tell: Tell) -> None:
    write_whole(race.corpus_file, text.text.encode())
    if not race.memory_file.exists():
        headers, limits = _entered(race, pythons, text, tell)
        least = math.ceil(round(least_budget(race, headers), 3))
        if least > race.budget:
            raise UserError(
                f"--budget {race.budget:.0f}s is too small for one turn of each of these "
                f"{sum(len(header.plan) for header in headers.values())}, which one of each table has twice; give "
                f"{least}s at least, and about {4 * least}s for ranks, or choose fewer"
            )
        forgotten = _prepare(race, text, tell)
        racing = Blocks(race, headers, functools.partial(Start, race, pythons, text), tell)
        starting.forget_compiled(race, headers, racing.judged)
        racing.run()
        # Measured before and after: a bound made at a bad moment would reject who is in it.
        tell("what the machine can do is measured again")
        _write_limits(race, limits, _entered(race, pythons, text, lambda line: None)[1])
        for key in forgotten:
            reference.forget(key)
        _memory(race, pythons, text, tell)
    shutil.rmtree(starting.cache(race), ignore_errors=True)


def _entered(
    race: Race, pythons: dict[str, str], text: Corpus, tell: Tell
) -> tuple[dict[str, rows.Header], dict[str, list[rows.Limits]]]:
    """What each framework has to be raced, and what the machine can do by it."""
    headers, limits = {}, {}
    for name in race.frameworks:
        command = [pythons[name], "-m", "frameworks", name, "enter", *starting.options(race)]
        with Child(command, starting.environment(race, name, text), apart=True, limit=START_LIMIT) as child:
            said = list(child.lines())
            status, printed = child.end()
        if child.is_late:
            again = shlex.join(["python", *command[1:]])
            raise UserError(f"{name}: did not enter within {START_LIMIT:.0f} s; race without it, or see why: {again}")
        if status == WRONG:
            raise UserError(printed[-1].removeprefix("isogru: ") if printed else f"{name}: request refused")
        if status or not said:
            raise UserError(f"{name}: {last_words(status, printed)}")
        headers[name] = msgspec.json.decode(said[0], type=rows.Header)
        limits[name] = [msgspec.json.decode(line, type=rows.Limits) for line in said[1:]]
        count = len(headers[name].plan)
        tell(f"{name}: {count} {'row' if count == 1 else 'rows'}, imported in {headers[name].import_:.1f} s")
    return headers, limits


def _write_limits(race: Race, before: dict[str, list[rows.Limits]], after: dict[str, list[rows.Limits]]) -> None:
    """The better of the two, into the first start of each framework."""
    for name in before:
        if (file := race.file(name, 1)).exists():
            for one, two in zip(before[name], after[name], strict=True):
                rows.append(file, rows.encode(rows.Limits(one.dtype, one.reached.better(two.reached))))


def _memory(race: Race, pythons: dict[str, str], text: Corpus, tell: Tell) -> None:
    """The peak of every row that was equal, in a process of its own."""
    peaks: list[rows.Memory] = []
    passes = definition.passes(race)
    for name in race.frameworks:
        began = time.perf_counter()
        # Of the last start that each was in: the first may have been broken off.
        outcomes = {row: one for each in passes if each.framework == name for row, one in each.outcomes.items()}
        pairs = [f"{row.workload}/{row.implementation}" for row, one in outcomes.items() if one.verdict == EQUAL]
        if not pairs:
            continue
        command = [pythons[name], "-m", "frameworks", name, "memory", "--threads", str(race.threads)]
        command += ["--device", race.device, *repeated("--row", pairs)]
        limit = START_LIMIT * (1 + len(pairs))
        with Child(command, starting.environment(race, name, text), apart=False, limit=limit) as child:
            status, printed = child.end()
        of_rows = [msgspec.json.decode(line, type=rows.Memory) for line in printed if line.startswith(rows.MEMORY)]
        if status:
            words = f"did not come back within {limit:.0f} s" if child.is_late else last_words(status, printed)
            tell(f"memory: {name}: {words}")
        for one in of_rows:
            if one.failed:
                tell(f"memory: {name}: {one.workload}-{one.implementation}: {one.failed}")
        peaks += of_rows
        tell(f"memory: {name}, {len(of_rows)} rows in {time.perf_counter() - began:.0f} s")
    write_whole(race.memory_file, b"".join(map(rows.encode, peaks)))


if __name__ == "__main__":
    main()
