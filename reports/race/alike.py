"""Whether passes belong together, so that what they timed can be ranked as one."""

from __future__ import annotations

from collections.abc import Sequence

from shared_spec.errors import UserError
from shared_spec.race.rows import Pass

SAME = ("machine", "device", "threads", "tf32", "corpus")
"""What all passes of one ranking must share."""


def check(passes: Sequence[Pass]) -> None:
    """Raises UserError where passes ran on different machines, devices, texts or numbers of threads, or those of one
    framework with different versions or switches.
    """
    first = passes[0]
    of: dict[str, Pass] = {}
    for one in passes:
        before = of.setdefault(one.framework, one)
        for key in ("versions", "switches"):
            ours, theirs = (getattr(each.header, key) for each in (before, one))
            if ours != theirs:
                raise UserError(
                    f"{before.path.name} and {one.path.name} are no one ranking: their {key} differ "
                    f"({_differing(ours, theirs)}); race again"
                )
    for other in passes[1:]:
        for key in SAME:
            ours, theirs = (getattr(each.header, key) for each in (first, other))
            if ours != theirs:
                raise UserError(
                    f"{first.path.name} and {other.path.name} are no one ranking: their {key} differs "
                    f"({_differing(ours, theirs)}); race again, all on one machine"
                )


def _differing(one: object, other: object) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        key = next(k for k in {**one, **other} if one.get(k) != other.get(k))
        return f"{key}: {one.get(key)} and {other.get(key)}"
    return f"{one} and {other}"
