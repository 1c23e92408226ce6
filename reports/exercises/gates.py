"""Exercise 1: which gates let the input at t', and no other, through to all later states, by maps of influence."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from isogru.judge.comparison import four
from reports.exercises import corners
from reports.exercises.corners import AT, SHUT, STEPS, Answer, Gates, Seen
from reports.exercises.memory import CELL, remembered, rounded
from reports.pages.schema import Record
from shared_spec import oracle
from shared_spec.cells import Cell, cell
from shared_spec.expression import Place, parse
from shared_spec.readings import latex, value
from shared_spec.readings.forced import forced
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


def build() -> Record:
    """The answer, its proof, what is wrong with other answers, the trap of polarity, and what a trained model does."""
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
        "corners": [_answer_record(book, Answer(at=at, after=after)) for at in _kinds(book) for after in _kinds(book)],
        "polarity": _polarity(cells),
        "degrees": [_degree(book, right, size) for size in SIZES],
        "layers": {"all": len(every_layout), "turned": [one.layer for one in every_layout if layouts.renews(one)]},
        "memory": remembered(),
    }


def right_answers(every: Mapping[Answer, Seen]) -> list[Answer]:
    """Of all corners those that work, written as few as they can be."""
    return corners.shortest([answer for answer, found in every.items() if not found.wrong])


def independence(one: Cell, answer: Answer) -> Record:
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
    return {"draws": DRAWS, "same": same, "changed": changed, "alone": bool((states[AT:] == alone).all())}


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


def _gates_record(one: Cell, gates: Gates) -> Record:
    """Gates with the formula of the state that they leave; of gates that are free, none."""
    return {**gates._asdict(), "latex": latex.formulas(forced(one, _ends(gates)))[0] if _ends(gates) else ""}


def _more(before: Sequence[Answer], answer: Answer, every: Iterable[Answer]) -> int:
    """How many corners an answer covers that none before it does."""
    return sum(answer.covers(corner) and not any(one.covers(corner) for one in before) for corner in every)


def _cell_record(one: Cell, every: Mapping[Answer, Seen]) -> Record:
    answers = right_answers(every)
    return {
        "name": one.name,
        "equation": one.equations[-1].text,
        "latex": latex.formulas(one)[-1],
        "corners": len(every),
        "works": sum(not found.wrong for found in every.values()),
        "kinds": [_gates_record(one, gates) for gates in _kinds(one)],
        "answers": [
            {"more": _more(answers[:i], answer, every), **_answer_record(one, answer)}
            for i, answer in enumerate(answers)
        ],
    }


def _answer_record(one: Cell, answer: Answer) -> Record:
    """Judged by all inputs, the flags too; the numbers are those of the content."""
    wrong = corners.seen(corners.influence_of(one, answer)).wrong
    found = corners.seen(corners.influence_of(one, answer, flags=False))
    return {
        **{when: _gates_record(one, gates) for when, gates in answer._asdict().items()},
        **{name: four(getattr(found, name)) for name in ("own", "earlier", "later")},
        "wrong": list(wrong),
    }


def _map(one: Cell, answer: Answer) -> list[list[float]]:
    """The influence of the content, the mean over rows: zero only where it is zero in all of them."""
    return rounded(corners.influence_of(one, answer, flags=False).mean(axis=-1))


def _polarity(cells: Sequence[Cell]) -> Record:
    """Update gates at t' and after it, with R = 0 at t' and anything else anything, in cells that turn either way; how
    many of these answers work in none of them, in one, in both.
    """
    rows: list[Record] = []
    for Z_at, Z_after in itertools.product((0, 1), repeat=2):
        answer = Answer(at=Gates(Z_at, 0), after=Gates(Z_after))
        of_cells = [{"cell": one.name, **_answer_record(one, answer), "map": _map(one, answer)} for one in cells]
        rows.append({"at": Z_at, "after": Z_after, "cells": of_cells})
    works = [sum(not one["wrong"] for one in row["cells"]) for row in rows]
    return {"rows": rows, "works_in": [works.count(number) for number in range(len(cells) + 1)]}


def _gates_as_they_were(one: Cell, answer: Answer) -> list[Record]:
    """The least and the largest value of each gate before t', at it and after it."""
    values = oracle.quantities(one, *corners.problem(one, answer))
    gates = {name: values[name] for name in Gates._fields}
    spans = {"before": slice(AT), "at": slice(AT, AT + 1), "after": slice(AT + 1, None)}
    return [
        {"when": when} | {gate: [float(of[span].min()), float(of[span].max())] for gate, of in gates.items()}
        for when, span in spans.items()
    ]


def _degree(one: Cell, answer: Answer, size: float) -> Record:
    """What preactivations of such a size keep of X_t' up to the end, and let in of other inputs, against it."""
    found = corners.influence_of(one, answer, size=size, flags=False)
    own = found[AT, AT]
    others = np.delete(found[AT + 1 :], AT, axis=1)
    kept = (found[-1, AT] / own).min()
    return {"size": size, "kept": float(kept), "lost": four(1 - kept), "others": four((others / own).max())}
