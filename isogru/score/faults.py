"""What is planted: the conventions one after another, as faults with a name; and which of them a cell can have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from isogru import conventions
from isogru.conventions import GRADIENT, OF_STATES, PRECISION, TRAINING, Convention
from isogru.edits import edited, unedited
from isogru.score import records
from isogru.score.exact import SIZES, problem
from shared_spec.cells import Cell, cell, cells
from shared_spec.errors import SpecificationError, UserError

AND = " + "
CHANGES_STATES = (*OF_STATES, PRECISION)


@dataclass(frozen=True)
class Fault:
    """A fault to plant."""

    conventions: tuple[Convention, ...]
    """In the order in which they are applied, as isogru/edits.py has it."""
    cells: tuple[str, ...]
    """Those that can have it; of a drawn one the cell that was drawn with it."""
    drawn: bool = False

    @property
    def id(self) -> str:
        return AND.join(each.name for each in self.conventions)

    @property
    def kind(self) -> str:
        return AND.join(dict.fromkeys(each.kind for each in self.conventions))

    def of(self, *kinds: str) -> tuple[Convention, ...]:
        """Those of its conventions that are edits of these kinds."""
        return tuple(each for each in self.conventions if each.kind in kinds)

    def record(self) -> records.TriedMutant:
        """For the file of a matrix."""
        sentence = ", and ".join(each.sentence for each in self.conventions)
        return records.TriedMutant(self.id, self.kind, sentence, self.drawn)


def fixed(file: Path = conventions.FILE) -> list[Fault]:
    """Every convention of a file, with the cells that can have it. Raises SpecificationError, with the place, for a
    convention that is none, and where no cell can have any of them.
    """
    faults = []
    for each in conventions.every(file).values():
        one = fault([each], cells())
        try:
            _compute(one)
        except ValueError as error:  # Of shapes that do not fit.
            raise SpecificationError(f"{file}: [{each.name}] cannot be computed: {error}") from None
        faults.append(one)
    if not any(each.cells for each in faults):
        raise SpecificationError(f"{file}: has no convention that any cell can have; isogru/conventions.toml has some")
    return [each for each in faults if each.cells]


def _compute(planted: Fault) -> None:
    """States of each cell that has it. Raises ValueError where they are not to be had."""
    for name in planted.cells if is_of_states(planted) else ():
        case = problem(cell(name), SIZES[0])
        edit = edited(unedited(case), planted.conventions)
        if edit is not None:
            edit.states(case.arrays["X"], case.arrays["H0"])


def fault(made: Sequence[Convention], names: Iterable[str], *, drawn: bool = False) -> Fault:
    """The fault that is made of conventions, with those of the cells that can have it."""
    return Fault(tuple(made), tuple(name for name in names if applies(made, cell(name))), drawn)


def applies(made: Sequence[Convention], to: Cell) -> bool:
    """Whether a cell can have these, and any of its cases is another then. Of gradients, whether there is what is held
    constant; trainings all have a setting.
    """
    held = {each.held for each in made if each.held}
    if not held <= {equation.target for equation in to.equations}:
        return False
    of_states = [each for each in made if each.kind in CHANGES_STATES]
    return not of_states or any(edited(unedited(problem(to, sizes)), of_states) is not None for sizes in SIZES)


def chosen(every: Sequence[Fault], ids: Sequence[str]) -> list[Fault]:
    """Those of these ids, or all where there are none. Raises UserError for one that is not there."""
    there = {each.id for each in every}
    if unknown := [name for name in ids if name not in there]:
        near = [each for each in there if each.startswith(unknown[0].partition(":")[0][:5])]
        told = f"near it are {', '.join(sorted(near)[:4])}" if near else "isogru/conventions.toml has those there are"
        raise UserError(f"no mutant {unknown[0]!r}; {told}")
    return [each for each in every if not ids or each.id in ids]


def suits(planted: Fault, *, training: bool) -> bool:
    """Whether a fault is tried on trainings, or on cells over a sequence."""
    return bool(planted.of(TRAINING)) == training


def is_of_states(planted: Fault) -> bool:
    """Whether it changes states, and not gradients or trainings alone."""
    return not planted.of(GRADIENT, TRAINING)
