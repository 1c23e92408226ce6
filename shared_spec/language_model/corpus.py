"""The text: fetched and verified, cleaned, tokenised, cut into windows and batches, as the chapter does.

Source of the pipeline: Zhang et al., Dive into Deep Learning, section 9.2 (tokens, vocabulary) and 9.3 (windows).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared_spec.errors import CorpusError, InterchangeError, UserError
from shared_spec.files import door, folders, temporary
from shared_spec.files.whole import write_whole

Tokens = npt.NDArray[np.int32]

BUILT_IN = Path(__file__).parents[1] / "story.txt"
PATIENCE_SECONDS, FETCH_SECONDS, FETCH_BYTES = 10, 30, 2**20
"""For a server to answer, and what is ever waited for and taken of a text."""


@dataclass(frozen=True)
class Corpus:
    """A text and where it came from: `source` is one of "given", "fetched" and "built-in"."""

    text: str
    sha1: str
    source: str
    notice: str
    """What to tell the user about it; never empty for the built-in text."""


@dataclass(frozen=True)
class Vocabulary:
    """The sorted set of the characters of a text and `<unk>`: space is 0, `<unk>` 1, "a" 2 where all letters occur."""

    tokens: tuple[str, ...]
    unknown: str

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> Tokens:
        """Cleaned text to indices (len(text),); a character not in the vocabulary becomes `<unk>`."""
        index = {token: i for i, token in enumerate(self.tokens)}
        return np.array([index.get(character, index[self.unknown]) for character in text], np.int32)

    def decode(self, indices: npt.NDArray[Any]) -> str:
        return "".join(self.tokens[int(i)] for i in indices)


def find(settings: dict[str, Any], *, path: Path | None = None, sha1: str | None = None) -> Corpus:
    """The corpus to use: the file at `path` if given, else the fetched one, else the built-in story, with a notice.

    `settings` is the [corpus] table of language_model.toml; `sha1` stands in for its digest where another text is
    meant. Raises CorpusError for a given file that cannot be read or has another digest.
    """
    wanted = sha1 or settings["sha1"]
    if path is not None:
        return _given(path, wanted)
    if sha1 not in (None, settings["sha1"]):
        raise CorpusError(f"a text of sha1 {sha1} is asked for, and no file; give it with --corpus or ISOGRU_CORPUS")
    problems = []
    for fetch in (_from_cache, _from_first_source, _from_second_source):
        try:
            text = fetch(settings, wanted)
        except (ValueError, CorpusError) as error:
            problems.append(f"not the right text: {error}")
            continue
        except OSError as error:
            problems.append(f"no connection: {type(error).__name__}")
            continue
        except ModuleNotFoundError:
            problems.append("fetching needs pooch: pip install pooch")
            continue
        return Corpus(text, wanted, "fetched", f"corpus: {settings['title']}, fetched, sha1 {wanted}")
    return built_in(settings, ", ".join(dict.fromkeys(problems[1:])))


def built_in(settings: dict[str, Any], reason: str) -> Corpus:
    """The story that comes with the project, with a notice that says so and why."""
    raw = BUILT_IN.read_bytes()
    digest = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    notice = (
        f"corpus: THE BUILT-IN STORY stands in for {settings['title']}, which could not be fetched ({reason}). "
        f"Give a file with --corpus or ISOGRU_CORPUS to use the real text."
    )
    return Corpus(raw.decode("ascii"), digest, "built-in", notice)


def _given(path: Path, wanted: str) -> Corpus:
    try:
        raw = door.content(path, "give the path of a text file")
    except InterchangeError as error:
        raise CorpusError(f"corpus {error}") from None
    if not raw.strip():
        raise CorpusError(f"corpus {path} is empty; give a file that holds the text")
    digest = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    if digest != wanted:
        raise CorpusError(
            f"corpus {path} has sha1 {digest}, not {wanted}: it is not the text that results are compared on. "
            f"To use another text on purpose, say so with --corpus-sha1 {digest} or ISOGRU_CORPUS_SHA1"
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(f"corpus {path} is not UTF-8 text: byte {error.start} is {raw[error.start]:#04x}") from None
    return Corpus(text, digest, "given", f"corpus: {path}, sha1 {digest}")


def _cached(wanted: str) -> Path:
    return folders.cache() / f"corpus-{wanted}.txt"


def _from_cache(settings: dict[str, Any], wanted: str) -> str:
    return _given(_cached(wanted), wanted).text


def _from_first_source(settings: dict[str, Any], wanted: str) -> str:
    import pooch  # type: ignore[import-untyped]

    with temporary.folder() as folder:
        file = _download(settings["address"], f"sha1:{wanted}", folder, pooch)
        return _keep(file.read_bytes(), wanted)


def _from_second_source(settings: dict[str, Any], wanted: str) -> str:
    import pooch

    second = settings["second"]
    with temporary.folder() as folder:
        raw = _download(second["address"], None, folder, pooch).read_bytes()
    return _keep(cut_second_source(raw, second), wanted)


def cut_second_source(raw: bytes, second: dict[str, Any]) -> bytes:
    """The novel itself out of Project Gutenberg's file, which puts notices before and after it."""
    lines = raw.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").split("\n")
    try:
        first = lines.index(second["first_line"])
        end = next(i for i, line in enumerate(lines) if i > first and line.startswith(second["end_marker"]))
    except (ValueError, StopIteration):
        raise CorpusError(f"{second['address']}: not the edition expected") from None
    return ("\n".join(lines[first:end]).rstrip("\n") + "\n").encode()


def _download(address: str, known_hash: str | None, folder: Path, pooch: Any) -> Path:
    pooch.get_logger().setLevel("ERROR")
    return Path(pooch.retrieve(address, known_hash, fname="download.txt", path=folder, downloader=_fetch))


def _fetch(address: str, output: Any, pooch: Any) -> None:
    """A downloader of pooch's, which has no limit of its own: whoever answers may send for ever, or hardly anything.
    Raises ValueError for more than FETCH_BYTES, and TimeoutError after FETCH_SECONDS.
    """
    import requests

    until, left = time.monotonic() + FETCH_SECONDS, FETCH_BYTES
    with requests.get(address, stream=True, timeout=PATIENCE_SECONDS) as answer, Path(output).open("wb") as file:
        answer.raise_for_status()
        for chunk in answer.iter_content(2**14):
            left -= len(chunk)
            if left < 0:
                raise ValueError(f"{address} sends more than {FETCH_BYTES} bytes")
            if time.monotonic() > until:
                raise TimeoutError(f"{address} takes more than {FETCH_SECONDS} s")
            file.write(chunk)


def _keep(raw: bytes, wanted: str) -> str:
    """Verify, then put into the cache under its digest."""
    digest = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    if digest != wanted:
        raise CorpusError(f"fetched text has sha1 {digest}, not {wanted}")
    # Where the cache cannot be written, the text is as good all the same.
    with contextlib.suppress(UserError):
        write_whole(_cached(wanted), raw)
    return raw.decode("utf-8")


def clean(text: str, separators: str) -> str:
    """Each run of separators becomes one space, then lower case."""
    return re.sub(separators, " ", text).lower()


def vocabulary(text: str, unknown: str) -> Vocabulary:
    """The vocabulary of a cleaned text, in sorted order."""
    return Vocabulary(tuple(sorted({unknown, *text})), unknown)


def windows(tokens: Tokens, *, num_steps: int, count: int) -> Tokens:
    """The first `count` windows of num_steps + 1 tokens, each shifted by one: a view (count, num_steps + 1), no copy.

    Raises CorpusError where the text is too short for that many.
    """
    needed = count + num_steps
    if len(tokens) < needed:
        raise CorpusError(
            f"the text has {len(tokens)} characters after cleaning; {count} windows of {num_steps} steps "
            f"need {needed}: use a longer text, fewer windows or fewer steps"
        )
    return np.lib.stride_tricks.sliding_window_view(tokens[:needed], num_steps + 1)


def order(count: int, *, epoch: int, seed: int) -> npt.NDArray[np.int64]:
    """The order (count,) in which an epoch visits the training windows, the same in every framework and on every
    NumPy: RandomState's streams are frozen, those of Generator are not.
    """
    return np.random.RandomState([seed, epoch]).permutation(count)


def batches(rows: Tokens, batch_size: int) -> Iterator[tuple[Tokens, Tokens]]:
    """Inputs and targets, each (n, num_steps) and contiguous; the last batch may be smaller and is kept."""
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        yield np.ascontiguousarray(batch[:, :-1]), np.ascontiguousarray(batch[:, 1:])
