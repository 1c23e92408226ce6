"""What a race starts processes of frameworks with, and one start of it: the contenders of each framework are forked by
a process of that start which has imported it. Imports no framework.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType

from frameworks.harness.contender import Contender
from frameworks.harness.entries import Entry
from frameworks.harness.nursery import LostError, Nursery, Order
from shared_spec.command import repeated
from shared_spec.language_model.corpus import Corpus
from shared_spec.race.definition import Race
from shared_spec.race.rows import Header, Row

IMPORT_LIMIT = 300.0
"""Seconds after which a framework that is still not imported is given up."""


def cache(race: Race) -> Path:
    """What frameworks have compiled: nothing before the first start, whose first calls compile."""
    return race.folder / "compile-cache"


def forget_compiled(race: Race, headers: Mapping[str, Header], judged: Collection[str]) -> None:
    """What was compiled in a first start that was broken off: the first calls of those workloads are still to be timed,
    compiling included.
    """
    for name, header in headers.items():
        for row in header.plan:
            if row.workload not in judged:
                shutil.rmtree(cache(race) / name / _stem(row), ignore_errors=True)


def environment(race: Race, name: str, text: Corpus) -> dict[str, str]:
    """Of the processes of a framework."""
    return {
        **os.environ,
        **_compiled(cache(race) / name),
        "ISOGRU_CORPUS": str(race.corpus_file),
        "ISOGRU_CORPUS_SHA1": text.sha1,
        "OMP_NUM_THREADS": str(race.threads),
        # A GPU's memory is to be measured, not taken beforehand.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def options(race: Race) -> list[str]:
    """What all that is started for a race is told."""
    return [
        *("--device", race.device, "--threads", str(race.threads), *(["--tf32"] if race.tf32 else [])),
        *(*repeated("--workload", race.workloads), *repeated("--cell", race.cells)),
        *repeated("--implementation", race.implementations),
    ]


class Start:
    """One start of a race. Whatever it has started ends with its `with` block."""

    def __init__(self, race: Race, pythons: Mapping[str, str], text: Corpus, number: int) -> None:
        self._race, self._pythons, self._text, self._number = race, pythons, text, number
        self._nurseries: dict[str, Nursery] = {}
        self._failed: dict[str, str] = {}
        """Of a framework that cannot be imported in this start, why."""

    def __enter__(self) -> Start:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for nursery in self._nurseries.values():
            nursery.close()

    @property
    def sessions(self) -> list[int]:
        """Of the processes that fork."""
        return [nursery.session for nursery in self._nurseries.values()]

    def imports(self, names: Iterable[str]) -> None:
        """Import these frameworks, side by side. Where one cannot be, it is said when a contender of it is wanted."""
        new = [name for name in names if name not in self._nurseries and name not in self._failed]
        for name in new:
            command = [self._pythons[name], "-m", "frameworks", name, "contend", "--threads", str(self._race.threads)]
            whole = environment(self._race, name, self._text)
            self._nurseries[name] = Nursery(command, whole, limit=IMPORT_LIMIT)
        for name in new:
            try:
                self._nurseries[name].await_import()
            except LostError as error:
                self._nurseries.pop(name).close()
                self._failed[name] = str(error)

    def contender(self, entry: Entry, planned: int) -> Contender:
        """Starts the process of one, for which so many turns are planned. Raises LostError where it cannot."""
        name, row, race = entry.framework, entry.row, self._race
        stem = _stem(row) + (".again" if entry.is_double else "")
        report = race.folder / f"{name}.{race.device}.{self._number}.{stem}.json"
        file = report.with_suffix(".rows")
        arguments = ["-q", "--no-header", "--tb=short", *options(race), "--pass", str(self._number)]
        arguments += ["--seconds", str(race.seconds), "--row", f"{row.workload}/{row.implementation}"]
        arguments += ["--benchmark-json", str(report), "--rows", str(file)]
        # Each contender compiles for itself: JAX' cache is no place for two.
        order = Order(arguments, _compiled(cache(race) / name / stem), planned)
        try:
            return Contender(entry.name, row, self._nursery(name), order, file=file)
        except LostError:
            # It has ended, or what it has not answered yet would be taken for an answer to another order.
            if name in self._nurseries:
                self._nurseries.pop(name).close()
            raise

    def _nursery(self, name: str) -> Nursery:
        self.imports([name])
        if name in self._failed:
            raise LostError(self._failed[name])
        return self._nurseries[name]


def _stem(row: Row) -> str:
    """Of the names of a contender's files."""
    return f"{row.workload}.{row.implementation}"


def _compiled(folder: Path) -> dict[str, str]:
    """Where a process keeps what it compiles."""
    return {"ISOGRU_COMPILE_CACHE": str(folder), "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
