"""What each file of a framework's folder offers, as a protocol. Arrays are the framework's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

Forward = Callable[[Any, Any, Mapping[str, Any]], tuple[Any, Any]]
"""A pure function (X (T, n, d), H0 (n, h), parameters by their spec names) -> (H (T, n, h), final (n, h)). Every lane
is one, so that gradients, training and prediction are written once for all lanes of a framework.
"""
Step = Callable[..., tuple[Any, dict[str, Any]]]
"""(X (n, d), H (n, h), parameters as keywords) -> (the next H, gates by name)."""
Layer = tuple[Callable[[], Forward], tuple[str, ...]]
"""What makes a forward, and the dtypes that it runs in."""
Batches = Callable[[np.ndarray, int], Iterator[tuple[Any, Any]]]
"""(rows (count, T + 1), batch size) -> inputs and targets (n, T) of all rows in order; the last may be smaller."""


class Runtime(Protocol):
    """runtime.py: device, threads, precision switches, arrays."""

    def setup(self, *, device: str = "cpu", threads: int | None = None, tf32: bool = False) -> None:
        """Set every switch that can change a number. Raises UserError for a device that is not there."""

    def devices(self) -> list[str]: ...

    def tensor(self, values: np.ndarray, *, dtype: str, device: str = "cpu") -> Any: ...

    def to_numpy(self, values: Any) -> np.ndarray: ...

    def copy(self, values: Any) -> Any:
        """Another array of the same numbers, which the device makes of them."""

    def wait(self, values: object) -> None:
        """Wait until these arrays, in any nesting, are there."""

    def peak_memory(self, device: str) -> int | None: ...

    def versions(self) -> Mapping[str, str]: ...

    def switches(self) -> Mapping[str, str]: ...

    def missing(self, compiler: str) -> str:
        """Why a compiler cannot run here; empty where it can."""


class Cells(Protocol):
    """cells.py: the equations by hand, as steps; the loop over time; compilers; gradients."""

    CELLS: Mapping[str, Step]
    COMPILERS: Mapping[str, Callable[[Step], Forward]]

    def with_gates(self, step: Step) -> Step: ...

    def unroll(self, step: Step) -> Forward: ...

    def gradients(self, forward: Forward, *, compiled: bool) -> Callable[..., Any]: ...


class Layers(Protocol):
    """layers.py: the framework's own layers."""

    LAYERS: Mapping[str, Layer]
    COMPILED: bool


class Tuned(Protocol):
    """tuned.py: the fastest way that was measured on a CPU, by size: a loop by hand, the cell compiled or as it is, the
    framework's own layer; still proven equal. COMPILED says whether it is compiled, for each shape anew.
    """

    TUNED: Mapping[str, Layer]
    COMPILED: bool


class Parallel(Protocol):
    """parallel.py: all steps of a cell at once, where the framework has what it takes."""

    PARALLEL: Mapping[str, Layer]
    COMPILED: bool


class Chapter(Protocol):
    """chapter.py: the whole training as the chapter has it: by implementation, the cells that it claims to equal, of
    those that native layers compute.
    """

    CHAPTER: Mapping[str, Mapping[str, Layer]]


class LanguageModel(Protocol):
    """language_model.py: loss, gradients, training step, prediction. Tokens are (n, T)."""

    def loss_and_gradients(
        self, forward: Forward, parameters: Any, inputs: Any, targets: Any
    ) -> tuple[Any, dict[str, Any]]: ...

    def training_step(self, forward: Forward, *, lr: float, clip_norm: float, compiled: bool) -> Callable[..., Any]: ...

    def validation_loss(self, forward: Forward, *, compiled: bool) -> Callable[..., Any]: ...

    def training_step_of_many(self, forward: Forward, *, clip_norm: float) -> Callable[..., Any] | None: ...

    def validation_loss_of_many(self, forward: Forward) -> Callable[..., Any] | None: ...

    def predict(self, forward: Forward, parameters: Any, prefix: Any, count: int) -> Any: ...


class Peak(Protocol):
    """peak.py: the operations that limit a cell, each alone, so many times, each waiting for the one before."""

    def products(self, H: Any, W: Any, *, count: int) -> Any: ...

    def functions(self, x: Any, *, count: int) -> Any: ...

    def sums(self, a: Any, b: Any, *, count: int) -> Any: ...
