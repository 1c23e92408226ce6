"""Which path a gradient does not take, where states are right: through a gate, through time, from all states but the
last.

Each candidate is the oracle's gradient with that path cut. The result's gradients must then all be within what the
twins of the whole gradient stray, as a verdict has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from isogru.conventions import Convention, every
from isogru.judge import delivered, reference
from isogru.judge.comparison import TWIN_MULTIPLE, compare
from shared_spec.cells import Cell
from shared_spec.expression import names
from shared_spec.files.interchange import Case, Result
from shared_spec.readings import gradient, value
from shared_spec.readings.arithmetic import Array


@dataclass(frozen=True)
class Path:
    """A path that may be missing."""

    name: str
    sentence: str
    remedy: str
    held: str = ""
    """The quantity of the cell that counts as a constant."""
    carried: bool = True
    """Whether the gradient of a state reaches the step before."""
    across: bool = True
    """Whether that of the second half of the steps reaches the first."""
    start: bool = True
    """Whether it reaches H0."""
    all_states: bool = True
    """Whether every state has its cotangent, or the last alone."""


def path(of: Convention) -> Path:
    """What a convention of gradients cuts."""
    return Path(
        of.name,
        of.sentence,
        of.remedy,
        of.held,
        carried="time" not in of.cuts,
        across="half" not in of.cuts,
        start="start" not in of.cuts,
        all_states="others" not in of.cuts,
    )


def paths(cell: Cell) -> list[Path]:
    """Those that a cell has, as conventions.toml names them."""
    assigned = {equation.target for equation in cell.equations}
    return [path(each) for each in every().values() if each.cuts and (not each.held or each.held in assigned)]


def missing(case: Case, result: Result) -> tuple[list[tuple[Path, float]], int]:
    """The paths without which the gradients of a result are right, each with the largest ratio that is left; and how
    many were tried. The case has dH, and the result some gradients.
    """
    given = delivered.of(result)
    case = case.held_in(given.dtype)
    stray = reference.get(case, given.dtype, kept=False).stray
    culprits, tried = [], paths(case.cell)
    for each in tried:
        cut = dict(without(case, each))
        ratio = max(_ratio(array, name, cut, stray, given.stored) for name, array in _gradients(result))
        if ratio <= 1:
            culprits.append((each, ratio))
    return culprits, len(tried)


def _gradients(result: Result) -> Iterator[tuple[str, Array]]:
    for name, array in result.arrays.items():
        if name.startswith("grad."):
            quantity = name.removeprefix("grad.")
            wide = array.astype(np.float32) if array.dtype == np.float16 else array
            yield quantity, wide


def _ratio(array: Array, name: str, cut: Mapping[str, Array], stray: Mapping[str, Array], stored: str) -> float:
    """How far a gradient is from that of a cut path, in what is allowed."""
    compared = compare(array, cut[name], TWIN_MULTIPLE * stray[f"grad.{name}"], dtype=stored)
    return np.inf if compared.is_undetermined.any() else float(compared.ratio.max())


def without(case: Case, cut: Path) -> Iterator[tuple[str, Array]]:
    """The gradients of sum(dH * H) by "X", "H0" and every parameter, with one path cut."""
    cell, parameters = case.cell, case.parameters
    X, H, dH = case.arrays["X"], case.arrays["H0"], case.arrays["dH"]
    kept = [equation for equation in cell.equations if equation.target != cut.held]
    used = {name for equation in kept for name in names(equation.expression)}
    wanted = [name for name in ("X", "H", *parameters) if name in used]
    pulls = []
    with np.errstate(over="ignore", invalid="ignore"):
        for x in X:
            after = value.step(cell, x, H, parameters)
            values = {"X": x, "H": H, **parameters, **({cut.held: after[cut.held]} if cut.held else {})}
            _, pull = gradient.Tape(kept, values, wanted).forward(values, H.dtype)
            pulls.append(pull)
            H = after["H"]
        gradients = {name: np.zeros_like(array) for name, array in {"X": X, "H0": H, **parameters}.items()}
        carried = np.zeros_like(H)
        for t in reversed(range(len(X))):
            own = dH[t] if cut.all_states or t == len(X) - 1 else np.zeros_like(dH[t])
            pulled = pulls[t](own + carried if cut.carried else own)
            carried = pulled.get("H", np.zeros_like(H))
            if not cut.across and t == len(X) // 2:
                carried = np.zeros_like(H)
            gradients["X"][t] = pulled.get("X", 0.0)
            for name in parameters:
                gradients[name] += pulled.get(name, 0.0)
    gradients["H0"] = carried if cut.start else np.zeros_like(carried)
    yield from gradients.items()
