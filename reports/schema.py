"""report.json as a format: its version, and reading one that somebody else has made."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import msgspec

from shared_spec.errors import UserError

FORMAT = "isogru-report/1"
Record = dict[str, Any]
"""A report, or a part of one, as plain data."""
FILE = Path(__file__).with_name("report.schema.json")
"""What report.json holds, as a JSON Schema with a description of every part."""


def size(value: float | None) -> float:
    """A number of a report, in which null stands for infinity."""
    return math.inf if value is None else value


def check_format(file: Path, found: object) -> None:
    """Raises UserError for a report of a newer isogru, and for what is none."""
    if found == FORMAT:
        return
    if isinstance(found, str) and found.startswith("isogru-report/"):
        raise UserError(f"{file}: format {found} is newer than {FORMAT}, which this isogru reads; update isogru")
    raise UserError(f"{file}: not a report: its format is {found or 'not given'}, should be {FORMAT}")


def read(file: Path) -> Record:
    """A report.json. Raises UserError for one that is not there, damaged or of a newer version."""
    try:
        report = msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise UserError(f"{file}: damaged, truncated or not a report ({error})") from None
    if not isinstance(report, dict):
        raise UserError(f"{file}: not a report: it holds no table")
    check_format(file, report.get("format"))
    try:
        _validator()(report)
    except fastjsonschema.JsonSchemaValueException as error:
        raise UserError(f"{file}: damaged: {error.message.removeprefix('data.')}") from None
    return report


@functools.cache
def _validator() -> Callable[[object], object]:
    validator: Callable[[object], object] = fastjsonschema.compile(msgspec.json.decode(FILE.read_bytes()))
    return validator
