"""Every reader of files on mutated files: nothing but isogru's own errors, and no wait.

`tox -e fuzz` tries 10^6 of them, and says how often each was read and refused; ISOGRU_FUZZ is how many of each reader.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from shared_spec.errors import UserError
from tests.fuzz.readers import readers

SHORT = 200
INPUTS = int(os.environ.get("ISOGRU_FUZZ", SHORT))
AT_ONCE = 100
"""Mutations of one example: Hypothesis draws where they begin."""
SECONDS = 5
TOKENS = (
    b"null",
    b"[]",
    b"{}",
    b"-1",
    b"0",
    b"1e999",
    b"9" * 400,
    b"\xff",
    b"\x00" * 8,
    b"\xff" * 8,
    b'"',
    b"[" * 2000,
    b"NaN",
    b'"\\ud800"',
    b"\xed\xa0\x80",
    b"\n",
    b"true",
    b"../..",
    b"\x1b[31m",
    b"(" * 500,
    b"= " * 20,
    b"2147483648",
)
NAMES = (
    "cases",
    "results",
    "answers",
    "weights",
    "reports",
    "leaderboards",
    "races",
    "passes",
    "blocks",
    "manifests",
    "failures",
    "errata",
    "third parties",
    "kept verdicts",
    "trials",
    "sweeps",
    "recipes",
    "cells",
    "frameworks",
    "texts of errata",
    "conventions",
    "scores",
    "scores begun",
    "suites",
    "results of suites",
    "packs",
    "arrays of packs",
    "stacks",
    "answers to stacks",
    "equations",
    "corpora",
)


@pytest.fixture(scope="module")
def there():
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOGRU_RESULTS", folder)
        yield Path(folder), readers(Path(folder))


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The same with one to four places changed: a bit, a byte, a piece left out, doubled or cut off, a token put in."""
    made = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at, until = sorted(chance.randrange(len(made) + 1) for _ in range(2))
        match chance.randrange(7):
            case 0 if made:
                made[at % len(made)] ^= 1 << chance.randrange(8)
            case 1 if made:
                made[at % len(made)] = chance.randrange(256)
            case 2:
                del made[at : min(until, at + chance.choice((1, 8, 10**6)))]
            case 3:
                made[at:at] = made[at : min(until, at + 64)]
            case 4:
                del made[at:]
            case 5:
                made[at:at] = chance.choice(TOKENS)
            case _:
                made[at : at + chance.choice((1, 4, 8))] = chance.choice(TOKENS)
    return bytes(made)


@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_are_read_or_refused(there, name, capsys):
    folder, known = there
    assert set(known) == set(NAMES)
    reader, counts = known[name], Counter()
    file = folder / reader.name
    file.parent.mkdir(parents=True, exist_ok=True)

    for each in reader.seeds:
        # What a reader imports is imported before it is timed.
        with contextlib.suppress(UserError):
            reader.read(_written(file, each))

    @seed(0)
    @settings(
        max_examples=max(1, INPUTS // AT_ONCE), deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.integers(0, 2**64 - 1))
    def tried(begin):
        chance = random.Random(begin)
        for _ in range(AT_ONCE):
            content = mutated(chance.choice(reader.seeds), chance)
            _written(file, content)
            try:
                with InTime():
                    reader.read(file)
                counts["read"] += 1
            except UserError:
                counts["refused"] += 1
            except Exception as error:
                raise AssertionError(f"{name}: {type(error).__name__}: {error}: {content[:2000]!r}") from error

    tried()
    with capsys.disabled():
        if INPUTS > SHORT:
            print(f"\n{name}: {counts.total()} tried, {counts['read']} read, {counts['refused']} refused")


def _written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


class InTime:
    """No reader takes longer than SECONDS."""

    def __enter__(self):
        self._before = signal.signal(signal.SIGALRM, self._late)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)

    @staticmethod
    def _late(number, frame):
        raise TimeoutError
