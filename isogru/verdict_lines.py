"""A verdict on a file, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isogru.judge.verdict import ResultVerdict
from isogru.wording import MARKS, ratio
from shared_spec.command import say


def show(file: Path, result_verdict: ResultVerdict, notes: Sequence[str]) -> None:
    """The verdict, what is to be said of it, and its worst elements."""
    say(f"{MARKS[result_verdict.verdict]} {result_verdict.verdict}: {file}")
    for note in notes:
        say(f"    {note}")
    for one in result_verdict.all_findings:
        say(f"    {MARKS[one.verdict]} {one.sentence(result_verdict.origin)}, ratio {ratio(one.ratio)}")
