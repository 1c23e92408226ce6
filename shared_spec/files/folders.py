"""The folders that isogru keeps things in, outside of those that a user names."""

from __future__ import annotations

import os
from pathlib import Path

from shared_spec.errors import UserError

CHECKOUT = Path(__file__).parents[2]


def cache() -> Path:
    """The folder for what can be fetched or computed again: ISOGRU_CACHE, or isogru in the user's cache folder.

    Raises UserError where there is no home to keep it in.
    """
    if folder := os.environ.get("ISOGRU_CACHE"):
        return Path(folder)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isogru"
    except RuntimeError:
        raise UserError("there is no home folder to keep a cache in; name one with ISOGRU_CACHE") from None


def results() -> Path:
    """The folder of all results: ISOGRU_RESULTS, or reports/results of the checkout; where isogru is installed without
    one, a folder of the cache.
    """
    if folder := os.environ.get("ISOGRU_RESULTS"):
        return Path(folder)
    # Where isogru is installed, a folder called reports beside it is somebody else's.
    is_checkout = (CHECKOUT / "reports" / "report.schema.json").is_file()
    return CHECKOUT / "reports" / "results" if is_checkout else cache() / "results"
