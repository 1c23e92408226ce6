"""A verdict on a file, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isogru.judge.verdict import ResultVerdict
from isogru.wording import MARKS, ratio
from shared_spec.command import say


def show(file: Path, found: ResultVerdict, notes: Sequence[str]) -> None:
    """The verdict, what is to be said of it, and its worst elements."""
    say(f"{MARKS[found.verdict]} {found.verdict}: {file}")
    for note in notes:
        say(f"    {note}")
    for one in found.all_findings:
        say(f"    {MARKS[one.verdict]} {one.sentence(found.origin)}, ratio {ratio(one.ratio)}")
