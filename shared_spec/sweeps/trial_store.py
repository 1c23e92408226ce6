"""Where the trials of sweeps are kept: one SQLite file, through SQLAlchemy.

SQLite, since several sweeps, each a process, write to one store at the same time, and since what was committed is there
after kill -9; DuckDB lets one process write. A trial is a row, written in one transaction when it is over. While it
runs its *claim* says who runs it: a sweep that shares the store leaves it alone as long as the claim is kept alive.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
import urllib.parse
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.numpy
import sqlalchemy
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DatabaseError

from shared_spec.errors import UserError
from shared_spec.files import door
from shared_spec.sweeps import stored, trials
from shared_spec.sweeps.place import ELSEWHERE, PATIENCE_SECONDS, Tell
from shared_spec.sweeps.stored import Outcome

FORMAT = "isogru-trials/1"

_METADATA = MetaData()
_ABOUT = Table("about", _METADATA, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
_SWEEPS = Table("sweeps", _METADATA, Column("name", Text, primary_key=True), Column("definition", Text, nullable=False))
_MEMBERS = Table(
    "members",
    _METADATA,
    Column("sweep", Text, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("trial", Text, nullable=False),
)
_TRIALS = Table(
    "trials",
    _METADATA,
    Column("key", Text, primary_key=True),
    Column("trial", Text, nullable=False),
    Column("corpus", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("together", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("node", Text, nullable=False),
    Column("made_with", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("arrays", LargeBinary, nullable=False),
)
_CLAIMS = Table(
    "claims",
    _METADATA,
    Column("key", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("alive", Float, nullable=False),
)


class TrialStore:
    """A store; made where there is none."""

    def __init__(self, file: Path, *, reads: bool = False, tell: Tell | None = None) -> None:
        """One that only `reads` changes nothing, and need not be allowed to. What is damaged is told by `tell` and left
        out; without that UserError is raised for it.

        Raises UserError for a file that is no store, or one of another version, and where none can be made.
        """
        self.file, self._tell = file, tell
        with _told(f"{file}: cannot be a store of trials"):
            if file.exists() or reads:
                door.check(file, ELSEWHERE)
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
            url, begin = sqlalchemy.URL.create("sqlite", database=str(file)), "BEGIN IMMEDIATE"
            if reads:
                where = f"file:{urllib.parse.quote(os.path.realpath(file))}"
                url, begin = url.set(database=where, query={"mode": "ro", "uri": "true"}), "BEGIN"
            self._engine = sqlalchemy.create_engine(url, connect_args={"timeout": PATIENCE_SECONDS})
            # Python's sqlite3 would begin a transaction only at the first change, too late to look before it.
            sqlalchemy.event.listen(self._engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
            sqlalchemy.event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql(begin))
            there = sqlalchemy.inspect(self._engine).get_table_names()
            if "about" not in there and (there or reads):
                raise UserError(f"{file}: a database, but not a store of trials; {ELSEWHERE}")
            with self._engine.begin() as connection:
                version = select(_ABOUT.c.value).where(_ABOUT.c.name == "format")
                file_format = connection.scalar(version) if there else FORMAT
                if file_format != FORMAT:
                    another = f"a store of another version, {file_format}; this isogru has {FORMAT}"
                    raise UserError(f"{file}: {another}; {ELSEWHERE}")
                if reads:
                    return
                _METADATA.create_all(connection)
                connection.execute(insert(_ABOUT).prefix_with("OR IGNORE").values(name="format", value=FORMAT))

    def check_name(self, sweep: str, definition: Mapping[str, Any]) -> None:
        """Raises UserError where that name stands for another sweep."""
        with self._writing() as connection:
            self._check_name(connection, sweep, json.dumps(definition))

    def define(self, sweep: str, definition: Mapping[str, Any], keys: Sequence[str]) -> None:
        """Remember what a sweep consists of, as the one that was asked for last.

        Raises UserError where that name stands for another.
        """
        told = json.dumps(definition)
        with self._writing() as connection:
            self._check_name(connection, sweep, told)
            # Its trials may be others than they were: equations and defaults change.
            connection.execute(delete(_MEMBERS).where(_MEMBERS.c.sweep == sweep))
            connection.execute(delete(_SWEEPS).where(_SWEEPS.c.name == sweep))
            connection.execute(insert(_SWEEPS).values(name=sweep, definition=told))
            rows = [{"sweep": sweep, "place": place, "trial": key} for place, key in enumerate(keys)]
            connection.execute(insert(_MEMBERS), rows)

    def done(self, keys: Collection[str]) -> set[str]:
        """Which of these trials are over and need not be run again: those that failed may be."""
        with self._writing() as connection:
            return self._done(connection, keys)

    def claim(self, keys: Collection[str], owner: str) -> set[str]:
        """Of these trials those that are the owner's to run: not done, and nobody else's who is alive."""
        now = time.time()
        with self._writing() as connection:
            alive = connection.execute(
                select(_CLAIMS.c.key).where(_CLAIMS.c.owner != owner, _CLAIMS.c.alive > now - PATIENCE_SECONDS)
            )
            mine = set(keys) - self._done(connection, keys) - {key for (key,) in alive}
            for key in mine:
                claim = insert(_CLAIMS).prefix_with("OR REPLACE").values(key=key, owner=owner, alive=now)
                connection.execute(claim)
        return mine

    def keep_alive(self, owner: str) -> None:
        """Say that the owner of claims still is; at least every PATIENCE_SECONDS."""
        with self._writing() as connection:
            connection.execute(update(_CLAIMS).where(_CLAIMS.c.owner == owner).values(alive=time.time()))

    def release(self, owner: str) -> None:
        """Give up all claims of an owner."""
        with self._writing() as connection:
            connection.execute(delete(_CLAIMS).where(_CLAIMS.c.owner == owner))

    def save(self, outcomes: Iterable[Outcome]) -> None:
        """Keep outcomes, each in place of its claim: all or, where the disk is full, none of them. One that is there
        already stays, unless it failed.
        """
        with self._writing() as connection:
            for outcome in outcomes:
                key = outcome.trial.key(outcome.corpus)
                connection.execute(delete(_TRIALS).where(_TRIALS.c.key == key, _TRIALS.c.status == trials.FAILED))
                connection.execute(insert(_TRIALS).prefix_with("OR IGNORE").values(key=key, **_row(outcome)))
                connection.execute(delete(_CLAIMS).where(_CLAIMS.c.key == key))

    def sweeps(self) -> dict[str, tuple[dict[str, Any], list[str]]]:
        """By name, in the order in which they were last asked for: the definition of each sweep, and the keys of its
        trials in order.
        """
        with self._writing() as connection:
            sweeps: dict[str, tuple[dict[str, Any], list[str]]] = {}
            for name, told in connection.execute(select(_SWEEPS).order_by(sqlalchemy.text("rowid"))):
                try:
                    sweeps[name] = (stored.asked(told), [])
                except UserError as error:
                    self._damaged(f"sweep {name!r}", error, "sweeps", "name", name)
            for name, key in connection.execute(
                select(_MEMBERS.c.sweep, _MEMBERS.c.trial).order_by(_MEMBERS.c.sweep, _MEMBERS.c.place)
            ):
                if name in sweeps and isinstance(key, str):
                    sweeps[name][1].append(key)
        return sweeps

    def outcomes(self, keys: Collection[str]) -> dict[str, Outcome]:
        """By key, in the order of the keys: what became of those of these trials that are over."""
        with self._writing() as connection:
            rows = connection.execute(select(_TRIALS).where(_TRIALS.c.key.in_(keys)))
            outcomes = {}
            for row in rows:
                try:
                    outcomes[row.key] = stored.outcome(row._mapping)
                except UserError as error:
                    self._damaged(f"trial {row.key!r}", error, "trials", "key", row.key)
        return {key: outcomes[key] for key in keys if key in outcomes}

    def _check_name(self, connection: Connection, sweep: str, told: str) -> None:
        text = connection.scalar(select(_SWEEPS.c.definition).where(_SWEEPS.c.name == sweep))
        if text is not None and not _same(text, told):
            raise UserError(f"{self.file}: has another sweep of the name {sweep!r}; choose another --name")

    def _done(self, connection: Connection, keys: Collection[str]) -> set[str]:
        query = select(_TRIALS.c.key).where(_TRIALS.c.key.in_(keys), _TRIALS.c.status != trials.FAILED)
        return {key for (key,) in connection.execute(query)}

    def _damaged(self, what: str, error: UserError, table: str, column: str, name: str) -> None:
        """A row of which nothing can be had is named, with what takes it away."""
        quoted = name.replace("'", "''")
        delete = f"delete from {table} where {column} = '{quoted}'"
        said = f"{self.file}: {what} is damaged: {error}; delete it: {shlex.join(['sqlite3', str(self.file), delete])}"
        if self._tell is None:
            raise UserError(said)
        self._tell(said)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _told(f"{self.file}: what was kept before is there, but no more"), self._engine.begin() as connection:
            yield connection


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """What the system has against a file as a UserError."""
    try:
        yield
    except DatabaseError as error:
        raise UserError(f"{what}: {error.orig}; {ELSEWHERE}") from None
    except OSError as error:
        raise UserError(f"{what}: {error.strerror or error}; {ELSEWHERE}") from None


def _same(text: object, told: str) -> bool:
    """Whether a kept definition is that one; one that is damaged is none."""
    try:
        return bool(msgspec.json.decode(msgspec.convert(text, str)) == msgspec.json.decode(told))
    except door.UNDECODABLE:
        return False


def _row(outcome: Outcome) -> dict[str, Any]:
    # A transposed or strided array would be written in the wrong order.
    arrays = {name: np.ascontiguousarray(array) for name, array in outcome.arrays.items()}
    return {
        "trial": outcome.trial.to_json(),
        "made_with": json.dumps(outcome.made_with),
        "arrays": safetensors.numpy.save(arrays),
        **{name: getattr(outcome, name) for name in stored.PLAIN},
    }
