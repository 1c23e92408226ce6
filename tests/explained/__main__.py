"""python -m tests.explained: faults planted one and two at a time, right results in other forms, and what is named."""

from __future__ import annotations

import importlib
import random
from dataclasses import replace
from typing import Annotated

import numpy as np
import typer

from isogru import gradient_paths, judge, reason
from isogru.answers import origin
from isogru.conventions import conventions
from isogru.explain import EQUAL, EXPLAINED, explain, probe, same_function
from isogru.judge.comparison import EQUAL as SAME
from shared_spec import oracle
from shared_spec.command import EQUAL as DONE
from shared_spec.command import NOT_EQUAL, application, main, say
from shared_spec.files.interchange import Result
from shared_spec.weights import proof
from shared_spec.weights.layouts import layout
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


def gradients():
    """Every path of the gradient left out, where all states are right, on the same problems."""
    for cell in CELLS:
        for seed, sizes in enumerate(SIZES):
            case = drawn(cell, sizes, seed)
            dH = np.random.RandomState(seed).standard_normal((*sizes[:2], sizes[3])).astype(np.float32)
            case = replace(case, arrays={**case.arrays, "dH": dH.astype(np.float64)})
            H = oracle.run(case.cell, case.arrays)["H"]
            for path in gradient_paths.paths(case.cell):
                pulled = {f"grad.{name}": array for name, array in gradient_paths.without(case, path)}
                explanation, verdict = _why(case, {"H": H, **pulled})
                named = [cause.names for cause in explanation.causes]
                yield f"{path.name} in {case.name}", verdict != SAME and named == [(path.name,)]


def _why(case, arrays):
    """The explanation and the verdict of a result in float32."""
    narrow = {name: array.astype(np.float32) for name, array in arrays.items()}
    result = Result(origin(case, "planted", "float32"), narrow)
    verdict = judge.on(case, result, partial=True, kept=False)
    return reason.why(case, result, verdict), verdict.verdict


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
    """Right results in random forms and orders of sums: whether each has the verdict equal, and nothing is named."""
    for number in range(count):
        case = drawn(CELLS[number % 2], SIZES[number % len(SIZES)], number)
        chosen = np.random.RandomState([seed, number])
        form = implementations.drawn(chosen, machines.drawn(chosen, "float32"))
        H = implementations.Gru(case.cell.name, form).results(case.arrays)["H"]
        explanation, verdict = _why(case, {"H": H})
        yield (
            f"{form.label} in {case.name}",
            verdict == SAME and explanation.verdict == EQUAL and not explanation.causes,
        )


def of_package(name, count):
    """The same of a package's own layers, one layout after the other."""
    adapter = importlib.import_module(f"frameworks.adapters.{name}")
    own = [layout(each) for each, dtypes in adapter.LAYOUTS.items() if "float32" in dtypes]
    own = [each for each in own if each.cell in CELLS]
    for number in range(count):
        of = own[number % len(own)]
        case = drawn(of.cell, SIZES[number % len(SIZES)], number)
        zeros = {each: np.zeros_like(case.arrays[each]) for each in of.without}
        case = replace(case, arrays={**case.arrays, **zeros})
        X, H0 = (case.arrays[each].astype(np.float32) for each in ("X", "H0"))
        H = np.asarray(adapter.run(of.name, proof.weights(of, case, dtype="float32"), X, H0))
        explanation, verdict = _why(case, {"H": H})
        right = verdict == SAME and explanation.verdict == EQUAL and not explanation.causes
        yield f"{of.layer} on {case.name}", right


@app.command()
def run(
    seed: Annotated[int, typer.Option(help="Of the pairs and the forms.")] = 14,
    pair_count: Annotated[int, typer.Option("--pairs", min=0, help="How many pairs; each takes seconds.")] = 200,
    right_count: Annotated[int, typer.Option("--right", min=0, help="How many right results.")] = 500,
    package: Annotated[
        str, typer.Option(help="Right results of this package's layers alone, such as torch; see frameworks/adapters.")
    ] = "",
) -> None:
    """Print how many are named rightly; exit status 1 where that is less than what is promised."""
    short = False
    parts = (
        ("single faults named alone and rightly", singles(), SINGLES),
        ("missing paths of gradients named alone and rightly", gradients(), SINGLES),
        ("right results equal, with nothing named", right(seed, right_count), 1.0),
        ("pairs named as the function that they are", pairs(seed, pair_count), PAIRS),
    )
    if package:
        parts = ((f"right results of {package} equal, with nothing named", of_package(package, right_count), 1.0),)
    for title, rows, least in parts:
        told = list(rows)
        missed = [what for what, well in told if not well]
        say(f"{title}: {len(told) - len(missed)} of {len(told)}")
        for what in missed:
            say(f"    not: {what}")
        short |= len(told) - len(missed) < least * len(told)
    raise typer.Exit(NOT_EQUAL if short else DONE)


if __name__ == "__main__":
    main(lambda: app(prog_name="python -m tests.explained"))
