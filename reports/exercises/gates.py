"""Exercise 1: which gates let the input at t', and no other, through to all later states, by maps of influence."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from isogru.judge.comparison import four
from reports.exercises import corners
from reports.exercises.corners import AT, SHUT, STEPS, Answer, Gates, Seen
from reports.exercises.memory import CELL, remembered, rounded
from reports.exercises.records import gates as records
from shared_spec import oracle
from shared_spec.cells import Cell, cell
from shared_spec.expression import Place, parse
from shared_spec.readings import latex, value
from shared_spec.readings.forced import forced
from shared_spec.sweeps.place import Tell
from shared_spec.weights import layouts

TURNED = "H = (1 - Z) * H + Z * C"
"""The update gate the other way round: Chung et al. 2014, arXiv:1412.3555, section 3.2."""
DRAWS = 100
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, SHUT)


def turned_round(book: Cell) -> Cell:
    """The same cell, but for its update gate: Z renews the state instead of keeping it."""
    last = parse(TURNED, Place("gates.py", 1, 1, CELL))
    return replace(
        book,
        name=f"{book.name}_turned",
        title="the same, update gate turned round",
        equations=(*book.equations[:-1], last),
    )


def build(tell: Tell | None = None) -> records.Gates:
    """The answer, its proof, what is wrong with other answers, the trap of polarity, and what a trained model does."""
    return records.Gates(**_proof(), memory=remembered(tell))


@functools.cache
def _proof() -> dict[str, Any]:
    """All that rests on the equations alone: a second page in one process has the same."""
    book = cell(CELL)
    cells = (book, turned_round(book))
    every = {one.name: corners.every_corner(one) for one in cells}
    right = right_answers(every[CELL])[0]
    every_layout = list(layouts.layouts().values())
    return {
        "norm": "Frobenius",
        "steps": STEPS,
        "at": AT + 1,
        "shut": SHUT,
        "cells": [_cell_record(one, every[one.name]) for one in cells],
        "map": _map(book, right),
        "gates": _gates_as_they_were(book, right),
        "independence": independence(book, right),
        "corners": [
            records.Answer(**_answer(book, Answer(at=at, after=after))) for at in _kinds(book) for after in _kinds(book)
        ],
        "polarity": _polarity(cells),
        "degrees": [_degree(book, right, size) for size in SIZES],
        "layers": records.Layers(len(every_layout), [one.layer for one in every_layout if layouts.renews(one)]),
    }


def right_answers(every: Mapping[Answer, Seen]) -> list[Answer]:
    """Of all corners those that work, written as few as they can be."""
    return corners.shortest([answer for answer, sighting in every.items() if not sighting.wrong])


def independence(one: Cell, answer: Answer) -> records.Independence:
    """In how many of so many draws of everything that should not matter the states from t' on are the same to the last
    bit; in how many they are another with another X_t'; and whether they are what the forced cell gives of X_t' alone.
    """
    given = corners.problem(one, answer)
    states = oracle.states(one, *given)
    same = changed = 0
    for seed in range(2, 2 + DRAWS):
        other = corners.another_past_and_future(one, answer, seed=seed)
        same += bool((oracle.states(one, *other)[AT:] == states[AT:]).all())
        X = given.X.copy()
        X[AT, :, corners.FLAGS :] = np.random.RandomState(seed).standard_normal(X[AT, :, corners.FLAGS :].shape)
        changed += bool((oracle.states(one, *given._replace(X=X))[AT:] != states[AT:]).any(axis=(1, 2)).all())
    alone = value.step(forced(one, _ends(answer.at)), given.X[AT], given.H0, given.parameters)["H"]
    return records.Independence(DRAWS, same, changed, bool((states[AT:] == alone).all()))


def _ends(gates: Gates) -> dict[str, float]:
    return {name: end for name, end in gates._asdict().items() if end is not None}


def _kinds(one: Cell) -> list[Gates]:
    """The corners of both gates as the different cells that they make: None where either end makes the same."""
    made: dict[str, list[Gates]] = {}
    for ends in corners.ENDS:
        made.setdefault(forced(one, _ends(ends)).equations[0].text, []).append(ends)
    return [
        Gates(*(column[0] if len(set(column)) == 1 else None for column in zip(*group, strict=True)))
        for group in made.values()
    ]


def _gates_record(one: Cell, gates: Gates) -> records.GatesAt:
    """Gates with the formula of the state that they leave; of gates that are free, none."""
    return records.GatesAt(*gates, latex.formulas(forced(one, _ends(gates)))[0] if _ends(gates) else "")


def _more(before: Sequence[Answer], answer: Answer, every: Iterable[Answer]) -> int:
    """How many corners an answer covers that none before it does."""
    return sum(answer.covers(corner) and not any(one.covers(corner) for one in before) for corner in every)


def _cell_record(one: Cell, every: Mapping[Answer, Seen]) -> records.GatesCell:
    answers = right_answers(every)
    return records.GatesCell(
        name=one.name,
        equation=one.equations[-1].text,
        latex=latex.formulas(one)[-1],
        corners=len(every),
        works=sum(not seen.wrong for seen in every.values()),
        kinds=[_gates_record(one, gates) for gates in _kinds(one)],
        answers=[
            records.RightAnswer(more=_more(answers[:i], answer, every), **_answer(one, answer))
            for i, answer in enumerate(answers)
        ],
    )


def _answer(one: Cell, answer: Answer) -> dict[str, Any]:
    """The fields of records.Answer. Judged by all inputs, the flags too; the numbers are those of the content."""
    wrong = corners.seen(corners.influence_of(one, answer)).wrong
    content = corners.seen(corners.influence_of(one, answer, flags=False))
    return {
        **{when: _gates_record(one, gates) for when, gates in answer._asdict().items()},
        **{name: four(getattr(content, name)) for name in ("own", "earlier", "later")},
        "wrong": list(wrong),
    }


def _map(one: Cell, answer: Answer) -> list[list[float]]:
    """The influence of the content, the mean over rows: zero only where it is zero in all of them."""
    return rounded(corners.influence_of(one, answer, flags=False).mean(axis=-1))


def _polarity(cells: Sequence[Cell]) -> records.Polarity:
    """Update gates at t' and after it, with R = 0 at t' and anything else anything, in cells that turn either way; how
    many of these answers work in none of them, in one, in both.
    """
    rows: list[records.Turns] = []
    for Z_at, Z_after in itertools.product((0, 1), repeat=2):
        answer = Answer(at=Gates(Z_at, 0), after=Gates(Z_after))
        of_cells = [records.TurnedAnswer(cell=one.name, map=_map(one, answer), **_answer(one, answer)) for one in cells]
        rows.append(records.Turns(Z_at, Z_after, of_cells))
    works = [sum(not one.wrong for one in row.cells) for row in rows]
    return records.Polarity(rows, [works.count(number) for number in range(len(cells) + 1)])


def _gates_as_they_were(one: Cell, answer: Answer) -> list[records.Span]:
    """The least and the largest value of each gate before t', at it and after it."""
    values = oracle.quantities(one, *corners.problem(one, answer))
    gates = {name: values[name] for name in Gates._fields}
    spans = {"before": slice(AT), "at": slice(AT, AT + 1), "after": slice(AT + 1, None)}
    return [
        records.Span(when, **{gate: (float(of[span].min()), float(of[span].max())) for gate, of in gates.items()})
        for when, span in spans.items()
    ]


def _degree(one: Cell, answer: Answer, size: float) -> records.Degree:
    """What preactivations of such a size keep of X_t' up to the end, and let in of other inputs, against it."""
    influence = corners.influence_of(one, answer, size=size, flags=False)
    own = influence[AT, AT]
    others = np.delete(influence[AT + 1 :], AT, axis=1)
    kept = (influence[-1, AT] / own).min()
    return records.Degree(size, float(kept), four(1 - kept), four((others / own).max()))
