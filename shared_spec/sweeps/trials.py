"""Trials: one training each, of one implementation with one recipe; a grid of them, and what became of one."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgspec
import numpy as np

from shared_spec.cells import cell
from shared_spec.errors import UserError
from shared_spec.files import door
from shared_spec.language_model import Recipe, recipe, recipe_from_json, specification, tasks
from shared_spec.readings.arithmetic import Array

GRID = ("num_steps", "num_hiddens", "lr", "batch_size", "clip_norm", "num_train", "num_val")
"""The settings of a recipe that a grid may vary; epochs, seeds and cells have options of their own."""
ALWAYS = ("num_steps", "num_hiddens", "lr")
"""Of these settings what is told of every trial."""
FINISHED, DIVERGED, FAILED = "finished", "diverged", "failed"
Value = int | float


@dataclass(frozen=True)
class Trial:
    """One training to be run."""

    framework: str
    implementation: str
    dtype: str
    device: str
    task: str
    """What is learned: "text", or a copying task such as "copy-10", see tasks.py."""
    recipe: Recipe

    def key(self, corpus_sha1: str) -> str:
        """Identifies what is computed, equations and text included."""
        of = cell(self.recipe.cell)
        text = corpus_sha1 if self.task == tasks.TEXT else ""
        told = json.dumps(asdict(self), sort_keys=True)
        output = specification().output.text
        return hashlib.sha256("\n".join([told, of.digest, output, text]).encode()).hexdigest()[:16]

    @property
    def program(self) -> Trial:
        """What trials have in common that one program can run at once: all but rates, starts and orders."""
        return replace(self, recipe=replace(self.recipe, lr=1.0, start_seed=0, order_seed=0))

    @property
    def work(self) -> float:
        """How much there is to compute, in units of no meaning: for a guess of the time left."""
        r = self.recipe
        per_step = r.num_hiddens * (r.num_hiddens + 100)
        return float(r.epochs * (3 * r.num_train + r.num_val) * r.num_steps * per_step)

    @property
    def memory(self) -> float:
        """Bytes that a training needs at the least: weights and gradients, the states of a batch, and its windows."""
        r = self.recipe
        windows = (r.num_train + r.num_val) * (r.num_steps + 1)
        states = min(r.batch_size, r.num_train) * r.num_steps * r.num_hiddens
        return 4.0 * (2 * r.num_hiddens**2 + states + windows)

    @property
    def settings(self) -> dict[str, Value]:
        """By what it is told from others of a grid: steps, units, rate, and what else is not its task's own."""
        own = {**specification().defaults, **tasks.settings(self.task)}
        here = {name: getattr(self.recipe, name) for name in GRID}
        return {name: value for name, value in here.items() if name in ALWAYS or value != own[name]}

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    """A trial as its text has it."""

    framework: str
    implementation: str
    dtype: str
    device: str
    task: str
    recipe: msgspec.Raw


def from_json(text: str) -> Trial:
    """Raises UserError where the text is not a trial of this version."""
    try:
        record = msgspec.json.decode(text, type=_Written)
    except door.UNDECODABLE as error:
        raise UserError(f"not a trial: {door.words(error)}") from None
    of_recipe = recipe_from_json(bytes(record.recipe).decode())
    cell(of_recipe.cell)
    return Trial(**{**msgspec.structs.asdict(record), "recipe": of_recipe})


def worded(value: Value) -> str:
    """A value as `axes` reads it, to the last digit."""
    if isinstance(value, int):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def axes(given: Sequence[str]) -> dict[str, list[Value]]:
    """From "num_steps=8,16" and the like to the values of each setting.

    Raises UserError for a name that is no setting, one given twice, an empty or repeated value, and a number that
    makes no sense.
    """
    axes: dict[str, list[Value]] = {}
    for text in given:
        name, sign, values = text.partition("=")
        if not sign:
            raise UserError(f"grid {text!r}: should be a setting and its values, such as lr=0.1,1")
        if name not in GRID:
            raise UserError(f"grid {text!r}: no setting {name!r}; a grid may vary {', '.join(GRID)}")
        if name in axes:
            raise UserError(f"grid {text!r}: {name} is given twice; give all of its values at once")
        axes[name] = []
        for word in values.split(","):
            value = _number(name, word.strip(), text)
            if value in axes[name]:
                raise UserError(f"grid {text!r}: {word.strip()} stands there twice")
            axes[name].append(value)
    return axes


def _number(name: str, word: str, text: str) -> Value:
    if not word:
        raise UserError(f"grid {text!r}: a value is empty")
    whole = isinstance(specification().defaults[name], int)
    try:
        value: Value = int(word) if whole else float(word)
    except ValueError:
        raise UserError(f"grid {text!r}: {word!r} is not {'a whole number' if whole else 'a number'}") from None
    if not math.isfinite(value) or value <= 0:
        raise UserError(f"grid {text!r}: {name} is {word}, should be more than 0 and finite")
    return value


def grid(
    varied: Mapping[str, Sequence[Value]],
    cells: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    random: int | None = None,
    task: str = tasks.TEXT,
    **changes: Any,
) -> list[Recipe]:
    """Every combination of the values for every cell and seed, or `random` of them, drawn without repeats.

    A seed is a start and an order of the windows: i adds i to the recipe's own of both. Raises UserError for a
    cell or a setting that is not there, and where more are to be drawn than there are.
    """
    combined = [
        (name, dict(zip(varied, values, strict=True)))
        for name in cells
        for values in itertools.product(*varied.values())
    ]
    if random is not None:
        if random > len(combined):
            raise UserError(f"{random} random configurations are asked for; the grid has {len(combined)}")
        chosen = np.random.RandomState(0).permutation(len(combined))[:random]
        combined = [combined[i] for i in sorted(chosen)]
    recipes = []
    for name, values in combined:
        base = recipe(name, **{**tasks.settings(task), **changes, **values})
        recipes += [replace(base, start_seed=base.start_seed + i, order_seed=base.order_seed + i) for i in seeds]
    return recipes


def status(arrays: Mapping[str, Array], epochs: int, num_tokens: int) -> tuple[str, str]:
    """What became of a training, from its "perplexity.train" and "perplexity.val" (epochs done,), and why.

    It has diverged where, from some epoch on to its end, one of them is not finite or above `num_tokens`, which
    guessing evenly has. Raises UserError where it ended early without having diverged.
    """
    bad = ~((arrays["perplexity.train"] <= num_tokens) & (arrays["perplexity.val"] <= num_tokens))
    if len(bad) and bad[-1]:
        good = np.flatnonzero(~bad)
        return DIVERGED, f"diverged at epoch {int(good[-1]) + 2 if len(good) else 1}"
    if len(bad) < epochs:
        raise UserError(f"a training of {epochs} epochs ended after {len(bad)}")
    return FINISHED, ""
