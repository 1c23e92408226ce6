"""The tensors of `layouts.toml`, read and checked one by one: which parts each is made of, and its shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared_spec.expression import Place
from shared_spec.weights.parts import Part, Size, Tensor, show

KINDS = ("parts", "rows", "blocks")
FLAGS = ("transpose", "turned", "flat")


def tensor(key: str, entry: Any, shapes: Mapping[str, tuple[str, ...]], place: Place) -> Tensor:
    """A tensor of a layer whose parameters have these shapes. Raises SpecificationError, with the place."""
    if not isinstance(entry, dict) or set(entry) - {*KINDS, *FLAGS, "axis"}:
        raise place.error(0, f"{key} has parts, rows or blocks, axis, {', '.join(FLAGS)}, and nothing else")
    kinds = [kind for kind in KINDS if kind in entry]
    rows: Any = [entry["parts"]] if kinds == ["parts"] else entry[kinds[0]] if kinds else []
    texts = isinstance(rows, list) and all(
        isinstance(row, list) and row and all(isinstance(part, str) for part in row) for row in rows
    )
    if not texts or not rows or len(kinds) != 1:
        raise place.error(0, f"{key} has either parts, a list of parameters, or rows or blocks, a list of such lists")
    stacked, blocks = kinds == ["rows"], kinds == ["blocks"]
    axis: Any = entry.get("axis", 1 if blocks else 0)
    flags = {flag: entry.get(flag, False) for flag in FLAGS}
    if type(axis) is not int or any(type(flag) is not bool for flag in flags.values()):
        raise place.error(0, f"{key}: axis is a whole number, {', '.join(FLAGS)} true or false")
    if unknown := [part for row in rows for part in row if part.removeprefix("-") not in shapes]:
        raise place.error(0, f"{key}: no parameter {unknown[0]!r}; there are {', '.join(shapes)}")
    of_parts = [[shapes[part.removeprefix("-")] for part in row] for row in rows]
    matrices = any(len(shape) == 2 for row in of_parts for shape in row)
    if flags["transpose"] and flags["turned"]:
        raise place.error(0, f"{key}: either transpose or turned")
    if flags["flat"] and (axis or kinds != ["parts"]):
        raise place.error(0, f"{key}: what is flat has parts, and no axis")
    if (flags["transpose"] or flags["turned"]) and not matrices:
        raise place.error(0, f"{key}: {rows[0][0]} has {len(of_parts[0][0])} axes, nothing to transpose or to turn")
    if blocks and (axis != 1 or any(len(shape) != 2 for row in of_parts for shape in row)):
        raise place.error(0, f"{key}: blocks are matrices, and have no axis")
    if flags["flat"]:
        shape: tuple[Size, ...] = (tuple("*".join(shape) for shape in of_parts[0]),)
    else:
        joined = [
            _joined(key, row, shapes, axis, flags["transpose"], place)
            for row, shapes in zip(rows, of_parts, strict=True)
        ]
        shape = _below(key, joined, place) if blocks else _stacked(key, joined, place, stacked=stacked)
    parts = tuple(tuple(Part(part.removeprefix("-"), part.startswith("-")) for part in row) for row in rows)
    return Tensor(parts, shape, axis, stacked=stacked, blocks=blocks, **flags)


def _joined(
    key: str, row: list[str], shapes: list[tuple[str, ...]], axis: int, transpose: bool, place: Place
) -> tuple[Size, ...]:
    """The shape of parts joined along an axis."""
    if not 0 <= axis < len(shapes[0]):
        raise place.error(0, f"{key}: {row[0]} has {len(shapes[0])} axes, no axis {axis}")
    turned = [tuple((symbol,) for symbol in (shape[::-1] if transpose else shape)) for shape in shapes]
    if len({shape[:axis] + shape[axis + 1 :] for shape in turned}) != 1:
        raise place.error(0, f"{key}: {', '.join(row)} do not go together along axis {axis}")
    length = tuple(symbol for shape in turned for symbol in shape[axis])
    return (*turned[0][:axis], length, *turned[0][axis + 1 :])


def _stacked(key: str, joined: list[tuple[Size, ...]], place: Place, *, stacked: bool) -> tuple[Size, ...]:
    if len(set(joined)) != 1:
        raise place.error(0, f"{key}: rows of different shapes, {' and '.join(map(show, joined))}")
    return (("1",) * len(joined), *joined[0]) if stacked else joined[0]


def _below(key: str, joined: list[tuple[Size, ...]], place: Place) -> tuple[Size, ...]:
    """The shape of rows of blocks, one below the other."""
    if len({width for _, width in joined}) != 1:
        raise place.error(0, f"{key}: rows of different widths, {' and '.join(map(show, joined))}")
    return tuple(symbol for height, _ in joined for symbol in height), joined[0][1]
