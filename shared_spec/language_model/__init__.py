"""The language model: its recipe and problem, as every framework is given them, and the oracle's own training."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shared_spec.cells import DIMENSIONS, Cell, cell, place_of, read_tables
from shared_spec.errors import UserError
from shared_spec.expression import Equation, Shape, parse, shape
from shared_spec.files import door
from shared_spec.language_model import corpus
from shared_spec.language_model.corpus import Corpus, Tokens, Vocabulary
from shared_spec.readings.arithmetic import Array

FORMAT = "isogru-language-model/1"
FILE = Path(__file__).parents[1] / "language_model.toml"
TOO_MANY = 2**32
"""Where seeds of NumPy's generators end, and whatever else is counted is nonsense."""


@dataclass(frozen=True)
class Specification:
    """language_model.toml, read and checked."""

    corpus: dict[str, Any]
    text: dict[str, Any]
    output: Equation
    parameters: Mapping[str, Shape]
    defaults: dict[str, Any]
    starts: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """How one language model is trained; the defaults are the chapter's, from language_model.toml."""

    cell: str
    start: str
    num_hiddens: int
    num_steps: int
    num_train: int
    num_val: int
    batch_size: int
    order_seed: int
    start_seed: int
    lr: float
    clip_norm: float
    epochs: int
    prefix: str
    num_predictions: int

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_train // self.batch_size)


@dataclass(frozen=True)
class Problem:
    """A recipe, the text as tokens, and the start: all that a framework needs, and the same for each."""

    recipe: Recipe
    vocabulary: Vocabulary
    tokens: Tokens
    parameters: Mapping[str, Array]
    corpus_sha1: str
    corpus_source: str

    def training_rows(self, epoch: int) -> Tokens:
        """The training windows (num_train, num_steps + 1) in the order of that epoch."""
        return self._windows[: self.recipe.num_train][
            corpus.order(self.recipe.num_train, epoch=epoch, seed=self.recipe.order_seed)
        ]

    def training_batches(self, epoch: int) -> Iterator[tuple[Tokens, Tokens]]:
        """Inputs and targets (n, num_steps) of one epoch."""
        return corpus.batches(self.training_rows(epoch), self.recipe.batch_size)

    def validation_rows(self) -> Tokens:
        """The windows (num_val, num_steps + 1) that are never trained on."""
        return self._windows[self.recipe.num_train :]

    def validation_batches(self) -> Iterator[tuple[Tokens, Tokens]]:
        """Inputs and targets (n, num_steps) of these."""
        return corpus.batches(self.validation_rows(), self.recipe.batch_size)

    def prefix(self) -> Tokens:
        """The prefix to predict from, cleaned like the text, as tokens."""
        return self.vocabulary.encode(corpus.clean(self.recipe.prefix, specification().text["separators"]))

    @property
    def _windows(self) -> Tokens:
        recipe = self.recipe
        return corpus.windows(self.tokens, num_steps=recipe.num_steps, count=recipe.num_train + recipe.num_val)


@functools.cache
def specification() -> Specification:
    """language_model.toml. Raises SpecificationError, with the place, where its equation is wrong."""
    raw = door.text(FILE)
    tables = read_tables(FILE, raw, FORMAT)
    model = tables["model"]
    parameters = {name: tuple(symbols) for name, symbols in model["parameters"].items()}
    place = place_of(model["output"], "model", raw, FILE)
    output = parse(model["output"], place)
    if not {s for symbols in parameters.values() for s in symbols} <= set(DIMENSIONS):
        raise place.error(0, f"shapes are made of {', '.join(DIMENSIONS)}")
    if (its_shape := shape(output.expression, {"H": ("T", "n", "h"), **parameters}, place)) != ("T", "n", "v"):
        raise place.error(0, f"{output.target} has shape {its_shape}, should be (T, n, v)")
    known = {field.name for field in fields(Recipe)}
    settings = {**tables["data"], **tables["training"], "num_hiddens": model["num_hiddens"]} | {
        "prefix": tables["text"]["prefix"],
        "num_predictions": tables["text"]["num_predictions"],
    }
    defaults = {name: value for name, value in settings.items() if name in known}
    return Specification(tables["corpus"], tables["text"], output, parameters, defaults, tuple(tables["starts"]))


def recipe(cell_name: str, *, start: str = "gaussian", **changes: Any) -> Recipe:
    """The chapter's recipe for a cell, with changes. Raises UserError for a cell, start or setting not there."""
    cell(cell_name)
    spec = specification()
    if start not in spec.starts:
        raise UserError(f"no start {start!r}; the starts are {', '.join(spec.starts)}")
    if unknown := set(changes) - set(spec.defaults):
        raise UserError(f"no setting {unknown.pop()!r}; the settings are {', '.join(spec.defaults)}")
    return Recipe(cell=cell_name, start=start, **{**spec.defaults, **changes})


def shapes(cell: Cell) -> dict[str, Shape]:
    """Shapes of all parameters of the model, in symbols: the cell's, its inputs the v characters, and the output's."""
    of_cell = {name: tuple("v" if s == "d" else s for s in symbols) for name, symbols in cell.parameters.items()}
    return {**of_cell, **specification().parameters}


def start(recipe: Recipe, *, num_tokens: int) -> dict[str, Array]:
    """The parameters to start from, float64 arrays whose values float32 can hold, drawn from a frozen generator."""
    sizes = {"h": recipe.num_hiddens, "v": num_tokens}
    random = np.random.RandomState(recipe.start_seed)
    parameters = {}
    for name, symbols in shapes(cell(recipe.cell)).items():
        dimensions = [sizes[s] for s in symbols]
        if recipe.start == "uniform":
            values = random.uniform(-1, 1, dimensions) / np.sqrt(recipe.num_hiddens)
        elif len(dimensions) > 1:
            values = 0.01 * random.standard_normal(dimensions)
        else:
            values = np.zeros(dimensions)
        parameters[name] = values.astype(np.float32).astype(np.float64)
    return parameters


def problem(recipe: Recipe, text: Corpus) -> Problem:
    """The recipe on a text. Raises CorpusError where the text is too short for the windows asked for."""
    settings = specification().text
    cleaned = corpus.clean(text.text, settings["separators"])
    vocabulary = corpus.vocabulary(cleaned, settings["unknown"])
    count = recipe.num_train + recipe.num_val
    tokens = vocabulary.encode(cleaned[: count + recipe.num_steps])
    corpus.windows(tokens, num_steps=recipe.num_steps, count=count)
    parameters = start(recipe, num_tokens=len(vocabulary))
    return Problem(recipe, vocabulary, tokens, parameters, text.sha1, text.source)


def recipe_to_json(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe), sort_keys=True)


def recipe_from_json(text: str) -> Recipe:
    """Raises UserError where the text is not a recipe of this version."""
    try:
        record: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        recipe = Recipe(**record)
    except (TypeError, *door.UNDECODABLE) as error:
        raise UserError(f"not a recipe: {door.words(error)}") from None
    for field in fields(Recipe):
        value = getattr(recipe, field.name)
        kind = {"str": str, "int": int, "float": (int, float)}[str(field.type)]
        if not isinstance(value, kind) or isinstance(value, bool):  # type: ignore[arg-type]
            raise UserError(f"not a recipe: {field.name} is {value!r}, should be {field.type}")
        if field.type != "str" and (value < 0 or (value == 0 and not field.name.endswith("seed"))):
            raise UserError(f"not a recipe: {field.name} is {value!r}, should be more than 0")
        if field.type == "int" and value >= TOO_MANY:
            raise UserError(f"not a recipe: {field.name} is {value!r}, should be less than 2^32")
    return recipe
