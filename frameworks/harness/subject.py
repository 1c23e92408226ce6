"""One implementation under test, its compiled pieces made once: what is judged and what is timed are the same."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from frameworks import Framework
from frameworks.folder import Forward
from frameworks.protocol import Implementation
from isogru.judge import precision
from shared_spec.cells import cell
from shared_spec.files.interchange import AnyCase, Origin, TrainingCase
from shared_spec.language_model import Recipe

Arrays = dict[str, np.ndarray]


class Subject:
    """An implementation in one dtype on one device, ready to be run."""

    def __init__(self, framework: Framework, implementation: Implementation, *, dtype: str, device: str) -> None:
        self.framework, self.implementation = framework, implementation
        self.dtype, self.device = dtype, device
        self.forward: Forward = implementation.build()

    @functools.cached_property
    def gradients(self) -> Callable[..., Any]:
        """(X, H0, parameters, dH) -> (H, final, gradients)."""
        pull: Callable[..., Any] = self.framework.cells.gradients(self.forward, compiled=self.implementation.compiled)
        return pull

    def training_step(self, recipe: Recipe) -> Callable[..., Any]:
        """(parameters, inputs, targets) -> (parameters, loss, norm)."""
        step: Callable[..., Any] = self.framework.language_model.training_step(
            self.forward, lr=recipe.lr, clip_norm=recipe.clip_norm, compiled=self.implementation.compiled
        )
        return step

    def validation_loss(self) -> Callable[..., Any]:
        """(parameters, inputs, targets) -> loss."""
        loss: Callable[..., Any] = self.framework.language_model.validation_loss(
            self.forward, compiled=self.implementation.compiled
        )
        return loss

    def tensors(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Arrays on the device, in the dtype."""
        return {name: self.tensor(array) for name, array in arrays.items()}

    def tensor(self, array: np.ndarray) -> Any:
        return self.framework.runtime.tensor(array, dtype=self.dtype, device=self.device)

    def tokens(self, array: np.ndarray) -> Any:
        return self.framework.runtime.tensor(array, dtype="int32", device=self.device)

    def numpy(self, tensors: Mapping[str, Any]) -> Arrays:
        return {name: self.framework.runtime.to_numpy(tensor) for name, tensor in tensors.items()}

    @functools.cached_property
    def roundoff(self) -> dict[str, float]:
        """The unit roundoff that is delivered, by operation; see isogru/judge/precision.py."""
        return dict(_delivered(self.framework, self.implementation, self.dtype, self.device))

    def states(self, X: np.ndarray, H0: np.ndarray, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """The forward from NumPy to NumPy: X (T, n, d), H0 (n, h) -> H (T, n, h)."""
        H, _ = self.forward(self.tensor(X), self.tensor(H0), self.tensors(parameters))
        states: np.ndarray = self.framework.runtime.to_numpy(H)
        return states

    def origin(self, case: AnyCase, seconds: Mapping[str, float] | None = None, note: str = "") -> Origin:
        """Who made a result of a case, and how."""
        runtime, problem = self.framework.runtime, case.problem if isinstance(case, TrainingCase) else None
        return Origin(
            case=case.name,
            case_digest=case.digest,
            cell=case.cell.name,
            spec_digest=case.cell.digest,
            framework=self.framework.name,
            implementation=self.implementation.name,
            lane=self.implementation.lane,
            dtype=self.dtype,
            device=self.device,
            unit_roundoff=precision.unit_roundoff(self.roundoff, self.dtype),
            roundoff=self.roundoff,
            versions=dict(runtime.versions()),
            switches=dict(runtime.switches()),
            seconds=seconds or {},
            corpus=f"{problem.corpus_source} {problem.corpus_sha1}" if problem else "",
            note=note,
        )


@functools.lru_cache(maxsize=64)
def _delivered(
    framework: Framework, implementation: Implementation, dtype: str, device: str
) -> tuple[tuple[str, float], ...]:
    """Measured once for an implementation in a process, whatever it runs: it compiles two more programs."""
    subject = Subject(framework, implementation, dtype=dtype, device=device)
    return tuple(precision.measure(subject.states, cell(implementation.cell), dtype=dtype).items())
