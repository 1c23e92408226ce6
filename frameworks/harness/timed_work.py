"""A workload, ready to be timed on a subject: fresh inputs drawn beforehand, one call, what it gave.

Each kind of work is judged twice by what it computes: by `rehearse`, before a clock runs, and by `outcome`, on what
came of its `audits`: inputs that were first met while it ran, among many others. A result that was computed for other
inputs, or only for some, does not pass both.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from frameworks import Framework
from frameworks.harness.subject import Arrays, Subject
from frameworks.harness.training import Training
from frameworks.protocol import Implementation
from shared_spec.files.interchange import AnyCase, Case
from shared_spec.language_model.corpus import Corpus
from shared_spec.race import workloads
from shared_spec.race.workloads import OF_CELL, Workload

AT_MOST_BYTES = 2**27
"""As much memory as the inputs of a turn may take."""
ISSUES = 5


@dataclass(frozen=True)
class Times:
    """Seconds of the first call, compiling included, and of a later one: an estimate, by one call."""

    first: float = 0.0
    later: float = 0.0


class Cell:
    """A cell over a sequence, forward or with gradients, or step by step."""

    is_over = True
    """Whether the rehearsal gives all that there is to judge."""

    def __init__(self, subject: Subject, workload: Workload, text: Corpus) -> None:
        self.subject, self.kind = subject, workload.kind
        self.first, self.last = (workloads.case(workload, seed) for seed in (0, 1))
        self._parameters = subject.tensors(self.first.parameters)
        self._random = np.random.default_rng(2)
        self.times = Times()

    def rehearse(self) -> tuple[AnyCase, Arrays]:
        """The first two calls, on inputs of their own: the case and what came out."""
        given, call = self._given(_inputs(self.first)), waits(self.subject.framework, self)
        self.times, outputs = _first_and_second(call, given)
        return self.first, self._numpy(outputs)

    def fresh(self, count: int) -> list[Any]:
        """Inputs for so many calls, or for as many as fit in memory, no two the same."""
        of_case = _inputs(self.first)
        fit = max(1, AT_MOST_BYTES // sum(array.nbytes for array in of_case.values()))
        # As random as needs be: values of the judged cases, begun elsewhere, some with the other sign.
        return [
            self._given({name: _stirred(array, self._random) for name, array in of_case.items()})
            for _ in range(min(count, fit))
        ]

    def audits(self) -> list[Any]:
        """Inputs of calls that are judged."""
        return [self._given(_inputs(self.last))]

    def __call__(self, given: dict[str, Any]) -> dict[str, Any]:
        if self.kind == "gradient":
            H, final, gradients = self.subject.gradients(given["X"], given["H0"], self._parameters, given["dH"])
            return {"H": H, "final": final, **{f"grad.{name}": gradient for name, gradient in gradients.items()}}
        if self.kind == "forward":
            H, final = self.subject.forward(given["X"], given["H0"], self._parameters)
            return {"H": H, "final": final}
        states, final = [], given["H0"]
        for X_t in given["steps"]:
            H, final = self.subject.forward(X_t, final, self._parameters)
            states.append(H)
        return {"H": states, "final": final}

    def outcome(self, outputs: dict[str, Any]) -> tuple[AnyCase, Arrays]:
        """What the audit gave."""
        return self.last, self._numpy(outputs)

    def _given(self, inputs: Arrays) -> dict[str, Any]:
        if self.kind == "step":
            X, rest = inputs["X"], {name: array for name, array in inputs.items() if name != "X"}
            return {**self.subject.tensors(rest), "steps": [self.subject.tensor(X_t[None]) for X_t in X]}
        return self.subject.tensors(inputs)

    def _numpy(self, outputs: dict[str, Any]) -> Arrays:
        if self.kind == "step":
            to_numpy = self.subject.framework.runtime.to_numpy
            return {"H": np.concatenate([to_numpy(H) for H in outputs["H"]]), "final": to_numpy(outputs["final"])}
        return self.subject.numpy(outputs)


class TrainingStep:
    """Training steps. The first epoch of a training is the rehearsal, and the steps of its second are audits, in their
    order. Between them, and from the same start, another training of the same compiled pieces goes on for as long as it
    is timed.
    """

    is_over = False

    def __init__(self, subject: Subject, workload: Workload, text: Corpus) -> None:
        self.case = workloads.training_case(workload, text, epochs=2)
        self.subject, self.training = subject, Training(subject, self.case)
        self.times, self.seconds_of_epoch = Times(), 0.0
        self._other = Training(subject, self.case, like=self.training)
        self._batches = self._of_other()

    def rehearse(self) -> tuple[AnyCase, Arrays]:
        began = time.perf_counter()
        self.training.epoch(0)
        first, all_steps = self.training.seconds_of_first_step, time.perf_counter() - began
        self.times = Times(first, (all_steps - first) / (self.case.problem.recipe.steps_per_epoch - 1))
        self.training.validate()
        self.seconds_of_epoch = time.perf_counter() - began
        self.training.first_gradients()
        return self.case, self.training.so_far()

    def fresh(self, count: int) -> list[Any]:
        """The next batches of the other training."""
        return [next(self._batches) for _ in range(count)]

    def _of_other(self) -> Iterator[Any]:
        tokens = self.subject.tokens
        for epoch in itertools.count(2):
            for inputs, targets in self.case.problem.training_batches(epoch):
                yield self._other, tokens(inputs), tokens(targets)

    def audits(self) -> list[Any]:
        """The batches of the second epoch."""
        tokens, batches = self.subject.tokens, self.case.problem.training_batches(1)
        return [(self.training, tokens(inputs), tokens(targets)) for inputs, targets in batches]

    def __call__(self, given: Any) -> Any:
        training, inputs, targets = given
        return training.step(inputs, targets)

    def outcome(self, outputs: Any) -> tuple[AnyCase, Arrays]:
        self.training.validate()
        return self.case, self.training.result()


class Epoch(TrainingStep):
    """One epoch and its validation, batches made on the way."""

    def __init__(self, subject: Subject, workload: Workload, text: Corpus) -> None:
        super().__init__(subject, workload, text)
        self._epochs = itertools.count(2)

    def rehearse(self) -> tuple[AnyCase, Arrays]:
        rehearsal = super().rehearse()
        self.times = Times(self.seconds_of_epoch, self.seconds_of_epoch)
        return rehearsal

    def fresh(self, count: int) -> list[Any]:
        return [(self._other, next(self._epochs)) for _ in range(count)]

    def audits(self) -> list[Any]:
        return [(self.training, 1)]

    def __call__(self, given: Any) -> Any:
        training, number = given
        training.epoch(number)
        training.validate()
        return training.parameters

    def outcome(self, outputs: Any) -> tuple[AnyCase, Arrays]:
        return self.case, self.training.result()


class Prediction:
    """Characters one after another, each time after another piece of the text."""

    is_over = True

    def __init__(self, subject: Subject, workload: Workload, text: Corpus) -> None:
        self.subject = subject
        self.case = workloads.training_case(workload, text, epochs=1)
        self._parameters = subject.tensors(workloads.weights(self.case.problem))
        self._last = self._prefix(1)
        self._numbers = itertools.count(2)
        self.times = Times()

    def _prefix(self, number: int) -> np.ndarray:
        text = self.case.problem.tokens
        begin = number * 97 % (len(text) - workloads.PREFIX)
        tokens: np.ndarray = text[begin : begin + workloads.PREFIX]
        return tokens

    def rehearse(self) -> tuple[AnyCase, Arrays]:
        given, call = self.subject.tokens(self._prefix(0)), waits(self.subject.framework, self)
        self.times, outputs = _first_and_second(call, given)
        return self.case, self._judged(self._prefix(0), outputs)

    def fresh(self, count: int) -> list[Any]:
        return [self.subject.tokens(self._prefix(next(self._numbers))) for _ in range(count)]

    def audits(self) -> list[Any]:
        return [self.subject.tokens(self._last)]

    def __call__(self, prefix: Any) -> Any:
        predict = self.subject.framework.language_model.predict
        return predict(self.subject.forward, self._parameters, prefix, workloads.PREDICTED)

    def outcome(self, outputs: Any) -> tuple[AnyCase, Arrays]:
        return self.case, self._judged(self._last, outputs)

    def _judged(self, prefix: np.ndarray, outputs: Any) -> Arrays:
        return {"prefix": prefix, "text": self.subject.framework.runtime.to_numpy(outputs).astype(np.int32)}


Work = Cell | TrainingStep | Epoch | Prediction
KINDS: dict[str, Callable[..., Work]] = {
    **dict.fromkeys(OF_CELL, Cell),
    "training-step": TrainingStep,
    "epoch": Epoch,
    "prediction": Prediction,
}


def make(
    framework: Framework, implementation: Implementation, workload: Workload, *, device: str, text: Corpus
) -> Work:
    """The work of a workload, with an implementation of its own."""
    subject = Subject(framework, implementation, dtype=workload.dtype, device=device)
    return KINDS[workload.kind](subject, workload, text)


def waits(framework: Framework, work: Work) -> Callable[[Any], Any]:
    """The call that is timed: it ends when its results are there."""
    wait = framework.runtime.wait

    def call(given: Any) -> Any:
        outputs = work(given)
        wait(outputs)
        return outputs

    return call


def _first_and_second(call: Callable[[Any], Any], given: Any) -> tuple[Times, Any]:
    began = time.perf_counter()
    call(given)
    between = time.perf_counter()
    outputs = call(given)
    return Times(between - began, time.perf_counter() - between), outputs


def issue(
    framework: Framework, implementation: Implementation, workload: Workload, *, device: str, text: Corpus
) -> float:
    """Seconds that the host takes to issue a call: the same one, with next to nothing to compute."""
    work = make(framework, implementation, workloads.tiny(workload), device=device, text=text)
    call = waits(framework, work)
    call(*work.fresh(1))
    times = []
    for given in work.fresh(ISSUES):
        began = time.perf_counter()
        call(given)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def _inputs(case: Case) -> Arrays:
    """What changes from call to call: all but the parameters."""
    return {name: array for name, array in case.arrays.items() if name not in case.cell.parameters}


def _stirred(array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    stirred: np.ndarray = np.roll(array.ravel(), random.integers(1, array.size)).reshape(array.shape)
    stirred *= random.choice([-1.0, 1.0], size=array.shape[-1])
    return stirred
