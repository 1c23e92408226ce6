"""Quantities by kind, as tables group them."""

from __future__ import annotations

STATES, GATES, GRADIENTS, TRAINING = "states", "gates", "gradients", "training"
COLUMNS = (STATES, GATES, GRADIENTS, TRAINING)
"""The columns of the matrix, for each cell."""
TRACE = "trace."
PAIRED = ("H", "final", "gradients", "loss", "weights", "norm", "perplexity", "text")
"""What two implementations are compared by."""


def group_of(quantity: str) -> str:
    """The kind of a quantity of which two are compared: "grad.W_xz" is one of the gradients."""
    part = quantity.split(".")[0]
    return {"grad": "gradients", "step1": "weights", "end": "weights"}.get(part, part)


def column_of(quantity: str, *, training: bool) -> str:
    """The column of the matrix that a quantity belongs to, of a result of a cell or of a training."""
    if training:
        return TRAINING
    part, _, rest = quantity.partition(".")
    if part == "trace":
        return GRADIENTS if rest == "dH" or rest.startswith("grad.") else GATES
    return GRADIENTS if part == "grad" else STATES
