"""A program that computes a GRU: one call of it on one case, in a folder of its own, under limits."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

import msgspec

from shared_spec.command import LAST_LINES, last_words, printable
from shared_spec.errors import UnjudgedError, UserError
from shared_spec.files import store, temporary

CASE, RESULT, HERE = "{case}", "{result}", "{here}"
"""What a command holds in the place of the two files, and of the folder that it was given in."""
LAUNCHER = Path(__file__).with_name("launcher.py")
MIB = 2**20
PRINTED = MIB
"""Bytes that a program may print."""
LONGEST = 600
"""Characters of its last words."""
ROOM = 64 * MIB
"""Bytes that a file of its may have beyond those of a result."""


@dataclass(frozen=True)
class Limits:
    """What one call may use."""

    seconds: float = 60.0
    memory: int | None = 2 * 2**30
    """Bytes of address space, of each process; None for no limit."""
    network: bool = False
    """Whether it keeps the network."""


class Ended(msgspec.Struct, frozen=True):
    """How a call ended."""

    isolated: bool
    """Whether it had namespaces of its own, without network unless that was left to it."""
    why: str
    """Why it had to be ended: "time", "printed"; empty where it ended by itself."""
    status: int | None
    """Its exit status, or minus the signal that ended it."""
    error: str
    """Why it could not be started."""
    words: str
    """The last of what it printed."""
    seconds: float

    @property
    def said(self) -> str:
        """Its last words, in one line."""
        lines = [printable(line.strip()) for line in self.words.splitlines() if line.strip()]
        return " | ".join(lines[-LAST_LINES:])[-LONGEST:] or "it printed nothing"

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]

    def failure(self, limits: Limits) -> str:
        """Why there can be no result; empty where it ended well."""
        if self.error:
            return f"could not be started: {self.error}"
        if self.why == "time":
            return f"ended after its time, {limits.seconds:g} s: {self.said}"
        if self.why == "printed":
            return f"ended since it printed more than {PRINTED // MIB} MiB: {self.said}"
        if self.status == -Signals.SIGXFSZ:
            return f"ended by SIGXFSZ, since it wrote too large a file: {self.said}"
        return last_words(self.status, [self.said]) if self.status else ""


@dataclass
class Program:
    """A command, to be called on cases. Calls may run beside each other; `stop` ends them all."""

    command: Sequence[str]
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if sys.platform != "linux":
            raise UnjudgedError("a program is run under limits that only Linux has")
        self.command = _found(self.command)
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    @property
    def name(self) -> str:
        """What it is called in sentences: the last word that names a file, since an interpreter says little."""
        return Path(next((word for word in reversed(self.command) if word.startswith("/")), self.command[0])).name

    def lacks(self, name: str) -> bool:
        """Whether the command does not hold {case} or {result}."""
        return not any(name in word for word in self.command)

    def call(self, folder: Path, case: Path, result: Path, *, largest: int) -> Ended:
        """One call, in a folder that exists and holds the case. No file that it writes may have more bytes
        than `largest` and some room. Raises UnjudgedError where it was not called.
        """
        files = {CASE: str(case), RESULT: str(result), HERE: os.getcwd()}  # noqa: PTH109
        request = {
            "argv": [_filled(word, files) for word in self.command],
            "folder": str(folder),
            "case": case.name,
            "seconds": self.limits.seconds,
            "memory": self.limits.memory,
            "file_size": ROOM + largest,
            "printed": PRINTED,
            "network": self.limits.network,
            "hidden": self._hidden(folder),
        }
        told = self._launched(json.dumps(request), _environment(folder, files))
        try:
            ended = msgspec.json.decode(told, type=Ended)
        except msgspec.DecodeError:
            raise UnjudgedError("the process that watches a program was ended; judge again") from None
        return ended

    def _hidden(self, folder: Path) -> list[str]:
        """Folders that hold what results should be, of earlier verdicts; but for those that it runs from itself."""
        needed = [folder, *(Path(word) for word in self.command if word.startswith("/"))]
        places = {place.resolve() for place in (store.folder(), store.reference_folder()) if place.is_dir()}
        return [str(place) for place in sorted(places) if not any(each.is_relative_to(place) for each in needed)]

    def _launched(self, request: str, environment: Mapping[str, str]) -> str:
        with self._lock:
            if self._stopped:
                raise UnjudgedError("stopped")
            try:
                launched = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(LAUNCHER), request],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                    text=True,
                    start_new_session=True,
                )
            except OSError as error:
                raise UnjudgedError(f"no process could be started: {error.strerror}") from None
            self._running.add(launched)
        assert launched.stdout is not None
        try:
            # Read to its end, with standard input kept open: that is the program's lifeline.
            return launched.stdout.read()
        finally:
            self._cut(launched)
            launched.wait()
            launched.stdout.close()
            with self._lock:
                self._running.discard(launched)

    def stop(self) -> None:
        """End all calls, and start no more."""
        with self._lock:
            self._stopped = True
            for launched in self._running:
                self._cut(launched)

    @staticmethod
    def _cut(launched: subprocess.Popen[str]) -> None:
        assert launched.stdin is not None
        with contextlib.suppress(OSError):
            launched.stdin.close()


@contextlib.contextmanager
def folder_of_its_own() -> Iterator[Path]:
    """A fresh folder, gone afterwards with all that is left in it. Raises UnjudgedError where none can be made."""
    try:
        made = temporary.made()
    except OSError as error:
        raise UnjudgedError(f"no folder could be made for a call: {error.strerror or error}") from None
    folder = Path(made.name).resolve()
    try:
        yield folder
    finally:
        # Python does not follow folders within folders as deep as rm, which in turn gives itself no rights.
        subprocess.run(["rm", "-rf", str(folder)], check=False, stderr=subprocess.DEVNULL)
        with contextlib.suppress(RecursionError):
            made.cleanup()


def _found(command: Sequence[str]) -> list[str]:
    """The command with whole paths, since it runs in another folder: of the program, and of words that name a file.
    Raises UserError where there is no such program, or it is not one.
    """
    if not command or not command[0]:
        raise UserError(
            "no program to judge; write it last, after --: isogru judge --cell gru -- ./program {case} {result}"
        )
    program, *words = command
    path = shutil.which(program)
    if path is None:
        if Path(program).is_dir():
            raise UserError(f"{program}: a folder, no program")
        if Path(program).exists():
            raise UserError(f"{program}: not executable; chmod +x makes it so, or name what runs it before it")
        where = "" if "/" in program else " on the PATH; write ./ before the name of one that is here"
        raise UserError(f"{program}: no such program{where}")
    return [str(Path(path).absolute()), *(str(Path(word).absolute()) if _is_file(word) else word for word in words)]


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # Too long for a name, such as a program of its own.
        return False


def _filled(word: str, files: Mapping[str, str]) -> str:
    for name, text in files.items():
        word = word.replace(name, text)
    return word


def _environment(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    """That of this process, without what tells of isogru's own files, and with those of the call. Programs run beside
    each other, so that libraries are asked for one thread each where nobody said how many.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("ISOGRU_")}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return threads | own | {"ISOGRU_CASE": files[CASE], "ISOGRU_RESULT": files[RESULT], "TMPDIR": str(folder)}
