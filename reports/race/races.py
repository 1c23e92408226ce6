"""The leaderboard of a race, made of the passes that lie in its folder."""

from __future__ import annotations

import contextlib

import msgspec
from msgspec import structs

from reports.pages import schema
from reports.race import against, leaderboard
from reports.race.records import Leaderboard
from shared_spec.errors import UserError
from shared_spec.race import rows
from shared_spec.race.definition import Race, passes, read
from shared_spec.race.rows import Memory, OtherVersionError, Pass


def memory(race: Race) -> list[Memory]:
    """How much memory rows take, as far as it has been measured."""
    try:
        return msgspec.json.Decoder(Memory).decode_lines(race.memory_file.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{race.memory_file}: damaged: {error}; race again with python -m reports race") from None


def board(race: Race) -> Leaderboard:
    """The leaderboard of what is there of a race, beside the one that it was held against."""
    return _board(race, passes(race))


def _board(race: Race, of: list[Pass]) -> Leaderboard:
    board = leaderboard.build(of, memory(race), name=race.name)
    if not race.against_file.exists():
        return board
    return structs.replace(board, against=against.compare(board, schema.read_leaderboard(race.against_file)))


def latest_board() -> Leaderboard | None:
    """That of the race that was begun last, has got anywhere and is of this version; None where there is none."""
    for file in sorted(rows.folder(".").glob("*/race.json"), reverse=True):
        with contextlib.suppress(OtherVersionError):
            race = read(file)
            if there := passes(race):
                return _board(race, there)
    return None
