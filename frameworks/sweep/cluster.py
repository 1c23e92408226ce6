"""Ray, started here for as long as a sweep takes, or joined where a cluster is: batches of trials go out, outcomes come
back. No other file knows of Ray.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from frameworks.sweep import watch, worker
from shared_spec import machine
from shared_spec.command import INTERRUPTED
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.language_model.corpus import Corpus
from shared_spec.sweeps.stored import Outcome
from shared_spec.sweeps.trials import Trial

ROOT = Path(__file__).parents[2]
SENT = ("frameworks", "shared_spec")
CONNECT_SECONDS = 5.0
TOKEN = Path.home() / ".ray" / "auth_token"
OBJECTS = 80_000_000
"""Bytes of memory that the nodes share: the text, and outcomes on their way."""
DEEPEST = "/isogru-ray-12345678/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
LONGEST = 107 - len(DEEPEST)
"""Of the name of the folder for temporary files: below it are Ray's sockets, whose names the system limits."""
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Batch = tuple[Trial, ...]


@dataclass(frozen=True)
class Died:
    """What ran a batch is gone, without a word about the batch: it may be run again."""

    words: str


@dataclass(frozen=True)
class Broke:
    """A batch raised an exception."""

    words: str


class Cluster:
    """Workers, each a process that runs one batch at a time. Ctrl-C, and a kill that can be caught, raise
    KeyboardInterrupt between two calls of Ray: within one they end in crashes of Ray's own.
    """

    def __init__(self, *, address: str | None, workers: int | None, threads: int, device: str, text: Corpus) -> None:
        """Without a number of workers there are as many as this machine, or the cluster, has room for."""
        self._address, self._threads, self._device, self._text = address, threads, device, text
        self._workers = workers or (None if address else max(1, machine.cores() // threads))
        self._flying: dict[Any, Batch] = {}
        self._ending = contextlib.ExitStack()
        self._asked = False

    def __enter__(self) -> Self:
        """Raises UserError for a cluster that cannot be reached or is not fit."""
        with contextlib.ExitStack() as ending:
            if self._address is None:
                options = ending.enter_context(_surroundings())
                cores = (self._workers or 1) * self._threads
                options |= {"num_cpus": cores, "object_store_memory": OBJECTS, "include_dashboard": False}
            else:
                # Before the import, which reads how to show the token.
                reach(self._address)
                # The nodes need what the environment of the framework has, and get the project's own code from here.
                options = {"runtime_env": {"py_modules": [str(ROOT / name) for name in SENT]}}
            import ray

            # Ray starts programs of its own, which takes a fork; what JAX warns of, that the copy goes on, does not
            # happen.
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            self._ray = ray
            before = {number: signal.signal(number, self._heed) for number in ENDINGS}
            ending.callback(lambda: [signal.signal(number, handler) for number, handler in before.items()])
            options |= {"logging_level": "ERROR", "log_to_driver": False, "namespace": "isogru"}
            ending.callback(ray.shutdown)
            try:
                ray.init(self._address or "local", **options)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                where = f"the cluster at {self._address}" if self._address else "Ray"
                cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
                raise UserError(f"{where} cannot be used: {store.words_of(cause)}") from None
            except SystemExit:
                # While it starts, Ray answers SIGTERM so.
                raise KeyboardInterrupt from None
            signal.signal(signal.SIGTERM, self._heed)
            self._check()
            self._run = ray.remote(worker.run)
            self._given = ray.put(self._text)
            self._ending = ending.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        with self._ending:
            for news in self._flying:
                # On a cluster that goes on without us nothing of ours must.
                with contextlib.suppress(Exception):
                    self._ray.cancel(news, force=True)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        """Of signals: the first is heeded as soon as Ray is not at work, the second at once."""
        if self._asked:
            os._exit(INTERRUPTED)
        self._asked = True

    def _check(self) -> None:
        if self._asked:
            raise KeyboardInterrupt

    def slots(self) -> int:
        """How many batches the nodes that are alive can run at once, and may."""
        there = self._ray.cluster_resources()
        slots = int(there.get("CPU", 0.0)) // self._threads
        if self._device == "cuda":
            slots = min(slots, int(there.get("GPU", 0.0)))
        return max(1, slots if self._workers is None else min(slots, self._workers))

    @property
    def busy(self) -> int:
        """How many batches are under way."""
        return len(self._flying)

    def submit(self, batch: Batch) -> None:
        run = self._run.options(
            num_cpus=self._threads,
            num_gpus=1 if self._device == "cuda" else 0,
            # Whether a batch is run again is decided, and counted, by who keeps its outcomes.
            max_retries=0,
            scheduling_strategy="SPREAD",
        )
        self._flying[run.remote(batch, self._given, self._threads)] = batch

    def wait(self, seconds: float) -> Iterator[tuple[Batch, float | Sequence[Outcome] | Died | Broke]]:
        """Of batches of which there is news within these seconds: the share that is done, or how they have ended."""
        from ray.exceptions import RayError, RayTaskError

        self._check()
        if not self._flying:
            return
        ready, _ = self._ray.wait(list(self._flying), num_returns=1, timeout=seconds)
        for news in ready:
            batch = self._flying[news]
            try:
                said = self._ray.get(next(news))
            except RayTaskError as error:
                said = Broke(store.words_of(error.cause if isinstance(error.cause, Exception) else error))
            except RayError as error:
                said = Died(store.words_of(error).partition(". ")[0])
            if not isinstance(said, float):
                del self._flying[news]
            yield batch, said
        self._check()


@contextlib.contextmanager
def _surroundings() -> Iterator[dict[str, Any]]:
    """What keeps a Ray of one's own to oneself, as options: it listens on loopback alone, what it writes lies in a
    folder that nobody else may enter, its token is in no file, and all of it ends with this process.
    """
    place = Path(tempfile.gettempdir())
    if len(os.fsencode(place)) > LONGEST:
        place = Path("/tmp")
    try:
        folder = tempfile.mkdtemp(prefix="isogru-ray-", dir=place)
    except OSError as error:
        raise UserError(f"{place}: cannot be written: {error.strerror or error}; set TMPDIR to another") from None
    mark = secrets.token_hex(8)
    with subprocess.Popen(
        [sys.executable, "-I", "-S", watch.__file__, mark, folder], stdin=subprocess.PIPE, start_new_session=True
    ):
        # After that, since what watches must not be watched. Read when Ray is imported, or by what it starts.
        os.environ |= {
            watch.MARK: mark,
            # A process that names itself would write over its environment.
            "SPT_NOENV": "1",
            # What Ray calls a cluster is one that others can reach.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            # The same for every cluster of a process, where Ray remembers it.
            "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
        }
        # A folder within, since Ray opens its own to everybody.
        yield {"_temp_dir": f"{folder}/ray"}


def reach(address: str) -> None:
    """Raises UserError for what is no address, and where nobody listens: Ray itself would try for a minute. Where there
    is a token, it is used: `ray start` asks for one, and `ray.init` by itself sends none.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port[:6]) < 2**16:
        raise UserError(f"address {address!r}: should be a host and a port, such as 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"the cluster at {address} cannot be reached: {why}") from None
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys() or TOKEN.exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
