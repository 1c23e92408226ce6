"""Wrong wirings of the training, each beside what it stands for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from shared_spec.files.interchange import TrainingCase

NEVER = 1e30
"""No norm of a gradient reaches it; infinity would make NaN of it where a framework divides by it."""


def never_clipping(case: TrainingCase) -> TrainingCase:
    """The same training, its gradients applied as they come: p - lr g, however large."""
    problem = case.problem
    return replace(case, problem=replace(problem, recipe=replace(problem.recipe, clip_norm=NEVER)))


def plotted_perplexity(losses: npt.ArrayLike, steps_per_epoch: int) -> np.ndarray:
    """The plain mean over the batches of an epoch of exp(loss), (epochs,): not exp of the mean over its tokens. A batch
    that is not full counts like the others.
    """
    of_epochs = np.reshape(np.asarray(losses, np.float64), (-1, steps_per_epoch))
    plotted: np.ndarray = np.exp(of_epochs).mean(axis=1)
    return plotted
