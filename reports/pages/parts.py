"""What records that pages are made of have in common: their base, and the kinds of fields that come up again and again.

The JSON Schema of a report is made of these types, and a report that somebody else has made is read by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta

from isogru.judge.comparison import ORDER


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record of a page: as JSON an object with these fields and no others."""


def about(description: str) -> Meta:
    """The description of a field in the schema."""
    return Meta(description=description)


def one_of(*words: str) -> Meta:
    """A text that is one of these words. Not a Literal, since who judges hands on plain texts; it is held against them
    when a record is read.
    """
    return Meta(pattern=rf"^({'|'.join(words)})\Z", extra_json_schema={"enum": list(words)})


def require(part: Part, names: Iterable[str], what: str) -> None:
    """Raises ValueError for a record in which one of these fields is not set, though it may be in others."""
    unset = [name for name in names if getattr(part, name) is UNSET]
    if unset:
        raise ValueError(f"{what} must have {', '.join(unset)}")


def requirement(statuses: Iterable[str], names: Iterable[str]) -> dict[str, object]:
    """The same for the schema: what has one of these statuses has these fields."""
    return {
        "if": {"properties": {"status": {"enum": list(statuses)}}},
        "then": {"required": list(names)},
    }


def number(value: float) -> float | None:
    """A number of a record: JSON has no infinity and no NaN, and None stands for both."""
    return value if math.isfinite(value) else None


def numbers(values: Iterable[float]) -> list[float | None]:
    """The same of several."""
    return [number(value) for value in values]


WITHOUT_VERDICT = ("failed", "missing", "stale")
"""The statuses of what was not judged."""

Number = Annotated[float | None, about("null stands for infinity")]
Seconds = Annotated[float, Meta(gt=0)]
Dtype = Annotated[str, one_of("float32", "float64")]
Verdict = Annotated[str, one_of(*ORDER)]
Status = Annotated[str, one_of(*ORDER, *WITHOUT_VERDICT)]
