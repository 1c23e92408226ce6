"""Cases that may go into the pack, and which mutants each kills by its values and bounds alone."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isogru.conventions import GRADIENT
from isogru.edits import unedited
from isogru.judge import reference
from isogru.judge.comparison import TWIN_MULTIPLE
from isogru.suites.mutants import NumpyMutant, mutants
from shared_spec import cases as catalogue
from shared_spec import cells
from shared_spec.files.interchange import DTYPES, Case
from shared_spec.oracle import shapes_of_case
from shared_spec.readings.arithmetic import Array

CELLS = ("gru", "gru_reset_after")
OF_CATALOGUE = (
    *("ordinary", "zero_start", "large_weights", "one_step", "one_sequence", "one_unit", "saturated"),
    *("tiny_weights", "no_inner_bias", "square"),
)
"""The small ones."""
MORE = {"as_many_steps": (5, 5, 3, 4)}
"""T, n, d, h. In the catalogue there are never as many steps as sequences, so that what takes the one for the other
ends with an error; not here.
"""
SIGMA = 0.5


@dataclass(frozen=True)
class Golden:
    """A case, what it should give in float64, and how far a result in each precision may be from that."""

    case: Case
    expected: Mapping[str, Array]
    """H (T, n, h) and grad.X, grad.H0 and grad. of every parameter."""
    bounds: Mapping[str, Mapping[str, Array]]
    """By precision, of each of them, float32 and of its shape: no smaller than the derived one."""

    def ratio(self, result: Mapping[str, Array], dtype: str) -> float:
        """The largest |result - expected| / bound of those quantities that there are; up to 1 is right."""
        largest = 0.0
        for name, array in result.items():
            with np.errstate(invalid="ignore", over="ignore"):
                ratio = np.abs(array.astype(np.float64) - self.expected[name]) / self.bounds[dtype][name]
            largest = max(largest, float(np.where(np.isnan(ratio), np.inf, ratio).max()))
        return largest


def candidates(cell: str) -> list[Golden]:
    """Those of a cell, the catalogue's first."""
    names = [f"{cell}-{name}" for name in OF_CATALOGUE]
    built = [catalogue.build(name) for name in names if name in catalogue.cell_case_names()]
    chosen = [case for case in built if isinstance(case, Case)] + [_drawn(cell, name) for name in MORE]
    return [golden(case) for case in chosen]


def named(name: str) -> Golden:
    """A candidate by the name of its case, such as "gru-square"."""
    cell, _, own = name.partition("-")
    case = _drawn(cell, own) if own in MORE else catalogue.build(name)
    assert isinstance(case, Case)
    return golden(case)


def golden(case: Case) -> Golden:
    """A case with its answer."""
    known = {dtype: reference.get(case, dtype) for dtype in DTYPES}
    oracle = known[DTYPES[0]].oracle
    expected = {name: array for name, array in oracle.items() if name != "final"}
    bounds = {
        dtype: {
            name: upwards(np.broadcast_to(TWIN_MULTIPLE * of.stray[name], array.shape))
            for name, array in expected.items()
        }
        for dtype, of in known.items()
    }
    return Golden(case, expected, bounds)


def killed(golden: Golden, dtype: str) -> set[str]:
    """The mutants whose values are further off than the bounds. One that does not run where matrices do not fit is
    none: where they fit it would.
    """
    every = mutants(golden.case.cell, dtype=dtype)
    return {mutant.name for mutant in every if golden.ratio(_found(mutant, golden.case, dtype), dtype) > 1}


def alive(cell: str, dtype: str, chosen: Sequence[Golden]) -> set[str]:
    """The mutants of a cell that none of these kills."""
    names = {mutant.name for mutant in mutants(cells.cell(cell), dtype=dtype)}
    return names - {name for each in chosen if each.case.cell.name == cell for name in killed(each, dtype)}


def _found(mutant: NumpyMutant, case: Case, dtype: str) -> dict[str, Array]:
    """What it gives that is not what is right; nothing where it changes nothing."""
    if mutant.kind == GRADIENT:
        return {f"grad.{name}": array for name, array in mutant.gradients(case, dtype=dtype).items()}
    right = unedited(case)
    if mutant.cannot_run(right):
        return {}
    H = mutant.states(right, case.arrays["X"], case.arrays["H0"], dtype=dtype)
    return {} if H is None else {"H": H}


def _drawn(cell: str, name: str) -> Case:
    the_cell, random = cells.cell(cell), np.random.RandomState(zlib.crc32(f"{cell}-{name}".encode()))
    sizes = dict(zip("Tndh", MORE[name], strict=True))
    arrays = {}
    for tensor, symbols in shapes_of_case(the_cell).items():
        values = random.standard_normal([sizes[s] for s in symbols])
        values = values * SIGMA if tensor in the_cell.parameters else np.tanh(values) if tensor == "H0" else values
        arrays[tensor] = values.astype(np.float32).astype(np.float64)
    return Case(f"{cell}-{name}", the_cell, arrays)


def upwards(array: Array) -> Array:
    """The next float32 that is no smaller."""
    narrow = array.astype(np.float32)
    raised: Array = np.where(narrow < array, np.nextafter(narrow, np.float32(np.inf)), narrow)
    return raised
