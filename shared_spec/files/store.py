"""Where results lie, and under which names: reports/results, or the folder that ISOGRU_RESULTS names.

<framework>/manifest.json                                       what the framework set out to do
<framework>/<case>.<implementation>.<dtype>.<device>.safetensors    a result
<framework>/<case>.<implementation>.<dtype>.<device>.failed.json    a failure, with its last words
errata/<erratum>.<framework>.json                               an erratum that was run
score/<framework>-<dtype>.json                                  which mutants the referee kills
suites.json                                                     which mutants the tests of other projects accept
benchmarks/<race>/                                              passes of a race, see shared_spec/race/rows.py
cases/<case>.safetensors                                        language-model cases, which depend on the text
reference/<digest>.safetensors                                  the oracle and its twins, kept between runs
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import NotRequired, TypedDict

import filelock

from shared_spec.errors import InterchangeError, UserError
from shared_spec.files import door, folders
from shared_spec.files.interchange import Result, write_result
from shared_spec.files.whole import write_whole
from shared_spec.language_model.corpus import Corpus

MANIFEST_FORMAT = "isogru-manifest/1"
FAILURE_FORMAT = "isogru-failure/1"
PLAIN = re.compile(r"[^./\x00-\x1f][^/\x00-\x1f]*")
"""Names that files are made of: none leaves its folder."""


def folder() -> Path:
    """The folder of all results."""
    return folders.results()


@dataclass(frozen=True)
class Job:
    """One implementation on one case, in one dtype, on one device."""

    framework: str
    case: str
    implementation: str
    dtype: str
    device: str

    @property
    def stem(self) -> str:
        return f"{self.case}.{self.implementation}.{self.dtype}.{self.device}"

    @property
    def result_file(self) -> Path:
        return folder() / self.framework / f"{self.stem}.safetensors"

    @property
    def failure_file(self) -> Path:
        return folder() / self.framework / f"{self.stem}.failed.json"


class Listed(TypedDict):
    """An implementation as a manifest lists it."""

    name: str
    cell: str
    lane: str
    available: bool
    reason: str
    dtypes: NotRequired[list[str]]


@dataclass(frozen=True)
class Manifest:
    """What a framework's last run set out to do, and with what."""

    framework: str
    jobs: list[Job] = field(default_factory=list)
    implementations: list[Listed] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    switches: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    corpus: str = ""
    failure: str = ""
    """Last words of a framework that did not even start; empty otherwise."""


def reference_folder() -> Path:
    """Where the oracle and its twins are kept between runs: with the results, or where ISOGRU_REFERENCE says."""
    return Path(os.environ.get("ISOGRU_REFERENCE") or folder() / "reference")


def case_file(case: str) -> Path:
    """Where a language-model case lies: what was trained, text included."""
    return folder() / "cases" / f"{case}.safetensors"


def text_file(sha1: str) -> Path:
    """Where the text of that digest is kept that a run was given."""
    return folder() / "cases" / f"corpus-{sha1}.txt"


def keep_text(text: Corpus) -> Path:
    """Keep the text that a run was given: its workers read it, and so do pages, later. Returns its file."""
    file = text_file(text.sha1)
    write_whole(file, text.text.encode())
    return file


def save_result(job: Job, result: Result) -> None:
    """Keep a result; a failure of the same job is over."""
    with _lock(job.framework):
        write_result(job.result_file, result)
        job.failure_file.unlink(missing_ok=True)


def save_failure(job: Job, last_words: str) -> None:
    """Keep a failure; an older result of the same job no longer counts."""
    record = {"format": FAILURE_FORMAT, **asdict(job), "last_words": last_words}
    with _lock(job.framework):
        write_whole(job.failure_file, json.dumps(record, indent=1).encode())
        job.result_file.unlink(missing_ok=True)


@contextlib.contextmanager
def manifest_of(framework: str) -> Iterator[Manifest]:
    """The manifest as it is, an empty one where there is none, held so that no other run changes it meanwhile."""
    with _lock(framework):
        yield read_manifest(framework) or Manifest(framework)


def save_manifest(manifest: Manifest) -> None:
    """Keep a manifest in place of the one before."""
    record = {"format": MANIFEST_FORMAT, **asdict(manifest)}
    write_whole(_manifest_file(manifest.framework), json.dumps(record, indent=1).encode())


def note_failure(framework: str, words: str) -> None:
    """Keep the last words of a framework that did not start, or, with none, forget those of an earlier run."""
    with manifest_of(framework) as manifest:
        if words or manifest.failure:
            save_manifest(replace(manifest, failure=words))


def read_manifest(framework: str) -> Manifest | None:
    """What the framework set out to do; None where it never ran. A damaged manifest is one of a failed framework."""
    file = _manifest_file(framework)
    again = f"run tox -e {framework} again"
    try:
        record = door.json(file, _Written, again)
        if record.format != MANIFEST_FORMAT:
            return Manifest(framework, failure=f"{file.name} is of another version; {again}")
        if record.framework != framework or not all(_is_of(job, framework) for job in record.jobs):
            return Manifest(framework, failure=f"{file.name} is damaged: it has jobs of another framework; {again}")
        return Manifest(**{each.name: getattr(record, each.name) for each in fields(Manifest)})
    except door.MissingError:
        return None
    except InterchangeError as error:
        told = str(error).removeprefix(f"{file}: ").removesuffix(f"; {again}")
        return Manifest(framework, failure=f"{file.name} is {told}; {again}")


@dataclass(frozen=True)
class _Written(Manifest):
    """A manifest as its file has it."""

    format: str = ""


def _is_of(job: Job, framework: str) -> bool:
    names = (job.case, job.implementation, job.dtype, job.device)
    return job.framework == framework and all(PLAIN.fullmatch(name) for name in names)


def _manifest_file(framework: str) -> Path:
    return folder() / framework / "manifest.json"


def _lock(framework: str) -> filelock.BaseFileLock:
    """Held while files of a framework are changed that belong together: two runs at once do not mix them up."""
    return lock(f".{framework}.lock")


def lock(name: str) -> filelock.BaseFileLock:
    """A lock in the folder of results. Raises UserError where that folder cannot be written to."""
    return lock_file(folder() / name)


@contextlib.contextmanager
def lock_if_written(name: str) -> Iterator[None]:
    """The same for who reads: nobody changes a folder that cannot be written to."""
    try:
        held = lock(name)
    except UserError:
        yield
        return
    with held:
        yield


def lock_file(file: Path) -> filelock.BaseFileLock:
    """A lock that is this file. Raises UserError where its folder cannot be written to."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    except OSError as error:
        raise UserError(f"{file.parent}: cannot be written: {error.strerror or error}") from None
    return filelock.FileLock(file)


def read_failure(job: Job) -> str | None:
    """The last words of a failed job; None where it did not fail."""
    return last_words(job.failure_file)


def words_of(error: Exception) -> str:
    """An exception as the last words of what failed with it: one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:1000]


def last_words(file: Path) -> str | None:
    """Those of a record of a failure; None where there is no such record."""
    try:
        return door.json(file, _Failure, "").last_words
    except door.MissingError:
        return None
    except InterchangeError:
        return f"the record {file.name} is damaged"


@dataclass(frozen=True)
class _Failure:
    last_words: str
