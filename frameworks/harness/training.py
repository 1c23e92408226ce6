"""The language model's recipe, run step by step on a subject: what `prove` records and what benchmarks time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from frameworks import rich
from frameworks.harness.subject import Arrays, Subject
from shared_spec.files.interchange import TrainingCase
from shared_spec.language_model import corpus
from shared_spec.language_model.training import perplexity


class Training:
    """A training under way. Weights stay on the device; losses come back at the end of an epoch."""

    def __init__(self, subject: Subject, case: TrainingCase, *, like: Training | None = None) -> None:
        """Like another one it runs what that one has compiled."""
        self.subject, self.problem = subject, case.problem
        self.parameters: Any = subject.tensors(case.problem.parameters)
        if like is None:
            self._step, self._validate = subject.training_step(case.problem.recipe), subject.validation_loss()
        else:
            self._step, self._validate = like._step, like._validate
        self._of_epoch: list[tuple[Any, Any]] = []
        self._sizes: list[int] = []
        self._found: Arrays = {}
        self._losses: list[np.ndarray] = []
        self._norms: list[np.ndarray] = []
        self._perplexity: dict[str, list[float]] = {"train": [], "val": []}
        self.seconds_of_first_step = 0.0

    def first_gradients(self) -> None:
        """Keep the gradients at the start, of the first batch."""
        inputs, targets = next(self.problem.training_batches(0))
        model, tokens = self.subject.framework.language_model, self.subject.tokens
        start = self.subject.tensors(self.problem.parameters)
        _, gradients = model.loss_and_gradients(self.subject.forward, start, tokens(inputs), tokens(targets))
        self._found |= {f"grad.{name}": array for name, array in self.subject.numpy(gradients).items()}

    def step(self, inputs: Any, targets: Any) -> tuple[Any, Any, Any]:
        """One step on tokens (n, T) that are on the device: parameters, loss and norm, perhaps not there yet."""
        self.parameters, value, norm = self._step(self.parameters, inputs, targets)
        self._of_epoch.append((value, norm))
        self._sizes.append(inputs.shape[0] * inputs.shape[1])
        return self.parameters, value, norm

    def epoch(self, number: int) -> None:
        """All steps of an epoch; waits until they are done."""
        for inputs, targets in self._batches(number):
            began = time.perf_counter()
            self.step(inputs, targets)
            if not self._losses and len(self._of_epoch) == 1:
                after = self.subject.numpy(self.parameters)
                self.seconds_of_first_step = time.perf_counter() - began
                self._found |= {f"step1.{name}": array for name, array in after.items()}
        self.subject.framework.runtime.wait((self.parameters, self._of_epoch))

    def validate(self) -> None:
        """The end of an epoch: its losses, and the loss on windows that are never trained on."""
        to_numpy = self.subject.framework.runtime.to_numpy
        self._losses += [to_numpy(value).reshape(()) for value, _ in self._of_epoch]
        self._norms += [to_numpy(norm).reshape(()) for _, norm in self._of_epoch]
        self._perplexity["train"].append(perplexity(self._losses[-len(self._sizes) :], self._sizes))
        self._of_epoch, self._sizes = [], []
        values, sizes = [], []
        for inputs, targets in self._batches(None):
            values.append(self._validate(self.parameters, inputs, targets))
            sizes.append(inputs.shape[0] * inputs.shape[1])
        self._perplexity["val"].append(perplexity([to_numpy(v) for v in values], sizes))

    def _batches(self, epoch: int | None) -> Iterator[tuple[Any, Any]]:
        """Inputs and targets (n, T) of an epoch, or of the windows that are never trained on, by the loader that the
        forward brings, where it does.
        """
        problem, tokens = self.problem, self.subject.tokens
        rows = problem.validation_rows() if epoch is None else problem.training_rows(epoch)
        if (loader := rich(self.subject.forward).batches) is not None:
            yield from loader(rows, problem.recipe.batch_size)
            return
        for inputs, targets in corpus.batches(rows, problem.recipe.batch_size):
            yield tokens(inputs), tokens(targets)

    @property
    def is_finite(self) -> bool:
        """Whether all losses so far are numbers."""
        return bool(np.isfinite(self._losses).all())

    def so_far(self) -> Arrays:
        """What a result holds of the epochs that are over, without weights and text at the end."""
        arrays = {"loss": np.array(self._losses), "norm": np.array(self._norms)}
        arrays |= {f"perplexity.{part}": np.array(values) for part, values in self._perplexity.items()}
        return self._found | arrays

    def result(self) -> Arrays:
        """Everything that a result holds."""
        arrays = {f"end.{name}": array for name, array in self.subject.numpy(self.parameters).items()}
        recipe, prefix = self.problem.recipe, self.subject.tokens(self.problem.prefix())
        model = self.subject.framework.language_model
        text = model.predict(self.subject.forward, self.parameters, prefix, recipe.num_predictions)
        arrays["text"] = self.subject.framework.runtime.to_numpy(text).astype(np.int32)
        return self.so_far() | arrays
