"""Trials as a table for other tools, in CSV or Parquet, through DuckDB: one row for each epoch of each trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from reports.exercises.sweeps import row
from shared_spec.__main__ import keep
from shared_spec.errors import UserError
from shared_spec.files import temporary
from shared_spec.files.whole import write_whole

if TYPE_CHECKING:
    from shared_spec.sweeps.trial_store import TrialStore

FORMATS = {".csv": "(format csv, header)", ".parquet": "(format parquet)"}
COLUMNS = {
    **dict.fromkeys(("sweep", "framework", "implementation", "dtype", "device", "threads", "cell", "task"), "varchar"),
    **dict.fromkeys(("num_steps", "num_hiddens"), "integer"),
    "lr": "double",
    **dict.fromkeys(("batch_size", "num_train", "num_val"), "integer"),
    "clip_norm": "double",
    "start": "varchar",
    **dict.fromkeys(("seed", "epochs"), "integer"),
    **dict.fromkeys(("status", "why"), "varchar"),
    **dict.fromkeys(("seconds", "cpu_seconds"), "double"),
    "text": "varchar",
    "epoch": "integer",
    **dict.fromkeys(("perplexity_train", "perplexity_val"), "double"),
}


def export(kept: TrialStore, file: Path) -> int:
    """Write all trials of all sweeps, whole or not at all; returns the number of trials. One without an epoch has a row
    without one, and one that several sweeps have has rows for each.

    Raises UserError for a file that is neither CSV nor Parquet by its name, and where it cannot be written.
    """
    import duckdb

    if file.suffix not in FORMATS:
        raise UserError(f"{file}: should end in {' or '.join(FORMATS)}")
    keep(kept.file, file)
    rows: list[list[Any]] = []
    told_as = _harmless if file.suffix == ".csv" else _as_it_is
    trials: set[str] = set()
    for name, (_, keys) in kept.sweeps().items():
        for key, outcome in kept.outcomes(keys).items():
            trials.add(key)
            trial = row(outcome)
            told: dict[str, Any] = {"sweep": name, **structs.asdict(trial)}
            for epoch, (train, val) in enumerate(zip(trial.curves.train, trial.curves.val, strict=True), start=1):
                epochs = {"epoch": epoch, "perplexity_train": train, "perplexity_val": val}
                rows.append([told_as((told | epochs)[column]) for column in COLUMNS])
            if not trial.curves.train:
                rows.append([told_as(told.get(column)) for column in COLUMNS])
    try:
        with temporary.folder() as folder, duckdb.connect() as database:
            columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
            database.execute(f"create table trials ({columns})")
            if rows:
                database.executemany(f"insert into trials values ({', '.join('?' * len(COLUMNS))})", rows)
            made = folder / "trials"
            quoted = str(made).replace("'", "''")
            database.execute(f"copy trials to '{quoted}' {FORMATS[file.suffix]}")
            write_whole(file, made.read_bytes())
    except (OSError, duckdb.Error) as error:
        raise UserError(f"{file}: cannot be written: {' '.join(str(error).split())}") from None
    return len(trials)


def _as_it_is(value: Any) -> Any:
    return value


def _harmless(value: Any) -> Any:
    """Text that a spreadsheet takes for text: what begins like a formula has an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
