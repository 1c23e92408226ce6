"""report.json and leaderboard.json as formats: their schema, and reading one that somebody else has made."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import UNSET, structs

from isogru.judge.comparison import ORDER
from reports.diff.records import FORMAT, PRESENT, PRESENT_NEEDS, Report
from reports.diff.verdicts import VERDICT_NEEDS
from reports.pages.parts import requirement
from reports.race.records import FORMAT as LEADERBOARD
from reports.race.records import Leaderboard
from shared_spec import frameworks
from shared_spec.errors import UserError
from shared_spec.files import door

FILE = Path(__file__).parents[1] / "report.schema.json"
"""What report.json holds, as a JSON Schema with a description of every part; python -m reports schema writes it."""
AGAIN = {FORMAT: "python -m reports site", LEADERBOARD: "python -m reports race"}
"""What makes such a file."""

Whole = TypeVar("Whole", Report, Leaderboard)


class Header(msgspec.Struct):
    """What any version of a file says of itself."""

    format: object = None


def generate() -> bytes:
    """The schema of the types, as report.schema.json holds it."""
    _, definitions = msgspec.json.schema_components((Report,), ref_template="#/definitions/{name}")
    definitions["Result"] |= requirement(ORDER, VERDICT_NEEDS)
    definitions["Framework"] |= requirement([PRESENT], PRESENT_NEEDS)
    whole = definitions.pop("Report")
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **whole, "title": "isogru report"}
    schema["definitions"] = dict(sorted(definitions.items()))
    return json.dumps(_plainer(schema), indent=1).encode() + b"\n"


def _plainer(schema: dict[str, object]) -> dict[str, object]:
    """The same without the pattern of a text that is one of some words: "enum" says it, and in every language."""
    plainer: dict[str, object] = json.loads(
        json.dumps(schema),
        object_hook=lambda part: {k: v for k, v in part.items() if k != "pattern" or "enum" not in part},
    )
    return plainer


def size(value: float | None) -> float:
    """A number of a report, in which null stands for infinity."""
    return math.inf if value is None else value


def check_format(file: Path, file_format: object, wanted: str = FORMAT) -> None:
    """Raises UserError for a report, or a leaderboard, of a newer isogru, and for what is none."""
    if file_format == wanted:
        return
    kind = wanted.partition("/")[0]
    if isinstance(file_format, str) and file_format.startswith(f"{kind}/"):
        raise UserError(f"{file}: format {file_format} is newer than {wanted}, which this isogru reads; update isogru")
    raise UserError(f"{file}: not a {_what(wanted)}: its format is {file_format or 'not given'}, should be {wanted}")


def read(file: Path) -> Report:
    """A report.json. Raises UserError for one that is not there, damaged or of a newer version."""
    report = _read(file, FORMAT, Report)
    known = frameworks.frameworks()
    # One of an earlier isogru does not say the colours.
    coloured = [
        structs.replace(each, colour=known[each.name].colour) if each.colour is UNSET and each.name in known else each
        for each in report.frameworks
    ]
    return structs.replace(report, frameworks=coloured)


def read_leaderboard(file: Path) -> Leaderboard:
    """A leaderboard.json. Raises UserError for one that is not there, damaged or of a newer version."""
    return _read(file, LEADERBOARD, Leaderboard)


def _read(file: Path, wanted: str, type: type[Whole]) -> Whole:
    what, again = _what(wanted), AGAIN[wanted]
    content = door.content(file, f"give it a file that {again} made")
    try:
        # Of another version nothing but the format is known.
        header = msgspec.json.decode(content, type=Header)
    except msgspec.ValidationError:
        raise UserError(f"{file}: not a {what}: it holds no table; give it a file that {again} made") from None
    except door.UNDECODABLE as error:
        raise UserError(
            f"{file}: damaged, truncated or not a {what} ({door.words(error)}); make it anew: {again}"
        ) from None
    check_format(file, header.format, wanted)
    return door.decoded(content, type, file, f"make it anew: {again}")


def _what(format: str) -> str:
    return format.partition("/")[0].removeprefix("isogru-")
