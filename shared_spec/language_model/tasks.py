"""What a language model can be made to learn: the text, or to copy, which only a memory can do.

The copying task: `COUNT` of `SYMBOLS`, each as likely; then `delay` blanks; a mark; the same symbols again. Source:
Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9 (1997), experiment 2, and Arjovsky, Shah and
Bengio, Unitary Evolution Recurrent Neural Networks (2016), section 5.1; smaller here, and as a language model: every
next token is to be predicted. When the mark comes, only who counts can say; the symbols after it, only who remembers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from shared_spec import language_model
from shared_spec.errors import UserError
from shared_spec.language_model import Problem, Recipe
from shared_spec.language_model.corpus import Corpus, Tokens, Vocabulary

TEXT, COPY = "text", "copy-"
SYMBOLS, COUNT = "abcdefgh", 3
BLANK, MARK = "_", ":"


@dataclass(frozen=True)
class Copying(Problem):
    """A problem whose rows are drawn: `tokens` (num_train + num_val, num_steps + 1)."""

    @property
    def _windows(self) -> Tokens:
        return self.tokens

    def prefix(self) -> Tokens:
        """The first row that is never trained on, up to its mark."""
        row = self.tokens[self.recipe.num_train]
        return np.ascontiguousarray(row[: len(row) - COUNT])


def delay_of(task: str) -> int | None:
    """The delay of a copying task; None of the text. Raises UserError for a task that is not there."""
    if task == TEXT:
        return None
    number = task.removeprefix(COPY)
    if not task.startswith(COPY) or not (number.isascii() and number.isdigit()) or int(number) < 1:
        raise UserError(f"no task {task!r}; the tasks are {TEXT} and {COPY}N, such as {COPY}10")
    return int(number)


def settings(task: str) -> dict[str, Any]:
    """What a recipe needs for a task, where it is not the chapter's."""
    delay = delay_of(task)
    if delay is None:
        return {}
    # A row has the symbols twice, the blanks and the mark; the last token is predicted and never read.
    sizes = {"num_train": 2000, "num_val": 500, "batch_size": 100}
    return {"num_steps": 2 * COUNT + delay, "num_predictions": COUNT, **sizes}


def problem(task: str, recipe: Recipe, text: Corpus) -> Problem:
    """The recipe on a task. Raises UserError where the recipe's steps are not those of a copying task."""
    check(task, recipe)
    return language_model.problem(recipe, text) if task == TEXT else copying(recipe)


def check(task: str, recipe: Recipe) -> None:
    """Raises UserError where the recipe's steps are not those of a copying task."""
    delay = delay_of(task)
    if delay is not None and recipe.num_steps != 2 * COUNT + delay:
        raise UserError(f"{task} has rows of {2 * COUNT + delay} steps, the recipe of {recipe.num_steps}")


def copying(recipe: Recipe) -> Problem:
    """The recipe on the copying task of its steps."""
    delay = recipe.num_steps - 2 * COUNT
    vocabulary = Vocabulary((BLANK, MARK, *SYMBOLS), BLANK)
    count = recipe.num_train + recipe.num_val
    symbols = np.random.RandomState(recipe.order_seed).randint(2, len(vocabulary), (count, COUNT))
    blanks, mark = np.zeros((count, delay)), np.ones((count, 1))
    rows = np.concatenate([symbols, blanks, mark, symbols], 1).astype(np.int32)
    parameters = language_model.start(recipe, num_tokens=len(vocabulary))
    return Copying(recipe, vocabulary, rows, parameters, "", f"{COPY}{delay}")
