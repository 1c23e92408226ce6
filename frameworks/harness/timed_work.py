"""A workload, ready to be timed on a subject: fresh inputs drawn beforehand, one call, what it gave.

Each kind of work is judged twice by what it computes: by `rehearse`, before a clock runs, and by `outcome`, on inputs
that were first met while it ran. A result that was computed for other inputs, or only for some, does not pass both.
"""

from __future__ import annotations

import hashlib
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

AT_MOST_BYTES = 2**29
"""As much memory as inputs drawn beforehand may take."""
ISSUES = 5
FINGERPRINT = 2**14
"""Values of each array that a fingerprint is made of."""
NOISE = 1e-4
"""Seconds by which two readings may differ."""


@dataclass(frozen=True)
class Times:
    """Seconds of the first call, compiling included, and of a later one: an estimate, by one call."""

    first: float = 0.0
    later: float = 0.0


class Cell:
    """A cell over a sequence, forward or with gradients, or step by step."""

    is_over = True
    """Whether the rehearsal gives all that there is to judge."""
    any_order = True
    """Whether the fresh inputs may be taken in any order."""

    def __init__(self, subject: Subject, workload: Workload, text: Corpus) -> None:
        self.subject, self.kind = subject, workload.kind
        self.first, self.last = (workloads.case(workload, seed) for seed in (0, 1))
        self._parameters = subject.tensors(self.first.parameters)
        self.times = Times()

    def rehearse(self) -> tuple[AnyCase, Arrays]:
        """The first two calls, on inputs of their own: the case and what came out."""
        given, call = self._given(_inputs(self.first)), waits(self.subject.framework, self)
        self.times, outputs = _first_and_second(call, given)
        return self.first, self._numpy(outputs)

    def fresh(self, count: int) -> list[Any]:
        """Inputs for as many calls as fit in memory, no two the same; the last of them are judged afterwards."""
        of_case = _inputs(self.first)
        bytes_each = sum(array.nbytes for array in of_case.values())
        random = np.random.default_rng(2)
        drawn = []
        for _ in range(min(count, max(2, AT_MOST_BYTES // bytes_each)) - 1):
            # As random as needs be: values of the judged cases, begun elsewhere, some with the other sign.
            drawn.append(self._given({name: _stirred(array, random) for name, array in of_case.items()}))
        return [*drawn, self._given(_inputs(self.last))]

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
        """What the call on the last inputs of `fresh` gave."""
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
    """Training steps in a row: the first epoch is the rehearsal, steps of the second are timed, and all are judged."""

    is_over = any_order = False

    def __init__(self, subject: Subject, workload: Workload, text: Corpus) -> None:
        self.case = workloads.training_case(workload, text, epochs=2)
        self.subject, self.training = subject, Training(subject, self.case)
        self.times, self.seconds_of_epoch = Times(), 0.0

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
        """Whole batches of the second epoch. The last one is smaller; `outcome` takes what is left."""
        tokens = self.subject.tokens
        batches = [(tokens(inputs), tokens(targets)) for inputs, targets in self.case.problem.training_batches(1)]
        whole = [batch for batch in batches if batch[0].shape == batches[0][0].shape][:count]
        self.rest = batches[len(whole) :]
        return whole

    def __call__(self, batch: Any) -> Any:
        return self.training.step(*batch)

    def outcome(self, outputs: Any) -> tuple[AnyCase, Arrays]:
        for batch in self.rest:
            self.training.step(*batch)
        self.training.validate()
        return self.case, self.training.result()


class Epoch(TrainingStep):
    """One epoch and its validation, batches made on the way."""

    def rehearse(self) -> tuple[AnyCase, Arrays]:
        found = super().rehearse()
        self.times = Times(self.seconds_of_epoch, self.seconds_of_epoch)
        return found

    def fresh(self, count: int) -> list[Any]:
        return [1]

    def __call__(self, number: int) -> Any:
        self.training.epoch(number)
        self.training.validate()
        return self.training.parameters

    def outcome(self, outputs: Any) -> tuple[AnyCase, Arrays]:
        return self.case, self.training.result()


class Prediction:
    """Characters one after another, each time after another piece of the text."""

    is_over = any_order = True

    def __init__(self, subject: Subject, workload: Workload, text: Corpus) -> None:
        self.subject = subject
        self.case = workloads.training_case(workload, text, epochs=1)
        self._parameters = subject.tensors(workloads.weights(self.case.problem))
        self._last = self._prefix(1)
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
        return [self.subject.tokens(self._prefix(number + 1)) for number in reversed(range(count))]

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
    call, inputs = waits(framework, work), work.fresh(ISSUES)
    call(inputs[0])
    times = []
    for given in inputs:
        began = time.perf_counter()
        call(given)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def read(framework: Framework, outputs: Any, *, device: str) -> tuple[float, str]:
    """Seconds that reading the outputs takes beyond what it takes to read as much that is there: work that was not done
    when the clock stopped. And a fingerprint of what was read.
    """
    began = time.perf_counter()
    found = [np.asarray(framework.runtime.to_numpy(array)) for array in _leaves(outputs)]
    first = time.perf_counter() - began
    # Arrays of the same sizes that nobody has read yet.
    like = [
        framework.runtime.tensor(array, dtype=str(array.dtype) if array.dtype.kind == "f" else "int32", device=device)
        for array in found
    ]
    framework.runtime.wait(like)
    began = time.perf_counter()
    # Kept like the first ones: memory that was just given back is there at once, new memory comes page by page. A right
    # result of 4 MB on a GPU seemed to come 1.7 ms too late.
    read_again = [framework.runtime.to_numpy(array) for array in like]
    again = time.perf_counter() - began
    del read_again
    sha = hashlib.sha1()
    for array in found:
        sha.update(np.ascontiguousarray(array).ravel()[:FINGERPRINT].tobytes())
    return max(0.0, first - again - NOISE), sha.hexdigest()


def _leaves(nested: Any) -> Iterator[Any]:
    if isinstance(nested, (dict, list, tuple)):
        for inner in nested.values() if isinstance(nested, dict) else nested:
            yield from _leaves(inner)
    else:
        yield nested


def _inputs(case: Case) -> Arrays:
    """What changes from call to call: all but the parameters."""
    return {name: array for name, array in case.arrays.items() if name not in case.cell.parameters}


def _stirred(array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    stirred: np.ndarray = np.roll(array.ravel(), random.integers(1, array.size)).reshape(array.shape)
    stirred *= random.choice([-1.0, 1.0], size=array.shape[-1])
    return stirred
