"""What is timed: the catalogue of workloads, each a kind of work at one size, and the seeded numbers that it works on.

A *step* is one cell step, many in a row, each on the state of the one before; *forward* a cell over T steps; *gradient*
that and the gradients of X, H0 and every parameter. *training-step* is one step of the language model's recipe, loss,
gradients and update; *epoch* the recipe's first epoch and its validation, batches made on the way; *prediction* one
character after another, greedily.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from shared_spec import language_model
from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.files.interchange import Case, TrainingCase
from shared_spec.frameworks import gated_cells, native_cells
from shared_spec.language_model import Problem, Recipe
from shared_spec.language_model.corpus import Corpus
from shared_spec.oracle import shapes_of_case
from shared_spec.readings import cost
from shared_spec.readings.arithmetic import Array

OF_CELL = ("step", "forward", "gradient")
TRAININGS = ("training-step", "epoch")
OF_MODEL = (*TRAININGS, "prediction")
PREDICTED_FROM = 4.0
"""Times the weights at the start of a training."""
PREDICTED = 50
STEPS = 4
"""Of an epoch, where it is steps that are timed."""
PREFIX = 10
"""Characters that one call of a prediction predicts, and those that it begins with."""
SERIES = {"T": (8, 32, 128), "n": (64, 1024, 4096), "h": (32, 64, 128)}
"""Sizes that are varied, one at a time, around the chapter's."""
SETS = ("everything", "chapter")


@dataclass(frozen=True)
class Size:
    """T steps of n sequences, d inputs and h units."""

    name: str
    T: int
    n: int
    d: int
    h: int


NAMED = {
    Size("one-sequence", T=35, n=1, d=256, h=256): ("step", "forward", "gradient"),
    Size("small-batch", T=35, n=32, d=256, h=256): ("gradient",),
    Size("wide", T=50, n=64, d=1024, h=1024): ("step", "gradient"),
}
"""Sizes of other people's models, bound by latency or by products, and the work that is timed at each."""


@dataclass(frozen=True)
class Workload:
    """One kind of work on one cell at one size, in one precision."""

    kind: str
    size: Size
    cell: str
    dtype: str = "float32"

    @property
    def name(self) -> str:
        """Such as "gradient-chapter-gru-float32"."""
        return f"{self.kind}-{self.size.name}-{self.cell}-{self.dtype}"

    @property
    def title(self) -> str:
        """What it is, without the cell and the precision."""
        return f"{self.kind}, {self.size.name}"

    def products(self) -> tuple[tuple[int, int, int], ...]:
        """The shapes (n, h, k) of the products (n, h) (h, k) that follow from one another in a step of its cell: the
        gates' and the candidate's, or all in one.
        """
        n, d, h = (1 if self.kind == "prediction" else self.size.n), self.size.d, self.size.h
        counted = cost.step(cell(self.cell), {"n": n, "d": d, "h": h})
        return tuple((n, h, products * h) for products in counted.in_turn)

    @property
    def in_series(self) -> tuple[str, ...]:
        """The dimensions whose series this is a point of."""
        if self.kind != "gradient" or self.dtype != "float32":
            return ()
        if self.size == chapter():
            return tuple(SERIES)
        return tuple(symbol for symbol in SERIES if self.size.name.startswith(f"{symbol}="))


@functools.cache
def chapter() -> Size:
    """The chapter's own size. Its inputs are characters, of which The Time Machine has 26, the space and <unk>."""
    defaults = language_model.specification().defaults
    return Size("chapter", defaults["num_steps"], defaults["batch_size"], 28, defaults["num_hiddens"])


@functools.cache
def catalogue() -> tuple[Workload, ...]:
    """Every workload, the chapter's training step first: of the cells that native layers compute, whose tables are
    apart, since they are different functions; at sizes other than the chapter's of those with a gate.
    """
    native, gated = native_cells(), gated_cells()
    entries = [Workload("training-step", chapter(), name) for name in native]
    entries += [Workload(kind, chapter(), name) for kind in ("epoch", "prediction") for name in gated]
    entries += [Workload(kind, chapter(), name) for kind in OF_CELL for name in gated]
    entries += [Workload("gradient", chapter(), name) for name in native if name not in gated]
    entries += [Workload(kind, chapter(), name, "float64") for kind in ("training-step", "gradient") for name in gated]
    entries += [Workload(kind, size, name) for size, kinds in NAMED.items() for kind in kinds for name in gated]
    for symbol, values in SERIES.items():
        sizes = [_varied(symbol, value) for value in values if value != getattr(chapter(), symbol)]
        entries += [Workload("gradient", size, name) for size in sizes for name in gated]
    return tuple(entries)


def _varied(symbol: str, value: int) -> Size:
    base = chapter()
    sizes = {"T": base.T, "n": base.n, "d": base.d, "h": base.h} | {symbol: value}
    return Size(f"{symbol}={value}", **sizes)


def choose(chosen: Iterable[str], cells: Sequence[str] = ()) -> list[Workload]:
    """The workloads of these names, of these kinds ("gradient"), or of a set: "chapter" is its training step, for every
    cell in float32; of these cells, where any are named. Raises UserError for a name that fits nothing, for a cell that
    is not timed, and where there are none of these cells.
    """
    workloads: list[Workload] = []
    chosen = list(chosen)
    for word in chosen:
        if word == "everything":
            these = list(catalogue())
        elif word == "chapter":
            these = [w for w in catalogue() if w.kind == "training-step" and w.dtype == "float32"]
        else:
            these = [w for w in catalogue() if word in (w.name, w.kind)]
        if not these:
            kinds = ", ".join((*OF_CELL, *OF_MODEL))
            raise UserError(
                f"no workload {word!r}; there are {', '.join(SETS)}, the kinds {kinds}, and single ones such as "
                f"{catalogue()[0].name}"
            )
        workloads += [w for w in these if w not in workloads]
    if unknown := [name for name in cells if name not in native_cells()]:
        raise UserError(f"no benchmark of a cell {unknown[0]!r}; the cells are {', '.join(native_cells())}")
    of_cells = [w for w in workloads if not cells or w.cell in cells]
    if not of_cells:
        others = (w.cell for w in workloads), (w.kind for w in catalogue() if w.cell in cells)
        asked, timed, kinds = (" or ".join(dict.fromkeys(words)) for words in (cells, *others))
        raise UserError(f"no {' or '.join(chosen)} of {asked} is timed: choose {timed}, or for {asked} {kinds}")
    return of_cells


@functools.lru_cache(maxsize=4)
def case(workload: Workload, seed: int) -> Case:
    """The problem of a workload of a cell, the same on every machine. The seed draws its inputs; weights stay."""
    start = zlib.crc32(f"{workload.size}".encode())
    of_weights, of_inputs = np.random.RandomState(start), np.random.RandomState(start + 1 + seed)
    the_cell = cell(workload.cell)
    sizes = {"T": workload.size.T, "n": workload.size.n, "d": workload.size.d, "h": workload.size.h}
    shapes = shapes_of_case(the_cell)
    if workload.kind != "gradient":
        del shapes["dH"]
    arrays: dict[str, Array] = {}
    for tensor, symbols in shapes.items():
        random = of_weights if tensor in the_cell.parameters else of_inputs
        values = random.standard_normal([sizes[s] for s in symbols])
        if tensor in the_cell.parameters:
            # The states neither die away nor saturate, at any size.
            values /= np.sqrt(workload.size.h)
        if tensor == "H0":
            values = np.tanh(values)
        arrays[tensor] = values.astype(np.float32).astype(np.float64)
    return Case(f"{workload.name}-{seed}", the_cell, arrays)


def recipe(workload: Workload, *, epochs: int) -> Recipe:
    """The recipe of a workload of the language model. Where steps are timed, epochs are short and all batches whole:
    any other shape would have to be compiled too, in each start of a race, and is not timed.
    """
    size, changes = workload.size, {}
    if size != chapter():
        changes = {"num_steps": size.T, "num_hiddens": size.h, "batch_size": size.n}
        changes |= {"num_train": 10 * size.n, "num_val": 5 * size.n}
    if workload.kind == "training-step":
        changes |= {"num_train": STEPS * size.n, "num_val": size.n}
    # From this start predictions depend on what comes before them.
    return language_model.recipe(workload.cell, start="uniform", epochs=epochs, **changes)


@functools.lru_cache(maxsize=4)
def training_case(workload: Workload, text: Corpus, *, epochs: int) -> TrainingCase:
    """So many epochs of the recipe above."""
    return TrainingCase(f"{workload.name}-{epochs}", language_model.problem(recipe(workload, epochs=epochs), text))


def weights(problem: Problem) -> dict[str, Array]:
    """Those that a prediction starts from: so large that what comes depends on all that came before. From the start of
    a training every character is the same one.
    """
    return {name: PREDICTED_FROM * array for name, array in problem.parameters.items()}


def tiny(workload: Workload) -> Workload:
    """The same work with next to nothing to compute: what it takes is what the host takes to issue it."""
    size = workload.size
    return Workload(workload.kind, Size("tiny", size.T, n=2, d=2, h=2), workload.cell, workload.dtype)
