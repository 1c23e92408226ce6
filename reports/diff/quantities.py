"""Quantities by kind, as tables group them."""

from __future__ import annotations

from typing import Literal, get_args

from shared_spec.files.interchange import TRACE

STATES, GATES, GRADIENTS, TRAINING = "states", "gates", "gradients", "training"
COLUMNS = (STATES, GATES, GRADIENTS, TRAINING)
"""The columns of the matrix, for each cell."""
PAIRED = ("H", "final", "gradients", "loss", "weights", "norm", "perplexity", "text")
"""What two implementations are compared by."""

NotCompared = Literal["none"]
NOT_COMPARED: NotCompared = get_args(NotCompared)[0]
Difference = float | NotCompared | None
"""Of two implementations; NOT_COMPARED of two that share no case, None for infinity."""


def group_of(quantity: str) -> str:
    """The kind of a quantity of which two are compared: "grad.W_xz" is one of the gradients."""
    part = quantity.split(".")[0]
    return {"grad": "gradients", "step1": "weights", "end": "weights"}.get(part, part)


def column_of(quantity: str, *, training: bool) -> str:
    """The column of the matrix that a quantity belongs to, of a result of a cell or of a training."""
    if training:
        return TRAINING
    name = quantity.removeprefix(TRACE)
    if name == "dH" or name.startswith("grad."):
        return GRADIENTS
    return STATES if name == quantity else GATES
