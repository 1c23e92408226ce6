"""What is under test: one folder for each framework, each importing that one alone, driven from here by its names."""

from __future__ import annotations

from shared_spec import processes

processes.begin("frameworks")

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from frameworks import folder
from frameworks.folder import Forward
from shared_spec import frameworks as known
from shared_spec.errors import UserError

NAMES = tuple(known.frameworks())


@dataclass(frozen=True)
class Framework:
    """The eight files of a framework's folder; frameworks/folder.py says what each offers."""

    name: str
    cells: folder.Cells
    layers: folder.Layers
    tuned: folder.Tuned
    parallel: folder.Parallel
    chapter: folder.Chapter
    language_model: folder.LanguageModel
    peak: folder.Peak
    runtime: folder.Runtime


@dataclass(frozen=True)
class RichForward:
    """A forward with what more it brings for the language model. What it does not bring is None."""

    forward: Forward
    of_tokens: Callable[..., tuple[Any, Any]] | None = None
    """(tokens (T, n), H0, parameters) -> (H, final): the same without one-hot inputs."""
    cross_entropy: Callable[..., Any] | None = None
    """(H, W_hq, b_q, labels) -> the mean cross-entropy: the output layer with its loss."""
    loss: Callable[..., Any] | None = None
    """(parameters, inputs (n, T), targets (n, T)) -> the mean cross-entropy: the whole language model."""
    batches: folder.Batches | None = None
    """How inputs and targets of an epoch come, by a loader of its own."""
    by_parts: Callable[..., Any] | None = None
    """(function, inputs, targets) -> the mean of a function over the batch, such as a loss with gradients, in parts."""
    whole_step: Callable[..., tuple[Any, Any, Any] | None] | None = None
    """(parameters, inputs, targets, lr, clip_norm) -> parameters, loss and norm after a training step; None at a size
    that it does not suit. PyTorch heeds it.
    """
    pulled_back: Callable[..., tuple[Any, Any, Mapping[str, Any]]] | None = None
    """(X, H0, parameters, dH) -> (H, final, gradients), in place of the gradient of the forward; MXNet does not heed
    it.
    """
    in_one_piece: Callable[..., Any] | None = None
    """(function) -> a training step that runs as one program."""
    side_by_side: Callable[..., Any] | None = None
    """(mean, finish) -> a function (parameters, inputs, targets) of a mean over the batch, shares of which are computed
    side by side, and then of finish(parameters, mean): a training step, or a loss.
    """
    sgd: Callable[..., tuple[Any, Any]] | None = None
    """(parameters, gradients, lr, clip_norm) -> (parameters, norm): the step of SGD. JAX heeds it."""
    note: Callable[..., str] | None = None
    """(X, H0, parameters) -> how it came by the states, in words that are kept with a result."""
    programs: bool = False
    """Whether it is made of compiled programs, which one more around it would compile again."""
    through_xla: bool = False
    """Whether it is compiled by XLA, so that what is around it must be too."""

    def __call__(self, X: Any, H0: Any, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        return self.forward(X, H0, parameters)


def rich(forward: Forward) -> RichForward:
    """What a forward brings; of a plain function nothing more."""
    return forward if isinstance(forward, RichForward) else RichForward(forward)


def check_name(name: str) -> str:
    """Raises UserError, with the names there are, for an unknown framework."""
    return known.framework(name).name


def check_installed(name: str) -> None:
    """Raises UserError where the framework is unknown or not installed here. Imports nothing."""
    if importlib.util.find_spec(known.framework(name).imports[0]) is None:
        raise UserError(f"framework {name} asked for but not importable here; run tox -e {name}")


def load(name: str) -> Framework:
    """Imports a framework's folder. Raises UserError where the framework is unknown or not installed here."""
    check_installed(name)
    with processes.dying_at_once("frameworks"):
        modules: dict[str, Any] = {
            part: importlib.import_module(f"frameworks.{name}.{part}")
            for part in ("runtime", "cells", "layers", "tuned", "parallel", "chapter", "language_model", "peak")
        }
    return Framework(name, **modules)
