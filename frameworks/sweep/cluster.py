"""Ray, started here for as long as a sweep takes, or joined where a cluster is: batches of trials go out, outcomes come
back. No other file knows of Ray.
"""

from __future__ import annotations

import contextlib
import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from frameworks.sweep import worker
from shared_spec import machine
from shared_spec.errors import UserError
from shared_spec.files import store
from shared_spec.language_model.corpus import Corpus
from shared_spec.sweeps.trial_store import Outcome
from shared_spec.sweeps.trials import Trial

ROOT = Path(__file__).parents[2]
SENT = ("frameworks", "shared_spec")
CONNECT_SECONDS = 5.0
TOKEN = Path.home() / ".ray" / "auth_token"
OBJECTS = 80_000_000
"""Bytes of memory that the nodes share: the text, and outcomes on their way."""

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
    """Workers, each a process that runs one batch at a time."""

    def __init__(self, *, address: str | None, workers: int | None, threads: int, device: str, text: Corpus) -> None:
        """Without a number of workers there are as many as this machine, or the cluster, has room for."""
        self._address, self._threads, self._device, self._text = address, threads, device, text
        self._workers = workers or (None if address else max(1, machine.cores() // threads))
        self._flying: dict[Any, Batch] = {}

    def __enter__(self) -> Self:
        """Raises UserError for a cluster that cannot be reached or is not fit."""
        if self._address is not None:
            # Before the import, which reads how to show the token.
            _reachable(self._address)
        import ray

        # Ray starts programs of its own, which takes a fork; what JAX warns of, that the copy goes on, does not happen.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        self._ray = ray
        options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False, "namespace": "isogru"}
        try:
            if self._address is None:
                cores = (self._workers or 1) * self._threads
                os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
                ray.init("local", num_cpus=cores, object_store_memory=OBJECTS, include_dashboard=False, **options)
            else:
                # The nodes need what the environment of the framework has, and get the project's own code from here.
                modules = [str(ROOT / name) for name in SENT]
                ray.init(self._address, runtime_env={"py_modules": modules}, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = f"the cluster at {self._address}" if self._address else "Ray"
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise UserError(f"{where} cannot be used: {store.words_of(cause)}") from None
        self._run = ray.remote(worker.run)
        self._given = ray.put(self._text)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        for news in self._flying:
            # On a cluster that goes on without us nothing of ours must.
            with contextlib.suppress(Exception):
                self._ray.cancel(news, force=True)
        self._ray.shutdown()

    def slots(self) -> int:
        """How many batches the nodes that are alive can run at once, and may."""
        there = self._ray.cluster_resources()
        found = int(there.get("CPU", 0.0)) // self._threads
        if self._device == "cuda":
            found = min(found, int(there.get("GPU", 0.0)))
        return max(1, found if self._workers is None else min(found, self._workers))

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


def _reachable(address: str) -> None:
    """Raises UserError where nobody listens: Ray itself would try for a minute. Where there is a token, it is used:
    `ray start` asks for one, and `ray.init` by itself sends none.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"address {address!r}: should be a host and a port, such as 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"the cluster at {address} cannot be reached: {why}") from None
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys() or TOKEN.exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
