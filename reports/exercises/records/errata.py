"""The errata of the chapter as types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from reports.pages.parts import Number, Part, Verdict, about


class Run(Part, frozen=True):
    """What became of an erratum in one framework."""

    framework: str
    status: str
    why: Annotated[str, about("last words of a run that failed")]
    command: str
    versions: Mapping[str, str]


class MadeWith(Part, frozen=True):
    """The command that runs a framework's errata, and with which versions they were run."""

    framework: str
    command: str
    versions: list[str]


class Wiring(Part, frozen=True):
    """What was run, in these frameworks."""

    frameworks: list[str]
    lines: Sequence[str]


class Held(Part, frozen=True):
    """A verdict, and the one that was expected."""

    verdict: Verdict
    ratio: Number
    expected: Verdict


class Row(Part, frozen=True):
    """One verdict in every framework; null in those that have it not."""

    label: str
    verdicts: Sequence[Held | None]


class Said(Part, frozen=True):
    """A sentence from one framework's run."""

    framework: str
    sentence: str


class Entry(Part, frozen=True):
    """An erratum: what is printed, what is so, and what was found."""

    name: str
    title: str
    claim: str
    right: str
    wrong: str
    runs: Sequence[Run]
    wirings: Annotated[Mapping[str, Sequence[Wiring]], about("wrong and right")]
    frameworks: Annotated[Sequence[str], about("whose runs are shown")]
    rows: Sequence[Row]
    worst: Annotated[Sequence[Said], about("the worst element of what is wrong")]
    unmet: Annotated[Sequence[Said], about("claims that do not hold")]
    sentences: Sequence[str]


class Errata(Part, frozen=True):
    """All errata, and how many of their runs prove what is claimed."""

    entries: Sequence[Entry]
    runs: int
    proven: int
    made_with: Sequence[MadeWith]
