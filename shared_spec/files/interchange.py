"""Case and result files: what they hold, checked at the door."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from shared_spec.cells import Cell, cell
from shared_spec.errors import InterchangeError, UserError
from shared_spec.expression import Shape
from shared_spec.files import door, origins, passage, sources, tensors
from shared_spec.files.origins import DTYPES as DTYPES
from shared_spec.files.origins import Origin as Origin
from shared_spec.language_model import Problem, recipe_from_json, recipe_to_json, shapes, specification
from shared_spec.language_model.corpus import Vocabulary, windows
from shared_spec.oracle import shapes_of_case, shapes_of_result
from shared_spec.quantities import OF_TRAINING, quantity
from shared_spec.quantities import TRACE as TRACE
from shared_spec.readings import floats
from shared_spec.readings.arithmetic import Array
from shared_spec.readings.floats import HALVES

CASE_FORMAT = "isogru-case/1"
RESULT_FORMAT = "isogru-result/1"


@dataclass(frozen=True)
class Case:
    """A cell over a sequence: X (T, n, d), H0 (n, h), optionally dH (T, n, h), and the cell's parameters."""

    name: str
    cell: Cell
    arrays: Mapping[str, Array]
    reverse: bool = False
    """Whether the layer that it is of runs from the last step to the first. X is turned round then: a case holds what a
    cell meets, step after step.
    """
    lengths: passage.Lengths = None
    """How many steps each sequence has, where some end early."""
    source: sources.Source | None = None
    """Where its weights come from, if they are somebody's own."""

    @functools.cached_property
    def digest(self) -> str:
        return tensors.digest(self.arrays, self.cell.digest)

    @functools.cached_property
    def wide(self) -> tuple[str, ...]:
        """Which of its arrays hold numbers that float32 does not."""
        return tuple(
            name for name, array in self.arrays.items() if not np.array_equal(floats.rounded(array, "float32"), array)
        )

    def held_in(self, dtype: str) -> Case:
        """The case that a result in a dtype is of: in float32 its numbers rounded to float32, where it holds others.

        Raises InterchangeError for a number beyond float32.
        """
        if dtype != "float32" or not self.wide:
            return self
        single = {name: floats.rounded(array, dtype).astype(np.float64) for name, array in self.arrays.items()}
        for name in self.wide:
            if not np.isfinite(single[name]).all():
                number = np.abs(self.arrays[name]).max()
                raise InterchangeError(
                    f"case {self.name}: {name} holds {number:.1e}, which is beyond float32; compute in float64"
                )
        return replace(self, arrays=single)

    @property
    def parameters(self) -> dict[str, Array]:
        return {name: self.arrays[name] for name in self.cell.parameters}


@dataclass(frozen=True)
class TrainingCase:
    """A language model to train."""

    name: str
    problem: Problem

    @property
    def cell(self) -> Cell:
        return cell(self.problem.recipe.cell)

    def held_in(self, dtype: str) -> TrainingCase:
        """Itself: all that it holds is float32."""
        return self

    @functools.cached_property
    def digest(self) -> str:
        arrays = {**self.problem.parameters, "tokens": self.problem.tokens}
        spec = specification()
        texts = (recipe_to_json(self.problem.recipe), spec.output.text, spec.text["separators"])
        return tensors.digest(arrays, self.cell.digest, *texts)


AnyCase = Case | TrainingCase


@dataclass(frozen=True)
class Result:
    """What an implementation made of a case."""

    origin: Origin
    arrays: Mapping[str, Array]

    @property
    def is_traced(self) -> bool:
        """Whether it also holds a second run, with every gate of every step kept: "trace.…", all of them (T, n, h),
        the total cotangent of each state, "trace.dH", and that run's gradients, "trace.grad.…".
        """
        return any(name.startswith(TRACE) for name in self.arrays)


def write_case(path: Path, case: AnyCase, *, dtype: str = "") -> None:
    """Writes a case file, whole or not at all. One of a cell is held in `dtype`; where that is not said, in float32, or
    all of it in float64 where it has numbers that float32 does not: products of arrays of both are in neither.
    """
    metadata = {"format": CASE_FORMAT, "name": case.name, "cell": case.cell.name}
    arrays: dict[str, Array]
    if isinstance(case, Case):
        held = case.held_in(dtype)
        dtype = dtype or ("float64" if case.wide else "float32")
        arrays = {name: array.astype(dtype) for name, array in held.arrays.items()}
        metadata |= passage.written(reverse=case.reverse, lengths=case.lengths) | sources.written(case.source)
    else:
        problem = case.problem
        metadata |= {
            "recipe": recipe_to_json(problem.recipe),
            "vocabulary": json.dumps([problem.vocabulary.tokens, problem.vocabulary.unknown]),
            "corpus": json.dumps([problem.corpus_sha1, problem.corpus_source]),
        }
        arrays = {name: array.astype(np.float32) for name, array in problem.parameters.items()}
        arrays["tokens"] = problem.tokens
    tensors.write(path, arrays, metadata)


def read_case(path: Path) -> AnyCase:
    """Reads a case file. Raises InterchangeError for one that is damaged or of a newer format, and for a missing or
    superfluous tensor, a wrong shape or dtype, a NaN or an infinity, each by name.
    """
    arrays, metadata = tensors.read(path, CASE_FORMAT, "case")
    try:
        the_cell = cell(_entry(metadata, "cell", path))
    except UserError as error:
        raise InterchangeError(f"{path}: {error}") from None
    name = metadata.get("name", path.stem)
    door.check_texts(path, {"name": name})
    if "recipe" in metadata:
        return _read_training_case(path, name, arrays, metadata)
    optional = set() if "dH" in arrays else {"dH"}
    symbols = {k: v for k, v in shapes_of_case(the_cell).items() if k not in optional}
    _check(path, arrays, symbols, dtypes=dict.fromkeys(symbols, DTYPES))
    wide = {k: a.astype(np.float64) for k, a in arrays.items()}
    order = passage.read(path, metadata, *wide["X"].shape[:2])
    return Case(name, the_cell, wide, *order, sources.read(path, metadata))


def _read_training_case(path: Path, name: str, arrays: dict[str, Array], metadata: dict[str, str]) -> TrainingCase:
    try:
        recipe = recipe_from_json(metadata["recipe"])
        again = "write the case again"
        tokens, unknown = door.decoded(
            _entry(metadata, "vocabulary", path), tuple[list[str], str], f"{path}: vocabulary", again
        )
        sha1, source = door.decoded(_entry(metadata, "corpus", path), tuple[str, str], f"{path}: corpus", again)
        door.check_texts(path, {"corpus": sha1, "source of the corpus": source})
        symbols = {**shapes(cell(recipe.cell)), "tokens": ("characters",)}
        if metadata["cell"] != recipe.cell or unknown not in tokens:
            raise ValueError("cell, recipe and vocabulary do not fit each other")
    except (UserError, ValueError) as error:
        raise InterchangeError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    dtypes = dict.fromkeys(symbols, ("float32",)) | {"tokens": ("int32",)}
    _check(path, arrays, symbols, dtypes=dtypes, sizes={"h": recipe.num_hiddens, "v": len(tokens)})
    indices = arrays.pop("tokens")
    if indices.size and not (indices.min() >= 0 and indices.max() < len(tokens)):
        raise InterchangeError(f"{path}: tokens holds indices outside the vocabulary of {len(tokens)}")
    try:
        windows(indices, num_steps=recipe.num_steps, count=recipe.num_train + recipe.num_val)
    except UserError as error:
        raise InterchangeError(f"{path}: {error}") from None
    parameters = {k: a.astype(np.float64) for k, a in arrays.items()}
    return TrainingCase(name, Problem(recipe, Vocabulary(tuple(tokens), unknown), indices, parameters, sha1, source))


def write_result(path: Path, result: Result) -> None:
    """Writes a result file, whole or not at all."""
    tensors.write(path, result.arrays, {"format": RESULT_FORMAT, "origin": json.dumps(asdict(result.origin))})


def read_origin(path: Path) -> Origin:
    """The metadata of a result file alone."""
    return origins.read(path, tensors.metadata(path, RESULT_FORMAT, "result"))


def read_result(path: Path, case: AnyCase | None = None) -> Result:
    """Reads a result file. With its case, also checks names and shapes against it.

    Raises InterchangeError for one that is damaged, of a newer format, or does not hold what the case asks for.
    """
    arrays, metadata = tensors.read(path, RESULT_FORMAT, "result", narrow=True)
    origin = origins.read(path, metadata)
    if case is not None:
        check_result(path, Result(origin, arrays), case)
    return Result(origin, arrays)


def shapes_of_training(cell: Cell) -> dict[str, Shape]:
    """The symbolic shape of everything that a result of a training of this cell holds."""
    all_shapes: dict[str, Shape] = {}
    for each in OF_TRAINING:
        if each.shape is None:
            all_shapes |= {f"{each.name}{parameter}": shape for parameter, shape in shapes(cell).items()}
        else:
            all_shapes[each.name] = each.shape
    return all_shapes


def check_result(path: Path | str, result: Result, case: AnyCase, *, partial: bool = False) -> None:
    """Raises InterchangeError where the result does not hold what the case asks for, by name; where it is `partial`, a
    part of that will do.
    """
    sizes: dict[str, int]
    if isinstance(case, Case):
        symbols = shapes_of_result(case.cell)
        absent = [kind for kind, there in (("grad.", "dH" in case.arrays), (TRACE, result.is_traced)) if not there]
        symbols = {name: shape for name, shape in symbols.items() if not name.startswith(tuple(absent))}
        T, n, d = case.arrays["X"].shape
        sizes = {"T": T, "n": n, "d": d, "h": case.arrays["H0"].shape[1]}
    else:
        recipe = case.problem.recipe
        symbols = shapes_of_training(case.cell)
        sizes = {"h": recipe.num_hiddens, "v": len(case.problem.vocabulary), "epochs": recipe.epochs}
        sizes |= {"steps": recipe.epochs * recipe.steps_per_epoch, "predictions": recipe.num_predictions}
    if partial:
        symbols = {name: shape for name, shape in symbols.items() if name in result.arrays} or symbols
    training = isinstance(case, TrainingCase)
    own = (result.origin.dtype, "float32") if result.origin.dtype in HALVES else (result.origin.dtype,)
    dtypes = {name: (of,) if (of := quantity(name, training=training).dtype) else own for name in symbols}
    _check(path, result.arrays, symbols, dtypes=dtypes, sizes=sizes, finite=False)
    text = result.arrays.get("text")
    if text is not None and not (text.min() >= 0 and text.max() < sizes["v"]):
        raise InterchangeError(f"{path}: text holds indices outside the vocabulary of {sizes['v']}")


def _check(
    path: Path | str,
    arrays: Mapping[str, Array],
    symbols: Mapping[str, Shape],
    *,
    dtypes: Mapping[str, tuple[str, ...]],
    sizes: Mapping[str, int] | None = None,
    finite: bool = True,
) -> None:
    known = dict(sizes or {})
    if missing := sorted(set(symbols) - set(arrays)):
        raise InterchangeError(f"{path}: tensor {missing[0]} is missing; there should be {', '.join(symbols)}")
    if superfluous := sorted(set(arrays) - set(symbols)):
        raise InterchangeError(f"{path}: tensor {superfluous[0]} is superfluous; there should be {', '.join(symbols)}")
    for name, shape in symbols.items():
        array = arrays[name]
        if array.dtype.name not in dtypes[name]:
            raise InterchangeError(f"{path}: {name} is {array.dtype.name}, should be {' or '.join(dtypes[name])}")
        for symbol, size in zip(shape, array.shape, strict=False):
            known.setdefault(symbol, size)
        expected = tuple(known.get(symbol, -1) for symbol in shape)
        if array.shape != expected or 0 in array.shape:
            raise InterchangeError(
                f"{path}: {name} has shape {array.shape}, should be ({', '.join(shape)}) = {expected}"
            )
        if finite and not np.isfinite(array).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise InterchangeError(f"{path}: {name}{list(index)} is {array[index]}; a case holds finite numbers")


def _entry(metadata: Mapping[str, str], key: str, path: Path) -> str:
    if key not in metadata:
        raise InterchangeError(f"{path}: metadata has no {key!r}")
    return metadata[key]
