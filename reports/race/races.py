"""The leaderboard of a race, made of the passes that lie in its folder."""

from __future__ import annotations

import msgspec
from msgspec import structs

from reports.pages import schema
from reports.race import against, leaderboard
from reports.race.records import Leaderboard
from shared_spec.errors import UserError
from shared_spec.files import door
from shared_spec.race import blocks, rows
from shared_spec.race.blocks import Block
from shared_spec.race.definition import AGAIN, Race, damaged, passes, read
from shared_spec.race.rows import Memory, OtherVersionError, Pass


def memory(race: Race) -> list[Memory]:
    """How much memory rows take, as far as it has been measured."""
    try:
        return msgspec.json.Decoder(Memory).decode_lines(door.content(race.memory_file, AGAIN))
    except door.MissingError:
        return []
    except door.UNDECODABLE as error:
        raise UserError(f"{race.memory_file}: damaged: {door.words(error)}; {AGAIN}") from None


def board(race: Race) -> Leaderboard:
    """The leaderboard of what is there of a race, beside the one that it was held against."""
    return _board(race, passes(race))


def _board(race: Race, of: list[Pass]) -> Leaderboard:
    trouble, measured, other = damaged(race), [], None
    # What is damaged is named, and the rest is shown.
    try:
        measured = memory(race)
    except UserError as error:
        trouble.append(str(error))
    turns: list[Block] = []
    try:
        turns = blocks.read(race.blocks_file)
    except OtherVersionError:
        raise
    except UserError as error:
        trouble.append(str(error))
    board = leaderboard.build(of, measured, name=race.name, turns=turns, race=race)
    try:
        other = schema.read_leaderboard(race.against_file) if race.against_file.exists() else None
    except UserError as error:
        trouble.append(str(error))
    held = against.compare(board, other) if other else None
    return structs.replace(board, trouble=[*board.trouble, *trouble], against=held)


def latest_board() -> Leaderboard | None:
    """That of the race that was begun last, has got anywhere and is of this version; None where there is none."""
    trouble: list[str] = []
    for file in sorted(rows.folder(".").glob("*/race.json"), reverse=True):
        try:
            race = read(file)
            if there := passes(race):
                board = _board(race, there)
                return structs.replace(board, trouble=[*board.trouble, *trouble])
        except OtherVersionError:
            continue
        except UserError as error:
            trouble.append(str(error))
    if trouble:
        raise UserError(trouble[0])
    return None
