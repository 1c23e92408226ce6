"""Where trials are kept, and whether a store of them is there: what commands ask that may have none to open.

SQLAlchemy takes as long to import as NumPy does, so that only what opens a store imports `trial_store`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from shared_spec.files import door, store

ELSEWHERE = "name another with --store"
PATIENCE_SECONDS = 30.0
"""How long a claim lives unless it is kept alive, and how long to wait while another process writes."""
Tell = Callable[[str], None]


def default_file() -> Path:
    """Where trials are kept unless told otherwise."""
    return store.folder() / "trials.sqlite"


def check(file: Path | None) -> None:
    """Raises UserError where that file, or the usual one, is there and no store: before anything is run. An empty
    file becomes one.
    """
    where = file or default_file()
    if os.path.lexists(where):
        door.check(where, ELSEWHERE)
        if where.stat().st_size:
            from shared_spec.sweeps.trial_store import TrialStore

            TrialStore(where, reads=True)
