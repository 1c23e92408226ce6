"""The catalogue of seeded cases. Dimensions are distinct, weights random and H0 not zero unless that is the point:
equal weights hide a permutation of gates, T = 1 from a zero state hides the recurrent matrix.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from shared_spec import language_model
from shared_spec.cells import Cell, cell, cells
from shared_spec.errors import UserError
from shared_spec.files.interchange import AnyCase, Case, TrainingCase
from shared_spec.frameworks import gated_cells, native_cells
from shared_spec.language_model.corpus import Corpus
from shared_spec.oracle import shapes_of_case
from shared_spec.readings.arithmetic import Array


def every_cell() -> tuple[str, ...]:
    """All of cells.toml."""
    return tuple(cells())


def with_an_inner_bias() -> tuple[str, ...]:
    """Those whose product with W_hh has a bias of its own, which some layers lack."""
    return tuple(name for name in native_cells() if "b_hh" in cell(name).parameters)


def with_a_gate() -> tuple[str, ...]:
    """Those with a sigmoid, whether or not some layer computes them."""
    return tuple(name for name in cells() if any(function.name == "sigmoid" for _, function in cell(name).functions))


@dataclass(frozen=True)
class Entry:
    """A line of the catalogue: for which cells, at which sizes, how drawn."""

    name: str
    about: str
    of: Callable[[], tuple[str, ...]]
    """Which cells run it: all, or, since each costs seconds, those that native layers compute."""
    T: int
    n: int
    d: int
    h: int
    sigma: float = 0.5
    """Standard deviation of every parameter."""
    zero: tuple[str, ...] = ()
    """Tensors that are zero instead of random."""
    gate_bias: float = 0.0
    """Added to the biases of gates with alternating sign."""
    compiled: bool = False
    """Whether the compiled lane runs it: compiling costs seconds."""
    traced: bool = False
    """Whether it is also run with every gate of every step kept, where a lane can."""
    wide: bool = False
    """Whether its numbers have digits that float32 does not hold: in float32 it is the case of these rounded."""

    @property
    def cells(self) -> tuple[str, ...]:
        """The names of the cells that run it."""
        return self.of()


CATALOGUE = (
    Entry("ordinary", "a bit of everything", every_cell, T=7, n=3, d=5, h=4, compiled=True, traced=True),
    Entry("zero_start", "H0 is zero", every_cell, T=6, n=4, d=3, h=5, zero=("H0",), traced=True),
    Entry("long", "many steps", every_cell, T=256, n=2, d=6, h=9, sigma=0.3, compiled=True, traced=True),
    Entry(
        "large_weights",
        "the state moves through its whole range",
        every_cell,
        T=10,
        n=5,
        d=4,
        h=8,
        sigma=2.0,
        traced=True,
    ),
    Entry("one_step", "T = 1", native_cells, T=1, n=5, d=3, h=7),
    Entry("one_sequence", "n = 1", native_cells, T=9, n=1, d=4, h=6),
    Entry("one_unit", "h = 1", native_cells, T=8, n=4, d=6, h=1),
    Entry("wide", "many units", native_cells, T=12, n=5, d=17, h=256, sigma=0.1),
    Entry("saturated", "gates at their ends", native_cells, T=11, n=4, d=7, h=6, gate_bias=12.0),
    Entry("tiny_weights", "all but linear", native_cells, T=13, n=3, d=8, h=10, sigma=1e-6),
    Entry("chapter", "the chapter's shapes and start", gated_cells, T=32, n=1024, d=28, h=32, sigma=0.01, zero=("H0",)),
    Entry("no_inner_bias", "b_hh is zero", with_an_inner_bias, T=5, n=6, d=4, h=7, zero=("b_hh",)),
    Entry("square", "d = h: what is transposed fits", every_cell, T=7, n=3, d=4, h=4),
    Entry("float64_values", "numbers that float32 does not hold", every_cell, T=4, n=2, d=5, h=3, wide=True),
    Entry(
        "gates",
        "few terms beside a gate: the narrowest bound",
        with_a_gate,
        T=4,
        n=300,
        d=2,
        h=1,
        zero=("b_z", "b_r", "W_xh", "b_h", "b_hh"),
    ),
)

SHORT_EPOCHS = 2
FULL_TRAINING = "full-training"
SHORT_TRAINING = "short-training"


def cell_case_names() -> list[str]:
    """Every name of a case of a cell over a sequence, such as "gru-ordinary"."""
    return [f"{name}-{entry.name}" for entry in CATALOGUE for name in entry.cells]


def training_case_names(kind: str = SHORT_TRAINING) -> list[str]:
    """Every name of a language-model case: "short-training-gru" (two epochs), "full-training-gru" (fifty)."""
    return [f"{kind}-{name}" for name in every_cell()]


def names() -> list[str]:
    """The whole catalogue."""
    return [*cell_case_names(), *training_case_names(), *training_case_names(FULL_TRAINING)]


def entry_of(name: str) -> tuple[Entry, Cell] | None:
    """The catalogue's line and the cell of a case such as "gru-ordinary"; None for a language-model case."""
    cell_name, _, entry_name = name.partition("-")
    entry = next((e for e in CATALOGUE if e.name == entry_name and cell_name in e.cells), None)
    return None if entry is None else (entry, cell(cell_name))


def cell_name_of(name: str) -> str:
    """The cell of a case, without building it. Raises UserError for a name that is not in the catalogue."""
    if name not in names():
        raise UserError(f"no case {name!r}; python -m shared_spec cases lists them")
    return name.partition("-")[0] if entry_of(name) else name.rpartition("-")[2]


def is_compiled(name: str) -> bool:
    """Whether the compiled lane runs this case: those marked so, full trainings, and short ones of gated cells."""
    entry = entry_of(name)
    return entry[0].compiled if entry else not name.startswith(SHORT_TRAINING) or cell_name_of(name) in gated_cells()


def is_traced(name: str) -> bool:
    """Whether this case is also run with the gates kept."""
    entry = entry_of(name)
    return bool(entry and entry[0].traced)


def build(name: str, corpus: Corpus | None = None) -> AnyCase:
    """The case of that name; a language-model case takes a corpus.

    Raises UserError for a name that is not in the catalogue.
    """
    cell_name_of(name)
    entry = entry_of(name)
    if entry is not None:
        return _draw(name, *entry)
    if corpus is None:
        raise UserError(f"case {name} is a language model and needs a corpus")
    return TrainingCase(name, language_model.problem(training_recipe(name), corpus))


def training_recipe(name: str) -> language_model.Recipe:
    """The recipe of a language-model case: the full one is the chapter's; the short ones share out both starts."""
    cell_name = cell_name_of(name)
    if name.startswith(FULL_TRAINING):
        return language_model.recipe(cell_name)
    start = cell(cell_name).short_start
    return language_model.recipe(cell_name, **({} if start is None else {"start": start}), epochs=SHORT_EPOCHS)


def _draw(name: str, entry: Entry, the_cell: Cell) -> Case:
    random = np.random.RandomState(zlib.crc32(name.encode()))
    sizes = {"T": entry.T, "n": entry.n, "d": entry.d, "h": entry.h}
    arrays: dict[str, Array] = {}
    for tensor, symbols in shapes_of_case(the_cell).items():
        values = random.standard_normal([sizes[s] for s in symbols])
        if tensor in the_cell.parameters:
            values *= entry.sigma
        if tensor == "H0":
            values = np.tanh(values)
        if tensor in the_cell.gate_biases:
            values += entry.gate_bias * _alternating(entry.h)
        if tensor in entry.zero:
            values[...] = 0
        narrow = values.astype(np.float32).astype(np.float64)
        arrays[tensor] = _with_more_digits(narrow, random) if entry.wide else narrow
    return Case(name, the_cell, arrays)


def _with_more_digits(narrow: Array, random: np.random.RandomState) -> Array:
    """Numbers of float64 that round to these of float32: made by whole numbers and one product each, since what was
    drawn may differ in its last digits from machine to machine.
    """
    more: Array = narrow * (1 + 2.0**-52 * random.randint(1, 2**27, narrow.shape, dtype=np.int64))
    return more


def _alternating(h: int) -> Array:
    return np.resize(np.array([1.0, -1.0]), h)


def describe(chosen: Iterable[str]) -> list[dict[str, object]]:
    """Rows for the listing: name, cell, dimensions, what it is about."""
    rows: list[dict[str, object]] = []
    for name in chosen:
        entry = entry_of(name)
        if entry:
            e = entry[0]
            about, sizes = e.about, {"T": e.T, "n": e.n, "d": e.d, "h": e.h}
        else:
            defaults = language_model.specification().defaults
            epochs = SHORT_EPOCHS if name.startswith(SHORT_TRAINING) else defaults["epochs"]
            about = f"language model, {epochs} epochs on the text"
            sizes = {"T": defaults["num_steps"], "n": defaults["batch_size"], "h": defaults["num_hiddens"]}
        rows.append({"name": name, "cell": cell_name_of(name), **sizes, "about": about, "compiled": is_compiled(name)})
    return rows
