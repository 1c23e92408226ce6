"""Verdicts kept beside the results that they are on: judged once, and again only when something has changed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from isogru.judge import reference
from isogru.judge.comparison import Finding
from isogru.judge.divergence import Divergence
from isogru.judge.profile import Profile
from isogru.judge.verdict import judge
from shared_spec.files import door
from shared_spec.files.interchange import AnyCase, read_result
from shared_spec.files.kept import keep, read
from shared_spec.readings.arithmetic import Array


@dataclass(frozen=True)
class Kept:
    """A verdict as it is kept beside its result, with all that it rests on."""

    of: str
    findings: tuple[Finding, ...]
    divergence: Divergence | None
    profile: Profile | None
    bits: dict[str, str]


def _file(result: Path) -> Path:
    return result.with_suffix(".verdict")


def verdict_on(result_file: Path, case: AnyCase, dtype: str) -> Kept:
    """The verdict on a result, from beside it where it was judged before: nothing then has changed that it rests on."""
    of = _rests_on(result_file, case, dtype)
    kept = _find(result_file, of)
    if kept is None:
        result = read_result(result_file, case)
        judged = judge(case, result, reference.get(case, dtype))
        kept = Kept(of, judged.findings, judged.divergence, judged.profile, bits_of(result.arrays))
        # A run that goes on meanwhile may have put another result there.
        if _rests_on(result_file, case, dtype) == of:
            keep(_file(result_file), kept)
    return kept


def is_kept(result_file: Path, case: AnyCase, dtype: str) -> bool:
    """Whether a verdict was kept of a result as it is now."""
    return _find(result_file, _rests_on(result_file, case, dtype)) is not None


def _find(result_file: Path, of: str) -> Kept | None:
    kept = read(_file(result_file), Kept)
    return kept if kept is not None and kept.of == of else None


def _rests_on(result_file: Path, case: AnyCase, dtype: str) -> str:
    """Raises InterchangeError where there is no such result."""
    # By content: a result that was exchanged may have the size and the time of the one before.
    return f"{_digest(result_file, _identity(result_file))} {reference.key(case, dtype)}"


def _identity(file: Path) -> tuple[int, ...]:
    """What changes where a file is written or exchanged, though its content is asked for again and again: nobody can
    set the time of the last change. Empty where there is no file.
    """
    try:
        at = file.stat()
    except OSError:
        return ()
    return at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns


@functools.lru_cache(maxsize=2**16)
def _digest(file: Path, identity: tuple[int, ...]) -> str:
    return hashlib.sha256(door.content(file)).hexdigest()


def bits_of(arrays: Mapping[str, Array]) -> dict[str, str]:
    """A digest of each array."""
    return {name: hashlib.sha1(array.tobytes()).hexdigest()[:12] for name, array in arrays.items()}
