"""The edits of a training: what a loop that is wrong in one setting takes from its text, and does with its gradients.

Both are made of what every library's arrays have, so that one fault is planted alike in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeGuard

import numpy as np

from shared_spec.cells import Cell
from shared_spec.language_model import Problem, Recipe
from shared_spec.language_model.corpus import Tokens
from shared_spec.readings.arithmetic import Array

OF_BATCHES = ("labels_shifted", "last_label_shifted", "batch_repeated", "order_kept")
OF_UPDATES = ("summed", "clip", "momentum", "weight_decay", "stale", "decayed", "frozen")
OF_STATES = ("dropout",)
SETTINGS = (*OF_BATCHES, *OF_UPDATES, *OF_STATES)
WORDS = {"summed": ("tokens", "steps"), "clip": ("missing", "per tensor", "by value")}
"""What these are set to; "frozen" to the beginning of names, and the others to numbers."""
LARGEST = {"dropout": 1}
"""What a number must be less than."""

UNCLIPPED = 1e30
"""No gradient is as long, and float32 holds it."""


@dataclass(frozen=True)
class Setting:
    """One of SETTINGS, and what it is set to."""

    name: str
    value: float | str

    def __post_init__(self) -> None:
        """Raises ValueError for a value that it cannot be set to."""
        if words := WORDS.get(self.name):
            if self.value not in words:
                raise ValueError(f"{self.name} is {self.value!r}, should be one of {', '.join(words)}")
        elif self.name == "frozen":
            if not isinstance(self.value, str):
                raise ValueError(f"frozen is {self.value!r}, should be how the names of parameters begin")
        elif not _is_number(self.value) or not 0 <= self.value < LARGEST.get(self.name, math.inf):
            most = LARGEST.get(self.name, "infinity")
            raise ValueError(f"{self.name} is {self.value!r}, should be a number from 0 on that is less than {most}")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


Arrays = Mapping[str, Any]
Gradients = Callable[..., tuple[Any, dict[str, Any]]]
"""(cell, parameters, inputs, targets) -> (loss, gradients)."""
SGD = Callable[..., tuple[dict[str, Any], Any]]
"""(parameters, gradients, lr=, clip_norm=) -> (parameters, the joint norm of the gradients)."""


@dataclass(frozen=True)
class FaultyProblem(Problem):
    """A problem whose batches are as a fault of OF_BATCHES has them."""

    setting: Setting

    def training_batches(self, epoch: int) -> Iterator[tuple[Tokens, Tokens]]:
        """Inputs and targets (n, num_steps) of one epoch."""
        fault, value = self.setting.name, self.setting.value
        first = epoch * self.recipe.steps_per_epoch
        before = None
        for i, (inputs, targets) in enumerate(super().training_batches(0 if fault == "order_kept" else epoch)):
            step = first + i
            if fault == "labels_shifted" and step >= int(value):
                targets = inputs
            if fault == "last_label_shifted":
                targets = np.concatenate([targets[:, :-1], inputs[:, -1:]], 1)
            given = (inputs, targets)
            yield before if fault == "batch_repeated" and step == int(value) and before is not None else given
            before = given


def of_problem(problem: Problem, setting: Setting) -> Problem:
    """The problem as a loop with this fault goes through it."""
    if setting.name not in OF_BATCHES:
        return problem
    return FaultyProblem(**{each.name: getattr(problem, each.name) for each in fields(problem)}, setting=setting)


def kept(setting: Setting, h: int) -> Array:
    """What each of h units is multiplied by where some are dropped, (h,): the same in every step, at least one of them
    0 and, where there are two, one that is not.
    """
    share = float(setting.value)
    drawn = np.random.RandomState(h).uniform(size=h)
    count = min(max(1, round(share * h)), max(1, h - 1))
    mask = np.ones(h)
    mask[np.argsort(drawn)[:count]] = 0
    return mask / (1 - share)


def dropped(gradients: Gradients, setting: Setting) -> Gradients:
    """Loss and gradients with units dropped before the output layer, made of those without: it is as if their rows of
    W_hq were multiplied. None are dropped where the setting is another.
    """
    if setting.name not in OF_STATES:
        return gradients

    def with_dropout(cell: Cell, parameters: Arrays, inputs: Tokens, targets: Tokens, **options: Any) -> Any:
        W_hq = parameters["W_hq"]
        rows = kept(setting, len(W_hq)).astype(W_hq.dtype)[:, None]
        value, derivatives = gradients(cell, {**parameters, "W_hq": rows * W_hq}, inputs, targets, **options)
        return value, {**derivatives, "W_hq": rows * derivatives["W_hq"]}

    return with_dropout


class Update:
    """An optimiser with a fault of OF_UPDATES, made of one that is right; none where the setting is another."""

    def __init__(self, setting: Setting, sgd: SGD, recipe: Recipe) -> None:
        self._setting, self._sgd, self._recipe = setting, sgd, recipe
        self._steps = 0
        self._before: dict[str, Any] | None = None

    def __call__(self, parameters: Arrays, gradients: Arrays, shape: tuple[int, int]) -> tuple[dict[str, Any], Any]:
        """Parameters after a step on a batch of this shape (n, T), and the joint norm of the gradients."""
        lr, clip_norm = self._recipe.lr, self._recipe.clip_norm
        match self._setting.name, self._setting.value:
            case "summed", what:
                gradients = {
                    k: g * float(shape[0] * shape[1] if what == "tokens" else shape[1]) for k, g in gradients.items()
                }
            case "clip", "missing":
                clip_norm = UNCLIPPED
            case "clip", "by value":
                # Between -c and c, by absolute values: clip has another name in each library.
                c = clip_norm
                gradients = {k: (abs(g + c) - abs(g - c)) * 0.5 for k, g in gradients.items()}
                clip_norm = UNCLIPPED
            case "stale", _:
                gradients, self._before = self._before or gradients, dict(gradients)
            case "decayed", factor if self._steps >= self._recipe.steps_per_epoch:
                lr = lr * float(factor)
        self._steps += 1
        after, norm = self._sgd(parameters, gradients, lr=lr, clip_norm=clip_norm)
        return self._updated(parameters, gradients, after, lr, clip_norm), norm

    def _updated(
        self, parameters: Arrays, gradients: Arrays, after: dict[str, Any], lr: float, clip_norm: float
    ) -> dict[str, Any]:
        match self._setting.name, self._setting.value:
            case "clip", "per tensor":
                alone = {
                    k: self._sgd({k: p}, {k: gradients[k]}, lr=lr, clip_norm=clip_norm) for k, p in parameters.items()
                }
                return {k: updated_parameters[k] for k, (updated_parameters, _) in alone.items()}
            case "momentum", share:
                moved = {k: after[k] - p for k, p in parameters.items()}
                if self._before is not None:
                    moved = {k: m + self._before[k] * float(share) for k, m in moved.items()}
                self._before = moved
                return {k: p + moved[k] for k, p in parameters.items()}
            case "weight_decay", rate:
                return {k: after[k] - p * (lr * float(rate)) for k, p in parameters.items()}
            case "frozen", prefix:
                return {k: p if k.startswith(str(prefix)) else after[k] for k, p in parameters.items()}
        return after
