"""What mutants are made of beside a framework's own step and loop, by hand in each: a cut of the gradient, functions,
casts, and how arrays are put together.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Operations(Protocol):
    """Arrays are the framework's own."""

    def constant(self, x: Any) -> Any:
        """The same, with no gradient through it."""

    def concatenate(self, arrays: Sequence[Any], axis: int) -> Any: ...

    def turned(self, x: Any) -> Any:
        """The first axis the other way round."""

    def exchanged(self, x: Any) -> Any:
        """The first two axes exchanged."""

    def reshaped(self, x: Any, shape: tuple[int, ...]) -> Any: ...

    def zeros(self, like: Any, shape: tuple[int, ...]) -> Any: ...

    def clipped(self, x: Any, low: float, high: float) -> Any: ...

    def function(self, name: str) -> Callable[[Any], Any] | None:
        """relu, sigmoid or tanh; None for any other name."""

    def narrowed(self, x: Any, bits: int) -> Any:
        """Through a format of 8, 11 or 24 bits and back, by a cast of the framework; None where it has none."""

    def forget(self) -> None:
        """Forget what was compiled."""


def of(framework: str) -> Operations:
    """Those of a framework."""
    module: Operations = importlib.import_module(f"frameworks.harness.score.operations.{framework}")
    return module
