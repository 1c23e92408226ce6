"""Verdicts as people and shells read them, and numbers as JSON takes them."""

from __future__ import annotations

import math
from typing import Any

from shared_spec.command import EQUAL, NOT_EQUAL, UNJUDGED

# A verdict is never told by colour alone.
MARKS = {"equal": "✓", "undetermined": "○", "suspect": "?", "different": "✗", "failed": "!"}


def status(verdict: str) -> int:
    """The exit status that a verdict has."""
    return {"equal": EQUAL, "undetermined": UNJUDGED}.get(verdict, NOT_EQUAL)


def ratio(value: float | None) -> str:
    """A ratio to a bound: two significant digits."""
    if value is None or math.isinf(value):
        return "∞"
    return f"{float(f'{value:.1e}'):g}" if value < 1000 else f"{value:.1e}"


def finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: None stands for both."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
