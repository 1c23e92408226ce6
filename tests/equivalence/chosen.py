"""Which implementation runs which case in which dtype. Every lane runs each of its cells on the ordinary case, in each
dtype; where it is compiled for each shape, which costs seconds, in one, and there without its gates: those it keeps on
the long case, and each cell's are kept from scratch.

On every other kind of case lanes and cells take turns: each lane runs it with one of its cells, the next kind with the
next cell, and from scratch run the cells that no other lane has run then. Dtypes take turns too. With --every-dtype
everything is run in each.

A training has an eighth of the rows of the catalogue's, in as many epochs and steps; but that of WHOLE in the
tuned lane, which chooses its way by the size of a batch, has them all.

So every two of lane, cell, kind and dtype meet; not every three. What goes wrong in a lane on a kind of case shows with
the cell whose turn it is; what goes wrong in a cell on a kind of case shows in the lane whose turn it is, and in every
lane on the ordinary case. From scratch a cell knows of no dtype, and runs that case in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from frameworks.protocol import Implementation
from shared_spec import cases, language_model
from shared_spec.files.interchange import DTYPES, TrainingCase
from shared_spec.language_model.corpus import Corpus

IN_EACH = "ordinary"
"""The kind of case that every lane runs with each of its cells."""
SCRATCH, TUNED = "scratch", "tuned"
WHOLE = "short-training-gru"
"""The training that the tuned lane does with all of its rows: the walk's, whose reference is made in any case."""
FEWER = 8
Job = tuple[Implementation, str]


def chosen(
    available: Iterable[Implementation], names: Iterable[str], *, every_dtype: bool = False
) -> list[tuple[Implementation, str, str]]:
    """Implementations, cases and dtypes, in the order of the cases."""
    available, names = list(available), list(names)
    catalogue = [*cases.cell_case_names(), *cases.training_case_names()]
    # Lanes begin with another dtype than the one before, so that a kind of case has both.
    turn = {lane: at for at, lane in enumerate(dict.fromkeys(each.name for each in available))}
    jobs = []
    for number, of in enumerate(dict.fromkeys(map(kind, catalogue))):
        there = [(each, name) for name in catalogue if kind(name) == of for each in available if runs(each, name)]
        for place, (each, name) in enumerate(there if every_dtype or of == IN_EACH else in_turns(there, number)):
            dtypes = [dtype for dtype in each.dtypes if each.runs(name, dtype)]
            if not every_dtype and not runs_in_each(each, of):
                # Whose turn it is on other kinds does not depend on how many cells are run from scratch here.
                by_place = of == IN_EACH and each.name == SCRATCH
                ours = dtypes[(place if by_place else turn[each.name]) % len(dtypes)]
                turn[each.name] += not by_place
                # What a compiler has made for one case is taken for the next where it can be.
                dtypes = [trained_in(each.cell) if each.brief or cases.entry_of(name) is None else ours]
            if each.brief and of == IN_EACH and not every_dtype:
                each = replace(each, build_with_gates=None)
            jobs += [(each, name, dtype) for dtype in dtypes]
    return sorted((job for job in jobs if job[1] in names), key=lambda job: names.index(job[1]))


def runs(implementation: Implementation, name: str) -> bool:
    """Whether it runs a case in any dtype."""
    return any(implementation.runs(name, dtype) for dtype in implementation.dtypes)


def runs_in_each(implementation: Implementation, of: str) -> bool:
    """Whether it runs that kind of case in each of its dtypes."""
    return of == IN_EACH and not implementation.brief and not implementation.kinds and implementation.name != SCRATCH


def in_turns(there: Sequence[Job], number: int) -> list[Job]:
    """Of all that run the kind of case with that number: each lane with one of its cells, and from scratch the cells
    that are left, one at the least. A tuned lane trains each of its cells: it brings its own way from tokens to a loss.
    """
    by_lane: dict[str, list[Job]] = {}
    for each, name in there:
        by_lane.setdefault(each.name, []).append((each, name))
    of_scratch, taken = by_lane.pop(SCRATCH), []
    for at, (lane, mine) in enumerate(by_lane.items()):
        trains = cases.entry_of(mine[0][1]) is None
        taken += mine if lane == TUNED and trains else [mine[(number + at) % len(mine)]]
    others = {name for _, name in taken}
    left = [job for job in of_scratch if job[1] not in others]
    return taken + (left or [of_scratch[number % len(of_scratch)]])


def trained_in(cell: str) -> str:
    """The dtype of a training of a cell: in every lane and framework the same, since its reference takes longest."""
    return DTYPES[cases.every_cell().index(cell) % len(DTYPES)]


def training(name: str, text: Corpus) -> TrainingCase:
    """A training of the catalogue with an eighth of its rows in each batch, and as many steps. What is kept back is one
    batch: another size would be compiled once more.
    """
    recipe = cases.training_recipe(name)
    size = recipe.batch_size // FEWER
    fewer = replace(recipe, num_train=recipe.num_train // FEWER, num_val=size, batch_size=size)
    return TrainingCase(name, language_model.problem(fewer, text))


def kind(name: str) -> str:
    """What a case is of any cell: "long", or "short-training"."""
    entry = cases.entry_of(name)
    return entry[0].name if entry else name.rpartition("-")[0]
