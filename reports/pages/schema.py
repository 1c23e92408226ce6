"""report.json as a format: its version, and reading one that somebody else has made."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import msgspec

from shared_spec import frameworks
from shared_spec.errors import UserError

FORMAT, LEADERBOARD = "isogru-report/1", "isogru-leaderboard/1"
Record = dict[str, Any]
"""A report, or a part of one, as plain data."""
FILE = Path(__file__).parents[1] / "report.schema.json"
"""What report.json holds, as a JSON Schema with a description of every part."""


def size(value: float | None) -> float:
    """A number of a report, in which null stands for infinity."""
    return math.inf if value is None else value


def check_format(file: Path, found: object, wanted: str = FORMAT) -> None:
    """Raises UserError for a report, or a leaderboard, of a newer isogru, and for what is none."""
    if found == wanted:
        return
    kind = wanted.partition("/")[0]
    if isinstance(found, str) and found.startswith(f"{kind}/"):
        raise UserError(f"{file}: format {found} is newer than {wanted}, which this isogru reads; update isogru")
    what = kind.removeprefix("isogru-")
    raise UserError(f"{file}: not a {what}: its format is {found or 'not given'}, should be {wanted}")


def read(file: Path) -> Record:
    """A report.json. Raises UserError for one that is not there, damaged or of a newer version."""
    report = _read(file, FORMAT, _validator())
    for each in report["frameworks"]:
        # One of an earlier isogru does not say it.
        if "colour" not in each and each["name"] in (known := frameworks.frameworks()):
            each["colour"] = known[each["name"]].colour
    return report


def read_leaderboard(file: Path) -> Record:
    """A leaderboard.json. Raises UserError for one that is not there, damaged or of a newer version."""
    return _read(file, LEADERBOARD, _validator("leaderboard"))


def _read(file: Path, wanted: str, validator: Callable[[object], object]) -> Record:
    what = wanted.partition("/")[0].removeprefix("isogru-")
    try:
        record = msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise UserError(f"{file}: damaged, truncated or not a {what} ({error})") from None
    if not isinstance(record, dict):
        raise UserError(f"{file}: not a {what}: it holds no table")
    check_format(file, record.get("format"), wanted)
    try:
        validator(record)
    except fastjsonschema.JsonSchemaValueException as error:
        raise UserError(f"{file}: damaged: {error.message.removeprefix('data.')}") from None
    return record


@functools.cache
def _validator(part: str | None = None) -> Callable[[object], object]:
    """Of a whole report, or of one of its parts."""
    schema = msgspec.json.decode(FILE.read_bytes())
    if part is not None:
        schema = {"definitions": schema["definitions"], **schema["definitions"][part]}
    validator: Callable[[object], object] = fastjsonschema.compile(schema)
    return validator
