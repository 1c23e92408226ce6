"""python -m tests.explained: faults planted one and two at a time, right results in other forms, and what is named."""

from __future__ import annotations

import random
from typing import Annotated

import numpy as np
import typer

from isogru.conventions import conventions
from isogru.explain import EQUAL, EXPLAINED, explain, probe, same_function
from shared_spec.command import EQUAL as DONE
from shared_spec.command import NOT_EQUAL, application, main, say
from tests.false_alarms import implementations, machines
from tests.isogru.planted import SIZES, drawn, planted

CELLS = ("gru", "gru_reset_after")
SINGLES, PAIRS = 0.99, 0.95
"""Which part must be named."""

app = application("Faults planted, and what explain names.")


def singles():
    """Every convention alone, on two cells and three problems each: whether it is named alone and rightly."""
    for cell in CELLS:
        for seed, sizes in enumerate(SIZES):
            case = drawn(cell, sizes, seed)
            for name in conventions():
                if (H := planted(case, name)) is not None:
                    explanation = explain(case, H, pairs=False)
                    named = [names for cause in explanation.causes for names in (cause.names, *cause.alike)]
                    yield f"{name} in {case.name}", explanation.verdict == EXPLAINED and (name,) in named


def pairs(seed, count):
    """Two conventions drawn at random: whether what is named is the same function."""
    chosen, made = random.Random(seed), 0
    while made < count:
        case = drawn(chosen.choice(CELLS), chosen.choice(SIZES), chosen.randrange(1000))
        pair = chosen.sample(list(conventions()), 2)
        if (H := planted(case, *pair)) is None:
            continue
        explanation = explain(case, H)
        cause = explanation.causes[0].names if explanation.causes else ()
        known = [[conventions()[name] for name in names] for names in (cause, pair)]
        made += 1
        yield (
            f"{' and '.join(pair)} in {case.name}",
            explanation.verdict == EXPLAINED and same_function(*known, probe(case)),
        )


def right(seed, count):
    """Right results in random forms and orders of sums: whether each is equal, and nothing is named."""
    for number in range(count):
        case = drawn(CELLS[number % 2], SIZES[number % len(SIZES)], number)
        chosen = np.random.RandomState([seed, number])
        form = implementations.drawn(chosen, machines.drawn(chosen, "float32"))
        H = implementations.Gru(case.cell.name, form).results(case.arrays)["H"]
        explanation = explain(case, H)
        yield f"{form.label} in {case.name}", explanation.verdict == EQUAL and not explanation.causes


@app.command()
def run(
    seed: Annotated[int, typer.Option(help="Of the pairs and the forms.")] = 14,
    pair_count: Annotated[int, typer.Option("--pairs", min=0, help="How many pairs; each takes seconds.")] = 200,
    right_count: Annotated[int, typer.Option("--right", min=0, help="How many right results.")] = 500,
) -> None:
    """Print how many are named rightly; exit status 1 where that is less than what is promised."""
    short = False
    for title, rows, least in (
        ("single faults named alone and rightly", singles(), SINGLES),
        ("right results equal, with nothing named", right(seed, right_count), 1.0),
        ("pairs named as the function that they are", pairs(seed, pair_count), PAIRS),
    ):
        told = list(rows)
        missed = [what for what, well in told if not well]
        say(f"{title}: {len(told) - len(missed)} of {len(told)}")
        for what in missed:
            say(f"    not: {what}")
        short |= len(told) - len(missed) < least * len(told)
    raise typer.Exit(NOT_EQUAL if short else DONE)


if __name__ == "__main__":
    main(lambda: app(prog_name="python -m tests.explained"))
